"""Events found in the audit: what may match is read in its order, taken apart, and held against the filter as asked.

What a filter says of the fields that packs do not have is judged by the database as well (``$documents``), but for what
is plainly equal: so an event in a pack is found by exactly what would find it if it were stored whole.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import bson
from bson.raw_bson import RawBSONDocument
from pymongo.errors import ExecutionTimeout
from pymongo.read_concern import ReadConcern

from fhir_server.search.stored import stored_parameters_of
from fhir_server.storage.audit_frames import EVENTS, Frames
from fhir_server.storage.connection import Connection, translated
from fhir_server.storage.documents import READ_CODEC
from fhir_server.storage.judging import Judgement, judge
from fhir_server.storage.relaxing import Relaxed, fields_in, relax
from fhir_server.storage.store import Query

Event = dict[str, Any]

_IN_TIME = frozenset({"ds", "updated", "_id"})
"""What the documents are in the order of as their events are."""
_LEAST, _BATCH = 100, 500
_MOST_BYTES = 8 * 1024 * 1024
_MOST_SAMPLED = 1_000
_LOCAL = ReadConcern("local")
"""Events are acknowledged before the majority has them; who is told that one is there must find it."""


class AuditReader:
    """Reads the events of one database. ``flush`` brings in what this process has yet to store.

    ``milliseconds``: the longest time of one read. Every method may raise ``StoreUnavailable`` and ``Timeout``.
    """

    def __init__(self, connection: Connection, frames: Frames, flush: Callable[[], None], milliseconds: int) -> None:
        self._connection = connection
        self._frames = frames
        self._flush = flush
        self._milliseconds = milliseconds

    def get(self, references: Sequence[str]) -> list[Event]:
        """Return the events that there are of these references."""
        return self.find(Query({"_id": {"$in": list(references)}}, ()))

    def find(self, query: Query) -> list[Event]:
        """Return the events that match, in the order asked for; with ``computed`` fields set where there are some."""
        deadline = self._deadline()
        if query.computed or not all(name in _IN_TIME for name, _ in query.sort):
            return self._sorted(query, deadline)
        return list(islice(self._walk(query, deadline), query.limit or None))

    def iterate(self, query: Query, *, timed: bool) -> Iterator[Event]:
        """Yield the events that match in the order of time, or in none."""
        yield from islice(self._walk(query, self._deadline() if timed else None), query.limit or None)

    def count(self, filter: Mapping[str, Any], limit: int = 0) -> int:
        """Return how many events match, counting no further than ``limit`` if one is given."""
        deadline, judgement = self._deadline(), _judgement(filter)
        relaxed = relax(filter)
        if relaxed.exact:
            self._flush()
            bound = [{"$limit": limit}] if limit else []
            group = {"$group": {"_id": None, "n": {"$sum": {"$ifNull": ["$count", 1]}}}}
            found = self._aggregate(EVENTS, [{"$match": _of_events(relaxed)}, *bound, group], deadline)
            counted = int(found[0]["n"]) if found else 0
            return min(counted, limit) if limit else counted
        if judgement.equal or judgement.hard:
            walk = self._walk(Query(filter, (), with_body=False), deadline, whole=judgement.whole)
            return sum(1 for _ in islice(walk, limit or None))
        counted = 0
        for documents in self._candidates(Query(filter, (), with_body=False), relaxed, judgement, deadline):
            counted += sum(one.get("count", 1) for one in documents)
            if 0 < limit <= counted:
                return limit
        return counted

    def estimate(self, filter: Mapping[str, Any]) -> int:
        """Return about how many events match, by a random sample of all."""
        self._flush()
        stages = [{"$sample": {"size": _MOST_SAMPLED}}, {"$match": _of_events(relax({}))}]
        deadline = self._deadline()
        sampled = list(self._frames.unpacked(self._aggregate(EVENTS, stages, deadline)))
        matching = self._holding(filter, sampled, deadline)
        return round(self.count({}) * len(matching) / len(sampled)) if sampled else 0

    def explain(self, query: Query) -> dict[str, Any]:
        """Return MongoDB's own account of how it finds what may match."""
        relaxed = relax(query.filter)
        find: dict[str, Any] = {"find": EVENTS, "filter": _of_events(relaxed), "limit": query.limit}
        if not query.computed and all(name in _IN_TIME for name, _ in query.sort):
            find["sort"] = dict(query.sort)
        command = {"explain": find, "verbosity": "executionStats", "maxTimeMS": self._milliseconds}
        with translated():
            return self._connection.reader.run(command)

    def _walk(self, query: Query, deadline: float | None, *, whole: bool = True) -> Iterator[Event]:
        """Yield the events that match; those of a pack in the direction of the order."""
        relaxed, judgement = relax(query.filter), _judgement(query.filter)
        backward = dict(query.sort).get("_id", 1) < 0
        for documents in self._candidates(query, relaxed, judgement, deadline):
            unpacked = self._frames.unpacked(documents, relaxed.naming, backward=backward, whole=whole)
            events = [one for one in unpacked if judgement.holds(one)]
            yield from self._holding(judgement.hard, events, deadline) if judgement.hard else events

    def _candidates(
        self, query: Query, relaxed: Relaxed, judgement: Judgement, deadline: float | None
    ) -> Iterator[list[Event]]:
        """Yield in batches the documents of which all holds that their frames tell, and what they are found by."""
        self._flush()
        verdicts: dict[bytes, bool] = {}
        for documents in self._documents(query, relaxed, deadline):
            if not judgement.by_frame:
                yield documents
                continue
            whole = [one for one in documents if "frame" not in one]
            new = {one["frame"]: one for one in documents if "frame" in one and one["frame"] not in verdicts}
            # Any of its events speaks for a frame.
            speakers = {key: next(self._frames.unpacked([one])) for key, one in new.items()}
            asked = [*whole, *speakers.values()]
            holding = {one["_id"] for one in self._holding(judgement.by_frame, asked, deadline)}
            verdicts |= {key: one["_id"] in holding for key, one in speakers.items()}
            yield [one for one in documents if (verdicts[one["frame"]] if "frame" in one else one["_id"] in holding)]

    def _documents(self, query: Query, relaxed: Relaxed, deadline: float | None) -> Iterator[list[Event]]:
        """Yield in batches the documents that may hold what is sought."""
        events = self._connection.database.get_collection(EVENTS, READ_CODEC, read_concern=_LOCAL)
        size = min(max(query.limit, _LEAST), _BATCH) if query.limit else _BATCH
        with (
            translated(),
            events.find(
                _of_events(relaxed),
                None if query.with_body else {"body": 0},
                sort=list(query.sort) or None,
                batch_size=size,
                max_time_ms=None if deadline is None else _left(deadline),
            ) as cursor,
        ):
            while batch := list(islice(cursor, size)):
                yield batch

    def _holding(self, filter: Mapping[str, Any], events: Sequence[Event], deadline: float | None) -> list[Event]:
        """Return those events that match."""
        names = fields_in(filter)
        fields = None if names is None else names | {"_id"}
        holding: set[str] = set()
        for part in _parts(events, fields):
            found = self._judge(part, [{"$match": dict(filter)}, {"$project": {"_id": 1}}], deadline)
            holding.update(one["_id"] for one in found)
        return [one for one in events if one["_id"] in holding]

    def _sorted(self, query: Query, deadline: float) -> list[Event]:
        """Return the first events in another order than that of time: of each batch those that are still among them."""
        keyed: list[dict[str, Any]] = [{"$set": dict(query.computed)}] if query.computed else []
        if query.beyond is not None:
            keyed.append({"$match": {"$expr": query.beyond}})
        keyed.append({"$project": dict.fromkeys(("_id", *query.computed, *dict(query.sort)), 1)})
        first: list[dict[str, Any]] = [{"$sort": dict(query.sort)}]
        first += [{"$limit": query.limit}] if query.limit else []
        keys: list[Event] = []
        kept: dict[str, Event] = {}
        walk = self._walk(replace(query, sort=(), computed={}), deadline)
        while batch := list(islice(walk, _BATCH)):
            found = [one for part in _parts(batch, None) for one in self._judge(part, keyed, deadline)]
            # From here on the keys alone are compared: whole events might be more than one command takes.
            keys = self._judge([_encoded(one, None) for one in (*keys, *found)], first, deadline)
            pool = kept | {one["_id"]: one for one in batch}
            kept = {one["_id"]: pool[one["_id"]] for one in keys}
        return [{**kept[one["_id"]], **one} for one in keys]

    def _judge(
        self, documents: Sequence[RawBSONDocument], stages: list[dict[str, Any]], deadline: float | None
    ) -> list[Event]:
        """Return what the database makes of documents that are not stored."""
        given = {"$documents": {"$literal": list(documents)}}
        return self._aggregate(1, [given, *stages], deadline) if documents else []

    def _aggregate(self, source: str | int, stages: list[dict[str, Any]], deadline: float | None) -> list[Event]:
        command: dict[str, Any] = {"aggregate": source, "pipeline": stages, "cursor": {"batchSize": 1_000_000}}
        if deadline is not None:
            command["maxTimeMS"] = _left(deadline)
        with translated():
            return self._connection.reader.documents(command)

    def _deadline(self) -> float:
        return time.monotonic() + self._milliseconds / 1000


