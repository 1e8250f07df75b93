"""Guesses cost time: after a few failures each further one has to wait, twice as long as the one before.

An attempt is counted before it is examined, so that many at once gain nothing; a success forgives. What is counted is
a name as it was typed, whether an account bears it or not, so that waiting tells nothing about accounts.
Spec: https://pages.nist.gov/800-63-4/sp800-63b.html#throttle
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import Any

from fhir_server.accounts.account import to_utc
from fhir_server.accounts.sealing import Sealer
from fhir_server.storage.records import Records

COLLECTION = "throttles"
LONGEST_WAIT = timedelta(minutes=15)
MEMORY = timedelta(hours=1)
"""How long failures are remembered after the last one."""

_MOST_DOUBLINGS = 20


@dataclass(frozen=True, slots=True)
class Throttle:
    """Counts the attempts on one kind of thing; the first ``free`` of them wait for nothing."""

    records: Records
    sealer: Sealer
    purpose: str
    free: int

    def admit(self, subject: str, now: datetime) -> int:
        """Count an attempt and return 0, or return the whole seconds to wait before the next without counting it."""
        key = self.key(subject)
        while True:
            if self.records.change(COLLECTION, {"_id": key, "until": {"$lte": now}}, self._count(now)) is not None:
                return 0
            first = {"_id": key, "failures": 1, "until": now, "expires": now + MEMORY}
            if self.records.insert(COLLECTION, first):
                return 0
            found = self.records.find(COLLECTION, {"_id": key})
            wait = _seconds_left(found[0], now) if found else 0
            if wait:
                return wait

    def key(self, subject: str) -> str:
        """Return what is kept of a subject: nobody reads it from that."""
        return self.sealer.digest(f"throttle {self.purpose}", subject)

    def forgive(self, subject: str) -> None:
        """Forget the failures: the attempt was a success."""
        self.records.delete(COLLECTION, {"_id": self.key(subject)})

    def take_back(self, subject: str) -> None:
        """Forget this one attempt: it was a success, which says nothing of the others that are counted with it."""
        fewer = {"$max": [0, {"$subtract": ["$failures", 1]}]}
        self.records.change(COLLECTION, {"_id": self.key(subject)}, [{"$set": {"failures": fewer}}])

    def _count(self, now: datetime) -> list[Mapping[str, Any]]:
        longest = int(LONGEST_WAIT.total_seconds() * 1000)
        doublings = {"$min": [_MOST_DOUBLINGS, {"$subtract": ["$failures", self.free]}]}
        wait = {"$min": [longest, {"$multiply": [1000, {"$pow": [2, doublings]}]}]}
        pause = {"$cond": [{"$lt": ["$failures", self.free]}, 0, {"$toLong": wait}]}
        counted = {"$cond": [{"$lte": ["$expires", now]}, 1, {"$add": ["$failures", 1]}]}
        return [
            {"$set": {"failures": counted}},
            {"$set": {"until": {"$add": [now, pause]}}},
            {"$set": {"expires": {"$add": ["$until", int(MEMORY.total_seconds() * 1000)]}}},
        ]


def _seconds_left(found: Mapping[str, Any], now: datetime) -> int:
    return max(0, ceil((to_utc(found["until"]) - now).total_seconds()))
