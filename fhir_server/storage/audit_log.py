"""The append-only log of audit events and the seals over it.

Nothing here changes or removes an event. On the embedded socket an insert is one plain message each way, as reads are.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bson.raw_bson import RawBSONDocument
from pymongo.errors import DuplicateKeyError, PyMongoError

from fhir_server.storage.audit_spool import AuditSpool
from fhir_server.storage.connection import READ_CONCERN, Connection, translated
from fhir_server.storage.splicing import to_stored
from fhir_server.storage.store import StoreUnavailable
from fhir_server.storage.wire import Encoded

EVENTS, SEALS = "audit", "audit_seals"
_DUPLICATE_KEY = 11000
_MOST_EVENTS = 1_000
_MOST_BYTES = 8 * 1024 * 1024
_ON_DISK = {"w": "majority", "j": True}


class AuditLog:
    """Events appended and read, seals appended and read.

    With a directory for the ``spool`` an event counts as written once it is in its file; without one, once the
    majority of the database has it on disk.
    """

    def __init__(self, connection: Connection, spool: Path | None = None) -> None:
        self._connection = connection
        self._spool = None if spool is None else AuditSpool(spool, self._insert)

    def append(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Return when the events are written. Raises ``StoreUnavailable``: then nobody may act on what they tell."""
        if not events:
            return
        encoded = [to_stored(event) for event in events]
        if self._spool is not None:
            self._spool.append(encoded)
        else:
            self._insert(encoded)

    def flush(self) -> None:
        """Make what this process has appended readable in the database. Raises ``StoreUnavailable``."""
        if self._spool is not None:
            self._spool.flush()

    def recover(self, arrived: Callable[[list[str]], None], older_than: float = 5.0) -> int:
        """Insert what killed processes have left in the spool; ``arrived`` is told of it before it is forgotten."""
        return 0 if self._spool is None else self._spool.recover(arrived, older_than)

    def close(self) -> None:
        """Insert what is left."""
        if self._spool is not None:
            self._spool.close()

    def references(self, after: str, before: str, limit: int = 0) -> list[str]:
        """Return the references of the events between two others (both excluded), in order; the index alone is read."""
        command: dict[str, Any] = {
            "find": EVENTS,
            "filter": {"_id": {"$gt": after, "$lt": before}},
            "projection": {"_id": 1},
            "sort": {"_id": 1},
            "batchSize": 10_000,
            "readConcern": READ_CONCERN,
        }
        if limit:
            command["limit"] = limit
        with translated():
            return [found["_id"] for found in self._connection.reader.documents(command)]

    def read(self, references: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return of the events that are there, by reference: ``body``, and by what a policy finds them."""
        found: dict[str, dict[str, Any]] = {}
        for start in range(0, len(references), _MOST_EVENTS):
            command = {
                "find": EVENTS,
                "filter": {"_id": {"$in": list(references[start : start + _MOST_EVENTS])}},
                "projection": {"body": 1, "pt": 1, "c": 1, "l": 1},
                "batchSize": _MOST_EVENTS + 1,
                "readConcern": READ_CONCERN,
            }
            with translated():
                for event in self._connection.reader.documents(command):
                    found[event.pop("_id")] = event
        return found

    def bodies(self, after: str, before: str, limit: int) -> list[tuple[str, bytes]]:
        """Return the references of the events between two others with their bodies, in order."""
        command = {
            "find": EVENTS,
            "filter": {"_id": {"$gt": after, "$lt": before}},
            "projection": {"body": 1},
            "sort": {"_id": 1},
            "limit": limit,
            "batchSize": limit,
            "readConcern": READ_CONCERN,
        }
        with translated():
            return [(found["_id"], found["body"]) for found in self._connection.reader.documents(command)]

    def count(self, after: str, before: str) -> int:
        """Return how many events there are between two references; the index alone is read."""
        query = {"_id": {"$gt": after, "$lt": before}}
        with translated():
            reply = self._connection.reader.run({"count": EVENTS, "query": query, "readConcern": READ_CONCERN})
        return int(reply["n"])

    def append_seal(self, seal: Mapping[str, Any]) -> bool:
        """Append a seal, on disk when this returns; False when another has taken its number."""
        try:
            with translated():
                self._connection.database[SEALS].insert_one(dict(seal))
        except DuplicateKeyError:
            return False
        return True

    def last_seal(self) -> dict[str, Any] | None:
        """Return the newest seal, or None."""
        return next(self._seals({}, -1, limit=1), None)

    def seals(self, first: str = "", last: str = "~") -> Iterator[dict[str, Any]]:
        """Yield the seals whose ids (``2026-11-26/00000001``) lie between two texts, oldest first."""
        return self._seals({"_id": {"$gte": first, "$lte": last}}, 1)

    def latest_seals(self) -> Iterator[dict[str, Any]]:
        """Yield the seals, newest first."""
        return self._seals({}, -1)

    def _seals(self, filter: dict[str, Any], direction: int, limit: int = 0) -> Iterator[dict[str, Any]]:
        with (
            translated(),
            self._connection.database[SEALS].find(
                filter, sort=[("_id", direction)], limit=limit, batch_size=100
            ) as cursor,
        ):
            yield from cursor

    def _insert(self, events: Sequence[RawBSONDocument]) -> None:
        """Insert; one that is there already was written by a first try whose answer was lost."""
        for part in _parts(events):
            command = {"insert": EVENTS, "documents": part, "ordered": False, "writeConcern": _ON_DISK}
            try:
                reply = self._connection.reader.run(command)
            except PyMongoError as failure:
                raise StoreUnavailable("The audit could not be written.") from failure
            errors = [one for one in reply.get("writeErrors", ()) if one["code"] != _DUPLICATE_KEY]
            if errors or "writeConcernError" in reply:
                raise StoreUnavailable("The audit could not be written.")


def _parts(events: Sequence[RawBSONDocument]) -> Iterator[Encoded]:
    """Yield the events in lists that fit a message."""
    part = Encoded()
    size = 0
    for event in events:
        if part and (size + len(event.raw) > _MOST_BYTES or len(part) >= _MOST_EVENTS):
            yield part
            part, size = Encoded(), 0
        part.append(event)
        size += len(event.raw)
    if part:
        yield part
