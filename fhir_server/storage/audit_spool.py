"""Events on their way into the database: in a file before the answer leaves, in the database a moment later.

An insert of its own costs the database four times what an event costs among fifty (101 µs against 26 µs of CPU, and
the wait for it). So each process appends its events to a file, and a thread moves what has gathered into the database
every 0.1 s. What a killed process leaves behind is moved by whoever keeps the audit (``recover``). The file is as safe
as the database's own memory: it survives the process, not a power cut within the next moments.
"""

import ctypes
import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import bson
from bson.raw_bson import RawBSONDocument

from fhir_server.storage.store import StoreUnavailable

_PAUSE = 0.1
_RETRY = 0.5
_MOST_WAITING = 64 * 1024 * 1024
"""Bytes that may wait for the database; beyond it nothing more is answered."""

_PROMPT = 60.0
"""Seconds within which events must reach the database to be sealed with their time; later ones are left to recover."""

_ORPHANED = 5.0
"""Seconds without a word after which a file that nobody holds is one that was left behind."""

# ``os.write`` lets other threads go first, and who holds the lock meanwhile waits for a turn with everybody behind it;
# bytes for the page cache are there before the turn would have been passed on.
_write_at_once = ctypes.PyDLL(None).write
_write_at_once.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t)
_write_at_once.restype = ctypes.c_ssize_t

Insert = Callable[[Sequence[RawBSONDocument]], None]


class AuditSpool:
    """Takes events of one process and moves them on by ``insert``, which may be given the same event twice."""

    def __init__(self, directory: Path, insert: Insert) -> None:
        self._directory = directory
        self._insert = insert
        self._thread: threading.Thread | None = None
        self._reset()

    def append(self, events: Sequence[RawBSONDocument]) -> None:
        """Return when the events are in the file. Raises ``StoreUnavailable`` when they cannot be kept."""
        if self._process != os.getpid():
            self._reset()  # the parent moves its own events
        data = b"".join([event.raw for event in events])
        if self._size > _MOST_WAITING:
            self.flush()  # more comes than the database takes: who brings it waits
        with self._lock:
            if self._failing:
                raise StoreUnavailable("The audit cannot be written at the moment.")
            try:
                self._write(data)
            except OSError as error:
                raise StoreUnavailable("The audit cannot be written to its file.") from error
            self._waiting.extend(events)
            self._size += len(data)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="audit-spool", daemon=True)
                self._thread.start()

    def flush(self) -> None:
        """Move what waits now into the database. Raises ``StoreUnavailable``; then it waits on."""
        if self._process == os.getpid():
            with self._moving:
                self._move()

    def close(self) -> None:
        """Move what waits, if that can be done, and end the thread; what cannot be moved stays in its file."""
        self._stopping.set()
        try:
            self.flush()
        except StoreUnavailable:
            return
        finally:
            with self._lock:
                self._close_file(keep=bool(self._waiting))

    def recover(self, arrived: Callable[[list[str]], None], older_than: float = _ORPHANED) -> int:
        """Move what ended processes have left behind, tell ``arrived`` the references, and return how many."""
        count = 0
        for path in sorted(self._directory.glob("*.bson")) if self._directory.is_dir() else ():
            with _orphan(path, older_than) as descriptor:
                if descriptor is None:
                    continue
                events = list(_events(path.read_bytes()))
                if events:
                    self._insert(events)
                    arrived([str(event["_id"]) for event in events])
                path.unlink(missing_ok=True)
                count += len(events)
        return count

    def _reset(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._moving = threading.Lock()
        self._stopping = threading.Event()
        self._waiting: list[RawBSONDocument] = []
        self._size = 0
        self._since = 0.0
        self._failing = False
        self._thread = None
        self._descriptor = -1
        self._path = self._directory
        self._number = 0

    def _write(self, data: bytes) -> None:
        if self._descriptor < 0:
            self._open()
        done = _write_at_once(self._descriptor, data, len(data))
        view = memoryview(data)[max(done, 0) :]
        while view:  # what does not fit says why
            view = view[os.write(self._descriptor, view) :]

    def _open(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._number += 1
        self._path = self._directory / f"{self._process}-{id(self):x}-{self._number}.bson"
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        self._since = time.monotonic()

    def _run(self) -> None:
        while not self._stopping.wait(_RETRY if self._failing else _PAUSE):
            try:
                self.flush()
            except StoreUnavailable:
                continue  # append says so to everybody meanwhile

    def _move(self) -> None:
        """Insert what waits and forget its file; new events go to the next one meanwhile."""
        with self._lock:
            if not self._waiting:
                return
            events, size, path, since = self._waiting, self._size, self._path, self._since
            held, self._descriptor = self._descriptor, -1
            self._waiting, self._size = [], 0
        try:
            self._insert(events)
        except Exception as error:
            self._put_back(events, size, held, path, since)
            raise StoreUnavailable("The audit cannot be written at the moment.") from error
        self._failing = False
        if time.monotonic() - since < _PROMPT:
            path.unlink(missing_ok=True)
        os.close(held)

    def _put_back(self, events: list[RawBSONDocument], size: int, held: int, path: Path, since: float) -> None:
        """Keep what could not be moved; what came meanwhile joins its file."""
        with self._lock:
            self._failing = True
            newer, descriptor, later = self._waiting, self._descriptor, self._path
            self._descriptor, self._path, self._since = held, path, since
            if newer:
                self._write(b"".join([event.raw for event in newer]))
                later.unlink(missing_ok=True)
                os.close(descriptor)
            self._waiting, self._size = [*events, *newer], size + self._size

    def _close_file(self, *, keep: bool) -> None:
        if self._descriptor >= 0:
            if not keep:
                self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = -1


class _orphan:
    """Holds a file that nobody else does and that has been still for a while; None if it is none."""

    def __init__(self, path: Path, older_than: float) -> None:
        self._path, self._age = path, older_than
        self._descriptor: int | None = None

    def __enter__(self) -> int | None:
        try:
            descriptor = os.open(self._path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        if time.time() - os.fstat(descriptor).st_mtime < self._age:
            os.close(descriptor)
            return None
        self._descriptor = descriptor
        return descriptor

    def __exit__(self, *_: object) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)


def _events(data: bytes) -> Iterator[RawBSONDocument]:
    """Yield the whole events of a file; one cut off at its end was never answered for."""
    start = 0
    while start + 4 <= len(data):
        size = int.from_bytes(data[start : start + 4], "little")
        if size < 5 or start + size > len(data):
            return
        try:
            event = RawBSONDocument(data[start : start + size])
            event["_id"]
        except (bson.errors.InvalidBSON, KeyError):
            return
        yield event
        start += size
