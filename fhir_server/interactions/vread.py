"""vread: ``GET [type]/[id]/_history/[vid]``. Spec: http://hl7.org/fhir/R4/http.html#vread"""

from fhir_server.context import RequestContext
from fhir_server.errors import NotFound, Text
from fhir_server.interactions.read import answer_read
from fhir_server.interactions.request import FhirRequest, FhirResponse
from fhir_server.interactions.routes import Route


def vread(ctx: RequestContext, request: FhirRequest, route: Route) -> FhirResponse:
    """Return one version of a resource; 410 when that version is its deletion."""
    assert route.resource_type is not None
    assert route.id is not None
    assert route.version_id is not None
    document = ctx.repository.vread(route.resource_type, route.id, parse_version(route.version_id))
    return answer_read(request, route, document)


def parse_version(version_id: str) -> int:
    """Return the version's number; version ids that this server never gives out are ``NotFound``."""
    if not version_id.isascii() or not version_id.isdigit() or len(version_id) > 9:
        raise NotFound(Text("There is no such version", "Cette version n’existe pas"))
    return int(version_id)
