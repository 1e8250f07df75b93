"""How a worker keeps its memory: the collector seldom runs, and what a large body took is given back.

What requests make has hardly any cycles, so that nearly all of it goes by reference counting; the collector's passes
over the ten thousands of objects of a large transaction cost a third of its time and found nothing (measured).
"""

import ctypes
import gc
from contextlib import suppress

LARGE_BODY = 1_000_000
"""Bytes of a request from which on its memory is given back at its end."""

_BETWEEN_COLLECTIONS = 500_000


def settle() -> None:
    """Exempt what is loaded from collection, and from now on collect after many allocations only."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_BETWEEN_COLLECTIONS, 10, 10)


def give_back() -> None:
    """Return freed memory to the system, where the C library can (glibc's ``malloc_trim``)."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
