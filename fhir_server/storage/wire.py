"""Reads over the embedded database's own socket, without the driver's machinery.

A point read through the driver costs about twice the CPU of the database's own work (sessions, monitoring hooks,
server selection, logging). On a local unix socket with no authentication, no TLS and one member none of it is needed:
one OP_MSG out, one back. Reads only, outside sessions and transactions; everything else goes through the driver.
Spec: https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/#op_msg
"""

import os
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import Any

import bson
from pymongo.errors import AutoReconnect, OperationFailure

from fhir_server.storage.documents import READ_CODEC

_HEADER = struct.Struct("<iiiiIb")
_OP_MSG = 2013
_PREAMBLE = _HEADER.size
_REPLY_LIMIT = 64 * 1024 * 1024


class WireReader:
    """Runs read commands on a unix socket; safe for threads and for use after a fork.

    ``timeout`` is how long the database may stay silent; a command's own ``maxTimeMS`` should be lower.
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

    def run(self, command: dict[str, Any]) -> dict[str, Any]:
        """Return the reply to one command, tried once more if the connection had been lost in the meantime.

        Raises pymongo's ``AutoReconnect`` when the database is not there, ``OperationFailure`` when it says no.
        """
        if self._listener is not None:
            self._listener(next(iter(command)))
        command["$db"] = self._database
        body = bson.encode(command, codec_options=READ_CODEC)
        message = _HEADER.pack(_PREAMBLE + len(body), 0, 0, _OP_MSG, 0, 0) + body
        reply = self._exchange(message)
        if reply.get("ok") != 1:
            raise OperationFailure(reply.get("errmsg", "no reason given"), reply.get("code"), reply)
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
        while self._idle:
            self._idle.pop().close()

    def _exchange(self, message: bytes) -> dict[str, Any]:
        connection, fresh = self._take()
        try:
            reply = _talk(connection, message)
        except TimeoutError as error:
            connection.close()
            raise AutoReconnect("the embedded database does not answer") from error
        except OSError as error:
            connection.close()
            if fresh:
                raise AutoReconnect("the embedded database went away") from error
            self.close()
            return self._exchange(message)
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)
        return reply

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
        connection.settimeout(self._timeout)
        try:
            connection.connect(self._path)
        except OSError as error:
            connection.close()
            raise AutoReconnect("the embedded database cannot be reached") from error
        return connection


def _talk(connection: socket.socket, message: bytes) -> dict[str, Any]:
    connection.sendall(message)
    data = connection.recv(65536)
    while len(data) < 4:
        data += _some(connection, 4, data)
    size = int.from_bytes(data[:4], "little")
    if not _PREAMBLE < size <= _REPLY_LIMIT:
        raise ConnectionError("not a MongoDB answer")
    if len(data) < size:
        data = _rest(connection, data, size)
    return bson.decode(memoryview(data)[_PREAMBLE:], codec_options=READ_CODEC)


def _some(connection: socket.socket, size: int, data: bytes) -> bytes:
    more = connection.recv(size)
    if not more:
        raise ConnectionError(f"connection closed after {len(data)} bytes")
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
