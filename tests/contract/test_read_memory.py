"""A read that comes from memory says what the database would say, whoever has written in between."""

import multiprocessing
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pymongo.errors import AutoReconnect

from fhir_server.storage.connection import local_socket
from fhir_server.storage.embedded import EmbeddedMongod
from fhir_server.storage.index_writer import LeaseLost, Rewrite
from fhir_server.storage.mongo import MongoStore
from fhir_server.storage.stamps import Stamps, reset, to_path
from fhir_server.storage.store import Change, Plan, VersionConflict
from tests.contract.racing import race

MakeChange = Callable[..., Change]
MakeStore = Callable[..., MongoStore]
Told = tuple[MongoStore, list[str]]

NAME = "Patient/1"


@pytest.fixture(params=["socket", "driver"])
def reader(make_store: MakeStore, request: pytest.FixtureRequest) -> Told:
    """A store and the names of the commands that it sends."""
    names: list[str] = []
    return make_store(driver_only=request.param == "driver", listener=names.append), names


@pytest.fixture
def stamps(make_store: MakeStore) -> Stamps:
    """The stamps of the test's database as a further process would have them."""
    connection = make_store().connection
    return Stamps(to_path(Path(local_socket(connection._uri) or "")), connection._name)


def body(store: MongoStore, reference: str = NAME) -> bytes | None:
    """Return the body of the current version."""
    found = store.get(reference)
    return found.body if found is not None else None


def test_what_nobody_has_changed_is_read_once(reader: Told, change: MakeChange) -> None:
    store, names = reader
    store.commit(Plan((change(NAME, pt=NAME, l=["R"], ds=change(NAME).updated),)))
    first = store.get(NAME)
    names.clear()
    assert store.get(NAME) == first == store.get_many([NAME])[NAME]
    assert names == []
    assert first is not None
    assert first.index["pt"] == NAME
    assert first.index["l"] == ["R"]


def test_what_is_referred_to_is_looked_up_once(reader: Told, make_store: MakeStore, change: MakeChange) -> None:
    store, names = reader
    store.commit(Plan((change(NAME, pt=NAME),)))
    first = store.get_many([NAME, "Patient/none"], with_body=False)
    names.clear()
    assert store.get_many([NAME], with_body=False) == first
    assert names == []
    assert first[NAME].body is None
    assert body(store) == b"{}"
    make_store().commit(Plan((change(NAME, 1, None),)))
    assert store.get_many([NAME], with_body=False)[NAME].deleted
    assert store.get_many([NAME], with_body=False)[NAME].version == 2


def test_some_from_memory_and_the_rest_in_one_question(reader: Told, change: MakeChange) -> None:
    store, names = reader
    store.commit(Plan(tuple(change(f"Patient/{n}", body=b"%d" % n) for n in range(9))))
    store.get_many(["Patient/0", "Patient/5"])
    names.clear()
    found = store.get_many([f"Patient/{n}" for n in range(10)])
    assert {reference: one.body for reference, one in found.items()} == {f"Patient/{n}": b"%d" % n for n in range(9)}
    assert names == ["find"]


@pytest.mark.parametrize("driver_only", [False, True])
def test_what_another_store_has_written_is_seen_at_once(
    reader: Told, make_store: MakeStore, change: MakeChange, driver_only: bool
) -> None:
    store, other = reader[0], make_store(driver_only=driver_only)
    assert store.get(NAME) is None
    other.commit(Plan((change(NAME, 0, b"1"),)))
    assert body(store) == b"1"
    other.commit(Plan((change(NAME, 1, b"2"),)))
    assert body(store) == b"2"
    other.commit(Plan((change(NAME, 2, None),)))
    deleted = store.get(NAME)
    assert deleted is not None
    assert deleted.deleted
    assert body(store) is None


def test_rewritten_index_fields_are_seen_at_once(reader: Told, make_store: MakeStore, change: MakeChange) -> None:
    store, other = reader[0], make_store()
    store.commit(Plan((change(NAME, pt=NAME, l=["R"]),)))
    assert store.get(NAME).index["l"] == ["R"]  # type: ignore[union-attr]
    other.connection.database["jobs"].insert_one({"_id": "job"})
    other.index_writer.rewrite([Rewrite(NAME, 1, {"l": ["V"]}, ())], "jobs", {"_id": "job"}, [{"$set": {"n": 1}}])
    assert store.get(NAME).index["l"] == ["V"]  # type: ignore[union-attr]
    with pytest.raises(LeaseLost):
        other.index_writer.rewrite([Rewrite(NAME, 1, {"l": []}, ())], "jobs", {"_id": "x"}, [{"$set": {"n": 1}}])
    assert store.get(NAME).index["l"] == ["V"]  # type: ignore[union-attr]


