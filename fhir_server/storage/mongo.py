"""The store on MongoDB ≥ 6: implements ``store.Store``.

Reads are majority reads: nobody sees what a crash or failover could take back. Writes are transactions shared by
concurrent callers of this process.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from pymongo.read_concern import ReadConcern

from fhir_server.search.closed import CLOSED
from fhir_server.storage import commands, documents, indexes
from fhir_server.storage.audit_frames import Frames, Unpack, no_packs
from fhir_server.storage.audit_log import AuditLog
from fhir_server.storage.audit_reader import AuditReader
from fhir_server.storage.binaries import Binaries
from fhir_server.storage.body_cache import BodyCache
from fhir_server.storage.connection import READ_CONCERN, Connection, translated
from fhir_server.storage.current_reader import CurrentReader
from fhir_server.storage.documents import collection_of
from fhir_server.storage.group_commit import GroupCommit
from fhir_server.storage.index_writer import IndexWriter
from fhir_server.storage.migrations import migrate
from fhir_server.storage.page_memory import PageMemory
from fhir_server.storage.pages import KEPT_FIELDS, PageReader, kept_projection
from fhir_server.storage.records import Records
from fhir_server.storage.store import Document, HistoryQuery, Packed, Plan, Query, StoreStatus, StoreUnavailable
from fhir_server.storage.transaction import Transactions, Work, to_work

_ESTIMATE_EXACTLY = 10_000
_SAMPLE = 1_000
_HEADS = 8
"""The share of the memory for bodies that is for what is read without them, such as what is referred to, besides."""


class MongoStore:
    """One database of one deployment; made cheaply, connected at the first use in each process.

    ``large_body``: bodies of more bytes go to GridFS. ``read_milliseconds``: longest time of one read on a request's
    path. ``commit_seconds``: how long a commit may be tried. ``body_cache``: bytes of bodies kept in memory for pages,
    0 for none. ``driver_only`` keeps off the direct socket;
    ``audit_spool`` is where events wait for the database, as in ``AuditLog``; ``unpack`` takes packs of them apart;
    ``listener`` is told the name of every command sent (its own housekeeping excepted).
    """

    def __init__(
        self,
        uri: str,
        database: str = "fhir",
        *,
        large_body: int = 1_000_000,
        read_milliseconds: int = 30_000,
        commit_seconds: float = 20.0,
        body_cache: int = 24 << 20,
        driver_only: bool = False,
        audit_spool: Path | None = None,
        unpack: Unpack = no_packs,
        listener: Callable[[str], None] | None = None,
    ) -> None:
        self.connection = Connection(uri, database, driver_only=driver_only, listener=listener)
        self.records = Records(self.connection)
        self.index_writer = IndexWriter(self.connection)
        frames = Frames(self.connection, unpack)
        self.audit_log = AuditLog(self.connection, frames, audit_spool)
        self._events = AuditReader(self.connection, frames, self.audit_log.flush, read_milliseconds)
        self._large_body = large_body
        self._milliseconds = read_milliseconds
        self._binaries = Binaries(self.connection)
        self._transactions = Transactions(self.connection, commit_seconds)
        self._commits = GroupCommit(self._transactions.write)
        cache, stamps = BodyCache(body_cache), self.connection.stamps
        self._current = CurrentReader(cache, stamps, self._read, self._binaries.fill)
        heads = BodyCache(body_cache // _HEADS)
        self._heads = CurrentReader(heads, stamps, self._read_heads, self._binaries.fill, (*KEPT_FIELDS, CLOSED))
        self._pages = PageReader(cache, PageMemory(stamps), self._find_rows, self._read_rows)

    def prepare(self) -> None:
        """Make the database ready for this version: collections, indexes, migrations; safe in every worker at once.

        Raises ``UnsuitableDatabase`` (standalone, too old) or ``StoreUnavailable``.
        """
        self.connection.check_suitable()
        with translated(), self.connection.administration() as database:
            indexes.ensure_indexes(database)
            migrate(database)

    def get(self, reference: str) -> Document | None:
        """Return the current version, deleted ones included, or ``None``. One round trip at most."""
        if collection_of(reference) == "resources":
            return self._current.get(reference)
        found = self._events.get((reference,))
        return documents.from_current(found[0]) if found else None

    def get_many(
        self, references: Iterable[str], *, with_body: bool = True, index_fields: Sequence[str] = ()
    ) -> dict[str, Document]:
        """Return the current versions that exist (deleted ones included) by reference, as ``Store.get_many``."""
        wanted = list(references)
        if not wanted:
            return {}
        apart = [one for one in wanted if collection_of(one) != "resources"]
        others = [one for one in wanted if collection_of(one) == "resources"] if apart else wanted
        if not (apart or index_fields):
            return (self._current if with_body else self._heads).get_many(others)
        found: list[dict[str, Any]] = []
        everything = "*" in index_fields
        if others:
            projection = documents.to_projection(with_body, everything, index_fields)
            found += self._documents(commands.to_find_ids("resources", others, projection, self._milliseconds))
        if apart:
            found += self._events.get(apart)
        return {each["_id"]: documents.from_current(each, everything, tuple(index_fields)) for each in found}

    def get_version(self, reference: str, version: int) -> Document | None:
        """Return one version from history, or ``None``. One round trip."""
        if collection_of(reference) != "resources":
            return self.get(reference) if version == 1 else None
        key = documents.to_version_key(reference, version)
        found = self._documents(commands.to_find_ids("history", (key,), documents.HISTORY, self._milliseconds))
        return documents.from_history(found[0]) if found else None

    def find(self, query: Query) -> list[Document]:
        """Return the documents in order. One round trip as long as they fit 16 MB, or two; see ``PageReader``."""
        if self._pages.serves(query):
            return self._pages.find(query)
        apart = query.collection == "audit"
        found = self._events.find(query) if apart else self._documents(commands.to_find(query, self._milliseconds))
        index, names = query.with_index, (*query.index_fields, *query.computed)
        return [documents.from_current(document, index, names) for document in found]

    def find_included(
        self, query: Query, versions: Sequence[str], restriction: Mapping[str, Any]
    ) -> tuple[list[Document], list[Document]]:
        """Return current documents, and those of the versions (``Type/id/number``) that exist, are no deletion and keep
        the restriction, a filter over the fields that history keeps. One round trip.
        """
        if not versions:
            return self.find(query), []
        found = self._documents(commands.to_find_included(query, versions, restriction, self._milliseconds))
        index, names = query.with_index, query.index_fields
        current = [documents.from_current(one, index, names) for one in found if "ref" not in one]
        return current, [documents.from_history(one) for one in found if "ref" in one]

    def find_unmarked(self, patient: str, *, closed: bool, limit: int) -> list[tuple[str, int]]:
        """Return versions of a record whose mark is not what it should be, as ``Store.find_unmarked``."""
        found = self._documents(commands.to_find_unmarked(patient, closed, limit, self._milliseconds))
        return [documents.from_version_key(one["_id"]) for one in found]

    def find_each(
        self, filters: Sequence[Mapping[str, Any]], limit: int = 2, collection: str = "resources"
    ) -> list[list[Document]]:
        """Return, for each filter, at most ``limit`` current documents without body. One round trip for all."""
        if collection == "audit":
            queries = (Query(one, (), limit, with_body=False) for one in filters)
            return [[documents.from_current(found) for found in self._events.find(one)] for one in queries]
        return [[documents.from_current(found) for found in each] for each in self._union(filters, limit)]

    def find_referrers(self, references: Iterable[str], limit: int = 10) -> dict[str, tuple[str, ...]]:
        """Return, for each reference that somebody points to, the pointing references (``Type/id``). One round trip.

        A resource's reference to itself does not count.
        """
        wanted = list(references)
        # What only tells where something came from keeps nobody from deleting it.
        told = {"$ne": "Provenance"}
        branches = self._union([{"x": one, "_id": {"$ne": one}, "type": told} for one in wanted], limit)
        return {
            reference: tuple(found["_id"] for found in each)
            for reference, each in zip(wanted, branches, strict=True)
            if each
        }

    def guards(self, keys: Iterable[str]) -> dict[str, int]:
        """Return the counters of the guards that exist. One round trip."""
        wanted = list(keys)
        if not wanted:
            return {}
        found = self._documents(
            {
                "find": "guards",
                "filter": {"_id": {"$in": wanted}},
                "batchSize": len(wanted) + 1,
                "readConcern": READ_CONCERN,
            }
        )
        return {guard["_id"]: guard["n"] for guard in found}

    def count(self, filter: Mapping[str, Any], limit: int = 0, collection: str = "resources") -> int:
        """Return how many current documents match, counting no further than ``limit`` if one is given."""
        if collection == "audit":
            return self._events.count(filter, limit)
        return int(self._run(commands.to_count(collection, commands.to_living(filter), limit, self._milliseconds))["n"])

    def estimate(self, filter: Mapping[str, Any], collection: str = "resources") -> int:
        """Return a cheap estimate of ``count``: exact up to 10,000, by a random sample beyond it."""
        exact = self.count(filter, _ESTIMATE_EXACTLY, collection)
        if exact < _ESTIMATE_EXACTLY:
            return exact
        if collection == "audit":
            return max(exact, self._events.estimate(filter))
        total = int(self._run({"count": collection})["n"])
        found = self._documents(
            {
                "aggregate": collection,
                "pipeline": [{"$sample": {"size": _SAMPLE}}, {"$match": commands.to_living(filter)}, {"$count": "n"}],
                "cursor": {},
                "maxTimeMS": self._milliseconds,
            }
        )
        share = found[0]["n"] / _SAMPLE if found else 0
        return max(exact, round(total * share))

    def history(self, query: HistoryQuery) -> list[Document]:
        """Return versions, newest first. One round trip."""
        if commands.is_apart(query):
            return [documents.from_current(event) for event in self._events.find(commands.to_events(query))]
        found = self._documents(commands.to_history(query, self._milliseconds))
        return [documents.from_history(version) for version in found]

    def count_history(self, query: HistoryQuery, limit: int = 0) -> int:
        """Return how many versions match, counting no further than ``limit`` if one is given."""
        filter = commands.to_history_filter(query)
        if commands.is_apart(query):
            return self._events.count(filter, limit)
        if query.at is not None:
            found = self._documents(commands.to_history_count(query, limit, self._milliseconds))
            return int(found[0]["n"]) if found else 0
        return int(self._run(commands.to_count("history", filter, limit, self._milliseconds))["n"])

    def commit(self, plan: Plan) -> None:
        """Write history, current versions, outbox and records in one transaction; majority and journaled.

        Plans of concurrent callers may share a commit. Transient errors are retried within.
        Raises ``VersionConflict`` and then leaves nothing; ``TooLong`` for an index that fits no document.
        """
        files: dict[int, str] = {}
        try:
            for number, change in enumerate(plan.changes):
                small = change.body is None or len(change.body) <= self._large_body
                if not small and collection_of(change.reference) == "resources":
                    files[number] = self._binaries.put(change)
            self._commits.submit(self._to_work(plan, files))
        except Exception as failure:
            if files and not isinstance(failure, StoreUnavailable):
                self._binaries.drop(files.values())
            raise

    def append(self, events: Sequence[Mapping[str, Any] | Packed]) -> None:
        """Append audit events outside any transaction, together with those of concurrent callers."""
        self.audit_log.append(events)

    def status(self) -> StoreStatus:
        """Return whether reads and writes work now; never raises."""
        return self.connection.status()

    def explain(self, query: Query) -> dict[str, Any]:
        """Return MongoDB's own account of how it runs the query, having run it (``executionStats``)."""
        if query.collection == "audit":
            return self._events.explain(query)
        command = commands.to_find(query, self._milliseconds)
        del command["readConcern"]  # explain takes none
        return self._run({"explain": command, "verbosity": "executionStats", "maxTimeMS": command.pop("maxTimeMS")})

    def check_indexes(self) -> list[str]:
        """Return what is wrong with the indexes, one English sentence each; empty when all is well."""
        with translated():
            return indexes.check_indexes(self.connection.database)

    def counts(self) -> dict[str, int]:
        """Return the number of current resources by type."""
        found = self._documents(
            {
                "aggregate": "resources",
                "pipeline": [{"$match": {"type": {"$gt": ""}}}, {"$group": {"_id": "$type", "n": {"$sum": 1}}}],
                "cursor": {},
                "hint": "type_id",
            }
        )
        counted = {group["_id"]: int(group["n"]) for group in found}
        for kind in documents.APART:
            if count := self._events.count({"type": kind}):
                counted[kind] = count
        return dict(sorted(counted.items()))

    def iterate(self, query: Query, *, timed: bool = False) -> Iterator[Document]:
        """Yield documents in order, in batches; on a request's path ``timed``: the time of one read holds for all."""
        index = query.with_index or bool(query.index_fields)
        if query.collection == "audit":
            for found in self._events.iterate(query, timed=timed):
                yield documents.from_current(found, index)
            return
        command = commands.to_find(query, 0)
        concern = ReadConcern(command["readConcern"]["level"])
        collection = self.connection.database[query.collection].with_options(read_concern=concern)
        with translated():
            cursor = collection.find(
                command["filter"],
                command.get("projection"),
                sort=list(query.sort) or None,
                limit=query.limit,
                hint=query.hint,
                batch_size=500,
                max_time_ms=self._milliseconds if timed else None,
            )
            with cursor:
                for found in cursor:
                    self._binaries.fill((found,))
                    yield documents.from_current(found, index)

    def sweep_orphans(self, older_than: datetime) -> int:
        """Remove large bodies uploaded before ``older_than`` whose commit never happened; returns how many."""
        return self._binaries.sweep_orphans(older_than)

    def close(self) -> None:
        """Release the connections, after what still waits to be written."""
        self.audit_log.close()
        self.connection.close()

    def _read(self, references: Sequence[str]) -> list[dict[str, Any]]:
        command = commands.to_find_ids("resources", references, kept_projection(), self._milliseconds)
        with translated():
            return self.connection.reader.documents(command)

    def _read_heads(self, references: Sequence[str]) -> list[dict[str, Any]]:
        command = commands.to_find_ids("resources", references, documents.HEAD_AND_STATE, self._milliseconds)
        return self._documents(command)

    def _find_rows(self, query: Query, projection: dict[str, int]) -> list[dict[str, Any]]:
        return self._documents({**commands.to_find(query, self._milliseconds), "projection": projection})

    def _read_rows(self, references: Sequence[str], projection: dict[str, int]) -> list[dict[str, Any]]:
        return self._documents(commands.to_find_ids("resources", references, projection, self._milliseconds))

    def _documents(self, command: dict[str, Any]) -> list[dict[str, Any]]:
        with translated():
            found = self.connection.reader.documents(command)
        self._binaries.fill(found)
        return found

    def _run(self, command: dict[str, Any]) -> dict[str, Any]:
        with translated():
            return self.connection.reader.run(command)

    def _union(self, filters: Sequence[Mapping[str, Any]], limit: int) -> list[list[dict[str, Any]]]:
        branches: list[list[dict[str, Any]]] = [[] for _ in filters]
        for start in range(0, len(filters), commands.MOST_BRANCHES):
            part = filters[start : start + commands.MOST_BRANCHES]
            for found in self._documents(commands.to_union(part, limit, self._milliseconds)):
                branches[start + found["branch"]].append(found)
        return branches

    def _to_work(self, plan: Plan, files: Mapping[int, str]) -> Work:
        return to_work(
            plan,
            tuple(documents.to_encoded(change, files.get(number)) for number, change in enumerate(plan.changes)),
        )
