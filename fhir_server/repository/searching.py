"""Searches under one caller's policy: joins planned, pages filled, matches counted.

Nothing here asks the database for what the caller may not see, neither for the resources found nor for those that a
join looks at on the way.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice

from fhir_server.access.policy import Action, Policy
from fhir_server.errors import NotSupported, Text
from fhir_server.repository.authorising import Authority
from fhir_server.repository.sight import Sight
from fhir_server.repository.sorting import check_sortable
from fhir_server.repository.terminology import StoredTerminology
from fhir_server.search import compiler
from fhir_server.search.ast import Node, ReferenceIs
from fhir_server.search.building import build_and
from fhir_server.search.compiler import Keyset, keyset_of, page_fields, to_filter, to_query
from fhir_server.search.matcher import index_document
from fhir_server.search.measures import count_keys, fields_of, has_joins, merge_fields, types_of
from fhir_server.search.parser import Search
from fhir_server.search.planner import Planner
from fhir_server.search.plans import IndexDocument, Limits, Planned
from fhir_server.search.sorting import has_index
from fhir_server.storage.documents import collection_of
from fhir_server.storage.store import Document, Query, Store
from fhir_server.terminology.resolving import resolve_terminology

Disclose = Callable[[Action, Sequence[Document]], None]

_SMALLEST_BATCH = 50
_LARGEST_BATCH = 1_000
_SEEN_BATCH = 200
"""How many documents are read whole and looked into at once."""
_MANY_CANDIDATES = 5_000
"""Candidates are counted so far; beyond it as much looking up is worth while as there may be."""
_KEYS_OF_ONE_COMMAND = 20_000


@dataclass(frozen=True, slots=True)
class StoreLookup:
    """What the planner asks of the store (``planner.Lookup``), narrowed by the caller's policy."""

    store: Store
    policy: Policy
    sight: Sight

    def visible(self, resource_type: str) -> Node:
        """Return the tree of what the caller may find of a type by searching."""
        return self.policy.filter(resource_type, "search")

    def readable(self, resource_type: str) -> Node:
        """Return the tree of what the caller may read of a type."""
        return self.policy.filter(resource_type, "read")

    def find(self, tree: Node, fields: Sequence[str], limit: int) -> list[IndexDocument]:
        """Return some documents, all if they are fewer than ``limit``. One round trip."""
        if self.sight.narrows(tree):
            return list(islice(chain.from_iterable(self._walk_seen(tree, fields)), limit))
        return [to_index_document(one) for one in self.store.find(_bare(tree, fields, limit))]

    def count(self, tree: Node, limit: int) -> int:
        """Return how many documents there are, counting no further than ``limit``. One round trip."""
        if self.sight.narrows(tree):
            return sum(1 for _ in islice(chain.from_iterable(self._walk_seen(tree, ())), limit or None))
        return self.store.count(to_filter(tree), limit, collection_searched(tree))

    def walk(self, tree: Node, fields: Sequence[str]) -> Iterator[list[IndexDocument]]:
        """Yield all documents in batches, in no order. One round trip for each."""
        if self.sight.narrows(tree):
            yield from self._walk_seen(tree, fields)
            return
        found = (to_index_document(one) for one in self.store.iterate(_bare(tree, fields, 0), timed=True))
        while batch := list(islice(found, _LARGEST_BATCH)):
            yield batch

    def exist(self, trees: Sequence[Node]) -> list[bool]:
        """Return, for each tree, whether there is a document. One round trip, as long as the trees are small."""
        if any(map(self.sight.narrows, trees)):
            return [bool(self.find(tree, (), 1)) for tree in trees]
        found: list[bool] = []
        for part in _parts(trees):
            collection = collection_searched(part[0])  # they ask for one type, each about another candidate
            found += [bool(each) for each in self.store.find_each([to_filter(tree) for tree in part], 1, collection)]
        return found

    def _walk_seen(self, tree: Node, fields: Sequence[str]) -> Iterator[list[IndexDocument]]:
        """Yield in batches what the caller finds by a tree that their sight narrows."""
        query = _bare(self.sight.bound(tree), self.sight.fields(tree, fields), 0)
        found = self.store.iterate(replace(query, with_body=True), timed=True)
        while batch := list(islice(found, _SEEN_BATCH)):
            yield [to_index_document(one) for one in self.sight.holding(tree, batch)]


