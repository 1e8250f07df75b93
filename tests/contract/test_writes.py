"""A plan happens whole or not at all; whoever comes second is told so."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from fhir_server.errors import TooLong
from fhir_server.storage.mongo import MongoStore
from fhir_server.storage.store import Change, Guard, HistoryQuery, Plan, Query, VersionConflict

MakeChange = Callable[..., Change]
MakeStore = Callable[..., MongoStore]


def outbox(store: MongoStore) -> list[list[tuple[str, int, str]]]:
    """Return what the outbox announces, commit by commit."""
    entries = store.connection.database["outbox"].find().sort("_id")
    return [[(reference, version, method) for reference, version, method, _ in entry["changes"]] for entry in entries]


def is_empty(store: MongoStore) -> bool:
    """Whether no collection has a trace of any plan."""
    names = ("resources", "history", "outbox", "guards", "audit")
    return all(store.connection.database[name].find_one() is None for name in names)


def test_a_plan_writes_current_history_outbox_guards_and_records(store: MongoStore, change: MakeChange) -> None:
    store.commit(
        Plan(
            (change("Patient/1", method="POST"), change("Group/1")),
            (Guard("k", 0),),
            (
                ("audit", {"who": "a", "type": "AuditEvent"}),
                ("jobs", {"_id": "j"}),
                ("audit", {"who": "b", "type": "AuditEvent"}),
            ),
        )
    )
    assert store.counts() == {"AuditEvent": 2, "Group": 1, "Patient": 1}
    assert store.count_history(HistoryQuery()) == 2
    assert outbox(store) == [[("Patient/1", 1, "POST"), ("Group/1", 1, "PUT")]]
    assert store.guards(["k"]) == {"k": 1}
    assert {record["who"] for record in store.connection.database["audit"].find()} == {"a", "b"}
    assert store.connection.database["jobs"].find_one() == {"_id": "j"}


def test_guards_and_records_may_come_alone(store: MongoStore) -> None:
    store.commit(Plan((), (Guard("k", 0),)))
    store.commit(Plan((), (), (("audit", {"who": "a"}),)))
    store.commit(Plan(()))
    assert store.guards(["k"]) == {"k": 1}
    assert outbox(store) == []


def test_a_resource_can_be_updated_deleted_and_brought_back(store: MongoStore, change: MakeChange) -> None:
    for step in (
        change("Patient/1", 0, b"1", t=["one"]),
        change("Patient/1", 1, b"2", t=["two"]),
        change("Patient/1", 2, None),
        change("Patient/1", 3, b"4", t=["four"]),
    ):
        store.commit(Plan((step,)))
    assert [(v.version, v.body) for v in store.history(HistoryQuery())] == [(4, b"4"), (3, None), (2, b"2"), (1, b"1")]
    assert [document.body for document in store.find(Query({"type": "Patient"}))] == [b"4"]
    assert store.find(Query({"t": "two"})) == []


@pytest.mark.parametrize(("expected", "written"), [(0, 1), (2, 1), (5, 0), (1, 0)])
def test_an_unexpected_version_is_a_conflict_and_leaves_nothing(
    store: MongoStore, change: MakeChange, expected: int, written: int
) -> None:
    for number in range(written):
        store.commit(Plan((change("Patient/1", number),)))
    before = (store.get("Patient/1"), store.count_history(HistoryQuery()), outbox(store))
    losing = change("Patient/1", expected, position=7)
    with pytest.raises(VersionConflict) as conflict:
        store.commit(Plan((change("Group/1", position=6), losing), (Guard("k", 0),), (("audit", {"who": "a"}),)))
    assert conflict.value.positions == (7,)
    assert (store.get("Patient/1"), store.count_history(HistoryQuery()), outbox(store)) == before
    assert store.get("Group/1") is None
    assert store.guards(["k"]) == {}
    assert store.connection.database["audit"].find_one() is None


def test_a_conflict_names_all_positions_that_lost(store: MongoStore, change: MakeChange) -> None:
    store.commit(Plan((change("Patient/1"), change("Patient/2"))))
    plan = Plan(
        (
            change("Patient/1", 0, position=3),
            change("Patient/2", 1, position=4),
            change("Patient/3", 4, position=5),
        )
    )
    with pytest.raises(VersionConflict) as conflict:
        store.commit(plan)
    assert conflict.value.positions == (3, 5)


def test_a_thousand_changes_fail_whole_when_the_last_conflicts(store: MongoStore, change: MakeChange) -> None:
    store.commit(Plan((change("Patient/last"),)))
    changes = [change(f"Patient/{n}", position=n) for n in range(1000)]
    with pytest.raises(VersionConflict):
        store.commit(Plan((*changes, change("Patient/last", 0, position=1000))))
    assert store.counts() == {"Patient": 1}
    assert store.count_history(HistoryQuery()) == 1
    store.commit(Plan((*changes, change("Patient/last", 1, position=1000))))
    assert store.counts() == {"Patient": 1001}


def test_a_moved_guard_is_a_conflict_without_positions(store: MongoStore, change: MakeChange) -> None:
    store.commit(Plan((), (Guard("k", 0),)))
    for expected in (0, 2):
        with pytest.raises(VersionConflict) as conflict:
            store.commit(Plan((change("Patient/1"),), (Guard("k", expected),)))
        assert conflict.value.positions == ()
    assert store.get("Patient/1") is None


def test_the_same_record_twice_is_a_conflict(store: MongoStore, change: MakeChange) -> None:
    store.commit(Plan((), (), (("jobs", {"_id": "j"}),)))
    with pytest.raises(VersionConflict) as conflict:
        store.commit(Plan((change("Patient/1"),), (), (("jobs", {"_id": "j"}),)))
    assert conflict.value.positions == ()
    assert store.get("Patient/1") is None


def test_an_index_that_fits_no_document_is_refused(store: MongoStore, change: MakeChange) -> None:
    with pytest.raises(TooLong):
        store.commit(Plan((change("Group/1"), change("Group/2", r=["x" * 1000] * 17_000))))
    assert is_empty(store)


def test_a_plan_too_large_for_the_databases_cache_is_refused_whole(store: MongoStore, change: MakeChange) -> None:
    body = b'"' + b"x" * 900_000 + b'"'
    with pytest.raises(TooLong):
        store.commit(Plan(tuple(change(f"Binary/{n}", body=body) for n in range(160))))
    assert is_empty(store)


def test_index_fields_may_not_take_our_names(store: MongoStore, change: MakeChange) -> None:
    with pytest.raises(ValueError, match="body"):
        store.commit(Plan((replace(change("Group/1"), index={"body": b"other"}),)))
    assert is_empty(store)


def race(stores: list[MongoStore], plans: list[Plan]) -> list[Any]:
    """Commit all plans at the same time and return each one's outcome: None or what it raised."""
    barrier = threading.Barrier(len(plans))

    def commit(number: int) -> Any:
        barrier.wait()
        try:
            return stores[number % len(stores)].commit(plans[number])
        except VersionConflict as conflict:
            return conflict

    with ThreadPoolExecutor(len(plans)) as pool:
        return list(pool.map(commit, range(len(plans))))


