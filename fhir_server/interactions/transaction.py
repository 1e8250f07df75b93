"""transaction: all entries or none, answered in their order. Spec: http://hl7.org/fhir/R4/http.html#trules"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fhir_server.context import RequestContext
from fhir_server.errors import Deleted, FhirError, Forbidden, Invalid, NotFound, NotSupported, Text, join_errors
from fhir_server.fhir.bundle import build_response_bundle
from fhir_server.interactions.answer import answer_written
from fhir_server.interactions.auditing import note_forbidden, note_refusal, note_unseen
from fhir_server.interactions.entries import Entry, build_entry
from fhir_server.interactions.entry_answers import answer_entry, refuse_entry
from fhir_server.interactions.operation import get_operation
from fhir_server.interactions.proposals import PROPOSERS
from fhir_server.interactions.request import FhirRequest, FhirResponse
from fhir_server.interactions.routes import Route, match_route
from fhir_server.repository.change import Proposal, Resource

Dispatch = Callable[[RequestContext, FhirRequest], FhirResponse]


@dataclass(frozen=True, slots=True)
class _Planned:
    entry: Entry
    route: Route
    proposal: Proposal | None


def transaction(
    ctx: RequestContext, request: FhirRequest, route: Route, entries: Sequence[Resource], dispatch: Dispatch
) -> FhirResponse:
    """Return the transaction-response. Raises the first problem's error with the issues of every entry.

    Reads are answered after the writes; that they can be answered is made sure before anything is written.
    """
    planned = _plan(ctx, request, entries)
    reads = [one for one in planned if one.proposal is None]
    writes = [one for one in planned if one.proposal is not None]
    try:
        if reads:
            _check_reads(ctx, planned, reads, dispatch)
        written = ctx.repository.write([one.proposal for one in writes if one.proposal is not None]) if writes else []
    except FhirError as error:
        _note_refused(ctx, planned, error)
        raise
    note_unseen(ctx, [one.route for one, outcome in zip(writes, written, strict=True) if not outcome.count])
    answers: list[dict[str, Any]] = [{} for _ in planned]
    for one, outcome in zip(writes, written, strict=True):
        answers[one.entry.position] = answer_entry(answer_written(ctx, one.entry.request, one.route, outcome))
    for one in reads:
        answers[one.entry.position] = _answer_read(ctx, one.entry.request, dispatch)
    return FhirResponse(200, build_response_bundle("transaction-response", answers), route="/ transaction")


def _note_refused(ctx: RequestContext, planned: Sequence[_Planned], error: FhirError) -> None:
    """Note, of a transaction that fails as a whole, what was asked for in vain in it and what was not allowed."""
    note_unseen(ctx, [one.route for one in planned], error.issues[0].code)
    if error.status == Forbidden.status:
        named = {part for issue in error.issues for part in issue.expression}
        for one in planned:
            if any(part.startswith(f"Bundle.entry[{one.entry.position}].") for part in named):
                note_forbidden(ctx, one.route, one.entry.request)


def _answer_read(ctx: RequestContext, request: FhirRequest, dispatch: Dispatch) -> dict[str, Any]:
    try:
        return answer_entry(dispatch(ctx, request))
    except (NotFound, Deleted) as gone:
        # Of what the transaction itself deletes, or would; anything else was refused before the first write.
        note_refusal(ctx, request, gone)
        return refuse_entry(ctx, gone)


def _plan(ctx: RequestContext, outer: FhirRequest, entries: Sequence[Resource]) -> list[_Planned]:
    planned: list[_Planned] = []
    failures: list[FhirError] = []
    seen: set[str] = set()
    for position, raw in enumerate(entries):
        try:
            entry = build_entry(ctx, outer, raw, position)
            _check_full_url(entry, seen)
            planned.append(_propose(ctx, entry))
        except FhirError as error:
            failures.append(error)
    if failures:
        raise join_errors(failures)
    return planned


def _check_full_url(entry: Entry, seen: set[str]) -> None:
    if entry.full_url is None or entry.request.method in ("GET", "HEAD"):
        return
    if entry.full_url in seen:
        text = Text("Two entries have the same fullUrl", "Deux entrées ont le même fullUrl")
        raise Invalid(text, expression=f"Bundle.entry[{entry.position}].fullUrl")
    seen.add(entry.full_url)


def _propose(ctx: RequestContext, entry: Entry) -> _Planned:
    try:
        route = match_route(entry.request.method, entry.request.segments)
        propose = PROPOSERS.get(route.interaction)
        if propose is None:
            _check_reading(route)
            return _Planned(entry, route, None)
        proposal = propose(ctx, entry.request, route)
    except FhirError as error:
        raise error.within(entry.location) from None
    return _Planned(
        entry,
        route,
        replace(proposal, position=entry.position, location=entry.location, full_url=entry.full_url),
    )


def _check_reading(route: Route) -> None:
    if route.interaction == "bundle":
        raise Invalid(Text("A bundle cannot stand within a transaction", "Un lot ne peut figurer dans une transaction"))
    if route.name is not None and route.interaction.startswith("operation"):
        level = route.interaction.partition("-")[2]
        if get_operation(route.name, level, route.resource_type).affects_state:
            raise NotSupported(
                Text(
                    "An operation that changes something cannot be part of a transaction",
                    "Une opération qui modifie des données ne peut faire partie d’une transaction",
                )
            )


def _check_reads(
    ctx: RequestContext, planned: Sequence[_Planned], reads: Sequence[_Planned], dispatch: Dispatch
) -> None:
    written = {(one.route.resource_type, one.route.id) for one in planned if one.proposal is not None and one.route.id}
    failures: list[FhirError] = []
    for one in reads:
        try:
            dispatch(ctx, one.entry.request)
        except FhirError as error:
            pending = (one.route.resource_type, one.route.id) in written and isinstance(error, (NotFound, Deleted))
            if not pending:
                failures.append(error.within(f"Bundle.entry[{one.entry.position}].request"))
    if failures:
        raise join_errors(failures)