@dataclass(frozen=True, slots=True)
class PlannedSearch:
    """A restricted tree ready to be asked: one query where the plan says all, batches of candidates where not."""

    store: Store
    planner: Planner
    tree: Node
    planned: Planned
    sight: Sight
    disclose: Disclose | None = None
    """Is told of what the caller is about to be shown."""

    @property
    def _collection(self) -> str:
        return collection_searched(self.planned.tree)

    def page(self, search: Search, after: Keyset | None, count: int) -> list[Document]:
        """Return at most ``count`` + 1 documents of the page that follows ``after``, as ``to_query`` orders them.

        The last of so many tells that there is another page, and is not to be shown.
        """
        page = self._page(search, after, count)
        shown = self.sight.shown(page[:count])
        if self.disclose is not None:
            self.disclose("search", shown)
        return [*shown, *page[count:]]

    def _page(self, search: Search, after: Keyset | None, count: int) -> list[Document]:
        self.sight.check_order(search.sort)
        # An order that is computed looks at all candidates, whatever the page.
        planned = self.planned if has_index(search.sort) else self._planned_for_all()
        check_sortable(self.store, search, planned.tree, self.planner.limits.budget, self._collection)
        if planned.residual is None and not self.sight.narrows(planned.tree):
            query = to_query(search, after, count, planned.tree)
            return run(self.store, query, page_fields(search), tree=planned.tree)
        candidates = self._candidates(search, planned, after, count)
        page: list[Document] = []
        while missing := count + 1 - len(page):
            taken = list(islice(candidates, missing))
            page += self._with_bodies(taken)
            if len(taken) < missing:
                break
        return page

    def count(self, *, accurate: bool) -> int:
        """Return how many there are, exactly or by a cheap estimate. Raises ``TooCostly`` rather than guess.

        An estimate draws a sample of all there is, which tells of what is hidden by its size and its noise; so whoever
        is not let see everything is told the exact figure.
        """
        accurate = accurate or not self.sight.authority.policy.unrestricted
        planned = self._planned_for_all()
        tree, residual = planned.tree, planned.residual
        if residual is None and self.sight.narrows(tree):
            return self.planner.lookup.count(tree, 0)
        if residual is None:
            count = self.store.count if accurate else self.store.estimate
            return count(to_filter(tree), collection=self._collection)
        seen = found = 0
        for batch in self.planner.lookup.walk(tree, fields_of(residual)):
            seen += len(batch)
            found += len(self.planner.settle(residual, batch))
            if not accurate and len(batch) == _LARGEST_BATCH:
                estimate = self.store.estimate(to_filter(tree), collection=self._collection)
                return max(found, round(estimate * found / seen))
        return found

    def first(self, limit: int) -> Node:
        """Return a tree without joins of all matches, or of ``limit`` of them if there are more."""
        planned = self._planned_for_all()
        tree, residual = planned.tree, planned.residual
        narrowed = self.sight.narrows(tree)
        if residual is None and not narrowed:
            return tree
        found: list[str] = []
        for batch in self.planner.lookup.walk(tree, () if residual is None else fields_of(residual)):
            found += [one["_id"] for one in (batch if residual is None else self.planner.settle(residual, batch))]
            if len(found) >= limit:
                break
        return build_and([self.sight.bound(tree) if narrowed else tree, ReferenceIs(tuple(found[:limit]))])

    def _planned_for_all(self) -> Planned:
        """Return the plan for one who looks at all matches, not at one page of them."""
        if self.planned.residual is None:
            return self.planned
        candidates = self.store.count(to_filter(self.planned.tree), _MANY_CANDIDATES, self._collection)
        return self.planner.plan(self.tree, candidates if candidates < _MANY_CANDIDATES else self.planner.limits.budget)

    def _candidates(self, search: Search, planned: Planned, after: Keyset | None, count: int) -> Iterator[Document]:
        """Yield, without bodies, what holds, in the order of the page; planned anew where much is probed in vain."""
        smallest = size = max(2 * count, _SMALLEST_BATCH)
        probed = 0
        while True:
            residual = planned.residual
            batch = self._batch(search, planned, after, size)
            seen = self.sight.holding(planned.tree, batch) if self.sight.narrows(planned.tree) else batch
            yield from seen if residual is None else self._holding(residual, seen)
            if len(batch) < size:
                return
            last = batch[-1]
            after = keyset_of(search, last.reference, last.updated, last.index, after is not None and after.backward)
            size, probed = min(2 * size, max(size, _LARGEST_BATCH)), probed + len(batch)
            planned = self.planner.plan(self.tree, probed)
            size = smallest if planned.residual is None else size

    def _batch(self, search: Search, planned: Planned, after: Keyset | None, size: int) -> list[Document]:
        """Return the next candidates, with the fields by which they are settled and placed."""
        tree, residual = planned.tree, planned.residual
        fields = page_fields(search) if residual is None else merge_fields(fields_of(residual), page_fields(search))
        if self.sight.narrows(tree):
            query = to_query(search, after, size - 1, self.sight.bound(tree))
            return run(self.store, query, self.sight.fields(tree, fields), tree=tree)
        query = to_query(search, after, size - 1, tree)
        return run(self.store, query, fields, with_body=False, tree=tree)

    def _holding(self, residual: Node, batch: Sequence[Document]) -> list[Document]:
        settled = self.planner.settle(residual, [to_index_document(one) for one in batch])
        holding = {one["_id"] for one in settled}
        return [one for one in batch if one.reference in holding]

    def _with_bodies(self, found: Sequence[Document]) -> list[Document]:
        """Return the documents with bodies, in their places on the page, without what has ceased to be there."""
        if not found:
            return []
        tree = self.planned.tree
        bound = self.sight.bound(tree) if self.sight.narrows(tree) else tree
        still = build_and([ReferenceIs(tuple(one.reference for one in found)), bound])
        bodies = {
            one.reference: one for one in self.store.find(Query(to_filter(still), sort=(), collection=self._collection))
        }
        return [
            replace(one, version=now.version, body=now.body)
            for one in found
            if (now := bodies.get(one.reference)) is not None
        ]


