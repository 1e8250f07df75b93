"""A worker gives back what a large request took."""

import gc
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

from fhir_server.rest.memory import Room, give_back, settle
from tests.rest.fhir import Fhir, entry


def resident() -> int:
    """Return this process's resident bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_large_transactions_do_not_pile_up(fhir: Fhir) -> None:
    text = "x" * 2_000
    basics = [{"resourceType": "Basic", "id": f"b{n}", "code": {"text": text}} for n in range(1_500)]
    body = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [entry("PUT", f"Basic/{one['id']}", one) for one in basics],
    }
    content = json.dumps(body).encode()
    assert fhir.post("", content, Content_Type="application/fhir+json").status == 200
    first = resident()
    for _ in range(4):
        assert fhir.post("", content, Content_Type="application/fhir+json").status == 200
    assert resident() < first + 40_000_000


def waiting(room: Room, size: int) -> tuple[threading.Thread, Callable[[], None]]:
    """Return a thread that has asked for room, and what ends its stay."""
    end = threading.Event()

    def stay() -> None:
        taken = room.enter(size)
        end.wait()
        room.leave(taken)

    thread = threading.Thread(target=stay, daemon=True)
    thread.start()

    def finish() -> None:
        end.set()
        thread.join(10)
        assert not thread.is_alive()

    return thread, finish


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that other threads bring about."""
    for _ in range(1_000):
        if condition():
            return
        threading.Event().wait(0.005)
    raise AssertionError("it never came")


def test_large_bodies_share_a_bounded_room_in_turn() -> None:
    room = Room(limit=10, small=2)
    _, first_ends = waiting(room, 8)
    until(lambda: room.taken == 8)
    _, huge_ends = waiting(room, 50)
    until(lambda: room.queued == 1)
    _, third_ends = waiting(room, 3)
    until(lambda: room.queued == 2)
    assert room.enter(2) == 0  # small ones never wait
    assert room.taken == 8
    first_ends()
    until(lambda: room.taken == 50)  # alone, and before who came later
    assert room.queued == 1
    huge_ends()
    until(lambda: room.taken == 3)
    third_ends()
    assert (room.taken, room.queued) == (0, 0)


def test_a_refused_large_body_leaves_its_room(fhir: Fhir) -> None:
    content = b'{"resourceType":"Basic","x":"' + b"y" * 5_000_000 + b'"}'
    for _ in range(3):
        assert fhir.post("Basic", content, Content_Type="application/fhir+json").status == 400


def test_settling_leaves_the_collector_at_work() -> None:
    before = gc.get_threshold()
    try:
        settle()
        assert gc.isenabled()
        assert gc.get_threshold()[0] > before[0]
        give_back()
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
