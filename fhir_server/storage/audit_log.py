"""The append-only log of audit events and the seals over it.

Nothing here changes or removes an event. On the embedded socket an insert is one plain message each way, as reads are.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bson
from bson.raw_bson import RawBSONDocument
from pymongo.errors import DuplicateKeyError, PyMongoError

from fhir_server.storage.audit_frames import EVENTS, FRAMES, Frames, to_frame_id
from fhir_server.storage.audit_spool import AuditSpool
from fhir_server.storage.connection import READ_CONCERN, Connection, translated
from fhir_server.storage.splicing import to_document, to_stored
from fhir_server.storage.store import Packed, StoreUnavailable
from fhir_server.storage.wire import Encoded

SEALS = "audit_seals"
_DUPLICATE_KEY = 11000
_MOST_EVENTS = 1_000
_MOST_FRAMES = 100_000
_MOST_BYTES = 8 * 1024 * 1024
_ON_DISK = {"w": "majority", "j": True}


@dataclass(frozen=True, slots=True)
class Record:
    """A document of the audit as it is stored: an event, or a pack of events."""

    document: Mapping[str, Any]

    @property
    def content(self) -> bytes:
        """What a seal covers: the body of an event, all of a pack but its reference."""
        if self.frame is None:
            return bytes(self.document.get("body") or b"")
        return bson.encode({name: value for name, value in self.document.items() if name != "_id"})

    @property
    def frame(self) -> bytes | None:
        """The key of the frame of a pack."""
        return self.document.get("frame")

    @property
    def events(self) -> int:
        """How many events it holds."""
        return int(self.document.get("count", 1))


class AuditLog:
    """Events appended and read, seals appended and read. A pack of events is one document, with one reference.

    With a directory for the ``spool`` an event counts as written once it is in its file; without one, once the
    majority of the database has it on disk.
    """

    def __init__(self, connection: Connection, frames: Frames, spool: Path | None = None) -> None:
        self._connection = connection
        self._frames = frames
        self._spool = None if spool is None else AuditSpool(spool, self._insert)
        self._told: set[bytes] = set()
        """Keys of frames that this process, or the one that it came from, has written."""

    def append(self, events: Sequence[Mapping[str, Any] | Packed]) -> None:
        """Return when the events are written. Raises ``StoreUnavailable``: then nobody may act on what they tell."""
        if not events:
            return
        packs = [one for one in events if isinstance(one, Packed)]
        # Frames go first: whatever happens to the process, no pack is there without its own.
        new = {one.key: one.frame for one in packs if one.key not in self._told}
        encoded = [to_document({"_id": to_frame_id(key), "text": text}) for key, text in new.items()]
        encoded += [one.document if isinstance(one, Packed) else to_stored(one) for one in events]
        if self._spool is not None:
            self._spool.append(encoded)
        else:
            self._insert(encoded)
        if len(self._told) >= _MOST_FRAMES:
            self._told = set()
        self._told.update(new)

    def flush(self) -> None:
        """Make what this process has appended readable in the database. Raises ``StoreUnavailable``."""
        if self._spool is not None:
            self._spool.flush()

    def recover(self, arrived: Callable[[list[str]], None], older_than: float = 5.0) -> int:
        """Insert what killed processes have left in the spool; ``arrived`` is told of it before it is forgotten."""
        if self._spool is None:
            return 0

        def told(references: list[str]) -> None:
            arrived([one for one in references if not one.startswith(FRAMES)])

        return self._spool.recover(told, older_than)

    def close(self) -> None:
        """Insert what is left."""
        if self._spool is not None:
            self._spool.close()

    def references(self, after: str, before: str, limit: int = 0) -> list[str]:
        """Return the references of the documents between two others (both excluded), in order, from the index alone."""
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

    def read(self, references: Sequence[str]) -> dict[str, Record]:
        """Return of the documents that are there, by reference, what a seal covers."""
        found: dict[str, Record] = {}
        for start in range(0, len(references), _MOST_EVENTS):
            part = list(references[start : start + _MOST_EVENTS])
            for document in self._documents({"_id": {"$in": part}}, _MOST_EVENTS + 1):
                found[document["_id"]] = Record(document)
        return found

    def contents(self, after: str, before: str, limit: int) -> list[tuple[str, bytes]]:
        """Return the references of the documents between two others with what a seal covers, in order."""
        between = {"_id": {"$gt": after, "$lt": before}}
        found = self._documents(between, limit, sort={"_id": 1}, limit=limit)
        return [(one["_id"], Record(one).content) for one in found]

    def bodies(self, references: Sequence[str]) -> list[bytes]:
        """Return the events in the documents that are there of these references, as they are served."""
        found = {one["_id"]: one for one in self._documents({"_id": {"$in": list(references)}}, len(references) + 1)}
        documents = [found[one] for one in references if one in found]
        return [event["body"] for event in self._frames.unpacked(documents)]

    def frames(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the texts of the frames that are in the database, by key."""
        return self._frames.stored(keys)

    def _documents(self, filter: Mapping[str, Any], batch: int, **more: Any) -> list[dict[str, Any]]:
        command = {"find": EVENTS, "filter": filter, "batchSize": batch, "readConcern": READ_CONCERN, **more}
        with translated():
            return self._connection.reader.documents(command)

    def count(self, after: str, before: str) -> int:
        """Return how many documents there are between two references; the index alone is read."""
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
