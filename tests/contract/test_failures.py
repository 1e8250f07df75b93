"""What goes wrong in a database, and what must not come of it: nothing lost, nothing doubled, nothing half done."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pymongo.errors import AutoReconnect, OperationFailure

from fhir_server.storage.embedded import EmbeddedMongod
from fhir_server.storage.mongo import MongoStore
from fhir_server.storage.store import Change, HistoryQuery, Plan, Query, StoreUnavailable, VersionConflict

MakeChange = Callable[..., Change]
MakeStore = Callable[..., MongoStore]


@contextmanager
def failing(store: MongoStore, times: int, **how: Any) -> Iterator[None]:
    """Make the next commands of some names fail, as often as said."""
    admin = store.connection.client.admin
    admin.command("configureFailPoint", "failCommand", mode={"times": times}, data={"appName": "fhir-server", **how})
    try:
        yield
    finally:
        admin.command("configureFailPoint", "failCommand", mode="off")


def consistent(store: MongoStore) -> dict[str, int]:
    """Return every resource's version, having checked that history and outbox tell the same, once."""
    current = {found["_id"]: found["version"] for found in store.connection.database["resources"].find()}
    versions = [(version.reference, version.version) for version in store.history(HistoryQuery(limit=100_000))]
    assert sorted(versions) == sorted((ref, n) for ref, last in current.items() for n in range(1, last + 1))
    announced = [
        (change[0], change[1]) for entry in store.connection.database["outbox"].find() for change in entry["changes"]
    ]
    assert sorted(announced) == sorted(versions)
    return current


@pytest.mark.parametrize(
    "how",
    [
        {"failCommands": ["insert"], "errorCode": 251, "errorLabels": ["TransientTransactionError"]},
        {"failCommands": ["insert"], "errorCode": 112, "errorLabels": ["TransientTransactionError"]},
        {"failCommands": ["insert"], "closeConnection": True},
        {"failCommands": ["commitTransaction"], "errorCode": 91},
        {"failCommands": ["commitTransaction"], "closeConnection": True},
        {"failCommands": ["commitTransaction"], "writeConcernError": {"code": 91, "errmsg": "shutting down"}},
        {"failCommands": ["commitTransaction"], "errorCode": 251, "errorLabels": ["TransientTransactionError"]},
    ],
    ids=lambda how: f"{how['failCommands'][0]}-{how.get('errorCode', 'lost')}",
)
def test_a_commit_survives_failures_and_happens_once(
    each_store: MongoStore, change: MakeChange, how: dict[str, Any]
) -> None:
    store = each_store
    with failing(store, 3, **how):
        store.commit(Plan((change("Patient/1"), change("Patient/2"))))
    assert consistent(store) == {"Patient/1": 1, "Patient/2": 1}


@pytest.mark.parametrize("driver_only", [False, True])
def test_what_may_have_been_committed_is_read_from_the_database(
    make_store: MakeStore, change: MakeChange, driver_only: bool
) -> None:
    names: list[str] = []
    store, reader = make_store(commit_seconds=0.3, driver_only=driver_only), make_store(listener=names.append)
    store.commit(Plan((change("Patient/1"), change("Patient/2"))))
    lost: dict[str, Any] = {"failCommands": ["commitTransaction"], "closeConnection": True}
    with failing(store, 10_000, **lost), pytest.raises(StoreUnavailable):
        store.commit(Plan((change("Patient/1", 1, b"2"),)))
    refused: dict[str, Any] = {"failCommands": ["insert"], "errorCode": 13}
    with failing(store, 1, **refused), pytest.raises(OperationFailure):
        store.commit(Plan((change("Patient/2", 1, b"2"),)))
    for reference, sent in (("Patient/1", ["find"]), ("Patient/2", [])):
        reader.get(reference)
        names.clear()
        reader.get(reference)
        assert names == sent
    store.connection.client.admin.command("killAllSessions", [])  # else the one given up holds its locks for a minute


