"""The reader on the database's own socket: what it makes of answers that do not come as they should."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bson
import pytest
from pymongo.errors import AutoReconnect, OperationFailure

from fhir_server.storage.wire import Wire, WireReader

Serve = Callable[[socket.socket, int], None]


def receive(connection: socket.socket) -> dict[str, Any]:
    """Return the command of one message, ``{}`` at the end."""
    data = connection.recv(65536)
    return bson.decode(data[21:]) if data else {}


def to_message(reply: dict[str, Any]) -> bytes:
    """Return the message that carries a reply."""
    body = bson.encode(reply)
    return struct.pack("<iiiiIb", 21 + len(body), 1, 0, 2013, 0, 0) + body


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[Serve], str]]:
    """Return a function that serves each connection (numbered from 0) with the given one, and gives the path."""
    server = socket.socket(socket.AF_UNIX)
    threads: list[threading.Thread] = []

    def accept(answer: Serve) -> None:
        number = 0
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                assert receive(connection)["hello"] == 1
                connection.sendall(to_message({"ok": 1.0}))
                answer(connection, number)
            number += 1

    def start(answer: Serve) -> str:
        path = str(tmp_path / "s")
        server.bind(path)
        server.listen()
        threads.append(threading.Thread(target=accept, args=(answer,), daemon=True))
        threads[0].start()
        return path

    yield start
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    threads[0].join(5)


@pytest.fixture
def reader() -> Iterator[Callable[..., WireReader]]:
    """Return a builder of readers that are closed in the end."""
    built: list[WireReader] = []

    def build(path: str, **options: Any) -> WireReader:
        built.append(WireReader(Wire(path, "d", **options)))
        return built[-1]

    yield build
    for each in built:
        each.close()


def test_an_answer_in_small_pieces_is_put_together(
    serve: Callable[[Serve], str], reader: Callable[..., WireReader]
) -> None:
    message = to_message({"ok": 1.0, "value": "x" * 100_000})

    def answer(connection: socket.socket, _: int) -> None:
        assert receive(connection) == {"ping": 1, "$db": "d"}
        for start, end in ((0, 1), (1, 3), (3, 5), (5, 50_000), (50_000, len(message))):
            connection.sendall(message[start:end])

    assert reader(serve(answer)).run({"ping": 1})["value"] == "x" * 100_000


def test_further_batches_are_fetched(serve: Callable[[Serve], str], reader: Callable[..., WireReader]) -> None:
    asked: list[dict[str, Any]] = []

    def answer(connection: socket.socket, _: int) -> None:
        asked.append(receive(connection))
        connection.sendall(to_message({"ok": 1.0, "cursor": {"id": 7, "ns": "d.c.x", "firstBatch": [{"n": 1}]}}))
        asked.append(receive(connection))
        connection.sendall(to_message({"ok": 1.0, "cursor": {"id": 0, "ns": "d.c.x", "nextBatch": [{"n": 2}]}}))

    told: list[str] = []
    assert reader(serve(answer), listener=told.append).documents({"find": "c.x"}) == [{"n": 1}, {"n": 2}]
    assert asked[1] == {"getMore": 7, "collection": "c.x", "$db": "d"}
    assert told == ["find", "getMore"]


def test_a_refusal_carries_its_code(serve: Callable[[Serve], str], reader: Callable[..., WireReader]) -> None:
    def answer(connection: socket.socket, _: int) -> None:
        receive(connection)
        connection.sendall(to_message({"ok": 0.0, "code": 50, "errmsg": "too slow"}))

    with pytest.raises(OperationFailure) as refusal:
        reader(serve(answer)).run({"find": "c"})
    assert refusal.value.code == 50


def test_a_connection_lost_while_idle_is_made_anew(
    serve: Callable[[Serve], str], reader: Callable[..., WireReader]
) -> None:
    def answer(connection: socket.socket, number: int) -> None:
        receive(connection)
        connection.sendall(to_message({"ok": 1.0, "number": number}))  # one answer, then it closes

    one = reader(serve(answer))
    assert [one.run({"ping": 1})["number"] for _ in range(3)] == [0, 1, 2]


@pytest.mark.parametrize(
    "garbage", [b"", b"\x05", struct.pack("<i", 3), struct.pack("<i", 2**31 - 1), to_message({"ok": 1.0})[:30]]
)
def test_an_answer_that_breaks_off_is_no_answer(
    serve: Callable[[Serve], str], reader: Callable[..., WireReader], garbage: bytes
) -> None:
    def answer(connection: socket.socket, _: int) -> None:
        receive(connection)
        connection.sendall(garbage)

    with pytest.raises(AutoReconnect):
        reader(serve(answer)).run({"ping": 1})


def test_a_silent_database_is_given_up(serve: Callable[[Serve], str], reader: Callable[..., WireReader]) -> None:
    def answer(connection: socket.socket, _: int) -> None:
        receive(connection)
        receive(connection)  # until the other side gives up

    with pytest.raises(AutoReconnect, match="does not answer"):
        reader(serve(answer), timeout=0.05).run({"ping": 1})


def test_nobody_there_is_said_so(tmp_path: Path, reader: Callable[..., WireReader]) -> None:
    with pytest.raises(AutoReconnect, match="cannot be reached"):
        reader(str(tmp_path / "none")).run({"ping": 1})


def test_a_forked_process_makes_connections_of_its_own(
    serve: Callable[[Serve], str], reader: Callable[..., WireReader], monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(connection: socket.socket, number: int) -> None:
        while receive(connection):
            connection.sendall(to_message({"ok": 1.0, "number": number}))

    one = reader(serve(answer))
    assert [one.run({"ping": 1})["number"] for _ in range(2)] == [0, 0]
    parents = list(one._wire._idle)
    monkeypatch.setattr("fhir_server.storage.wire.os.getpid", lambda: -1)
    for connection in parents:
        connection.shutdown(socket.SHUT_WR)  # lets the server's loop go on to the next connection
    assert one.run({"ping": 1})["number"] == 1
    for connection in parents:
        connection.close()
