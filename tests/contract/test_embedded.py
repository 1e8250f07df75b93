"""The mongod of our own: one server a directory, found again after every kind of end."""

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fhir_server.errors import Text
from fhir_server.storage import mongod as mongod_module
from fhir_server.storage.connection import UnsuitableDatabase, _unsuitable
from fhir_server.storage.embedded import (
    DataDirectoryInUse,
    EmbeddedDatabaseError,
    EmbeddedMongod,
    default_cache_size,
)
from fhir_server.storage.mongo import MongoStore
from fhir_server.storage.mongod import find_mongod, find_orphan, to_layout
from fhir_server.storage.store import Change, Plan

MakeChange = Callable[..., Change]


def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait for the condition; fail when it does not come."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Callable[..., EmbeddedMongod]]:
    """Return a builder of embedded databases that are stopped in the end."""
    built: list[EmbeddedMongod] = []

    def make(directory: Path = tmp_path / "data", **options: object) -> EmbeddedMongod:
        built.append(EmbeddedMongod(directory, cache_size=2**28, **options))  # type: ignore[arg-type]
        return built[-1]

    yield make
    for each in built:
        each.stop()


def write_and_stop(database: EmbeddedMongod, change: MakeChange) -> None:
    """Store one resource and stop."""
    store = MongoStore(database.start())
    store.prepare()
    store.commit(Plan((change("Patient/1"),)))
    store.close()
    database.stop()


def has_patient(uri: str) -> bool:
    """Whether the resource is there."""
    store = MongoStore(uri)
    try:
        return store.get("Patient/1") is not None
    finally:
        store.close()


def test_it_listens_on_a_private_socket_and_no_port(mongod: EmbeddedMongod) -> None:
    assert mongod.state == "running"
    for directory in (mongod.directory, mongod.layout.data, mongod.layout.socket.parent):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(mongod.layout.socket.stat().st_mode) == 0o700
    listed = subprocess.run(["ls", "-l", f"/proc/{mongod.pid}/fd"], capture_output=True, text=True, check=True).stdout
    ours = {part.split(":[")[1].rstrip("]") for part in listed.split() if part.startswith("socket:[")}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        listening = {line.split()[9] for line in Path(table).read_text().splitlines()[1:] if line.split()[3] == "0A"}
        assert ours.isdisjoint(listening)


def test_a_second_server_on_the_directory_is_refused_in_both_languages(mongod: EmbeddedMongod) -> None:
    with pytest.raises(DataDirectoryInUse) as refusal:
        EmbeddedMongod(mongod.directory).start()
    assert refusal.value.holder == os.getpid()
    for text in refusal.value.text:
        assert str(mongod.directory) in text
        assert str(os.getpid()) in text
    assert mongod.state == "running"


def test_what_was_written_is_there_after_a_stop_and_a_start(
    build: Callable[..., EmbeddedMongod], change: MakeChange
) -> None:
    write_and_stop(build(), change)
    assert has_patient(build().start())


def test_a_directory_can_be_moved(build: Callable[..., EmbeddedMongod], change: MakeChange, tmp_path: Path) -> None:
    write_and_stop(build(tmp_path / "here"), change)
    shutil.move(tmp_path / "here", tmp_path / "there")
    assert has_patient(build(tmp_path / "there").start())


def test_a_deep_directory_has_its_socket_elsewhere(build: Callable[..., EmbeddedMongod], tmp_path: Path) -> None:
    database = build(tmp_path / ("deep" * 25))
    uri = database.start()
    assert not database.layout.socket.is_relative_to(tmp_path)
    assert stat.S_IMODE(database.layout.socket.parent.stat().st_mode) == 0o700
    store = MongoStore(uri)
    assert store.status().ready
    store.close()
    database.stop()
    shutil.rmtree(database.layout.socket.parent)


def test_a_foreign_socket_directory_is_refused(build: Callable[..., EmbeddedMongod], tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "run").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(EmbeddedDatabaseError, match="another user"):
        build().start()


def test_an_orphan_of_a_killed_server_is_ended_and_its_data_kept(
    build: Callable[..., EmbeddedMongod], change: MakeChange
) -> None:
    first = build()
    write_and_stop(first, change)
    orphan = subprocess.Popen(  # as a server leaves it whose mongod did not hear of its death
        [str(find_mongod()), "--dbpath", str(first.layout.data), "--replSet", "rs0", "--port", "27017",
         "--bind_ip", str(first.layout.socket), "--unixSocketPrefix", str(first.layout.socket.parent),
         "--setParameter", "shutdownTimeoutMillisForSignaledShutdown=100"],
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    until(lambda: find_orphan(first.layout) == orphan.pid)
    assert has_patient(build().start())
    assert orphan.wait(10) is not None


def test_stale_files_and_a_reused_process_id_do_no_harm(
    build: Callable[..., EmbeddedMongod], change: MakeChange
) -> None:
    first = build()
    write_and_stop(first, change)
    (first.layout.data / "mongod.lock").write_text(f"{os.getpid()}\n")  # a process that is no mongod
    (first.directory / "server.lock").write_text(f"{os.getpid()}\n")
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(first.layout.socket))
    assert find_orphan(first.layout) is None
    assert has_patient(build().start())
    (first.layout.data / "noise.lock").write_text("")