def _judgement(filter: Mapping[str, Any]) -> Judgement:
    return judge(filter, frames_tell=not stored_parameters_of("AuditEvent"))


def _of_events(relaxed: Relaxed) -> dict[str, Any]:
    """Return the filter without frames, which are kept in the same collection and have no type."""
    found = relaxed.filter
    return found if "type" in found or "x" in found else {"type": "AuditEvent", **found}


def _parts(events: Sequence[Event], fields: frozenset[str] | None) -> Iterator[list[RawBSONDocument]]:
    """Yield the events encoded, with these fields alone, in lists that fit a command."""
    part: list[RawBSONDocument] = []
    size = 0
    for event in events:
        encoded = _encoded(event, fields)
        if part and size + len(encoded.raw) > _MOST_BYTES:
            yield part
            part, size = [], 0
        part.append(encoded)
        size += len(encoded.raw)
    if part:
        yield part


def _encoded(event: Event, fields: frozenset[str] | None) -> RawBSONDocument:
    kept = {name: value for name, value in event.items() if (name != "body" if fields is None else name in fields)}
    return RawBSONDocument(bson.encode(kept, codec_options=READ_CODEC))


def _left(deadline: float) -> int:
    """Return the milliseconds that are left, at least one. Raises what the database does when there are none."""
    left = int((deadline - time.monotonic()) * 1000)
    if left <= 0:
        raise ExecutionTimeout("the time of one read is over")
    return left
