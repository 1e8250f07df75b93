"""The storage contract: what a store keeps and promises. It has no authority; the repository above it has.

One suite, ``tests/contract``, runs against every implementation.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from bson.raw_bson import RawBSONDocument

if TYPE_CHECKING:
    from fhir_server.storage.records import Records

SortKeys = tuple[tuple[str, int], ...]
"""Pairs of a document's field and a direction, 1 or -1."""


@dataclass(frozen=True, slots=True)
class Document:
    """One version of one resource, as stored.

    ``body`` is the JSON exactly as it is served, ``None`` for a deleted version; ``updated`` is UTC with
    milliseconds; ``index`` holds the index fields of ``search.indexer.to_index`` where they were asked for, and in any
    case patient, compartments, labels and owner.
    """

    reference: str
    version: int
    updated: datetime
    deleted: bool
    body: bytes | None
    method: str = "PUT"
    index: Mapping[str, Any] = field(default_factory=dict)
    lists: bool | None = field(default=None, init=False, repr=False, compare=False)
    """Whether it may list other resources; None until somebody has looked, which holds while it is in memory."""
    touched: Any = field(default=None, init=False, repr=False, compare=False)
    """What the trail has last noted of it, which it mostly notes again; None if nothing yet."""

    @property
    def resource_type(self) -> str:
        """The part of ``reference`` before the slash."""
        return self.reference.partition("/")[0]

    @property
    def id(self) -> str:
        """The part of ``reference`` after the slash."""
        return self.reference.partition("/")[2]

    def note(self, **found: Any) -> None:
        """Keep with the version what a look into it has found: the version never changes, nor does that."""
        for name, value in found.items():
            object.__setattr__(self, name, value)


@dataclass(frozen=True, slots=True)
class Change:
    """One resource's step from ``expected`` (0: never existed) to ``version``; ``body`` is ``None`` for a delete.

    ``method`` is what caused it, POST, PUT, PATCH or DELETE. ``position`` is the caller's number for it (the entry
    of the bundle) and comes back in ``VersionConflict``.
    """

    reference: str
    expected: int
    version: int
    method: str
    updated: datetime
    body: bytes | None
    index: Mapping[str, Any]
    position: int = 0
    restates: bool = False
    """What a policy asks about has changed: older versions must be told (``search.history_filter``)."""
    closed: tuple[str, ...] = ()
    """As what the version that it replaces is marked (``search.closed``); marked otherwise, it is not replaced."""


@dataclass(frozen=True, slots=True)
class Marking:
    """Marks versions, and content with all its versions, as lying in the closed record of ``patient``, or no more.

    ``versions`` are (``Type/id``, number); with them go the current one, as far as it is of the record, and what older
    ones note of it. What is no more of the record is left alone. Versions are told of it, not changed.
    """

    patient: str
    closed: bool
    versions: tuple[tuple[str, int], ...] = ()
    contents: tuple[str, ...] = ()

    @property
    def references(self) -> tuple[str, ...]:
        """The resources of the versions, once each."""
        return tuple(dict.fromkeys(reference for reference, _ in self.versions))


@dataclass(frozen=True, slots=True)
class Guard:
    """A lock on canonical criteria: the commit fails unless its counter still is ``expected``, and then adds one.

    A ``lasting`` one is never forgotten: its counter is the generation of something.
    """

    key: str
    expected: int
    lasting: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """All that one request writes: it happens whole or not at all."""

    changes: tuple[Change, ...]
    guards: tuple[Guard, ...] = ()
    records: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    """Further documents to insert with it, as (collection, document): audit events, jobs."""
    generation: int = 0
    """Of the stored search parameters by which the changes are indexed."""
    markings: tuple[Marking, ...] = ()
    """Are done after the changes, on what these leave behind."""


class Packed(NamedTuple):
    """Audit events in one document, and the frame without which they cannot be read: its key and its text."""

    document: RawBSONDocument
    key: bytes
    frame: bytes


class VersionConflict(Exception):
    """Somebody else wrote first. ``positions`` are those of the plan's changes, empty when a guard has moved."""

    def __init__(self, positions: tuple[int, ...] = ()) -> None:
        self.positions = positions
        super().__init__("the expected versions are no longer the current ones")


class OutdatedIndex(VersionConflict):
    """The changes were indexed under search parameters that have been replaced since; index them anew."""


class StoreUnavailable(Exception):
    """The database cannot be reached or has no primary; the same work may succeed later."""


