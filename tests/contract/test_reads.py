"""What a store gives back: versions, pages, many answers at once, counts. Over the socket and through the driver."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fhir_server.errors import Timeout
from fhir_server.storage.mongo import MongoStore
from fhir_server.storage.store import Change, Document, Guard, Plan, Query

MakeChange = Callable[..., Change]

WHEN = datetime(2026, 5, 4, 12, 30, 15, 123000, tzinfo=UTC)


def test_a_version_comes_back_as_it_was_written(each_store: MongoStore, change: MakeChange) -> None:
    body = '{"resourceType":"Patient","id":"1","name":[{"family":"Noël"}]}'.encode()
    each_store.commit(Plan((change("Patient/1", body=body, method="POST", t=["Patient"], pt="Patient/1"),)))

    expected = Document("Patient/1", 1, WHEN, False, body, "POST", {"pt": "Patient/1"})
    assert each_store.get("Patient/1") == expected
    assert each_store.get_many(["Patient/1", "Patient/2"]) == {"Patient/1": expected}
    kept = {"pt": "Patient/1", "t": ["Patient"]}
    assert each_store.get_version("Patient/1", 1) == replace(expected, index=kept)
    assert each_store.get_many(["Patient/1"], with_body=False, index_fields=("t",)) == {
        "Patient/1": replace(expected, body=None, index=kept)
    }
    assert (expected.resource_type, expected.id) == ("Patient", "1")


def test_what_was_never_written_is_none(each_store: MongoStore) -> None:
    assert each_store.get("Patient/1") is None
    assert each_store.get_version("Patient/1", 1) is None
    assert each_store.get_many([]) == {}
    assert each_store.guards([]) == {}
    assert each_store.find_each([]) == []
    assert each_store.find_referrers([]) == {}


def test_many_can_be_read_without_bodies(each_store: MongoStore, change: MakeChange) -> None:
    each_store.commit(Plan((change("Patient/1"), change("Patient/2"))))
    found = each_store.get_many(["Patient/1", "Patient/2"], with_body=False)
    assert {reference: document.body for reference, document in found.items()} == {"Patient/1": None, "Patient/2": None}


def test_a_deleted_resource_is_a_tombstone_that_no_search_meets(each_store: MongoStore, change: MakeChange) -> None:
    each_store.commit(Plan((change("Patient/1", t=["a"], x=["Group/1"]),)))
    each_store.commit(Plan((change("Patient/1", 1, None),)))

    assert each_store.get("Patient/1") == Document("Patient/1", 2, WHEN, True, None, "DELETE")
    assert each_store.get_many(["Patient/1"])["Patient/1"].deleted
    for filter in ({}, {"t": "a"}, {"type": "Patient"}, {"_id": "Patient/1"}, {"type": {"$ne": "Group"}}):
        assert each_store.find(Query(filter)) == []
        assert each_store.find_each([filter]) == [[]]
        assert each_store.count(filter) == 0
        assert list(each_store.iterate(Query(filter))) == []
    assert each_store.find_referrers(["Group/1"]) == {}
    assert each_store.counts() == {}


def test_a_page_is_sorted_limited_and_carries_what_was_asked_for(each_store: MongoStore, change: MakeChange) -> None:
    changes = [change(f"Observation/{n}", t=["c"], ds=WHEN + timedelta(days=n), r=["x"]) for n in range(9)]
    each_store.commit(Plan(tuple(changes)))

    query = Query({"t": "c"}, sort=(("ds", -1), ("_id", 1)), limit=3, hint="token", index_fields=("ds",))
    page = each_store.find(query)
    assert [document.reference for document in page] == ["Observation/8", "Observation/7", "Observation/6"]
    assert page[0].index == {"ds": WHEN + timedelta(days=8)}
    assert page[0].body == b"{}"

    bare = each_store.find(Query({"t": "c"}, with_body=False, limit=1))[0]
    assert (bare.body, bare.index) == (None, {})
    whole = each_store.find(Query({"t": "c"}, with_body=False, with_index=True, limit=1))[0]
    assert whole.index == {"t": ["c"], "ds": WHEN, "r": ["x"]}
    assert each_store.find(Query({"t": "c"}, with_index=True, limit=1))[0].body == b"{}"


def test_a_page_larger_than_one_answer_of_the_database_is_whole(each_store: MongoStore, change: MakeChange) -> None:
    body = b'"' + b"x" * 900_000 + b'"'
    for start in (0, 10, 20):
        each_store.commit(Plan(tuple(change(f"Binary/{n:02}", body=body) for n in range(start, start + 10))))
    found = each_store.find(Query({"type": "Binary"}))
    assert [document.reference for document in found] == [f"Binary/{n:02}" for n in range(30)]
    assert all(document.body == body for document in found)


def test_many_small_queries_are_answered_each_for_itself(each_store: MongoStore, change: MakeChange) -> None:
    each_store.commit(Plan(tuple(change(f"Patient/{n}", t=["all", f"n|{n}"]) for n in range(700))))
    filters = [{"t": f"n|{n}"} for n in range(700)] + [{"t": "all"}, {"t": "none"}]
    found = each_store.find_each(filters, limit=2)
    assert [[one.reference for one in each] for each in found[:700]] == [[f"Patient/{n}"] for n in range(700)]
    assert (len(found[700]), found[701]) == (2, [])
    assert found[0][0].body is None


def test_referrers_are_found_but_for_the_resource_itself(each_store: MongoStore, change: MakeChange) -> None:
    each_store.commit(
        Plan(
            (
                change("Patient/1", x=["Patient/1", "Practitioner/1"]),
                change("Observation/1", x=["Patient/1"]),
                change("Observation/2", x=["Patient/1", "Patient/2"]),
            )
        )
    )
    found = each_store.find_referrers(["Patient/1", "Patient/2", "Patient/3"])
    assert {target: set(referrers) for target, referrers in found.items()} == {
        "Patient/1": {"Observation/1", "Observation/2"},
        "Patient/2": {"Observation/2"},
    }
    assert len(each_store.find_referrers(["Patient/1"], limit=1)["Patient/1"]) == 1


def test_counts_and_estimates(each_store: MongoStore, change: MakeChange, monkeypatch: pytest.MonkeyPatch) -> None:
    patients = [change(f"Patient/{n}", t=["even" if n % 2 == 0 else "odd"]) for n in range(60)]
    each_store.commit(Plan((*patients, change("Group/1"))))
    assert each_store.count({}) == 61
    assert each_store.count({"t": "even"}) == 30
    assert each_store.count({"t": "even"}, limit=7) == 7
    assert each_store.estimate({"t": "odd"}) == 30
    assert each_store.counts() == {"Group": 1, "Patient": 60}
    assert len(list(each_store.iterate(Query({"t": "odd"}, index_fields=("t",))))) == 30

    monkeypatch.setattr("fhir_server.storage.mongo._ESTIMATE_EXACTLY", 10)
    assert each_store.estimate({"t": "nobody"}) == 0
    assert 10 <= each_store.estimate({"t": "odd"}) <= 61


def test_a_read_that_takes_too_long_is_given_up(make_store: Callable[..., MongoStore], change: MakeChange) -> None:
    store = make_store(read_milliseconds=20)
    store.commit(Plan((change("Patient/1"),)))
    endless = {"$where": "while (true) { }"}
    with pytest.raises(Timeout):
        store.find(Query(endless))
    with pytest.raises(Timeout):
        store.count(endless)


def test_guards_are_counted(each_store: MongoStore, change: MakeChange) -> None:
    each_store.commit(Plan((change("Patient/1"),), (Guard("a", 0), Guard("b", 0))))
    each_store.commit(Plan((change("Patient/2"),), (Guard("a", 1),)))
    assert each_store.guards(["a", "b", "c"]) == {"a": 2, "b": 1}


def test_concurrent_reads_each_get_their_own_answer(each_store: MongoStore, change: MakeChange) -> None:
    each_store.commit(Plan(tuple(change(f"Patient/{n}", body=b"%d" % n) for n in range(50))))

    def read(number: int) -> Any:
        found = each_store.get(f"Patient/{number}")
        return found and found.body

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(read, [n % 60 for n in range(1200)]))
    assert answers == [b"%d" % (n % 60) if n % 60 < 50 else None for n in range(1200)]


def test_what_one_store_has_written_every_other_reads_at_once(
    make_store: Callable[..., MongoStore], change: MakeChange
) -> None:
    writer, reader, driver = make_store(), make_store(), make_store(driver_only=True)
    for number in range(60):
        writer.commit(Plan((change("Patient/1", number, b"%d" % number),)))
        for store in (reader, driver):
            found = store.get("Patient/1")
            assert found is not None
            assert found.version == number + 1
            assert store.count({"type": "Patient"}) == 1
