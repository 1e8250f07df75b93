"""One MongoDB transaction for one or several plans: whole or not at all, tried again while that can help.

The number of commands does not grow with the changes: history, new documents, new versions, guards, outbox and one
for each kind of records, then the commit. Creates are inserts and updates compare-and-set on ``_id``, ``version`` and
the mark of a closed record, so whoever comes second fails inside the transaction. Whoever closes a record marks what is
in it last, by the same commit.
"""

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

import bson
from bson.raw_bson import RawBSONDocument
from pymongo.errors import OperationFailure, PyMongoError

from fhir_server.errors import FhirError, Text, TooLong
from fhir_server.search.closed import CLOSED
from fhir_server.storage.connection import Connection, Transaction, is_unavailable, translate
from fhir_server.storage.documents import Encoded, collection_of, to_outbox, to_restatement
from fhir_server.storage.markings import Update, to_current_updates, to_history_updates
from fhir_server.storage.splicing import to_stored
from fhir_server.storage.store import Change, Guard, OutdatedIndex, Plan, StoreUnavailable, VersionConflict

_MESSAGE_LIMIT = 15 * 1024 * 1024
_COMMAND_LIMIT = 50_000
_DUPLICATE_KEY = 11000
_AGAINST_VALIDATOR = 121
"""The outbox takes nothing that was indexed under an old generation of parameters (``index_writer.fence``)."""
_WRITE_CONFLICT = 112
_TOO_LARGE_FOR_CACHE = 388
_UNKNOWN = "UnknownTransactionCommitResult"
_FIRST_PAUSE, _LONGEST_PAUSE = 0.002, 0.25


class _Lost(Exception):
    """Something in the transaction is not as the plans expect."""


@dataclass(frozen=True, slots=True)
class Work:
    """One plan ready to be written: its changes in BSON."""

    plan: Plan
    encoded: tuple[Encoded, ...]
    records: tuple[tuple[str, RawBSONDocument], ...]
    size: int

    @property
    def keys(self) -> frozenset[str]:
        """What no other work may touch at the same time."""
        return frozenset(change.reference for change in self.plan.changes) | {
            f"guard {guard.key}" for guard in self.plan.guards
        }


def to_work(plan: Plan, encoded: tuple[Encoded, ...]) -> Work:
    """Return the plan with everything it writes in BSON."""
    records = tuple((name, _to_record(document)) for name, document in plan.records)
    size = sum(len(each.current.raw) + len(each.history.raw) for each in encoded)
    return Work(plan, encoded, records, size)


class Transactions:
    """Writes works; ``deadline`` is how long one call may go on trying, in seconds."""

    def __init__(self, connection: Connection, deadline: float = 20.0) -> None:
        self._connection = connection
        self._deadline = deadline

    def write(self, works: Sequence[Work]) -> None:
        """Write all works in one transaction.

        Raises ``VersionConflict`` when somebody else was first, with the positions of the plans' changes that lost,
        and ``StoreUnavailable`` when the database cannot commit in time: then a commit may still have happened.
        """
        until = time.monotonic() + self._deadline
        for attempt in range(1_000):
            try:
                self._attempt(works, until)
            except _Lost as lost:
                self._check_conflict(works, final=attempt > 20)
                failure: Exception = lost
            except PyMongoError as error:
                if error.has_error_label(_UNKNOWN):
                    raise StoreUnavailable("The database did not tell whether it has committed.") from error
                if not _may_succeed_later(error):
                    raise translate(error) from error
                failure = error
                if attempt and _is_write_conflict(error):
                    self._check_conflict(works, final=False)
            else:
                return
            if time.monotonic() > until:
                raise StoreUnavailable("The database could not commit in time.") from failure
            time.sleep(random.uniform(0, min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(attempt, 10))))

    def _attempt(self, works: Sequence[Work], until: float) -> None:
        writes = list(_writes(works))
        if not writes:
            return
        stamps = self._connection.stamps
        with stamps.changing(_touched(works), _may_be_done), self._connection.transaction() as transaction:
            try:
                _run(writes, transaction)
                _commit(transaction, until)
            except BaseException:
                transaction.abort()  # where the commit has happened after all, the database knows better
                raise

    def _check_conflict(self, works: Sequence[Work], *, final: bool) -> None:
        """Raise ``VersionConflict`` if the database is no longer as the works expect; ``final``: even if it is."""
        changes = [change for work in works for change in work.plan.changes]
        present = self._present("resources", ("version", CLOSED), [change.reference for change in changes])
        moved = tuple(sorted(one.position for one in changes if not _stands(one, present.get(one.reference))))
        guards = {guard.key: guard.expected for work in works for guard in work.plan.guards}
        counters = self._present("guards", ("n",), list(guards))
        if moved or final or any(counters.get(key, {}).get("n", 0) != count for key, count in guards.items()):
            raise VersionConflict(moved)

    def _present(self, collection: str, names: Sequence[str], keys: list[str]) -> dict[str, dict[str, Any]]:
        if not keys:
            return {}
        # Local on purpose: what beat us may not be majority-committed yet.
        command = {"find": collection, "filter": {"_id": {"$in": keys}}, "projection": dict.fromkeys(names, 1)}
        try:
            found = self._connection.reader.documents({**command, "batchSize": len(keys) + 1})
        except PyMongoError as error:
            raise translate(error) from error
        return {document["_id"]: document for document in found}


