"""delete: ``DELETE [type]/[id]`` and conditional ``DELETE [type]?…``. Spec: http://hl7.org/fhir/R4/http.html#delete"""

from fhir_server.context import RequestContext
from fhir_server.interactions.conditional import criteria_of
from fhir_server.interactions.request import FhirRequest
from fhir_server.interactions.routes import Route
from fhir_server.repository.change import Proposal


def propose_delete(ctx: RequestContext, request: FhirRequest, route: Route) -> Proposal:
    """Return the proposal; more than one match is deleted only where the setting allows it."""
    assert route.resource_type is not None
    return Proposal(
        "delete",
        "DELETE",
        route.resource_type,
        id=route.id,
        criteria=criteria_of(ctx, request, route),
        if_match=request.if_match,
        multiple=ctx.settings.conditional_delete == "multiple",
    )