def test_of_32_racing_guards_one_wins(make_store: MakeStore, change: MakeChange) -> None:
    stores = [make_store(), make_store(), make_store()]
    for turn in range(3):
        plans = [Plan((change(f"Patient/{turn}-{n}"),), (Guard("criteria", turn),)) for n in range(32)]
        outcomes = race(stores, plans)
        assert outcomes.count(None) == 1
        assert stores[0].guards(["criteria"]) == {"criteria": turn + 1}
    assert stores[0].counts() == {"Patient": 3}


def test_of_32_racing_updates_and_creates_one_wins(make_store: MakeStore, change: MakeChange) -> None:
    stores = [make_store(), make_store(), make_store()]
    for expected in range(3):
        plans = [Plan((change("Patient/1", expected, b"%d" % n, position=9),)) for n in range(32)]
        outcomes = race(stores, plans)
        winner = outcomes.index(None)
        assert outcomes.count(None) == 1
        assert all(outcome is None or outcome.positions == (9,) for outcome in outcomes)
        found = stores[0].get("Patient/1")
        assert found is not None
        assert (found.version, found.body) == (expected + 1, b"%d" % winner)
    assert stores[0].count_history(HistoryQuery()) == 3


def test_of_plans_that_share_a_commit_only_the_loser_fails(make_store: MakeStore, change: MakeChange) -> None:
    store = make_store()
    store.commit(Plan((change("Patient/taken"),)))
    plans = [Plan((change(f"Patient/{n}"),)) for n in range(20)]
    plans[11] = Plan((change("Patient/11"), change("Patient/taken", 0, position=4)))
    outcomes = race([store], plans)
    assert [n for n, outcome in enumerate(outcomes) if outcome is not None] == [11]
    assert outcomes[11].positions == (4,)
    assert store.counts() == {"Patient": 20}
    assert store.get("Patient/11") is None
    assert sum(map(len, outbox(store))) == 20


def test_concurrent_plans_do_share_commits(make_store: MakeStore, change: MakeChange) -> None:
    store = make_store()
    groups: list[int] = []
    write = store._commits._write
    store._commits._write = lambda works: (groups.append(len(works)), write(works))[1]  # type: ignore[func-returns-value]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: store.commit(Plan((change(f"Patient/{n}"),))), range(200)))
    assert sum(groups) == 200
    assert len(groups) < 150
    assert store.counts() == {"Patient": 200}


def test_transfers_between_resources_are_never_seen_half_done(make_store: MakeStore, change: MakeChange) -> None:
    """Two resources always changed together have the same version for every reader."""
    store, other = make_store(), make_store()
    store.commit(Plan((change("A/1"), change("B/1"))))
    done = threading.Event()
    seen: list[tuple[int, int]] = []

    def watch() -> None:
        while not done.is_set():
            found = other.get_many(["A/1", "B/1"])
            seen.append((found["A/1"].version, found["B/1"].version))

    watcher = threading.Thread(target=watch)
    watcher.start()
    for version in range(1, 40):
        store.commit(Plan((change("A/1", version), change("B/1", version))))
    done.set()
    watcher.join()
    assert seen
    assert all(left == right for left, right in seen)
