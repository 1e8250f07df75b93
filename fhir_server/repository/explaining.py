"""A store that remembers what a search asked of it, and has the database account for each.

Whatever a search consists of, joins, page, includes and count, goes through the store: nothing escapes it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Protocol

from fhir_server.search.describing import describe_filter
from fhir_server.storage.store import Document, Query, Store

_MOST_STEPS = 50


class ExplainableStore(Store, Protocol):
    """A store that can say how it runs a query."""

    def explain(self, query: Query) -> Mapping[str, Any]:
        """Return the database's account of a query that it has run."""


@dataclass(frozen=True, slots=True)
class Account:
    """What the database says of one query, or of one of several that went together."""

    indexes: tuple[str, ...]
    keys_examined: int
    documents_examined: int
    returned: int


@dataclass(slots=True)
class Step:
    """One round trip: what was asked, how long it took, what it brought; ``queries`` are those it consisted of."""

    name: str
    queries: tuple[Query, ...]
    milliseconds: float
    returned: int


@dataclass(slots=True)
class ListeningStore:
    """What a search asks of a store, handed on to ``store`` and noted in ``steps``; anything else is not there."""

    store: ExplainableStore
    steps: list[Step] = field(default_factory=list)

    def find(self, query: Query) -> list[Document]:
        """As ``Store.find``."""
        began = perf_counter()
        found = self.store.find(query)
        self._note("find", (query,), began, len(found))
        return found

    def find_included(self, query: Query, *rest: Any) -> Any:
        """As ``Store.find_included``."""
        began = perf_counter()
        current, versions = self.store.find_included(query, *rest)
        self._note("include", (query,), began, len(current) + len(versions))
        return current, versions

    def iterate(self, query: Query, *, timed: bool = False) -> Iterator[Document]:
        """As ``Store.iterate``."""
        began, count = perf_counter(), 0
        for document in self.store.iterate(query, timed=timed):
            count += 1
            yield document
        self._note("walk", (query,), began, count)

    def find_each(
        self, filters: Sequence[Mapping[str, Any]], limit: int = 2, collection: str = "resources"
    ) -> list[list[Document]]:
        """As ``Store.find_each``."""
        began = perf_counter()
        found = self.store.find_each(filters, limit, collection)
        queries = tuple(Query(filter, (), limit, with_body=False, collection=collection) for filter in filters)
        self._note("find each", queries, began, sum(map(len, found)))
        return found

    def count(self, filter: Mapping[str, Any], limit: int = 0, collection: str = "resources") -> int:
        """As ``Store.count``."""
        began = perf_counter()
        count = self.store.count(filter, limit, collection)
        self._note("count", (Query(filter, (), limit, with_body=False, collection=collection),), began, count)
        return count

    def estimate(self, filter: Mapping[str, Any], collection: str = "resources") -> int:
        """As ``Store.estimate``."""
        began = perf_counter()
        count = self.store.estimate(filter, collection)
        self._note("estimate", (), began, count)
        return count

    def account(self, query: Query) -> Account:
        """Return what the database says of a query, by having it run once more."""
        return to_account(self.store.explain(query))

    def _note(self, name: str, queries: tuple[Query, ...], began: float, returned: int) -> None:
        if len(self.steps) < _MOST_STEPS:
            self.steps.append(Step(name, queries, 1_000 * (perf_counter() - began), returned))


def to_account(answer: Mapping[str, Any]) -> Account:
    """Return the figures of MongoDB's answer to ``explain``, those of all its parts together."""
    parts = list(_stats(answer))
    indexes = dict.fromkeys(name for part in parts for name in _indexes(part["executionStages"]))
    return Account(
        tuple(indexes),
        sum(int(part["totalKeysExamined"]) for part in parts),
        sum(int(part["totalDocsExamined"]) - _held_already(part["executionStages"]) for part in parts),
        sum(int(part["nReturned"]) for part in parts),
    )


def to_shape(query: Query) -> dict[str, Any]:
    """Return what was asked, without values."""
    shape: dict[str, Any] = {"filter": describe_filter(query.filter)}
    if query.sort:
        shape["sort"] = dict(query.sort)
    if query.limit:
        shape["limit"] = query.limit
    if query.hint:
        shape["hint"] = query.hint
    return shape


def _stats(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        found = value.get("executionStats")
        if isinstance(found, Mapping) and "executionStages" in found:
            yield found
            return
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from _stats(inner)


def _held_already(stage: Any) -> int:
    """Return how often a later stage counts a document that an earlier one has fetched."""
    if isinstance(stage, Mapping):
        return int(stage.get("alreadyHasObj", 0)) + sum(_held_already(inner) for inner in stage.values())
    return sum(map(_held_already, stage)) if isinstance(stage, list) else 0


def _indexes(stage: Any) -> Iterator[str]:
    if isinstance(stage, Mapping):
        if isinstance(stage.get("indexName"), str):
            yield stage["indexName"]
        for inner in stage.values():
            yield from _indexes(inner)
    elif isinstance(stage, list):
        for inner in stage:
            yield from _indexes(inner)
