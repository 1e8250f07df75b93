"""How many events each span of the audit held when it was sealed: one that is committed later makes its span hold more.

Counting is far cheaper for the database than telling which events there are, and what is remembered of a busy minute
is a handful of numbers. Only a span that holds another number than before is read.
"""

from collections import deque
from dataclasses import dataclass
from typing import Protocol

_MOST = 10_000
"""Events of one span: all of them are read when one has come late."""


class Events(Protocol):
    """What is asked of ``storage.audit_log``; the bounds are excluded."""

    def references(self, after: str, before: str, limit: int = 0) -> list[str]:
        """Return the references between two others, in order."""

    def count(self, after: str, before: str) -> int:
        """Return how many there are between two references."""


@dataclass(slots=True)
class Span:
    """The events after a reference, up to another one, and how many they were when last looked at."""

    after: str
    upto: str
    count: int

    @property
    def before(self) -> str:
        """What comes right after the last event."""
        return f"{self.upto} "


class SealedSpans:
    """The spans behind the latest seals, without gaps, oldest first."""

    def __init__(self) -> None:
        self._spans: deque[Span] = deque()
        self._open = False

    def add(self, after: str, upto: str, count: int) -> None:
        """Note that the events between have been looked at, for those that follow the last span's."""
        last = self._spans[-1] if self._open and self._spans else None
        if last is not None and last.count + count <= _MOST:
            last.upto, last.count = upto, last.count + count
            return
        self._spans.append(Span(after, upto, count))
        self._open = True

    def forget(self, before: str) -> None:
        """Forget the spans that end before a reference, and begin another with the next events."""
        self._open = False
        while self._spans and self._spans[0].upto < before:
            self._spans.popleft()

    def changed(self, log: Events) -> list[Span]:
        """Return the spans that hold another number of events than they did."""
        return [span for span in self._spans if log.count(span.after, span.before) != span.count]