def plan_search(
    store: Store, policy: Policy, limits: Limits, tree: Node, disclose: Disclose | None = None, base_url: str = ""
) -> PlannedSearch:
    """Return the restricted tree with its joins resolved, +1 round trip for each hop. Raises ``TooCostly``."""
    tree = resolve_terminology(tree, StoredTerminology(store, policy))
    sight = Sight(Authority(policy, store), base_url)
    planner = Planner(StoreLookup(store, policy, sight), limits)
    return PlannedSearch(store, planner, tree, planner.plan(tree), sight, disclose)


def without_joins(store: Store, policy: Policy, limits: Limits, tree: Node, limit: int, base_url: str = "") -> Node:
    """Return a tree without joins that matches what ``tree`` finds, or ``limit`` of that if there is more."""
    tree = resolve_terminology(tree, StoredTerminology(store, policy))
    if not has_joins(tree) and not Sight(Authority(policy, store), base_url).narrows(tree):
        return tree
    return plan_search(store, policy, limits, tree, base_url=base_url).first(limit)


def collection_searched(tree: Node) -> str:
    """Return the collection that holds what a tree describes. Raises ``NotSupported`` for types of two collections."""
    found = {collection_of(one) for one in types_of(tree)} or {"resources"}
    if len(found) > 1:
        raise NotSupported(_APART)
    return found.pop()


def run(
    store: Store, query: compiler.Query, fields: Sequence[str] = (), *, tree: Node, with_body: bool = True
) -> list[Document]:
    """Return what a query finds that has been compiled of a tree, with the index fields named (``*``: all).

    One round trip, or two where the order has two stretches and the first leaves the page short.
    """
    found: list[Document] = []
    part: compiler.Query | None = query
    types, collection = types_of(tree), collection_searched(tree)
    while part is not None and len(found) < query.limit:
        everything = "*" in fields
        found += store.find(
            Query(
                part.filter,
                part.sort,
                query.limit - len(found),
                part.hint,
                with_body=with_body,
                with_index=everything,
                index_fields=() if everything else tuple(fields),
                computed=part.computed,
                beyond=part.beyond,
                collection=collection,
                types=types,
            )
        )
        part = part.then
    return found


def _parts(trees: Sequence[Node]) -> Iterator[list[Node]]:
    """Yield the trees in parts that fit a command of 16 MB."""
    part: list[Node] = []
    weight = 0
    for tree in trees:
        part.append(tree)
        weight += count_keys(tree)
        if weight > _KEYS_OF_ONE_COMMAND:
            yield part
            part, weight = [], 0
    if part:
        yield part


def to_index_document(found: Document) -> IndexDocument:
    """Return what the matcher looks at, of a document read with index fields."""
    return index_document(found.reference, found.updated, found.index)


def _bare(tree: Node, fields: Sequence[str], limit: int) -> Query:
    everything = "*" in fields
    return Query(
        to_filter(tree),
        sort=(),
        limit=limit,
        with_body=False,
        with_index=everything,
        index_fields=() if everything else tuple(fields),
        collection=collection_searched(tree),
    )


_APART = Text(
    "AuditEvents are kept apart from all other types: search for them alone, by AuditEvent?… or _type=AuditEvent",
    "Les AuditEvents sont conservés à part des autres types : cherchez-les seuls, par AuditEvent?… ou _type=AuditEvent",
)
