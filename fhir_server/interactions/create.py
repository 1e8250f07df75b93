"""create: ``POST [type]``, with ``If-None-Exist`` conditional. Spec: http://hl7.org/fhir/R4/http.html#create"""

from fhir_server.audit.feed import stamp
from fhir_server.context import RequestContext
from fhir_server.errors import Invalid, Text
from fhir_server.interactions.bodies import body_of
from fhir_server.interactions.conditional import none_exist_criteria
from fhir_server.interactions.request import FhirRequest
from fhir_server.interactions.routes import Route
from fhir_server.repository.change import Proposal


def propose_create(ctx: RequestContext, request: FhirRequest, route: Route) -> Proposal:
    """Return the proposal; an id in the body is ignored, as the standard says."""
    assert route.resource_type is not None
    if request.parameters:
        text = Text("A create takes no parameters", "Une création ne prend pas de paramètres")
        raise Invalid(text)
    resource = body_of(ctx, request, route.resource_type)
    if route.resource_type == "AuditEvent":
        resource = stamp(resource, ctx.caller)
    return Proposal(
        "create",
        "POST",
        route.resource_type,
        resource=resource,
        criteria=none_exist_criteria(ctx, request, route),
    )
