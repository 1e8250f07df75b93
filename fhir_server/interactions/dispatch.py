"""From a request to the interaction it means: the same way for HTTP, bundle entries, pages and jobs."""

from collections.abc import Callable
from dataclasses import replace

from fhir_server.audit.provenance import HEADER, parse_header
from fhir_server.context import RequestContext
from fhir_server.errors import FhirError, MethodNotAllowed, Text
from fhir_server.interactions.answer import answer_written
from fhir_server.interactions.auditing import note_unseen, write_events, write_refusal
from fhir_server.interactions.batch import bundle
from fhir_server.interactions.capabilities import capabilities
from fhir_server.interactions.explain import search_or_explain
from fhir_server.interactions.history import history
from fhir_server.interactions.operation import get_operation
from fhir_server.interactions.proposals import PROPOSERS
from fhir_server.interactions.read import read
from fhir_server.interactions.request import FhirRequest, FhirResponse
from fhir_server.interactions.routes import Route, match_route
from fhir_server.interactions.vread import vread
from fhir_server.validation.structure import require_structure

Handler = Callable[[RequestContext, FhirRequest, Route], FhirResponse]


def dispatch(ctx: RequestContext, request: FhirRequest) -> FhirResponse:
    """Return the answer to ``request``. Raises ``FhirError`` with the route's template set."""
    route = match_route(request.method, request.segments)
    ctx.trail.begin(route.interaction, request.segments, request.parameters)
    try:
        return _HANDLERS[route.interaction](ctx, request, route)
    except FhirError as error:
        error.route = error.route or route.template
        raise


def dispatch_audited(ctx: RequestContext, request: FhirRequest) -> FhirResponse:
    """Return the answer to ``request`` once it is in the audit. Raises what ``dispatch`` does, after noting it."""
    try:
        response = dispatch(_with_provenance(ctx, request), request)
    except FhirError as error:
        write_refusal(ctx, request, error)
        raise
    write_events(ctx)
    return response


def _with_provenance(ctx: RequestContext, request: FhirRequest) -> RequestContext:
    """Return the context of a request that attaches a Provenance to what it writes. Raises ``Invalid``."""
    if request.method == "GET" or (text := request.headers.get(HEADER)) is None:
        return ctx
    return replace(ctx, repository=replace(ctx.repository, provenance=parse_header(text)))


def _write(ctx: RequestContext, request: FhirRequest, route: Route) -> FhirResponse:
    proposal = PROPOSERS[route.interaction](ctx, request, route)
    written = ctx.repository.write([proposal])[0]
    if not written.count:
        note_unseen(ctx, [route])
    return answer_written(ctx, request, route, written)


def _operation(ctx: RequestContext, request: FhirRequest, route: Route) -> FhirResponse:
    assert route.name is not None
    level = route.interaction.partition("-")[2]
    found = get_operation(route.name, level, route.resource_type)
    method = "GET" if request.method == "HEAD" else request.method
    if method not in found.methods:
        listed = ", ".join(sorted(found.methods))
        raise MethodNotAllowed(
            Text(f"${found.code} is called by {listed}", f"${found.code} s’appelle par {listed}"),
            headers={"Allow": listed},
        )
    if request.resource is not None:
        require_structure(request.resource)
    return found.handler(ctx, request, route)


def _bundle(ctx: RequestContext, request: FhirRequest, route: Route) -> FhirResponse:
    return bundle(ctx, request, route, dispatch)


_HANDLERS: dict[str, Handler] = {
    "read": read,
    "vread": vread,
    "create": _write,
    "update": _write,
    "patch": _write,
    "delete": _write,
    "bundle": _bundle,
    "capabilities": capabilities,
    "search-type": search_or_explain,
    "search-system": search_or_explain,
    "search-compartment": search_or_explain,
    "history-instance": history,
    "history-type": history,
    "history-system": history,
    "operation-system": _operation,
    "operation-type": _operation,
    "operation-instance": _operation,
}
