"""Transactions on the embedded database's own socket: the driver's sessions, as far as commits need them.

The commands of a transaction are sent together and answered in order; the commit follows when all have done what they
should. The driver takes a message each way for every command, and half a millisecond of CPU for all of them.
Labels are given as the driver gives them: ``TransientTransactionError`` says that the whole may be tried again,
``UnknownTransactionCommitResult`` that the commit may.
Spec: https://github.com/mongodb/specifications/blob/master/source/transactions/transactions.md
"""

import os
import time
import uuid
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import bson
from bson.binary import Binary
from pymongo.errors import AutoReconnect, OperationFailure, PyMongoError, WriteConcernError

from fhir_server.storage.wire import Wire, check_reply

TRANSIENT, UNKNOWN = "TransientTransactionError", "UnknownTransactionCommitResult"

_SESSION_LIFETIME = 25 * 60.0
"""The database forgets a session after 30 minutes without use."""
_MAJORITY = {"w": "majority", "j": True}
_RETRIED = {**_MAJORITY, "wtimeout": 10_000}
_UNKNOWN_CODES = frozenset({6, 7, 50, 64, 89, 91, 134, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436})
_WRITE_CONCERN_IMPOSSIBLE = frozenset({79, 100})


@dataclass(slots=True)
class _Session:
    """A session of the database: an id, and the number of its last transaction."""

    id: dict[str, Any]
    number: int
    used: float


class WireTransactions:
    """Begins transactions; safe for threads and for use after a fork."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._idle: deque[_Session] = deque()
        self._process = os.getpid()

    @contextmanager
    def begin(self) -> Iterator["WireTransaction"]:
        """Give one transaction; what is not committed must be aborted."""
        session = self._take()
        session.number += 1
        transaction = WireTransaction(self._wire, session)
        try:
            yield transaction
        finally:
            if transaction.ended:
                session.used = time.monotonic()
                self._idle.append(session)

    def _take(self) -> _Session:
        if self._process != os.getpid():
            self._idle = deque()
            self._process = os.getpid()
        with suppress(IndexError):
            session = self._idle.pop()
            if time.monotonic() - session.used < _SESSION_LIFETIME:
                return session
        return _Session({"id": Binary.from_uuid(uuid.uuid4())}, 0, 0.0)


class WireTransaction:
    """One transaction, reading its own snapshot, committed by a majority and to the journal."""

    def __init__(self, wire: Wire, session: _Session) -> None:
        self._wire = wire
        self._fields = {"lsid": session.id, "txnNumber": bson.Int64(session.number), "autocommit": False}
        self._begun = False
        self._asked = False
        self.ended = False
        """The database has said that it is over: only then may its session begin another."""

    def run(self, commands: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the replies to write commands, done in their order, up to the first with ``writeErrors``.

        Raises ``OperationFailure``, or ``AutoReconnect`` with the label that lets the whole be tried again.
        """
        within = [{**command, **self._fields} for command in commands]
        if not self._begun:
            within[0] |= {"startTransaction": True, "readConcern": {"level": "local"}}
            self._begun = True
        try:
            replies = self._wire.exchange(within, repeatable=False)
        except AutoReconnect as error:
            raise AutoReconnect(str(error), {"errorLabels": [TRANSIENT]}) from error
        for number, reply in enumerate(replies, 1):
            check_reply(reply)
            if "writeErrors" in reply:  # that has ended the transaction: what follows was refused for it
                return replies[:number]
        return replies

    def commit(self) -> None:
        """Commit; may be called again after an error that is labelled as unknown."""
        concern = _RETRIED if self._asked else _MAJORITY
        self._asked = True
        command = {"commitTransaction": 1, **self._fields, "writeConcern": concern, "$db": "admin"}
        try:
            (reply,) = self._wire.exchange((command,), repeatable=False)
            check_reply(reply)
            _check_concern(reply)
        except AutoReconnect as error:
            raise AutoReconnect(str(error), {"errorLabels": [UNKNOWN]}) from error
        except OperationFailure as error:
            if _is_unknown(error):
                raise OperationFailure(str(error), error.code, {"errorLabels": [UNKNOWN]}) from error
            raise
        self.ended = True

    def abort(self) -> None:
        """Abort as well as can be; a database that does not hear of it aborts by itself, by age."""
        if self._begun:
            with suppress(PyMongoError):
                command = {"abortTransaction": 1, **self._fields, "writeConcern": _MAJORITY, "$db": "admin"}
                (reply,) = self._wire.exchange((command,), repeatable=False)
                check_reply(reply)
                self.ended = True


def _check_concern(reply: dict[str, Any]) -> None:
    error = reply.get("writeConcernError")
    if error is not None:
        raise WriteConcernError(error.get("errmsg", "no reason given"), error.get("code"), reply)


def _is_unknown(error: OperationFailure) -> bool:
    """Whether the transaction may have been committed all the same."""
    if isinstance(error, WriteConcernError):
        return error.code not in _WRITE_CONCERN_IMPOSSIBLE
    return error.code in _UNKNOWN_CODES or error.has_error_label("RetryableWriteError")
