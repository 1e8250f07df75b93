"""A page that comes from memory alone is the page that the database would give, whoever has written in between."""

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fhir_server.storage.connection import local_socket
from fhir_server.storage.embedded import EmbeddedMongod
from fhir_server.storage.index_writer import Rewrite
from fhir_server.storage.mongo import MongoStore
from fhir_server.storage.page_memory import PageMemory
from fhir_server.storage.stamps import Stamps, reset, to_path
from fhir_server.storage.store import Change, Plan, Query
from tests.contract.racing import race

MakeChange = Callable[..., Change]
MakeStore = Callable[..., MongoStore]
Told = tuple[MongoStore, list[str]]

PAGE = Query({"t": "code|7"}, (("ds", -1), ("_id", -1)), 51, "token", index_fields=("ds",), types=("Observation",))
BOTH = replace(PAGE, types=("Observation", "Condition"))
DAY = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def reader(make_store: MakeStore) -> Told:
    """A store and the names of the commands that it sends."""
    names: list[str] = []
    return make_store(listener=names.append), names


@pytest.fixture
def stamps(make_store: MakeStore) -> Stamps:
    """The stamps of the test's database as a further process would have them."""
    connection = make_store().connection
    return Stamps(to_path(Path(local_socket(connection._uri) or "")), connection._name)


def fill(store: MongoStore, change: MakeChange, count: int = 30) -> None:
    """Write Observations that the page finds."""
    changes = [
        change(f"Observation/{n:02}", body=b'{"n":%d}' % n, t=["code|7"], ds=DAY + timedelta(days=n))
        for n in range(count)
    ]
    store.commit(Plan(tuple(changes)))


def bodies(store: MongoStore, query: Query = PAGE) -> list[bytes | None]:
    """Return the bodies of a page in order."""
    return [found.body for found in store.find(query)]


def test_a_page_is_asked_for_once_while_nothing_of_its_type_changes(reader: Told, change: MakeChange) -> None:
    store, names = reader
    fill(store, change)
    first = store.find(PAGE)
    store.commit(Plan((change("Patient/1"),)))
    names.clear()
    assert store.find(PAGE) == first
    assert len(first) == 30
    assert names == []


def test_an_empty_page_is_a_page_too(reader: Told, change: MakeChange) -> None:
    store, names = reader
    assert store.find(PAGE) == []
    names.clear()
    assert store.find(PAGE) == []
    assert names == []
    fill(store, change, 1)
    assert bodies(store) == [b'{"n":0}']


@pytest.mark.parametrize("driver_only", [False, True])
def test_what_another_store_writes_is_on_the_next_page(
    reader: Told, make_store: MakeStore, change: MakeChange, driver_only: bool
) -> None:
    store, other = reader[0], make_store(driver_only=driver_only)
    fill(store, change, 2)
    assert bodies(store) == [b'{"n":1}', b'{"n":0}']
    other.commit(Plan((change("Observation/00", 1, b"newer", t=["code|7"], ds=DAY + timedelta(days=9)),)))
    assert bodies(store) == [b"newer", b'{"n":1}']
    other.commit(Plan((change("Observation/new", 0, b"new", t=["code|7"], ds=DAY),)))
    assert bodies(store) == [b"newer", b'{"n":1}', b"new"]
    other.commit(Plan((change("Observation/01", 1, None),)))
    assert bodies(store) == [b"newer", b"new"]
    other.commit(Plan((change("Observation/00", 2, b"no match", t=["code|8"], ds=DAY),)))
    assert bodies(store) == [b"new"]


def test_a_page_of_two_types_holds_as_long_as_both_do(reader: Told, make_store: MakeStore, change: MakeChange) -> None:
    store, names = reader
    other = make_store()
    fill(store, change, 1)
    assert len(store.find(BOTH)) == 1
    other.commit(Plan((change("Condition/1", body=b"c", t=["code|7"]),)))
    assert bodies(store, BOTH) == [b'{"n":0}', b"c"]
    names.clear()
    store.find(BOTH)
    assert names == []


