"""AuditEvents that other systems send (IHE ITI-20, RESTful ATNA): kept as they are, marked with who sent them.

Spec: https://profiles.ihe.net/ITI/TF/Volume2/ITI-20.html
"""

from typing import Any

from fhir_server.access.caller import Caller

RECORDED_BY = "https://espace-sante.example/fhir/StructureDefinition/recorded-by"


def stamp(event: dict[str, Any], caller: Caller) -> dict[str, Any]:
    """Return the event with who sent it, whatever it says of that itself."""
    sender: dict[str, Any] = {"identifier": {"value": caller.client_id or caller.kind}}
    if caller.client_name:
        sender["display"] = caller.client_name
    given = event.get("extension")
    kept = (
        [one for one in given if not (isinstance(one, dict) and one.get("url") == RECORDED_BY)]
        if isinstance(given, list)
        else []
    )
    mark = {"url": RECORDED_BY, "valueReference": sender}
    return {**event, "extension": [mark, *kept]} if given is None or isinstance(given, list) else event
