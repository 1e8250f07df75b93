"""The embedded database's own socket, without the driver's machinery: reads, and (``wire_transaction``) commits.

A point read through the driver costs about twice the CPU of the database's own work (sessions, monitoring hooks,
server selection, logging). On a local unix socket with no authentication, no TLS and one member none of it is needed:
one OP_MSG out, one back.
Spec: https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/#op_msg
"""

import os
import socket
import struct
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import bson
from bson.raw_bson import RawBSONDocument
from pymongo.errors import AutoReconnect, OperationFailure

from fhir_server.storage.documents import READ_CODEC

APPLICATION = "fhir-server"
"""What connections call themselves in the database's log, in ``currentOp`` and for its fail points."""

_HEADER = struct.Struct("<iiiiIb")
_SECTION = struct.Struct("<bi")
_OP_MSG = 2013
_SEQUENCE = 1
_PREAMBLE = _HEADER.size
_REPLY_LIMIT = 64 * 1024 * 1024
_TOGETHER = 64 * 1024
_HELLO: dict[str, Any] = {
    "hello": 1,
    "client": {
        "application": {"name": APPLICATION},
        "driver": {"name": APPLICATION, "version": "1"},
        "os": {"type": os.uname().sysname},
    },
    "$db": "admin",
}


class Encoded(list[RawBSONDocument]):
    """The ``documents`` of an insert that are encoded already: they go over the wire as they are."""


class Wire:
    """Connections to one unix socket; safe for threads and for use after a fork.

    ``timeout`` is how many seconds the database may stay silent; a command's own ``maxTimeMS`` should be lower.
    ``listener`` is told the name of every command.
    """

    def __init__(
        self, path: str, database: str, timeout: float = 60.0, listener: Callable[[str], None] | None = None
    ) -> None:
        self._listener = listener
        self._path = path
        self._database = database
        self._timeout = timeout
        self._idle: deque[socket.socket] = deque()
        self._process = os.getpid()

    def exchange(self, commands: Sequence[dict[str, Any]], *, repeatable: bool) -> list[dict[str, Any]]:
        """Return the replies to commands that are sent together on one connection, whatever they say.

        What is ``repeatable`` is sent once more if the connection had been lost while it was idle.
        Raises pymongo's ``AutoReconnect`` when the database is not there.
        """
        complete = [command if "$db" in command else {**command, "$db": self._database} for command in commands]
        if self._listener is not None:
            for command in commands:
                self._listener(next(iter(command)))
        return self._exchange(complete, repeatable=repeatable)

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._idle.pop().close()

    def _exchange(self, commands: Sequence[dict[str, Any]], *, repeatable: bool) -> list[dict[str, Any]]:
        connection, fresh = self._take()
        try:
            replies = _talk(connection, commands)
        except BlockingIOError as error:
            connection.close()
            raise AutoReconnect("the embedded database does not answer") from error
        except OSError as error:
            connection.close()
            if fresh:
                raise AutoReconnect("the embedded database went away") from error
            self.close()  # what was idle beside it is no better
            if not repeatable:
                raise AutoReconnect("the embedded database went away") from error
            return self._exchange(commands, repeatable=True)
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)
        return replies

    def _take(self) -> tuple[socket.socket, bool]:
        if self._process != os.getpid():
            self._idle = deque()  # the parent's connections are not ours to talk on
            self._process = os.getpid()
        try:
            return self._idle.pop(), False
        except IndexError:
            return self._connect(), True

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # The system keeps the time: Python's own timeouts ask it twice for each piece, once whether it may ask.
        seconds, rest = divmod(self._timeout, 1)
        period = struct.pack("ll", int(seconds), int(rest * 1e6))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, period)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, period)
        try:
            connection.connect(self._path)
            _talk(connection, (_HELLO,))
        except OSError as error:
            connection.close()
            raise AutoReconnect("the embedded database cannot be reached") from error
        return connection


