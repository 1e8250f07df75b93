"""Readers in threads beside a writer in a process of its own: does anybody see less than was acknowledged or shown?"""

import multiprocessing
import threading
from collections.abc import Callable, Sequence
from typing import Any

from fhir_server.storage.mongo import MongoStore


def race(
    stores: Sequence[MongoStore], write: Callable[..., None], given: tuple[Any, ...], see: Callable[[MongoStore], int]
) -> tuple[int, int]:
    """Return the greatest number that was seen, and the last that was acknowledged.

    ``write(*given, shown)`` runs in its own process and puts each number into ``shown.value`` once it is acknowledged;
    ``see`` reads a number. Fails when one is seen that is below what was acknowledged or seen before the read began.
    """
    context = multiprocessing.get_context("spawn")
    shown = context.Value("q", min(see(store) for store in stores))
    writer = context.Process(target=write, args=(*given, shown))
    seen, lock, faults, done = shown.value, threading.Lock(), [], threading.Event()

    def read(store: MongoStore) -> None:
        nonlocal seen
        while not done.is_set():
            least = max(shown.value, seen)
            number = see(store)
            if number < least:
                faults.append((number, least))
            with lock:
                seen = max(seen, number)

    threads = [threading.Thread(target=read, args=(store,)) for store in stores]
    writer.start()
    for thread in threads:
        thread.start()
    writer.join()
    done.set()
    for thread in threads:
        thread.join()
    assert writer.exitcode == 0
    assert faults == []
    return seen, shown.value
