"""Records that this process has just found open, for requests of their holders.

A holder's every request hangs on whether the record is open, which hardly ever changes. A process believes what it has
seen for half a second; whoever closes a record is answered after that, so that the end holds everywhere once it is told
(as with tokens and search parameters).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

BELIEVED = 0.5
_MARGIN = 0.05
_MOST = 100_000


@dataclass(frozen=True, slots=True)
class OpenRecords:
    """What one process believes; shared by its threads."""

    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep
    _seen: dict[str, float] = field(default_factory=dict)

    def has(self, patient: str) -> bool:
        """Say whether the record (``Patient/id``) was found open less than half a second ago."""
        seen = self._seen.get(patient)
        return seen is not None and self.clock() - seen < BELIEVED

    def note(self, patient: str, asked: float) -> None:
        """Note that the record is open, by a look that began at the moment ``asked`` of the clock."""
        if len(self._seen) >= _MOST:
            self._seen.clear()
        self._seen[patient] = asked

    def settle(self) -> None:
        """Return once every process has had to look again; for who has closed a record."""
        self.pause(BELIEVED + _MARGIN)
