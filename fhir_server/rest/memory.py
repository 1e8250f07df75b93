"""How a worker keeps its memory: the collector seldom runs, and what a large body took is given back.

What requests make has hardly any cycles, so that nearly all of it goes by reference counting; the collector's passes
over the ten thousands of objects of a large transaction cost a third of its time and found nothing (measured).
"""

import ctypes
import gc
import threading
from collections import deque
from contextlib import suppress

LARGE_BODY = 1_000_000
"""Bytes of a request from which on its memory is given back at its end."""

MOST_AT_ONCE = 8_000_000
"""Bytes of large bodies that a worker works on at one time."""

_BETWEEN_COLLECTIONS = 500_000


class Room:
    """Large bodies that are worked on at one time: together at most ``limit`` bytes, or one that is larger alone.

    A transaction takes many times its size while it is checked, indexed and committed; four large ones at once would
    take four times as much for no gain, as a worker computes one thing at a time. Small ones never wait.
    """

    def __init__(self, limit: int = MOST_AT_ONCE, small: int = LARGE_BODY) -> None:
        self._limit = limit
        self._small = small
        self._taken = 0
        self._queue: deque[object] = deque()
        self._free = threading.Condition()

    @property
    def taken(self) -> int:
        """Bytes that are worked on now."""
        return self._taken

    @property
    def queued(self) -> int:
        """Bodies that wait."""
        return len(self._queue)

    def enter(self, size: int) -> int:
        """Return what ``leave`` takes, once there is room for a body that has been read and is this large; in turn."""
        if size <= self._small:
            return 0
        own = object()
        with self._free:
            self._queue.append(own)
            try:
                self._free.wait_for(lambda: self._queue[0] is own and self._has_room(size))
                self._taken += size
            finally:
                self._queue.remove(own)
                self._free.notify_all()
        return size

    def leave(self, size: int) -> None:
        """Give the room to others."""
        if size:
            with self._free:
                self._taken -= size
                self._free.notify_all()

    def _has_room(self, size: int) -> bool:
        return self._taken == 0 or self._taken + size <= self._limit


def settle() -> None:
    """Exempt what is loaded from collection, and from now on collect after many allocations only."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_BETWEEN_COLLECTIONS, 10, 10)


def give_back() -> None:
    """Return freed memory to the system, where the C library can (glibc's ``malloc_trim``)."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
