"""The memory of bodies: bounded, and never wrong about the version."""

from datetime import UTC, datetime, timedelta

from fhir_server.storage.body_cache import BodyCache
from fhir_server.storage.store import Document

NOON = datetime(2026, 5, 4, 12)


def document(number: int, body: bytes = b"{}", minutes: int = 0) -> Document:
    moment = (NOON + timedelta(minutes=minutes)).replace(tzinfo=UTC)
    return Document(f"Patient/{number}", 1, moment, False, body)


def test_a_document_is_found_by_its_moment_alone() -> None:
    cache = BodyCache(1 << 20)
    cache.put(document(1))
    assert cache.get("Patient/1", NOON) == document(1)
    assert cache.get("Patient/1", NOON + timedelta(milliseconds=1)) is None
    cache.put(document(1, b"[]", minutes=1))
    assert cache.get("Patient/1", NOON) is None
    assert cache.get("Patient/2", NOON) is None


def test_it_holds_no_more_than_its_limit_and_keeps_what_is_asked_for() -> None:
    cache = BodyCache(100_000)
    for number in range(1_000):
        cache.put(document(number, b"x" * 1_000))
        assert cache.get("Patient/0", NOON) is not None
        assert len(cache) <= 50
    assert cache.get("Patient/1", NOON) is None


def test_it_takes_nothing_that_would_push_out_all_else() -> None:
    cache = BodyCache(100_000)
    cache.put(document(1, b"x" * 10_000))
    assert len(cache) == 0


def test_a_cache_of_no_bytes_holds_nothing() -> None:
    cache = BodyCache(0)
    cache.put(document(1, b""))
    assert len(cache) == 0
