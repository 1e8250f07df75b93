"""history: of an instance, of a type, of the system, newest first, page by page.

Spec: http://hl7.org/fhir/R4/http.html#history
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from fhir_server.context import RequestContext
from fhir_server.errors import FhirError, Invalid, Issue, NotFound, NotSupported, Text, Value
from fhir_server.fhir.bundle import HistoryEntry, build_history
from fhir_server.fhir.datatypes import date_range, parse_instant
from fhir_server.interactions.request import FhirRequest, FhirResponse
from fhir_server.interactions.routes import Route
from fhir_server.interactions.search import open_token
from fhir_server.repository.planning import absent
from fhir_server.search.compiler import Keyset
from fhir_server.search.paging import Link, PageState, page_link, self_link
from fhir_server.storage.store import Document, HistoryQuery

_OTHER_PATH = Text("This page link is not valid here", "Ce lien de page n’est pas valable ici")


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the parameters ask for: page size, and which versions."""

    count: int | None = None
    since: datetime | None = None
    at: tuple[datetime, datetime] | None = None
    used: tuple[tuple[str, str], ...] = ()


def history(ctx: RequestContext, request: FhirRequest, route: Route) -> FhirResponse:
    """Return a history Bundle. Raises ``NotFound`` for an instance that never was, ``Invalid`` for bad parameters."""
    path = _path(route)
    parameters, after = request.parameters, None
    token = open_token(parameters)
    if token is not None:
        state = ctx.pages.open(token, ctx.caller.key, ctx.repository.policy.digest, ctx.now)
        if state.path != path or state.keyset is None:
            raise NotFound(_OTHER_PATH)
        parameters, after = state.parameters, _position(state.keyset)
        ctx.trail.understand(parameters)
    asked = parse_history(parameters, strict=(request.handling or ctx.settings.default_handling) == "strict")
    count = min(ctx.settings.default_count if asked.count is None else asked.count, ctx.settings.max_count)
    query = HistoryQuery(_reference(route), route.resource_type, asked.since, asked.at, after, count + 1)
    versions = ctx.repository.history(query) if count else []
    if route.id is not None and not versions and after is None:
        _check_existence(ctx, route)
    return FhirResponse(200, _bundle(ctx, path, asked, query, versions, count), route=route.template)


def parse_history(parameters: tuple[tuple[str, str], ...], *, strict: bool) -> _Asked:
    """Return what is asked for. Raises ``Invalid`` with every problem; leniently, unknown names are passed over."""
    asked = _Asked()
    problems: list[Issue] = []
    seen: set[str] = set()
    for name, value in parameters:
        try:
            if name in seen:
                raise Value(Text(f"{name} may be given once only", f"{name} ne peut être donné qu’une fois"))
            seen.add(name)
            asked = replace(_with(asked, name, value), used=(*asked.used, (name, value)))
        except NotSupported as error:
            problems.extend(error.issues if strict else ())
        except FhirError as error:
            problems.extend(error.issues)
    if problems:
        raise Invalid(problems)
    return asked


def _with(asked: _Asked, name: str, value: str) -> _Asked:
    match name:
        case "_count":
            if not value.isascii() or not value.isdigit() or len(value) > 9:
                raise Value(Text("_count is a whole number", "_count est un nombre entier"))
            return replace(asked, count=int(value))
        case "_since":
            return replace(asked, since=_since(value))
        case "_at":
            return replace(asked, at=date_range(value))
        case _:
            raise NotSupported(
                Text("A history takes _count, _since and _at alone", "Un historique n’admet que _count, _since et _at")
            )


def _since(value: str) -> datetime:
    """An instant by the standard; a coarser date, as many clients send, means its beginning."""
    try:
        return parse_instant(value)
    except Value:
        return date_range(value)[0]


def _bundle(
    ctx: RequestContext, path: str, asked: _Asked, query: HistoryQuery, versions: list[Document], count: int
) -> bytes:
    more, versions = len(versions) > count, versions[:count]
    whole = query.after is None and not more and count > 0
    total = len(versions) if whole else ctx.repository.count_history(replace(query, after=None)) if count == 0 else None
    links = [self_link(ctx.base_url, path, asked.used)]
    if more:
        links.append(_next(ctx, path, asked, versions[-1]))
    return build_history(
        [_entry(ctx, version) for version in versions],
        links=[(link.relation, link.url) for link in links],
        total=total,
        updated=ctx.now,
    )


def _next(ctx: RequestContext, path: str, asked: _Asked, last: Document) -> Link:
    keyset = Keyset((last.updated, last.reference, last.version))
    expires = ctx.now + timedelta(seconds=ctx.settings.page_link_lifetime)
    state = PageState(path, asked.used, keyset, expires)
    return page_link(ctx.base_url, "next", state, ctx.pages.seal(state, ctx.caller.key, ctx.repository.policy.digest))


def _position(keyset: Keyset) -> tuple[datetime, str, int]:
    updated, reference, version = keyset.values
    return updated, reference, version


def _entry(ctx: RequestContext, version: Document) -> HistoryEntry:
    return HistoryEntry(
        full_url=f"{ctx.base_url}/{version.reference}",
        body=version.body,
        method=version.method,
        url=version.resource_type if version.method == "POST" else version.reference,
        status="204" if version.deleted else "201" if version.version == 1 else "200",
        version=version.version,
        updated=version.updated,
    )


def _path(route: Route) -> str:
    return "/".join(part for part in (route.resource_type, route.id, "_history") if part)


def _reference(route: Route) -> str | None:
    return f"{route.resource_type}/{route.id}" if route.id is not None else None


def _check_existence(ctx: RequestContext, route: Route) -> None:
    assert route.resource_type is not None
    assert route.id is not None
    ever = HistoryQuery(_reference(route), route.resource_type, limit=1)
    if not ctx.repository.history(ever):
        raise NotFound(absent(route.resource_type))
