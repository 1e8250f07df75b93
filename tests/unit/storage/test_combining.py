"""Reads that wait together: one query for all, each its own answer, an error for all whom it concerns."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from fhir_server.storage.combining import CombiningReader


class Gate:
    """A ``read`` that waits before its first answer, so that others gather behind it."""

    def __init__(self, error: Exception | None = None) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.begun = threading.Event()
        self.go_on = threading.Event()
        self.error = error

    def read(self, keys: Sequence[str]) -> list[dict[str, Any]]:
        """Return a document for each key but those with an x."""
        self.asked.append(tuple(keys))
        self.begun.set()
        self.go_on.wait(5)
        if self.error and len(self.asked) > 1:
            raise self.error
        return [{"_id": key} for key in set(keys) if "x" not in key]


def gather(gate: Gate, reader: CombiningReader, keys: Sequence[str]) -> list[Any]:
    """Read ``first``, and ``keys`` while it is under way; return their futures' answers or errors."""
    with ThreadPoolExecutor(len(keys) + 1) as pool:
        first = pool.submit(reader.get, "first")
        assert gate.begun.wait(5)
        others = [pool.submit(reader.get, key) for key in keys]
        while len(reader._waiting) < len(keys):
            pass
        gate.go_on.set()
        assert first.result(5) == {"_id": "first"}
        return [other.exception(5) or other.result(5) for other in others]


def test_those_who_wait_share_one_query() -> None:
    gate = Gate()
    reader = CombiningReader(gate.read)
    assert gather(gate, reader, ["a", "b", "x", "a"]) == [{"_id": "a"}, {"_id": "b"}, None, {"_id": "a"}]
    assert [sorted(keys) for keys in gate.asked] == [["first"], ["a", "b", "x"]]
    assert reader.get("c") == {"_id": "c"}


def test_an_error_reaches_all_who_shared_the_query_and_nobody_after_them() -> None:
    gate = Gate(ValueError("broken"))
    reader = CombiningReader(gate.read)
    assert all(isinstance(outcome, ValueError) for outcome in gather(gate, reader, ["a", "b", "c"]))
    with pytest.raises(ValueError, match="broken"):
        reader.get("d")
    gate.error = None
    assert reader.get("e") == {"_id": "e"}
