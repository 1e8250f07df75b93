"""Which resources have changed, told to every process on one embedded database without asking it.

A file that all of them map into memory holds a stamp for each of many groups of resources, and of types. Who changes a
resource marks its stamp and its type's before the change can be seen and moves them on before the change is
acknowledged; who has read the resource, or searched the type, under a stamp that still stands has read what is current.
A writer that dies in between leaves its marks, and so does one that was never told whether it has committed: those
resources and types are then read from the database until its next start.
"""

import fcntl
import mmap
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from zlib import crc32

_GROUPS = 1 << 18
"""Stamps in the file; resources that share one only make each other be read again."""
_SIZE = _GROUPS * 8
_CHANGING = (1 << 16) - 1
"""The low bits count the changes under way, the others only ever grow."""
_MOVED_ON = 1 << 16

Groups = tuple[int, ...]


class Stamps:
    """The stamps of one database; safe for threads, for processes and for use after a fork.

    ``path`` is None, or a file that is not there, where others may write without telling: then nothing ever stands.
    """

    def __init__(self, path: Path | None, database: str) -> None:
        self._path = path
        self._salt = crc32(f"{database}/".encode())
        self._lock = threading.Lock()
        self._values: memoryview | None = None
        self._file = -1
        self._process = 0

    def stamp(self, name: str) -> int | None:
        """Return what stands as long as nobody changes the resource (``Type/id``), or any of a type (``Type``).

        None while somebody may be doing so.
        """
        values = self._values
        if values is None:
            values = self._open()
            if values is None:
                return None
        value = values[crc32(name.encode(), self._salt) % _GROUPS]
        return None if value & _CHANGING else value

    def begin(self, references: Iterable[str]) -> Groups:
        """Mark the resources and their types as changing and return what ``end`` takes.

        Before the change can be seen by anybody.
        """
        if self._path is None:
            return ()
        names = set(references)
        names |= {reference.partition("/")[0] for reference in names}
        groups = tuple({crc32(name.encode(), self._salt) % _GROUPS for name in names})
        with self._alone() as values:
            if values is None:
                return ()
            for group in groups:
                if values[group] & _CHANGING != _CHANGING:
                    values[group] += 1
        return groups

    def end(self, groups: Groups) -> None:
        """Take the marks back: the change is there for all to see, or will never be."""
        if not groups:
            return
        with self._alone() as values:
            assert values is not None
            for group in groups:
                value = values[group]
                # A server's start may have forgotten the mark; one that is full stays for good.
                done = 1 if 0 < value & _CHANGING < _CHANGING else 0
                values[group] = value + _MOVED_ON - done

    @contextmanager
    def changing(self, references: Iterable[str], is_unknown: Callable[[BaseException], bool]) -> Iterator[None]:
        """Hold the marks of the resources during the block; for good if nobody knows whether what failed was done."""
        groups = self.begin(references)
        try:
            yield
        except BaseException as error:
            if not is_unknown(error):
                self.end(groups)
            raise
        self.end(groups)

    def close(self) -> None:
        """Give the file back."""
        with self._lock:
            if self._values is not None:
                os.close(self._file)
            self._values, self._file = None, -1

    def _open(self) -> memoryview | None:
        """Return the stamps, opened by this process itself: a lock taken on the parent's file would be the parent's."""
        if self._path is None:
            return None
        with self._lock:
            if self._values is None or self._process != os.getpid():
                file = _open_own(self._path)
                if file is None:
                    return None
                self._file, self._values = file, memoryview(mmap.mmap(file, _SIZE)).cast("Q")
                self._process = os.getpid()
            return self._values

    @contextmanager
    def _alone(self) -> Iterator[memoryview | None]:
        """Give the stamps to this thread of this process alone; the system takes the lock back from who dies."""
        values = self._values if self._process == os.getpid() else self._open()
        if values is None:
            yield None
            return
        with self._lock:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            try:
                yield values
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)


def _open_own(path: Path) -> int | None:
    """Return the file opened; None where there is none, or one that another user has put there."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    status = os.fstat(file)
    if status.st_uid == os.geteuid() and status.st_size == _SIZE:
        return file
    os.close(file)
    return None


def to_path(socket: Path) -> Path:
    """Return where the stamps of the database behind a socket are."""
    return socket.with_name("stamps")


def reset(path: Path) -> None:
    """Make the file, or take back what writers that have died left in it; for who holds the data directory.

    In place: whoever may still have the file of an earlier server goes on to tell of its changes.
    """
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        os.ftruncate(file, _SIZE)
        # Milliseconds grow faster than any stamp has moved: none comes back.
        start = (time.time_ns() // 1_000_000 * _MOVED_ON).to_bytes(8, sys.byteorder)
        os.pwrite(file, start * _GROUPS, 0)
    finally:
        os.close(file)
