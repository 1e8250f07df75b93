"""How often something has been refused within an hour, so that the audit tells of repeats without growing with them.

The first, second, fourth, eighth … of one subject is told, with its number; of all subjects together at most a certain
number an hour one by one, then every six-hundredth. Each refusal is counted, whether its subject exists or not.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from fhir_server.storage.records import Records

COLLECTION = "repeats"
WINDOW = timedelta(hours=1)
MOST_AN_HOUR = 600
"""Refusals of one kind that are told one by one within an hour, all subjects together."""


@dataclass(frozen=True, slots=True)
class Repeats:
    """The counts of one deployment; ``open_records`` connects at the first use."""

    open_records: Callable[[], Records]
    clock: Callable[[], datetime]

    def count(self, kind: str, subject: str) -> int | None:
        """Count one more of a kind; return which one of its subject it is, None when it shall not be told.

        0 stands for all subjects: so many have come that they are told together.
        """
        # Both are counted each time: what a refusal costs must not depend on whom it is about.
        number, total = self._count(f"{kind}\0{subject}"), self._count(kind)
        if total > MOST_AN_HOUR:
            return 0 if total % MOST_AN_HOUR == 1 else None
        return number if number & (number - 1) == 0 else None

    def _count(self, key: str) -> int:
        id, now = sha256(key.encode("utf-8", "surrogatepass")).hexdigest(), self.clock()
        records = self.open_records()
        while True:
            found = records.change(COLLECTION, {"_id": id}, _one_more(now))
            if found is not None:
                return int(found["count"])
            if records.insert(COLLECTION, {"_id": id, "count": 1, "expires": now + WINDOW}):
                return 1


def _one_more(now: datetime) -> list[Mapping[str, Any]]:
    over = {"$lte": ["$expires", now]}
    return [
        {
            "$set": {
                "count": {"$cond": [over, 1, {"$add": ["$count", 1]}]},
                "expires": {"$cond": [over, now + WINDOW, "$expires"]},
            }
        }
    ]