def test_while_somebody_writes_the_database_is_asked(reader: Told, stamps: Stamps, change: MakeChange) -> None:
    store, names = reader
    store.commit(Plan((change(NAME),)))
    store.get(NAME)
    first, second = stamps.begin([NAME, "Patient/2"]), stamps.begin([NAME])
    for marks in (first, second):
        names.clear()
        store.get(NAME)
        store.get(NAME)
        assert names == ["find", "find"]
        stamps.end(marks)
    store.get(NAME)
    names.clear()
    store.get(NAME)
    assert names == []


def test_a_writer_that_never_knew_leaves_its_mark(reader: Told, stamps: Stamps, change: MakeChange) -> None:
    store, names = reader
    store.commit(Plan((change(NAME),)))
    lost = AutoReconnect("gone")
    with pytest.raises(AutoReconnect), stamps.changing([NAME], lambda error: error is lost):
        raise lost
    store.get(NAME)
    names.clear()
    store.get(NAME)
    assert names == ["find"]


def test_a_writer_that_was_refused_leaves_none(reader: Told, make_store: MakeStore, change: MakeChange) -> None:
    store, names = reader
    other = make_store()
    store.commit(Plan((change(NAME),)))
    with pytest.raises(VersionConflict):
        other.commit(Plan((change(NAME, 7, b"never"),)))
    store.get(NAME)
    names.clear()
    assert body(store) == b"{}"
    assert names == []


def test_a_start_forgets_the_marks_of_the_dead_and_what_was_read_before(tmp_path: Path) -> None:
    path = tmp_path / "stamps"
    reset(path)
    running = Stamps(path, "x")
    before = running.stamp(NAME)
    dead = running.begin([NAME])
    assert running.stamp(NAME) is None
    time.sleep(0.002)
    reset(path)
    after = running.stamp(NAME)
    assert after is not None
    assert after != before
    running.end(dead)  # it was not dead after all
    assert running.stamp(NAME) not in (None, after)


def test_a_file_that_another_user_could_have_left_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "stamps"
    assert Stamps(path, "x").stamp(NAME) is None
    assert Stamps(None, "x").stamp(NAME) is None
    reset(tmp_path / "real")
    path.symlink_to(tmp_path / "real")
    assert Stamps(path, "x").stamp(NAME) is None
    (tmp_path / "short").write_bytes(b"0")
    assert Stamps(tmp_path / "short", "x").stamp(NAME) is None


def test_databases_beside_each_other_have_stamps_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "stamps"
    reset(path)
    one, two = Stamps(path, "one"), Stamps(path, "two")
    one.begin([NAME])
    assert one.stamp(NAME) is None
    assert two.stamp(NAME) is not None


def _count(path: Path, rounds: int) -> None:
    stamps = Stamps(path, "x")
    for _ in range(rounds):
        stamps.end(stamps.begin([NAME, "Patient/2"]))


def test_marks_of_many_processes_and_threads_are_all_counted(tmp_path: Path) -> None:
    path = tmp_path / "stamps"
    reset(path)
    stamps = Stamps(path, "x")
    before = stamps.stamp(NAME)
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_count, args=(path, 300)) for _ in range(2)]
    threads = [threading.Thread(target=_count, args=(path, 300)) for _ in range(2)]
    shared = [threading.Thread(target=lambda: [stamps.end(stamps.begin([NAME])) for _ in range(300)]) for _ in "ab"]
    for one in (*processes, *threads, *shared):
        one.start()
    for one in (*processes, *threads, *shared):
        one.join()
    after = stamps.stamp(NAME)
    assert before is not None
    assert after is not None
    assert after - before == 6 * 300 << 16


def _write(uri: str, database: str, rounds: int, shown: Any) -> None:
    store = MongoStore(uri, database)
    found = store.get(NAME)
    assert found is not None
    for version in range(found.version, found.version + rounds):
        updated = found.updated + timedelta(milliseconds=version)
        store.commit(Plan((Change(NAME, version, version + 1, "PUT", updated, b"%d" % (version + 1), {}, 0),)))
        shown.value = version + 1
    store.close()


def test_nobody_reads_back_behind_what_was_acknowledged_or_shown(
    mongod: EmbeddedMongod, make_store: MakeStore, change: MakeChange
) -> None:
    stores = [make_store() for _ in range(3)]
    stores[0].commit(Plan((change(NAME, 0, b"1"),)))
    given = (mongod.uri, stores[0].connection._name, 150)
    assert race(stores, _write, given, lambda store: int(body(store) or b"0")) == (151, 151)
