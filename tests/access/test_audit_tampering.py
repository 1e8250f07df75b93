"""Whoever can write into the database itself still cannot change the audit unnoticed."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fhir_server.access.caller import Caller
from fhir_server.app import Composition
from fhir_server.audit import sealed_spans
from fhir_server.audit.seals import OVERLAP, START, Sealer, build_seal, entries_of, hash_of, reference_at, to_entry
from fhir_server.audit.templates import Occasion
from fhir_server.audit.touched import Touched
from fhir_server.audit.trail import Origin, Trail
from fhir_server.audit.verification import Finding, Tally, verify
from fhir_server.storage.mongo import MongoStore
from fhir_server.storage.store import Packed

BASE = "http://127.0.0.1:8000/fhir"
NOON = datetime(2026, 6, 14, 12, tzinfo=UTC)
DOCTOR = Caller("d", "professional", user="Practitioner/d", user_name="Dr D")


def put(store: MongoStore, at: datetime, *patients: str) -> list[str]:
    """Append one event for each patient, recorded at that moment; return their references."""
    events: list[Packed] = []
    for one in patients:
        trail = Trail(Origin(Occasion(DOCTOR, BASE), "req", at, lambda: at))
        trail.disclose([Touched("read", f"Observation/{one}", 1, (f"Patient/{one}",))])
        events += trail.events()
    store.append(events)
    return [event.document["_id"] for event in events]


@pytest.fixture
def store(make_composition: Callable[..., Composition]) -> MongoStore:
    """An empty database, whose events are on disk at once: sealed is what a failover cannot take back."""
    return make_composition(audit_spool=False).store()


@pytest.fixture
def heads(tmp_path: Path) -> Path:
    """Where the hashes are kept outside the database."""
    return tmp_path / "heads.log"


@pytest.fixture
def sealed(store: MongoStore, heads: Path) -> list[str]:
    """Events of two days, in five seals."""
    references: list[str] = []
    sealer = Sealer(store.audit_log, heads)
    for hours in (0, 1, 2, 24, 25):
        at = NOON + timedelta(hours=hours)
        references += put(store, at, "a", "b", "c")
        assert sealer.seal(at + timedelta(seconds=2)) == 3
    return references


def problems(store: MongoStore, heads: Path, day: date | None = None) -> list[Finding]:
    return list(verify(store.audit_log, heads, BASE, day))


def events(store: MongoStore) -> Any:
    return store.connection.database["audit"]


def seals(store: MongoStore) -> Any:
    return store.connection.database["audit_seals"]


def test_an_untouched_audit_is_found_whole(store: MongoStore, heads: Path, sealed: list[str]) -> None:
    tally = Tally()
    assert list(verify(store.audit_log, heads, BASE, None, tally)) == []
    assert (tally.seals, tally.events, tally.pending) == (5, 15, 0)
    assert problems(store, heads, NOON.date()) == []
    assert [seal["_id"] for seal in store.audit_log.seals()] == [
        *(f"2026-06-14/0000000{number}" for number in (1, 2, 3)),
        *(f"2026-06-15/0000000{number}" for number in (1, 2)),
    ]


def test_a_changed_event_is_found(store: MongoStore, heads: Path, sealed: list[str]) -> None:
    x = ["Patient/another" if one == "Patient/b" else one for one in events(store).find_one({"_id": sealed[4]})["x"]]
    events(store).update_one({"_id": sealed[4]}, {"$set": {"x": x}})
    assert problems(store, heads) == [Finding("changed", sealed[4])]
    assert problems(store, heads, NOON.date()) == [Finding("changed", sealed[4])]
    assert problems(store, heads, NOON.date() + timedelta(days=1)) == []


def test_an_event_taken_out_of_the_patients_sight_is_found(store: MongoStore, heads: Path, sealed: list[str]) -> None:
    events(store).update_one({"_id": sealed[2]}, {"$pull": {"x": "Patient/c"}})
    assert problems(store, heads) == [Finding("changed", sealed[2])]


def test_the_event_of_a_write_taken_out_of_the_patients_sight_is_found(store: MongoStore, heads: Path) -> None:
    trail = Trail(Origin(Occasion(DOCTOR, BASE), "req", NOON, lambda: NOON))
    ((_, event),) = trail.records([Touched("update", "Observation/a", 2, ("Patient/a",))])
    store.append([event])
    assert Sealer(store.audit_log, heads).seal(NOON + timedelta(seconds=2)) == 1
    assert problems(store, heads) == []
    events(store).update_one({"_id": event["_id"]}, {"$unset": {"pt": 1}})
    assert problems(store, heads) == [Finding("reindexed", event["_id"])]


def test_events_packed_together_are_counted_and_found_changed_together(store: MongoStore, heads: Path) -> None:
    trail = Trail(Origin(Occasion(DOCTOR, BASE), "req", NOON, lambda: NOON))
    trail.disclose(Touched("read", f"Observation/{one}", 1, (f"Patient/{one}",)) for one in "abc")
    (pack,) = trail.events()
    store.append([pack])
    waiting = Tally()
    assert list(verify(store.audit_log, heads, BASE, None, waiting)) == []
    assert waiting.pending == 3
    assert Sealer(store.audit_log, heads).seal(NOON + timedelta(seconds=2)) == 1
    tally = Tally()
    assert list(verify(store.audit_log, heads, BASE, None, tally)) == []
    assert tally.events == 3
    told = events(store).find_one({"_id": pack.document["_id"]})["events"]
    events(store).update_one({"_id": pack.document["_id"]}, {"$set": {"events": told.rpartition(";")[0]}})
    assert problems(store, heads) == [Finding("changed", pack.document["_id"])]


def test_a_frame_that_says_something_else_or_is_gone_is_found(
    store: MongoStore, heads: Path, sealed: list[str]
) -> None:
    frame = events(store).find_one({"_id": {"$regex": "^AuditFrame/"}})
    other = {**frame, "text": frame["text"].replace(b"Dr D", b"Dr X")}
    events(store).replace_one({"_id": frame["_id"]}, other)
    assert set(problems(store, heads)) == {Finding("changed", frame["_id"])}
    events(store).delete_one({"_id": frame["_id"]})
    assert set(problems(store, heads)) == {Finding("missing", frame["_id"])}


def test_a_deleted_event_is_found(store: MongoStore, heads: Path, sealed: list[str]) -> None:
    events(store).delete_one({"_id": sealed[0]})
    assert problems(store, heads) == [Finding("missing", sealed[0])]


def test_an_event_inserted_later_is_found(store: MongoStore, heads: Path, sealed: list[str]) -> None:
    (inserted,) = put(store, NOON + timedelta(minutes=30), "a")
    assert problems(store, heads) == [Finding("unsealed", inserted)]
    assert problems(store, heads, NOON.date()) == [Finding("unsealed", inserted)]


def test_an_event_under_an_id_that_sorts_last_is_found(store: MongoStore, heads: Path, sealed: list[str]) -> None:
    copy = events(store).find_one({"_id": sealed[0]})
    events(store).insert_one({**copy, "_id": "AuditEvent/zzz"})
    assert problems(store, heads) == [Finding("unsealed", "AuditEvent/zzz")]


def test_events_that_have_swapped_places_are_found(store: MongoStore, heads: Path, sealed: list[str]) -> None:
    first, second = (events(store).find_one({"_id": sealed[number]}) for number in (0, 1))
    events(store).replace_one({"_id": sealed[0]}, {**second, "_id": sealed[0]})
    events(store).replace_one({"_id": sealed[1]}, {**first, "_id": sealed[1]})
    assert set(problems(store, heads)) == {Finding("changed", sealed[0]), Finding("changed", sealed[1])}


def test_seals_that_have_swapped_places_are_found(store: MongoStore, heads: Path, sealed: list[str]) -> None:
    first, second = list(store.audit_log.seals())[:2]
    for seal, other in ((first, second), (second, first)):
        seals(store).replace_one({"_id": seal["_id"]}, {**other, "_id": seal["_id"], "number": seal["number"]})
    assert {one.problem for one in problems(store, heads)} >= {"broken"}


def test_a_seal_deleted_with_its_events_is_found(store: MongoStore, heads: Path, sealed: list[str]) -> None:
    events(store).delete_many({"_id": {"$in": sealed[3:6]}})
    seals(store).delete_one({"_id": "2026-06-14/00000002"})
    found = problems(store, heads)
    assert Finding("lost", "2026-06-14/00000003") in found
    assert Finding("broken", "2026-06-14/00000003") in found


def test_an_event_struck_from_its_seal_too_is_found(store: MongoStore, heads: Path, sealed: list[str]) -> None:
    seal = next(iter(store.audit_log.seals()))
    listed = seal["events"][48:]
    events(store).delete_one({"_id": next(entries_of(seal))[0]})
    changed = {**seal, "events": listed, "count": 2}
    seals(store).replace_one({"_id": seal["_id"]}, {**changed, "hash": hash_of(changed)})
    assert Finding("broken", "2026-06-14/00000002") in problems(store, heads)


def test_a_chain_rewritten_from_end_to_end_is_found(store: MongoStore, heads: Path, sealed: list[str]) -> None:
    events(store).delete_one({"_id": sealed[0]})
    previous: dict[str, Any] | None = None
    for seal in list(store.audit_log.seals()):
        kept = [one for one, _ in entries_of(seal) if one != sealed[0]]
        bodies = store.audit_log.read(kept)
        previous = build_seal(previous, seal["at"], [to_entry(one, bodies[one].content) for one in kept])
        seals(store).replace_one({"_id": seal["_id"]}, previous)
    found = problems(store, heads)
    assert found
    assert {one.problem for one in found} == {"rewritten"}


def test_an_audit_cut_off_at_its_end_is_found(store: MongoStore, heads: Path, sealed: list[str]) -> None:
    Sealer(store.audit_log, heads).finish(NOON + timedelta(days=2))
    events(store).delete_many({"_id": {"$in": sealed[-3:]}})
    seals(store).delete_one({"_id": "2026-06-15/00000002"})
    assert problems(store, heads) == [Finding("rewritten", "2026-06-15/00000002")]


def test_an_event_that_was_committed_late_is_sealed_after_the_others(store: MongoStore, heads: Path) -> None:
    sealer = Sealer(store.audit_log, heads)
    put(store, NOON, "a")
    assert sealer.seal(NOON + timedelta(seconds=2)) == 1
    put(store, NOON - timedelta(seconds=20), "late")
    assert sealer.seal(NOON + timedelta(seconds=40)) == 1
    assert sealer.seal(NOON + timedelta(seconds=80)) == 0
    assert problems(store, heads) == []


def test_latecomers_are_found_among_many_and_sealed_once(
    store: MongoStore, heads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealed_spans, "_MOST", 4)
    sealer = Sealer(store.audit_log, heads)
    for second in range(0, 20, 2):
        put(store, NOON + timedelta(seconds=second), "a", "b")
        assert sealer.seal(NOON + timedelta(seconds=second + 2)) == 2
    late = put(store, NOON + timedelta(seconds=5), "late") + put(store, NOON + timedelta(seconds=13), "later", "latest")
    assert sealer.seal(NOON + timedelta(seconds=33)) == 3
    assert {one for one, _ in entries_of(list(store.audit_log.seals())[-1])} == set(late[1:])
    assert sealer.seal(NOON + timedelta(seconds=64)) == 0
    put(store, NOON + timedelta(seconds=14), "last")
    assert Sealer(store.audit_log, heads).seal(NOON + timedelta(seconds=65)) == 1, "one that has only just begun"
    assert problems(store, heads) == []


def test_what_a_killed_process_left_behind_is_sealed_unless_it_was_already(store: MongoStore, heads: Path) -> None:
    sealer = Sealer(store.audit_log, heads)
    there = put(store, NOON, "a")
    assert sealer.seal(NOON + timedelta(seconds=2)) == 1
    left = put(store, NOON - timedelta(hours=1), "left")
    sealer.seal_late(NOON + timedelta(seconds=3), [*left, *there])
    listed = [[reference for reference, _ in entries_of(seal)] for seal in store.audit_log.seals()]
    assert listed == [there, left]
    sealer.seal_late(NOON + timedelta(seconds=3), [*left, *there])
    assert len(list(store.audit_log.seals())) == 2


def test_what_has_just_come_is_pending_and_no_tampering(store: MongoStore, heads: Path, sealed: list[str]) -> None:
    put(store, NOON + timedelta(hours=25, minutes=1), "a")
    tally = Tally()
    assert list(verify(store.audit_log, heads, BASE, None, tally)) == []
    assert tally.pending == 1


def test_a_new_sealer_goes_on_where_the_last_one_was(store: MongoStore, heads: Path, sealed: list[str]) -> None:
    at = NOON + timedelta(hours=25, seconds=30)
    put(store, at, "a")
    assert Sealer(store.audit_log, heads).seal(at + timedelta(seconds=2)) == 1
    assert problems(store, heads) == []


def test_of_two_sealers_each_event_is_sealed_once(store: MongoStore, heads: Path) -> None:
    one, other = Sealer(store.audit_log, heads), Sealer(store.audit_log, heads)
    for second in range(6):
        at = NOON + timedelta(seconds=5 * second)
        put(store, at, "a", "b")
        for sealer in (one, other):
            sealer.seal(at + timedelta(seconds=2))
    assert problems(store, heads) == []
    listed = [reference for seal in store.audit_log.seals() for reference, _ in entries_of(seal)]
    assert len(listed) == len(set(listed)) == 12


def test_the_first_seal_follows_nothing_and_references_are_in_the_order_of_time(store: MongoStore, heads: Path) -> None:
    put(store, NOON, "a")
    Sealer(store.audit_log, heads).seal(NOON + timedelta(seconds=2))
    assert next(iter(store.audit_log.seals()))["previous"] == START
    assert reference_at(NOON - OVERLAP) < reference_at(NOON)