def test_a_rewritten_index_is_searched_at_once(reader: Told, make_store: MakeStore, change: MakeChange) -> None:
    store, other = reader[0], make_store()
    fill(store, change, 1)
    store.find(PAGE)
    other.index_writer.write([Rewrite("Observation/00", 1, {"t": ["code|8"]}, ())])
    assert store.find(PAGE) == []


def test_while_somebody_writes_the_type_the_database_is_asked(reader: Told, stamps: Stamps, change: MakeChange) -> None:
    store, names = reader
    fill(store, change)
    store.find(PAGE)
    marks = stamps.begin(["Observation/elsewhere"])
    names.clear()
    store.find(PAGE)
    store.find(PAGE)
    assert names == ["find", "find"]
    stamps.end(marks)
    store.find(PAGE)
    names.clear()
    store.find(PAGE)
    assert names == []


def test_another_question_is_another_page(reader: Told, change: MakeChange) -> None:
    store = reader[0]
    fill(store, change)
    whole = store.find(PAGE)
    for other, expected in (
        (replace(PAGE, limit=10), whole[:10]),
        (replace(PAGE, sort=(("ds", 1), ("_id", 1))), whole[::-1]),
        (replace(PAGE, filter={"t": "code|8"}), []),
        (replace(PAGE, filter={"t": "code|7", "pt": "Patient/1"}), []),
        (replace(PAGE, filter={"t": "code|7", "ds": {"$lt": DAY + timedelta(days=5)}}), whole[-5:]),
        (PAGE, whole),
    ):
        assert store.find(other) == expected


def test_without_types_or_stamps_nothing_is_remembered(make_store: MakeStore, stamps: Stamps) -> None:
    assert PageMemory(stamps).question(replace(PAGE, types=())) is None
    assert PageMemory(Stamps(None, "x")).question(PAGE) is None
    assert PageMemory(stamps).question(replace(PAGE, filter={"t": {"$in": ["long"] * 1_000}})) is None


def test_what_is_remembered_is_bounded(tmp_path: Path) -> None:
    reset(tmp_path / "stamps")
    memory = PageMemory(Stamps(tmp_path / "stamps", "x"), most_rows=100)
    questions = [memory.question(replace(PAGE, limit=n)) for n in range(1, 8)]
    rows = [(f"Observation/{n}", DAY) for n in range(30)]
    for question in questions:
        assert question is not None
        memory.put(question, rows)
        memory.put(question, rows)
    assert [memory.get(one) is not None for one in questions if one is not None] == 6 * [False] + [True]


def test_bodies_forgotten_in_the_meantime_are_read_again(make_store: MakeStore, change: MakeChange) -> None:
    names: list[str] = []
    store = make_store(listener=names.append, body_cache=1)
    fill(store, change)
    first = bodies(store)
    names.clear()
    assert bodies(store) == first
    assert names == ["find"]


def _write(uri: str, database: str, rounds: int, shown: Any) -> None:
    store, chance = MongoStore(uri, database), random.Random(1)
    for number in range(rounds):
        kept = chance.random() < 0.7
        index = {"t": ["code|7"], "ds": DAY + timedelta(days=number)} if kept else {}
        change = Change(
            f"Observation/w{number:05}", 0, 1, "PUT", DAY + timedelta(milliseconds=number), b"%d" % number, index, 0
        )
        store.commit(Plan((change,)))
        if kept:
            shown.value = number
    store.close()


def test_nobody_is_given_a_page_behind_what_was_acknowledged_or_shown(
    mongod: EmbeddedMongod, make_store: MakeStore
) -> None:
    stores = [make_store() for _ in range(3)]
    newest = replace(PAGE, limit=1)

    def see(store: MongoStore) -> int:
        found = bodies(store, newest)
        return int(found[0] or b"") if found else -1

    seen, acknowledged = race(stores, _write, (mongod.uri, stores[0].connection._name, 150), see)
    assert seen == acknowledged > 0