class WireReader:
    """Runs read commands, outside sessions and transactions."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def run(self, command: dict[str, Any]) -> dict[str, Any]:
        """Return the reply to one command, tried once more if the connection had been lost in the meantime.

        Raises pymongo's ``AutoReconnect`` when the database is not there, ``OperationFailure`` when it says no.
        """
        (reply,) = self._wire.exchange((command,), repeatable=True)
        check_reply(reply)
        return reply

    def documents(self, command: dict[str, Any]) -> list[dict[str, Any]]:
        """Return all documents of a ``find`` or ``aggregate``; one round trip as long as they fit 16 MB."""
        cursor = self.run(command)["cursor"]
        found: list[dict[str, Any]] = cursor["firstBatch"]
        while cursor["id"]:
            collection = cursor["ns"].partition(".")[2]
            cursor = self.run({"getMore": bson.Int64(cursor["id"]), "collection": collection})["cursor"]
            found += cursor["nextBatch"]
        return found

    def close(self) -> None:
        """Close the idle connections."""
        self._wire.close()


def to_message(command: dict[str, Any]) -> bytes:
    """Return the OP_MSG of a command, which names its database in ``$db``."""
    documents = command.get("documents")
    if isinstance(documents, Encoded):
        command = {name: value for name, value in command.items() if name != "documents"}
        parts = [bson.encode(command, codec_options=READ_CODEC), *_to_sequence("documents", documents)]
    else:
        parts = [bson.encode(command, codec_options=READ_CODEC)]
    return b"".join((_HEADER.pack(_PREAMBLE + sum(map(len, parts)), 0, 0, _OP_MSG, 0, 0), *parts))


def _to_sequence(name: str, documents: Encoded) -> list[bytes]:
    """Return the parts of a document sequence (section of kind 1)."""
    encoded = [bytes(document.raw) for document in documents]
    title = name.encode() + b"\0"
    return [_SECTION.pack(_SEQUENCE, 4 + len(title) + sum(map(len, encoded))), title, *encoded]


def check_reply(reply: dict[str, Any]) -> None:
    """Raise pymongo's ``OperationFailure``, with code and labels, when the database says no."""
    if reply.get("ok") != 1:
        raise OperationFailure(reply.get("errmsg", "no reason given"), reply.get("code"), reply)


def _talk(connection: socket.socket, commands: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    for piece in _pieces(commands):
        connection.sendall(piece)
    replies = []
    received = b""
    for _ in commands:
        received, reply = _reply(connection, received)
        replies.append(reply)
    if received:
        raise ConnectionError("more than one answer to one question")
    return replies


def _pieces(commands: Sequence[dict[str, Any]]) -> Iterator[bytes]:
    """Yield the messages, small ones together; of large ones no more than one is there at a time."""
    waiting = b""
    for command in commands:
        waiting += to_message(command)
        if len(waiting) > _TOGETHER:
            yield waiting
            waiting = b""
    if waiting:
        yield waiting


def _reply(connection: socket.socket, data: bytes) -> tuple[bytes, dict[str, Any]]:
    """Return what has arrived beyond the first answer, and that."""
    while len(data) < 4:
        data += _some(connection)
    size = int.from_bytes(data[:4], "little")
    if not _PREAMBLE < size <= _REPLY_LIMIT:
        raise ConnectionError("not a MongoDB answer")
    if len(data) < size:
        data = _rest(connection, data, size)
    return data[size:], bson.decode(memoryview(data)[_PREAMBLE:size], codec_options=READ_CODEC)


def _some(connection: socket.socket) -> bytes:
    more = connection.recv(65536)
    if not more:
        raise ConnectionError("connection closed before an answer")
    return more


def _rest(connection: socket.socket, data: bytes, size: int) -> bytes:
    whole = bytearray(size)
    whole[: len(data)] = data
    view, filled = memoryview(whole), len(data)
    while filled < size:
        received = connection.recv_into(view[filled:])
        if not received:
            raise ConnectionError("connection closed within an answer")
        filled += received
    return bytes(whole)