@pytest.mark.parametrize("driver_only", [False, True])
def test_a_commit_that_cannot_be_is_given_up_in_time(
    make_store: MakeStore, change: MakeChange, driver_only: bool
) -> None:
    store = make_store(commit_seconds=0.5, driver_only=driver_only)
    with (
        failing(store, 10_000, failCommands=["insert"], errorCode=112, errorLabels=["TransientTransactionError"]),
        pytest.raises(StoreUnavailable),
    ):
        store.commit(Plan((change("Patient/1"),)))
    with (
        failing(store, 10_000, failCommands=["commitTransaction"], errorCode=91),
        pytest.raises(StoreUnavailable),
    ):
        store.commit(Plan((change("Patient/2"),)))
    store.connection.client.admin.command("killAllSessions", [])  # else the one given up holds its locks for a minute
    assert consistent(store) == {}


def test_an_error_that_no_retry_helps_is_raised_at_once(each_store: MongoStore, change: MakeChange) -> None:
    store = each_store
    with failing(store, 1, failCommands=["insert"], errorCode=13), pytest.raises(OperationFailure):
        store.commit(Plan((change("Patient/1"),)))
    assert consistent(store) == {}


@pytest.mark.parametrize("command", ["insert", "commitTransaction"])
def test_writes_and_commits_whose_answer_is_lost_are_done_once(
    store: MongoStore, change: MakeChange, command: str
) -> None:
    store.commit(Plan((change("Patient/1"),)))
    wire = store.connection.reader._wire  # type: ignore[attr-defined]
    exchange, lost = wire.exchange, []

    def lose(commands: Any, *, repeatable: bool) -> Any:
        replies = exchange(commands, repeatable=repeatable)
        if command in commands[0] and len(lost) < 2:
            lost.append(replies)
            raise AutoReconnect("the answer was lost")
        return replies

    wire.exchange = lose
    store.commit(Plan((change("Patient/1", 1), change("Patient/2"))))
    assert len(lost) == 2
    assert consistent(store) == {"Patient/1": 2, "Patient/2": 1}


def test_a_session_is_used_again_only_when_its_transaction_is_over(store: MongoStore, change: MakeChange) -> None:
    for number in range(5):
        store.commit(Plan((change(f"Patient/{number}"),)))
    idle = store.connection._transactions._idle  # type: ignore[union-attr]
    assert [session.number for session in idle] == [5]
    with failing(store, 1, failCommands=["insert"], closeConnection=True):
        store.commit(Plan((change("Patient/9"),)))
    assert [session.number for session in idle] == [1]  # the one that broke is left to die
    with pytest.raises(VersionConflict):
        store.commit(Plan((change("Patient/9"),)))
    store.commit(Plan((change("Patient/10"),)))
    assert len(idle) == 1


@pytest.mark.parametrize("driver_only", [False, True])
def test_a_read_survives_a_lost_connection(make_store: MakeStore, change: MakeChange, driver_only: bool) -> None:
    store = make_store(driver_only=driver_only)
    store.commit(Plan((change("Patient/1"),)))
    assert store.get("Patient/1") is not None
    if driver_only:
        with failing(store, 1, failCommands=["find"], closeConnection=True):
            assert store.get("Patient/1") is not None
    else:
        for connection in store.connection.reader._wire._idle:  # type: ignore[attr-defined]
            connection.shutdown(2)
        assert store.get("Patient/1") is not None


def test_a_database_without_primary_is_unavailable(make_store: MakeStore) -> None:
    store = make_store(driver_only=True)
    with failing(store, 3, failCommands=["find", "count"], errorCode=10107), pytest.raises(StoreUnavailable):
        store.get("Patient/1")


def test_an_unreachable_database_is_unavailable_and_says_so(tmp_path: Path, change: MakeChange) -> None:
    store = MongoStore(f"mongodb://{str(tmp_path / 'none.sock').replace('/', '%2F')}/?serverSelectionTimeoutMS=200")
    with pytest.raises(StoreUnavailable):
        store.get("Patient/1")
    with pytest.raises(StoreUnavailable):
        store.find(Query({}))
    status = store.status()
    assert not status.ready
    assert "cannot be reached" in status.detail
    store.close()


