"""The last step of every request: what it has asked, shown or been refused is in the audit before the answer leaves.

Whoever answers somebody from outside (the HTTP edge, a page of the portal) goes through here. What was written has its
events already, in the transaction of the write itself. If the audit cannot be written there is no answer: the error is
``StoreUnavailable``.
"""

from collections.abc import Iterable
from contextlib import suppress

from fhir_server.audit.touched import Touched
from fhir_server.context import RequestContext
from fhir_server.errors import FhirError, Forbidden
from fhir_server.interactions.request import FhirRequest
from fhir_server.interactions.routes import Route, match_route
from fhir_server.search.indexer import to_index
from fhir_server.validation.structure import check_structure

_TOLD = frozenset({401, 403})
_TOLD_OF_INSTANCES = frozenset({404, 410})
_TOLD_OF_UNSEEN = frozenset({405, 412})
"""What a write to a resource is answered that is not there for the caller; of one that they see it is no refusal."""
_ACTIONS = {
    "search-type": "search",
    "search-system": "search",
    "search-compartment": "search",
    "history-instance": "history",
    "history-type": "history",
    "history-system": "history",
    "operation-system": "operation",
    "operation-type": "operation",
    "operation-instance": "operation",
    "bundle": "operation",
}


def write_events(ctx: RequestContext) -> None:
    """Write what the trail has gathered so far. Raises ``StoreUnavailable``."""
    # However long the request took, its events are indexed by what is in force now.
    ctx.repository.registry.use()
    events = ctx.trail.events()
    if events:
        ctx.repository.store.append(events)


def write_refusal(ctx: RequestContext, request: FhirRequest, error: FhirError) -> None:
    """Write that the request was refused, if that is of a kind to be told. Raises ``StoreUnavailable``."""
    ctx.repository.registry.use()
    note_refusal(ctx, request, error)
    events, ctx.trail.refused = ctx.trail.refused, []
    if events:
        ctx.repository.store.append(events)


def note_refusal(ctx: RequestContext, request: FhirRequest, error: FhirError) -> None:
    """Note that the request was refused: who is not allowed, and who asked for a resource that is not theirs or there.

    What is wrong with a request itself tells nothing about a record.
    """
    route = _route(request)
    if ctx.trail.origin is None or route is None or route.interaction == "capabilities":
        return
    if error.status in _TOLD_OF_UNSEEN:
        note_unseen(ctx, [route], error.issues[0].code)
    elif error.status in _TOLD or (error.status in _TOLD_OF_INSTANCES and (route.id or ctx.trail.concerned)):
        _note(ctx, route, request, error.status, error.issues[0].code)


def note_unseen(ctx: RequestContext, routes: Iterable[Route], problem: str = "not-found") -> None:
    """Note of instances that something was to be done to those which are not there for the caller.

    Whether others' are there at all is the same to see. Who sees all ids that are taken is asking for nobody else's.
    """
    if ctx.trail.origin is None:
        return
    asked = {
        f"{one.resource_type}/{one.id}": _action(one)
        for one in routes
        if one.id is not None and one.resource_type is not None
        if not ctx.repository.policy.chooses_ids(one.resource_type)
    }
    unseen = ctx.repository.find_unseen(asked) if asked else []
    if unseen:
        touched = ctx.repository.find_concerned([(asked[one], one) for one in unseen])
        ctx.trail.refused += ctx.trail.refusal("operation", 404, problem, *touched)


def note_forbidden(ctx: RequestContext, route: Route, request: FhirRequest) -> None:
    """Note that an entry of a transaction was what was not allowed in it."""
    ctx.trail.concerned = None
    _note(ctx, route, request, Forbidden.status, Forbidden.code)
    ctx.trail.concerned = None


def _note(ctx: RequestContext, route: Route, request: FhirRequest, status: int, problem: str) -> None:
    action = _action(route)
    touched: list[Touched] = []
    if route.id is not None:
        touched = ctx.repository.find_concerned([(action, f"{route.resource_type}/{route.id}")])
    elif status == Forbidden.status and route.interaction == "create":
        ctx.trail.concerned = _patient_of(ctx, request, route)
    ctx.trail.refused += ctx.trail.refusal(action, status, problem, *touched)


def _patient_of(ctx: RequestContext, request: FhirRequest, route: Route) -> str | None:
    """Return in whose record a resource was to be created, if it is one at all."""
    resource, patient = request.resource, None
    if resource is None or check_structure(resource, expected_type=route.resource_type):
        return None
    with suppress(FhirError):  # what cannot be indexed is in no record
        patient = to_index(resource, ctx.base_url).get("pt")
    return None if patient is None else str(patient)


def _route(request: FhirRequest) -> Route | None:
    try:
        return match_route(request.method, request.segments)
    except FhirError:
        return None


def _action(route: Route) -> str:
    return _ACTIONS.get(route.interaction, route.interaction)
