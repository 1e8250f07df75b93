"""``AuditEvent/$tde``: a search of AuditEvents in the projection of the French guide for traces (ITI-81).

Spec: https://interop.esante.gouv.fr/ig/fhir/tde/, https://profiles.ihe.net/ITI/TF/Volume2/ITI-81.html
"""

from fhir_server.audit.tde import to_tde
from fhir_server.context import RequestContext
from fhir_server.errors import Required, Text
from fhir_server.fhir.json import parse_json
from fhir_server.interactions.operation import operation
from fhir_server.interactions.request import FhirRequest, FhirResponse
from fhir_server.interactions.routes import Route
from fhir_server.interactions.search import open_token, search

_DATE = Text("A search of traces needs the parameter date", "Une recherche de traces exige le paramètre date")


@operation(
    "tde",
    "https://espace-sante.example/fhir/OperationDefinition/AuditEvent-tde",
    levels={"type"},
    types=frozenset({"AuditEvent"}),
)
def tde(ctx: RequestContext, request: FhirRequest, route: Route) -> FhirResponse:
    """Return the searchset of ``AuditEvent?…`` with each event projected. Raises ``Required`` without a date."""
    if open_token(request.parameters) is None and not any(name == "date" for name, _ in request.parameters):
        raise Required(_DATE, expression="http.date")
    answer = search(ctx, request, Route("search-type", route.template, "AuditEvent"))
    assert isinstance(answer.body, bytes)
    bundle = parse_json(answer.body)
    for link in bundle.get("link", []):
        link["url"] = link["url"].replace("/AuditEvent?", "/AuditEvent/$tde?")
    for entry in bundle.get("entry", []):
        if entry["resource"]["resourceType"] == "AuditEvent":
            entry["resource"] = to_tde(entry["resource"])
    return FhirResponse(200, bundle, route=route.template)
