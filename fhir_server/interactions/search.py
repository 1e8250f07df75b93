"""search: of a type, of the system, of a compartment, by GET and POST, page by page.

Spec: http://hl7.org/fhir/R4/search.html, http://hl7.org/fhir/R4/http.html#search
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from fhir_server.context import RequestContext
from fhir_server.errors import Invalid, NotFound, Text
from fhir_server.fhir.bundle import build_searchset
from fhir_server.fhir.definitions import compartment_definitions, is_resource_type
from fhir_server.interactions.request import FhirRequest, FhirResponse
from fhir_server.interactions.routes import Route
from fhir_server.interactions.searchset import build_entries, build_warnings
from fhir_server.repository.searching import PlannedSearch
from fhir_server.search.apart import APART_TYPES
from fhir_server.search.ast import InCompartment, Node, RefersTo
from fhir_server.search.building import build_and
from fhir_server.search.compiler import Keyset, keyset_of
from fhir_server.search.paging import PAGE_PARAMETER, PageState, page_links, self_link
from fhir_server.search.parsed import parsed_search
from fhir_server.search.parser import Search
from fhir_server.storage.store import Document

_ONE_PAGE_PARAMETER = Text("A page link takes no further parameters", "Un lien de page n’admet pas d’autres paramètres")
_OTHER_PATH = Text("This page link is not valid here", "Ce lien de page n’est pas valable ici")


@dataclass(frozen=True, slots=True)
class _Page:
    documents: list[Document]
    previous: Keyset | None
    next: Keyset | None
    whole: bool
    """It is all there is: the first page and the last."""


def search(ctx: RequestContext, request: FhirRequest, route: Route) -> FhirResponse:
    """Return a searchset Bundle. Raises what ``parse_search`` does; a page link that is not good is ``NotFound``."""
    path, kind = _path(route), _searched_type(route)
    parameters, keyset = request.parameters, None
    strict = (request.handling or ctx.settings.default_handling) == "strict"
    state = _open(ctx, parameters, path)
    if state is not None:
        parameters, keyset, strict = state.parameters, state.keyset, state.strict
        ctx.trail.understand(parameters)
    found = parsed_search(kind, parameters, strict=strict, base_url=ctx.repository.base_url, now=ctx.now)
    if state is not None:
        found = replace(found, warnings=(*state.warnings, *found.warnings))
    found = _within_limits(ctx, found)
    tree = ctx.repository.plan(ctx.repository.restrict(kind, _within_compartment(found.tree, route)))
    if found.count == 0 or found.summary == "count":
        return _count_alone(ctx, route, path, found, tree)
    page = _find_page(ctx, found, tree, keyset)
    entries = [*build_entries(ctx, found, page.documents, strict=strict), *build_warnings(ctx, found.warnings)]
    links = page_links(
        ctx.pages,
        ctx.base_url,
        path,
        found.used,
        previous=page.previous,
        next=page.next,
        caller=ctx.caller.key,
        policy_hash=ctx.repository.policy.digest,
        now=ctx.now,
        lifetime=timedelta(seconds=ctx.settings.page_link_lifetime),
        strict=strict,
        warnings=found.warnings,
    )
    body = build_searchset(
        entries,
        links=[(link.relation, link.url) for link in links],
        total=_total(ctx, found, tree, page),
        updated=ctx.now,
    )
    return FhirResponse(200, body, route=route.template)


def open_token(parameters: Sequence[tuple[str, str]]) -> str | None:
    """Return the token of a page link, ``None`` for a fresh request. Raises ``Invalid`` when more comes with it."""
    tokens = [value for name, value in parameters if name == PAGE_PARAMETER]
    if tokens and len(parameters) > 1:
        raise Invalid(_ONE_PAGE_PARAMETER)
    return tokens[0] if tokens else None


def _open(ctx: RequestContext, parameters: Sequence[tuple[str, str]], path: str) -> PageState | None:
    """Return what the page link holds, None for a fresh search. Its handling is that of the search it came from."""
    token = open_token(parameters)
    if token is None:
        return None
    state = ctx.pages.open(token, ctx.caller.key, ctx.repository.policy.digest, ctx.now)
    if state.path != path:
        raise NotFound(_OTHER_PATH)
    return state


def _path(route: Route) -> str:
    if route.interaction == "search-compartment":
        return f"{route.resource_type}/{route.id}/{route.name}"
    return route.resource_type or ""


def _searched_type(route: Route) -> str | None:
    if route.interaction != "search-compartment":
        return route.resource_type
    assert route.resource_type is not None
    members = compartment_definitions().get(route.resource_type)
    if members is None:
        text = Text(f"{route.resource_type} is no compartment", f"{route.resource_type} n’est pas un compartiment")
        raise NotFound(text)
    if route.name == "*":
        return None
    itself = route.name == route.resource_type
    if not is_resource_type(route.name or "") or not (itself or members.get(route.name or "")):
        raise NotFound(
            Text(
                f"The compartment {route.resource_type} holds no such resource type",
                f"Le compartiment {route.resource_type} ne contient pas ce type de ressource",
            )
        )
    return route.name


def _within_limits(ctx: RequestContext, found: Search) -> Search:
    """Return the search with its page cut to what this server gives at most, as the self link will say."""
    most = ctx.settings.max_count
    if found.count is None or found.count <= most:
        return found
    used = tuple((name, str(most) if name == "_count" else value) for name, value in found.used)
    return replace(found, count=most, used=used)


def _within_compartment(tree: Node, route: Route) -> Node:
    if route.interaction != "search-compartment":
        return tree
    assert route.resource_type is not None
    assert route.id is not None
    within: list[Node] = [tree, InCompartment(route.resource_type, route.id)]
    if route.name in APART_TYPES and route.resource_type == "Patient":
        # It says the same again, by the index that they have.
        within.append(RefersTo((f"{route.name}.patient>Patient/{route.id}",)))
    return build_and(within)


def _count_alone(ctx: RequestContext, route: Route, path: str, found: Search, tree: PlannedSearch) -> FhirResponse:
    total = tree.count(accurate=found.total != "estimate")
    link = self_link(ctx.base_url, path, found.used)
    body = build_searchset(
        build_warnings(ctx, found.warnings), links=[(link.relation, link.url)], total=total, updated=ctx.now
    )
    return FhirResponse(200, body, route=route.template)


def _find_page(ctx: RequestContext, found: Search, tree: PlannedSearch, keyset: Keyset | None) -> _Page:
    count = found.count or ctx.settings.default_count
    documents = tree.page(found, keyset, count)
    beyond, documents = documents[count:], documents[:count]
    backward = keyset is not None and keyset.backward
    if backward:
        documents.reverse()
    if not documents:
        return _empty_page(keyset)
    come_from = None if keyset is None else keyset.values
    go_on_to = _keyset_of(found, beyond[0]).values if beyond else None
    before, after = (go_on_to, come_from) if backward else (come_from, go_on_to)
    return _Page(
        documents,
        None if before is None else _edge(_keyset_of(found, documents[0], backward=True), before),
        None if after is None else _edge(_keyset_of(found, documents[-1]), after),
        whole=keyset is None and not beyond,
    )


def _empty_page(keyset: Keyset | None) -> _Page:
    """Return a page on which nothing is left, with the way back to what it was reached from."""
    if keyset is None:
        return _Page([], None, None, whole=True)
    back = Keyset(keyset.values, not keyset.backward, inclusive=True)
    return _Page([], None if keyset.backward else back, back if keyset.backward else None, whole=False)


def _keyset_of(found: Search, document: Document, *, backward: bool = False) -> Keyset:
    return keyset_of(found, document.reference, document.updated, document.index, backward)


def _edge(keyset: Keyset, neighbour: tuple[Any, ...]) -> Keyset:
    """Return where the page on that side begins; ``neighbour`` is the next entry's place."""
    return replace(keyset, tied=keyset.values[:1] == neighbour[:1])


def _total(ctx: RequestContext, found: Search, tree: PlannedSearch, page: _Page) -> int | None:
    """Return the total that was asked for; unasked, only where the page itself shows it."""
    if found.total == "none":
        return None
    if page.whole:
        return len(page.documents)
    if found.total is None:
        return None
    return tree.count(accurate=found.total == "accurate")