class Writer:
    """Creates and updates from several threads and remembers what was acknowledged."""

    def __init__(self, store: MongoStore, change: MakeChange) -> None:
        self.store = store
        self.change = change
        self.acknowledged: dict[str, int] = {}
        self.stop = threading.Event()

    def run(self, thread: int) -> None:
        """Write until told to stop: a new resource, then two updates of it, each with its neighbour's twin."""
        number = 0
        while not self.stop.is_set():
            number += 1
            reference = f"Patient/{thread}-{number}"
            for version in range(3):
                try:
                    twin = self.change(f"{reference}-twin", version)
                    self.store.commit(Plan((self.change(reference, version, b"%d" % version), twin)))
                except (StoreUnavailable, VersionConflict):
                    break  # nothing was promised
                self.acknowledged[reference] = version + 1


def test_kill_9_of_mongod_amid_writes_loses_nothing_that_was_answered(tmp_path: Path, change: MakeChange) -> None:
    with EmbeddedMongod(tmp_path, cache_size=2**28) as mongod:
        store = MongoStore(mongod.uri)
        store.prepare()
        writer = Writer(store, change)
        with ThreadPoolExecutor(6) as pool:
            runs = [pool.submit(writer.run, thread) for thread in range(6)]
            for _ in range(2):
                killed = await_progress(writer, mongod)
                os.kill(killed, signal.SIGKILL)
                until(lambda killed=killed: mongod.state == "running" and mongod.pid not in (None, killed))
            await_progress(writer, mongod)
            writer.stop.set()
            for run in runs:
                run.result()
        current = consistent(store)
        assert {reference: current[reference] for reference in writer.acknowledged} | writer.acknowledged == {
            reference: max(current[reference], version) for reference, version in writer.acknowledged.items()
        }
        assert all(version == current[f"{ref}-twin"] for ref, version in current.items() if not ref.endswith("-twin"))
        store.close()


def await_progress(writer: Writer, mongod: EmbeddedMongod) -> int:
    """Wait until some more writes were acknowledged; return the id of the running mongod."""
    before = len(writer.acknowledged)
    until(lambda: len(writer.acknowledged) > before + 20 and mongod.pid is not None)
    assert mongod.pid is not None
    return mongod.pid


def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait for the condition; fail when it does not come."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


SERVER = textwrap.dedent(
    """
    import sys
    from datetime import UTC, datetime
    from pathlib import Path
    from fhir_server.storage.embedded import EmbeddedMongod
    from fhir_server.storage.mongo import MongoStore
    from fhir_server.storage.store import Change, Plan
    mongod = EmbeddedMongod(Path(sys.argv[1]), cache_size=2**28)
    store = MongoStore(mongod.start())
    store.prepare()
    now = datetime(2026, 1, 1, tzinfo=UTC)
    for number in range(100_000):
        store.commit(Plan((Change(f"Patient/{number}", 0, 1, "PUT", now, b"{}", {}),)))
        print(mongod.pid, number, flush=True)
    """
)


def test_kill_9_of_server_and_mongod_recovers_at_the_next_start(tmp_path: Path) -> None:
    acknowledged = 0
    for _ in range(2):
        server = subprocess.Popen([sys.executable, "-c", SERVER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        lines = []
        for line in server.stdout:
            lines.append(line.split())
            if len(lines) > 30:
                break
        server.kill()
        for pid in {int(pid) for pid, _ in lines}:
            os.kill(pid, signal.SIGKILL)
        acknowledged = int(lines[-1][1])
        server.stdout.close()
        server.wait()
        with EmbeddedMongod(tmp_path, cache_size=2**28) as mongod:
            store = MongoStore(mongod.uri)
            current = consistent(store)
            assert all(current.get(f"Patient/{number}") == 1 for number in range(acknowledged + 1))
            store.connection.client.drop_database("fhir")
            store.close()