@dataclass(frozen=True, slots=True)
class _Write:
    """A write command with how many documents it must concern; ``record``: that they exist is no race."""

    command: dict[str, Any]
    count: int | None
    record: bool = False


def _run(writes: Sequence[_Write], transaction: Transaction) -> None:
    replies = transaction.run([write.command for write in writes])
    for write, reply in zip(writes, replies, strict=False):
        try:
            _check(reply, write.count)
        except _Lost:
            if write.record:
                raise VersionConflict from None  # no retry can help: the record is already there
            raise
        except OutdatedIndex:
            collection = next(iter(write.command.values()))
            if collection == "outbox":
                raise
            raise StoreUnavailable(f"The database takes nothing into {collection}.") from None


def _writes(works: Sequence[Work]) -> Iterator[_Write]:
    every = [each for work in works for each in work.encoded]
    encoded = [each for each in every if collection_of(each.change.reference) == "resources"]
    apart = [each for each in every if collection_of(each.change.reference) != "resources"]
    yield from _inserts("audit", [_only_version(each) for each in apart])
    yield from _inserts("history", [each.history for each in encoded])
    yield from _inserts("resources", [each.current for each in encoded if not each.change.expected])
    yield from _updates("resources", [_compare_and_set(each) for each in encoded if each.change.expected])
    if restatements := [to_restatement(each.change) for each in encoded if each.change.restates]:
        yield _Write({"update": "history", "updates": restatements}, None)
    yield from _markings(works)
    yield from _updates("guards", [_advance(guard) for work in works for guard in work.plan.guards])
    # Of plans made under several generations of parameters the oldest counts: refused, each is tried alone.
    generation = min(work.plan.generation for work in works)
    yield from _inserts("outbox", to_outbox([each.change for each in encoded], datetime.now(UTC), generation))
    records = sorted((pair for work in works for pair in work.records), key=lambda pair: pair[0])
    for collection, pairs in groupby(records, key=lambda pair: pair[0]):
        yield from _inserts(collection, [document for _, document in pairs], record=True)


def _inserts(collection: str, documents: list[RawBSONDocument], *, record: bool = False) -> Iterator[_Write]:
    for part in _parts(documents, [len(document.raw) for document in documents]):
        yield _Write({"insert": collection, "documents": part}, len(part), record)


def _updates(collection: str, updates: list[dict[str, Any]]) -> Iterator[_Write]:
    sizes = [len(each["u"].raw) + 200 if isinstance(each["u"], RawBSONDocument) else 400 for each in updates]
    for part in _parts(updates, sizes):
        yield _Write({"update": collection, "updates": part}, len(part))


def _markings(works: Sequence[Work]) -> Iterator[_Write]:
    markings = [marking for work in works for marking in work.plan.markings]
    yield from _many("resources", [update for one in markings for update in to_current_updates(one)])
    yield from _many("history", [update for one in markings for update in to_history_updates(one)])


