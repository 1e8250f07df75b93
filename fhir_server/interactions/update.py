"""update: ``PUT [type]/[id]`` and conditional ``PUT [type]?…``. Spec: http://hl7.org/fhir/R4/http.html#update"""

from fhir_server.context import RequestContext
from fhir_server.errors import Invalid, Text
from fhir_server.interactions.bodies import body_of
from fhir_server.interactions.conditional import criteria_of
from fhir_server.interactions.request import FhirRequest
from fhir_server.interactions.routes import Route
from fhir_server.repository.change import Proposal


def propose_update(ctx: RequestContext, request: FhirRequest, route: Route) -> Proposal:
    """Return the proposal. Raises ``Invalid`` when the body's id is not the URL's."""
    kind = route.resource_type
    assert kind is not None
    resource = body_of(ctx, request, kind)
    if request.content is not None and route.id is not None:
        resource = {**resource, "id": route.id}
    if route.id is not None and resource.get("id") != route.id:
        text = Text(
            "The resource must carry the id of the address"
            if "id" not in resource
            else "The id of the resource is not that of the address",
            "La ressource doit porter l’identifiant de l’adresse"
            if "id" not in resource
            else "L’identifiant de la ressource n’est pas celui de l’adresse",
        )
        raise Invalid(text, expression=f"{kind}.id")
    return Proposal(
        "update",
        "PUT",
        kind,
        id=route.id,
        resource=resource,
        criteria=criteria_of(ctx, request, route),
        if_match=request.if_match,
        if_none_match=request.if_none_match,
    )
