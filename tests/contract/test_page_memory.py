"""Pages whose bodies come from memory say exactly what the database would say, whatever happens in between."""

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fhir_server.storage.mongo import MongoStore
from fhir_server.storage.store import Change, Plan, Query

MakeChange = Callable[..., Change]
MakeStore = Callable[..., MongoStore]

NEWEST = (("ds", -1), ("_id", -1))
PAGE = Query({"t": "code|7"}, NEWEST, 51, "token", index_fields=("ds",))
RANGE = Query({"t": "code|7", "ds": {"$gte": datetime(2026, 1, 5, tzinfo=UTC)}}, NEWEST, 20, index_fields=("ds",))
OF_PATIENT = Query({"pt": "Patient/1", "t": "code|7"}, NEWEST, 10, index_fields=("ds",))
EVERYTHING = Query({"type": "Observation"}, (("updated", -1), ("_id", -1)), 100, index_fields=("updated",))
QUERIES = (PAGE, RANGE, OF_PATIENT, EVERYTHING, replace(PAGE, hint=None, sort=(("_id", 1),), limit=0))


class Clock:
    """Moments that never come twice."""

    def __init__(self) -> None:
        self._now = datetime(2026, 5, 4, tzinfo=UTC)

    def __call__(self) -> datetime:
        """Return the next millisecond."""
        self._now += timedelta(milliseconds=1)
        return self._now


def observation(change: MakeChange, clock: Clock, number: int, expected: int, body: bytes | None) -> Change:
    """Return a change of one of the Observations; its body and what it is found by depend on the version."""
    index: dict[str, Any] = {
        "t": [f"code|{7 + (number + expected) % 2 % (1 + number % 3)}", "Observation"],
        "ds": datetime(2026, 1, 1 + (number + expected) % 28, tzinfo=UTC),
        "pt": f"Patient/{number % 2}",
        "c": [f"Patient/{number % 2}", "Encounter/1"],
        **({"l": ["conf|R"]} if expected % 2 else {}),
    }
    given = index if body is not None else {}
    return change(f"Observation/{number}", expected, body, updated=clock(), **given)


def said(store: MongoStore, query: Query) -> list[tuple[Any, ...]]:
    """Return all that a page was asked to say of its documents."""
    names = ("pt", "c", "l", *(name for name in query.index_fields if name != "updated"))
    return [
        (d.reference, d.version, d.updated, d.deleted, d.body, d.method, {n: d.index[n] for n in names if n in d.index})
        for d in store.find(query)
    ]


def warm(store: MongoStore, query: Query = PAGE) -> None:
    """List the same page until it comes from memory."""
    for _ in range(20):
        store.find(query)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("limit", [6_000, 24 << 20], ids=["small", "large"])
def test_a_page_from_memory_is_the_databases(make_store: MakeStore, change: MakeChange, seed: int, limit: int) -> None:
    chance, clock = random.Random(seed), Clock()
    # A document may take a sixteenth of the limit: with the small one, few are kept, and none for long.
    remembering, forgetful = make_store(body_cache=limit * 16), make_store(body_cache=0)
    versions = dict.fromkeys(range(12), 0)
    for turn in range(60):
        number = chance.randrange(12)
        deleted = versions[number] > 0 and chance.random() < 0.2
        body = None if deleted else b'{"n":%d}' % turn
        if chance.random() < 0.1:
            purge(forgetful, number)
            versions[number], body = 0, b'{"n":%d}' % turn
        forgetful.commit(Plan((observation(change, clock, number, versions[number], body),)))
        versions[number] += 1
        for query in QUERIES:
            assert said(remembering, query) == said(forgetful, query)


def purge(store: MongoStore, number: int) -> None:
    """Remove a resource as if it had never been: its versions then begin with 1 again."""
    database = store.connection.database
    database["resources"].delete_one({"_id": f"Observation/{number}"})
    database["history"].delete_many({"ref": f"Observation/{number}"})


def test_a_page_in_memory_takes_one_command_and_no_document(make_store: MakeStore, change: MakeChange) -> None:
    names: list[str] = []
    store, clock = make_store(listener=names.append), Clock()
    store.commit(Plan(tuple(observation(change, clock, 3 * number, 0, b"{}") for number in range(30))))
    warm(store)
    database = store.connection.database
    database.command("profile", 2)
    try:
        names.clear()
        assert len(store.find(PAGE)) == 30
        assert names == ["find"]
    finally:
        database.command("profile", 0)
    (account,) = database["system.profile"].find({"op": "query", "ns": f"{database.name}.resources"})
    assert account["docsExamined"] == 0
    assert account["nreturned"] == account["keysExamined"] == 30


def test_what_is_not_in_memory_takes_one_command_more(make_store: MakeStore, change: MakeChange) -> None:
    names: list[str] = []
    store, clock = make_store(listener=names.append), Clock()
    store.commit(Plan(tuple(observation(change, clock, 3 * number, 0, b"{}") for number in range(30))))
    warm(store)
    make_store().commit(Plan((observation(change, clock, 90, 0, b'{"new":1}'),)))
    names.clear()
    assert b'{"new":1}' in [found.body for found in store.find(PAGE)]
    assert names == ["find", "find"]


def test_a_version_replaced_between_the_two_commands_is_not_mixed_up(make_store: MakeStore, change: MakeChange) -> None:
    clock, other = Clock(), make_store()
    asked = 100

    def race(_: str) -> None:
        nonlocal asked
        asked += 1
        if asked == 2:
            other.commit(Plan((observation(change, clock, 0, 2, b'{"third":1}'),)))

    store = make_store(listener=race)
    other.commit(Plan(tuple(observation(change, clock, 3 * number, 0, b"{}") for number in range(30))))
    warm(store)
    other.commit(Plan((observation(change, clock, 0, 1, b'{"second":1}'),)))
    asked = 0
    found = {one.reference: one for one in store.find(PAGE)}
    assert asked == 3
    assert (found["Observation/0"].version, found["Observation/0"].body) == (3, b'{"third":1}')


def test_bodies_in_files_are_never_kept(make_store: MakeStore, change: MakeChange) -> None:
    names: list[str] = []
    store, clock = make_store(listener=names.append, large_body=100), Clock()
    store.commit(Plan((observation(change, clock, 0, 0, b'"%b"' % (b"x" * 200)),)))
    warm(store)
    names.clear()
    assert [len(found.body or b"") for found in store.find(PAGE)] == [202]
    assert names == ["find", "find"]  # the document, and its file