@pytest.mark.parametrize("content", ["", "no number", "4294967295", "é"])
def test_an_unreadable_note_names_no_orphan(tmp_path: Path, content: str) -> None:
    layout = to_layout(tmp_path)
    assert find_orphan(layout) is None
    layout.data.mkdir()
    (layout.data / "mongod.lock").write_text(content)
    assert find_orphan(layout) is None


def test_a_mongod_that_dies_is_started_again(build: Callable[..., EmbeddedMongod], change: MakeChange) -> None:
    with build() as database:
        store = MongoStore(database.uri)
        store.prepare()
        store.commit(Plan((change("Patient/1"),)))
        died = database.pid
        assert died is not None
        os.kill(died, signal.SIGKILL)
        until(lambda: database.state == "running" and database.pid not in (None, died))
        assert store.get("Patient/1") is not None
        store.commit(Plan((change("Patient/2"),)))
        store.close()


def test_one_that_keeps_dying_is_given_up_and_reported(build: Callable[..., EmbeddedMongod]) -> None:
    database = build()
    database.start()
    store = MongoStore(database.uri)
    died = database.pid
    assert died is not None
    os.kill(died, signal.SIGKILL)  # nobody watches: the first death is the last
    until(lambda: database.state == "failed")
    assert "-9" in database.detail
    assert database.pid is None
    assert not store.status().ready
    store.close()


def test_mongod_ends_with_a_server_that_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from fhir_server.storage.embedded import EmbeddedMongod\n"
        "mongod = EmbeddedMongod(Path(sys.argv[1]), cache_size=2**28); mongod.start()\n"
        "print(mongod.pid, flush=True); sys.stdin.read()"
    )
    server = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with server:
        assert server.stdout is not None
        pid = int(server.stdout.readline())
        assert find_orphan(to_layout(tmp_path)) == pid
        server.kill()
        until(lambda: find_orphan(to_layout(tmp_path)) is None)


def test_a_mongod_that_does_not_start_says_where_its_log_is(build: Callable[..., EmbeddedMongod]) -> None:
    with pytest.raises(EmbeddedDatabaseError) as failure:
        build(parameters=("thereIsNoSuchParameter=1",)).start()
    assert "mongod.log" in failure.value.text.en
    assert "journal" in failure.value.text.fr
    assert has_no_holder(build())


def has_no_holder(database: EmbeddedMongod) -> bool:
    """Whether the directory is free for a start."""
    database.start()
    return True


def test_without_any_mongod_both_ways_to_get_one_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mongod_module, "WHEEL", "no-such-wheel")
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(EmbeddedDatabaseError) as failure:
        find_mongod()
    for text in failure.value.text:
        assert "no-such-wheel" in text
        assert "PATH" in text


def test_a_mongod_on_path_will_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "mongod").symlink_to(find_mongod())
    monkeypatch.setattr(mongod_module, "WHEEL", "no-such-wheel")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_mongod() == tmp_path / "mongod"


def test_the_log_is_cut_and_holds_no_queries(
    build: Callable[..., EmbeddedMongod], monkeypatch: pytest.MonkeyPatch, change: MakeChange
) -> None:
    database = build()
    store = MongoStore(database.start())
    store.prepare()
    store.commit(Plan((change("Patient/secret-name", t=["secret-token"]),)))
    slow = {"t": "secret-token", "$where": "sleep(150) || true"}
    assert len(store.connection.database["resources"].find(slow).to_list()) == 1
    log = database.layout.log
    assert "secret" not in log.read_text()
    monkeypatch.setattr("fhir_server.storage.embedded._LOG_LIMIT", 1000)
    until(lambda: log.with_suffix(".log.1").exists() and log.exists())
    store.close()


def test_a_standalone_mongod_is_refused_with_the_reason(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [str(find_mongod()), "--dbpath", str(tmp_path), "--bind_ip", str(tmp_path / "m.sock"),
         "--unixSocketPrefix", str(tmp_path), "--port", "27017"],
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        until(lambda: mongod_module.answers(tmp_path / "m.sock"))
        store = MongoStore(f"mongodb://{str(tmp_path / 'm.sock').replace('/', '%2F')}")
        with pytest.raises(UnsuitableDatabase) as refusal:
            store.prepare()
        assert "--replSet" in refusal.value.text.en
        assert "isolé" in refusal.value.text.fr
        assert not store.status().ready
        assert "stands alone" in store.status().detail
        store.close()
    finally:
        process.terminate()
        process.wait(20)


def test_an_old_mongodb_is_refused_and_a_sharded_one_taken() -> None:
    refusal = _unsuitable({"maxWireVersion": 13, "setName": "rs0"}, "5.0.1")
    assert isinstance(refusal, Text)
    assert "5.0.1" in refusal.en
    assert _unsuitable({"maxWireVersion": 21, "msg": "isdbgrid"}, "7.0.0") is None


def test_the_cache_is_a_quarter_of_the_memory_at_most_2_gb() -> None:
    assert 0 < default_cache_size() <= 2 * 2**30
