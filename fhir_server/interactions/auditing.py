"""The last step of every request: what it has asked, shown or been refused is in the audit before the answer leaves.

Whoever answers somebody from outside (the HTTP edge, a page of the portal) goes through here. What was written has its
events already, in the transaction of the write itself. If the audit cannot be written there is no answer: the error is
``StoreUnavailable``.
"""

from fhir_server.audit.touched import Touched
from fhir_server.context import RequestContext
from fhir_server.errors import FhirError
from fhir_server.interactions.request import FhirRequest
from fhir_server.interactions.routes import Route, match_route

_TOLD = frozenset({401, 403})
_TOLD_OF_INSTANCES = frozenset({404, 410})
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
    if ctx.trail.origin is None or error.status not in _TOLD | _TOLD_OF_INSTANCES:
        return
    try:
        route = match_route(request.method, request.segments)
    except FhirError:
        return
    if error.status in _TOLD_OF_INSTANCES and route.id is None:
        return
    action = _ACTIONS.get(route.interaction, route.interaction)
    if action == "capabilities":
        return
    ctx.trail.refused += ctx.trail.refusal(action, error.status, error.issues[0].code, _target(ctx, route))


def _target(ctx: RequestContext, route: Route) -> Touched | None:
    """Return what was asked for, with the patients in whose records it is: they are told, the caller never."""
    if route.id is None:
        return None
    reference = f"{route.resource_type}/{route.id}"
    patients, labels = ctx.repository.find_concerned(reference)
    if not patients and route.resource_type == "Patient":
        patients = (reference,)
    return Touched(route.interaction, reference, 0, patients, labels)