@dataclass(frozen=True, slots=True)
class Query:
    """What to find among the current versions: a compiled filter with its order and bounds."""

    filter: Mapping[str, Any]
    sort: SortKeys = (("_id", 1),)
    limit: int = 0
    hint: str | None = None
    with_body: bool = True
    with_index: bool = False
    index_fields: tuple[str, ...] = ()
    """Index fields to bring along (the sort keys of the page); ``with_index`` brings all."""
    computed: Mapping[str, Any] = field(default_factory=dict)
    """Expressions of fields that are set on every match for ``sort`` and ``beyond``; they come as index fields."""
    beyond: Mapping[str, Any] | None = None
    """An expression over them that must hold."""
    collection: str = "resources"
    """Where to look: ``documents.collection_of`` the type searched."""
    types: tuple[str, ...] = ()
    """The only types that the filter finds, if known: as long as nothing of them changes, neither does the page."""


@dataclass(frozen=True, slots=True)
class HistoryQuery:
    """Which versions to list, newest first: of one reference, of a type, or of everything (both ``None``)."""

    reference: str | None = None
    resource_type: str | None = None
    since: datetime | None = None
    at: tuple[datetime, datetime] | None = None
    after: tuple[datetime, str, int] | None = None
    """Keyset: (updated, reference, version) of the last entry of the page before."""
    limit: int = 51
    filter: Mapping[str, Any] = field(default_factory=dict)
    """A compiled filter over the index fields that history keeps (compartments, labels)."""


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """What ``check`` and ``/health/ready`` report."""

    ready: bool
    version: str
    replica_set: str | None
    detail: str = ""


class Store(Protocol):
    """What the repository needs of a database. Every method may raise ``StoreUnavailable``."""

    @property
    def records(self) -> "Records":
        """The collections of what is not FHIR."""

    def get(self, reference: str) -> Document | None:
        """Return the current version, deleted ones included, or ``None``. One round trip."""

    def get_many(
        self, references: Iterable[str], *, with_body: bool = True, index_fields: Sequence[str] = ()
    ) -> dict[str, Document]:
        """Return the current versions that exist (deleted ones included) by reference. One round trip.

        They bring along whose they are and their labels, and the further index fields named (``*``: all).
        """

    def get_version(self, reference: str, version: int) -> Document | None:
        """Return one version from history, or ``None``. One round trip."""

    def find(self, query: Query) -> list[Document]:
        """Return the documents in order. One round trip as long as they fit 16 MB."""

    def find_included(
        self, query: Query, versions: Sequence[str], restriction: Mapping[str, Any]
    ) -> tuple[list[Document], list[Document]]:
        """Return current documents, and those of the versions (``Type/id/number``) that exist, are no deletion and keep
        the restriction, a filter over the fields that history keeps. One round trip.
        """

    def find_unmarked(self, patient: str, *, closed: bool, limit: int) -> list[tuple[str, int]]:
        """Return some versions (``Type/id``, number) of a patient's record that bear the mark of a closed record and
        should not, or the other way round: ``closed`` is what the record is. One round trip.
        """

    def find_each(
        self, filters: Sequence[Mapping[str, Any]], limit: int = 2, collection: str = "resources"
    ) -> list[list[Document]]:
        """Return, for each filter, at most ``limit`` current documents without body. One round trip for all."""

    def find_referrers(self, references: Iterable[str], limit: int = 10) -> dict[str, tuple[str, ...]]:
        """Return, for each reference that somebody points to, the pointing references (``Type/id``). One round trip."""

    def guards(self, keys: Iterable[str]) -> dict[str, int]:
        """Return the counters of the guards that exist. One round trip."""

    def count(self, filter: Mapping[str, Any], limit: int = 0, collection: str = "resources") -> int:
        """Return how many current documents match, counting no further than ``limit`` if one is given."""

    def estimate(self, filter: Mapping[str, Any], collection: str = "resources") -> int:
        """Return a cheap estimate of ``count``: exact up to a bound, beyond it by a sample of the whole collection.

        It tells of all there is: not for whom anything is hidden from.
        """

    def history(self, query: HistoryQuery) -> list[Document]:
        """Return versions, newest first. One round trip."""

    def count_history(self, query: HistoryQuery, limit: int = 0) -> int:
        """Return how many versions match, counting no further than ``limit`` if one is given."""

    def commit(self, plan: Plan) -> None:
        """Write history, current versions, outbox and records in one transaction; majority and journaled.

        Plans of concurrent callers may share a commit. Transient errors are retried within.
        Raises ``VersionConflict`` and then leaves nothing.
        """

    def append(self, events: Sequence[Mapping[str, Any] | Packed]) -> None:
        """Append audit events outside any transaction, together with those of concurrent callers."""

    def status(self) -> StoreStatus:
        """Return whether reads and writes work now; never raises."""

    def check_indexes(self) -> list[str]:
        """Return what is wrong with the indexes, one English sentence each; empty when all is well."""

    def counts(self) -> dict[str, int]:
        """Return the number of current resources by type."""

    def iterate(self, query: Query, *, timed: bool = False) -> Iterator[Document]:
        """Yield documents in order, in batches; on a request's path ``timed``: the time of one read holds for all."""

    def close(self) -> None:
        """Release the connections."""