def _many(collection: str, updates: list[Update]) -> Iterator[_Write]:
    """Yield the commands of updates that concern however many there are."""
    for part in _parts(updates, [len(bson.encode(update)) for update in updates]):
        yield _Write({"update": collection, "updates": part}, None)


def _touched(works: Sequence[Work]) -> Iterator[str]:
    """Yield the resources that are no longer what was read of them."""
    for work in works:
        yield from (change.reference for change in work.plan.changes)
        for marking in work.plan.markings:
            yield from (*marking.references, *marking.contents)


def _commit(transaction: Transaction, until: float) -> None:
    """Commit, again as long as the outcome is unknown; the server commits once however often it is asked."""
    while True:
        try:
            transaction.commit()
        except PyMongoError as error:
            if not error.has_error_label(_UNKNOWN) or time.monotonic() > until:
                raise
            time.sleep(random.uniform(0.01, 0.1))
        else:
            return


def _may_be_done(error: BaseException) -> bool:
    """Whether the transaction that failed so may have been committed, or may still be."""
    if isinstance(error, PyMongoError):
        return error.has_error_label(_UNKNOWN)
    return not isinstance(error, _Lost | VersionConflict | OutdatedIndex | StoreUnavailable | FhirError)


def _may_succeed_later(error: PyMongoError) -> bool:
    return error.has_error_label("TransientTransactionError") or is_unavailable(error)


def _is_write_conflict(error: PyMongoError) -> bool:
    return isinstance(error, OperationFailure) and error.code == _WRITE_CONFLICT


def _check(reply: Mapping[str, Any], count: int | None) -> None:
    errors = reply.get("writeErrors", ())
    if any(error["code"] != _DUPLICATE_KEY for error in errors):
        code = next(error["code"] for error in errors if error["code"] != _DUPLICATE_KEY)
        if code == _TOO_LARGE_FOR_CACHE:
            raise TooLong(
                Text(
                    "The transaction is larger than the database can commit at once; send it in parts.",
                    "La transaction dépasse ce que la base peut valider en une fois ; envoyez-la en plusieurs parties.",
                )
            )
        if code == _AGAINST_VALIDATOR:
            raise OutdatedIndex
        raise OperationFailure("a write was refused", code, {"errorLabels": reply.get("errorLabels", [])})
    if errors or (count is not None and reply["n"] != count):
        raise _Lost


def _only_version(encoded: Encoded) -> RawBSONDocument:
    """Return the one version of what is append-only; asking for another is a fault of the caller."""
    if encoded.change.expected or encoded.change.body is None:
        raise ValueError("an audit event is written once")
    return encoded.current


def _compare_and_set(encoded: Encoded) -> dict[str, Any]:
    change = encoded.change
    # Who closes a record or opens it marks the version that is there: to replace it would undo that.
    marked = list(change.closed) or None
    return {"q": {"_id": change.reference, "version": change.expected, CLOSED: marked}, "u": encoded.current}


def _stands(change: Change, present: Mapping[str, Any] | None) -> bool:
    """Say whether what the change replaces is as it expects; nothing, where it creates."""
    found = present or {"version": 0}
    return bool(found["version"] == change.expected and found.get(CLOSED, []) == list(change.closed))


def _advance(guard: Guard) -> dict[str, Any]:
    return {
        "q": {"_id": guard.key, "n": guard.expected},
        "u": {"$inc": {"n": 1}} if guard.lasting else {"$inc": {"n": 1}, "$currentDate": {"at": True}},
        "upsert": guard.expected == 0,
    }


def _to_record(document: Mapping[str, Any]) -> RawBSONDocument:
    ready = isinstance(document, RawBSONDocument) or "_id" in document
    return to_stored(document if ready else {"_id": bson.ObjectId(), **document})


def _parts(items: Sequence[Any], sizes: Sequence[int]) -> Iterator[list[Any]]:
    """Yield the items in as few lists as fit a message each."""
    part: list[Any] = []
    total = 0
    for item, size in zip(items, sizes, strict=True):
        if part and (total + size > _MESSAGE_LIMIT or len(part) >= _COMMAND_LIMIT):
            yield part
            part, total = [], 0
        part.append(item)
        total += size
    if part:
        yield part
