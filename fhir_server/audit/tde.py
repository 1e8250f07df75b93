"""AuditEvents as the French national guide for traces has them: at most two agents, one subtype, a start.

Spec: https://interop.esante.gouv.fr/ig/fhir/tde/StructureDefinition/tde-auditevent
"""

from typing import Any

PROFILE = "https://interop.esante.gouv.fr/ig/fhir/tde/StructureDefinition/tde-auditevent"


def to_tde(event: dict[str, Any]) -> dict[str, Any]:
    """Return the projection of an event: of its agents who asked and this server, as far as there are such."""
    agents = event.get("agent", [])
    asking = [agent for agent in agents if agent.get("requestor")]
    others = [agent for agent in agents if not agent.get("requestor")]
    # Client, server, user is the order of our own events; of others' the last one is nearest to the data.
    kept = [*asking[:1], *others[-1:]] if asking else others[:2]
    period = {"start": event["recorded"], **event.get("period", {})}
    subtype = {"subtype": event["subtype"][:1]} if event.get("subtype") else {}
    meta = {**event.get("meta", {}), "profile": [PROFILE]}
    return {**event, "meta": meta, **subtype, "period": period, "agent": kept[:2]}
