"""The embedded database: a real mongod of our own, a replica set of one on a unix socket, living as long as the server.

One server per data directory. A mongod that dies is started again; after a ``kill -9`` of everything the next start
ends what was left behind and recovers from the journal.
"""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Literal
from urllib.parse import quote_plus

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from fhir_server.errors import Text
from fhir_server.storage import stamps
from fhir_server.storage.data_lock import DataDirectoryInUse, DataLock, EmbeddedDatabaseError
from fhir_server.storage.mongod import answers, end_orphan, find_mongod, make_private, start_mongod, to_layout

__all__ = ["DataDirectoryInUse", "EmbeddedDatabaseError", "EmbeddedMongod", "State", "default_cache_size"]

State = Literal["stopped", "starting", "running", "restarting", "failed"]

_TICK = 0.1
_LOG_LIMIT = 16 * 1024 * 1024
_RECOVERY_SECONDS = 600
_RELEASE_SECONDS = 10.0
_DATA_IN_USE = 100
"""mongod's exit status when another process holds its data files."""
_MOST_DEATHS, _WITHIN_SECONDS = 5, 60.0
_NOT_YET_INITIALIZED = 94


def default_cache_size() -> int:
    """Return a quarter of the machine's memory in bytes, 2 GB at most."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(memory // 4, 2 * 2**30)


class EmbeddedMongod:
    """The mongod of one data directory. ``start`` before anything else, ``stop`` at the end.

    ``cache_size`` in bytes; ``binary`` instead of the one that would be found; ``parameters`` are further
    ``--setParameter`` values. A ``with`` block starts, watches and stops.
    """

    def __init__(
        self,
        data_directory: Path,
        *,
        cache_size: int | None = None,
        binary: Path | None = None,
        parameters: Sequence[str] = (),
    ) -> None:
        self.directory = Path(os.path.abspath(data_directory))
        self.layout = to_layout(self.directory)
        self._cache_size = default_cache_size() if cache_size is None else cache_size
        self._binary = binary
        self._parameters = tuple(parameters)
        self._lock = DataLock(self.directory)
        self._process: subprocess.Popen[bytes] | None = None
        self._supervisor: threading.Thread | None = None
        self._watching = False
        self._stopping = threading.Event()
        self._settled = threading.Event()
        self._error: Exception | None = None
        self.state: State = "stopped"
        self.detail = ""
        """Why the state is ``restarting`` or ``failed``, in English."""

    @property
    def uri(self) -> str:
        """What every process of the server connects to."""
        return f"mongodb://{quote_plus(str(self.layout.socket))}/?directConnection=true"

    @property
    def pid(self) -> int | None:
        """The process id of the running mongod."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> str:
        """Start mongod, wait for its primary and return the URI.

        Raises ``DataDirectoryInUse`` or another ``EmbeddedDatabaseError``.
        """
        make_private(self.directory)
        self._lock.take()
        try:
            make_private(self.layout.data)
            make_private(self.layout.socket.parent)
            stamps.reset(stamps.to_path(self.layout.socket))
            self._binary = self._binary or find_mongod()
            self.state = "starting"
            # mongod ends with the thread that started it, so one thread starts it every time and lives on.
            self._supervisor = threading.Thread(target=self._supervise, name="mongod", daemon=True)
            self._supervisor.start()
            self._settled.wait()
            if self._error is not None:
                raise self._error
        except BaseException:
            self.stop()
            raise
        return self.uri

    def watch(self) -> None:
        """From now on start mongod again when it dies, with growing pauses; ``failed`` after 5 deaths in a minute."""
        self._watching = True

    def stop(self) -> None:
        """Stop mongod cleanly, by force only if it does not answer, and give the directory free."""
        self._stopping.set()
        if self._supervisor is not None and self._supervisor.is_alive():
            self._supervisor.join()
        self.state = "stopped"
        self._lock.release()

    def __enter__(self) -> "EmbeddedMongod":
        self.start()
        self.watch()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _supervise(self) -> None:
        deaths: deque[float] = deque(maxlen=_MOST_DEATHS)
        while not self._stopping.is_set():
            try:
                self._run_once()
            except Exception as error:
                self._end_process()
                if not self._settled.is_set():
                    self._error = error
                    self._settled.set()
                    return
                self.detail = str(error)
            if self._stopping.is_set():
                return
            deaths.append(time.monotonic())
            if not self._watching or (len(deaths) == _MOST_DEATHS and deaths[-1] - deaths[0] < _WITHIN_SECONDS):
                self.state = "failed"
                return
            self.state = "restarting"
            self._stopping.wait(0.1 * 2 ** len(deaths))

    def _run_once(self) -> None:
        """Start mongod, make it primary and stay until it dies or has been stopped."""
        self._start_process()
        assert self._process is not None
        self._await_primary()
        self.state, self.detail = "running", ""
        self._settled.set()
        while self._process.poll() is None:
            if self._stopping.wait(_TICK):
                self._end_process()
                return
            self._limit_log()
        self.detail = f"mongod ended with status {self._process.returncode}; see {self.layout.log}"

    def _start_process(self) -> None:
        """Start mongod; a killed one that is still being cleared away holds the data files a moment longer."""
        assert self._binary is not None
        until = time.monotonic() + _RELEASE_SECONDS
        while True:
            end_orphan(self.layout)
            self._process = start_mongod(self._binary, self.layout, self._cache_size, self._parameters)
            try:
                self._await_answers(self._process)
            except EmbeddedDatabaseError:
                held = self._process.poll() == _DATA_IN_USE and time.monotonic() < until
                if not held or self._stopping.wait(0.2):
                    raise
            else:
                return

    def _await_answers(self, process: subprocess.Popen[bytes]) -> None:
        until = time.monotonic() + _RECOVERY_SECONDS
        pause = 0.01
        while not answers(self.layout.socket):
            if process.poll() is not None or self._stopping.is_set() or time.monotonic() > until:
                raise self._no_start(process.poll())
            time.sleep(pause)
            pause = min(pause * 1.3, 0.2)

    def _await_primary(self) -> None:
        """Initiate the replica set at its first start, correct its address after a move, and wait for the primary."""
        until = time.monotonic() + _RECOVERY_SECONDS
        with self._administrator() as client:
            _initiate(client, str(self.layout.socket))
        while not self._stopping.is_set() and time.monotonic() < until:
            # A client made before the initiation would go on without sessions.
            with self._administrator() as client, contextlib.suppress(PyMongoError):
                if client.admin.command("hello").get("isWritablePrimary"):
                    return
            time.sleep(0.02)
        raise self._no_start(None)

    def _administrator(self) -> MongoClient[dict[str, object]]:
        return MongoClient(self.uri, serverSelectionTimeoutMS=10_000, appname="fhir-server supervisor")

    def _end_process(self) -> None:
        process = self._process
        if process is None or process.poll() is not None:
            return
        with contextlib.suppress(PyMongoError), self._administrator() as client:
            client.admin.command({"shutdown": 1, "force": True, "timeoutSecs": 0})
        for number in (None, signal.SIGTERM, signal.SIGKILL):
            if number is not None:
                process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(15)
                return

    def _limit_log(self) -> None:
        with contextlib.suppress(OSError):
            if self.layout.log.stat().st_size > _LOG_LIMIT and self._process is not None:
                self.layout.log.replace(self.layout.log.with_suffix(".log.1"))
                self._process.send_signal(signal.SIGUSR1)

    def _no_start(self, status: int | None) -> EmbeddedDatabaseError:
        how = "does not answer" if status is None else f"ended with status {status}"
        how_fr = "ne répond pas" if status is None else f"s'est terminé avec le statut {status}"
        return EmbeddedDatabaseError(
            Text(
                f"The embedded database could not be started: mongod {how}. Its log is {self.layout.log}.",
                f"La base embarquée n'a pas pu démarrer : mongod {how_fr}. Son journal est {self.layout.log}.",
            )
        )


def _initiate(client: MongoClient[dict[str, object]], path: str) -> None:
    members = [{"_id": 0, "host": path}]
    try:
        config = client.admin.command("replSetGetConfig")["config"]
    except OperationFailure as error:
        if error.code != _NOT_YET_INITIALIZED:
            raise
        client.admin.command("replSetInitiate", {"_id": "rs0", "members": members})
        return
    if config["members"][0]["host"] != path:
        moved = {**config, "members": [{**config["members"][0], "host": path}], "version": config["version"] + 1}
        client.admin.command("replSetReconfig", moved, force=True)
