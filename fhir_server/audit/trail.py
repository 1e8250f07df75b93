"""What one request does, noted by the repository while it happens; AuditEvents are made of it.

Writes get their events with their plan (``records``), to be committed in one transaction; what was disclosed or
refused is told at the end (``events``, ``refusal``), to be written before the answer leaves.
"""

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from fhir_server.access.caller import Mode
from fhir_server.audit import codes
from fhir_server.audit.events import EventBuilder, Moment
from fhir_server.audit.grouping import Asked, Group, Noted, build_groups
from fhir_server.audit.templates import Occasion
from fhir_server.audit.touched import Touched
from fhir_server.storage.store import Packed

__all__ = ["Origin", "Touched", "Trail"]

_ASKING = {
    "search-type": "search",
    "search-system": "search",
    "search-compartment": "search",
    "history-type": "history",
    "history-system": "history",
    "operation-system": "operation",
    "operation-type": "operation",
    "operation-instance": "operation",
}


_PARTS = 0xF00
"""Parts of a millisecond; what is left of twelve bits is for the events of one request."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a trail begins: the occasion, the request's id and start, and the clock and ids for its events."""

    occasion: Occasion
    request_id: str
    started: datetime
    clock: Callable[[], datetime]


@dataclass(slots=True)
class Trail:
    """Collects what one request touches. One for each request; its threads share nothing.

    Without an ``origin`` nothing is noted: the server is open, or told not to.
    """

    origin: Origin | None = None
    disclosed: list[Noted] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    refused: list[Packed] = field(default_factory=list)
    """Events of a bundle's entries that were refused; they go out with the others."""
    concerned: str | None = None
    """The patient, ``Patient/id``, whom the request is about though it names none in its address."""
    _asking: int = -1

    def begin(self, interaction: str, segments: tuple[str, ...], parameters: tuple[tuple[str, str], ...]) -> None:
        """Note which interaction what follows belongs to; a bundle begins one for each entry."""
        self.concerned = None
        if self.origin is None:
            return
        action = _ASKING.get(interaction)
        if action is None:
            self._asking = -1
            return
        own = self.origin.occasion.caller.patient
        meant = f"Patient/{own}" if action == "operation" and own and segments[:1] == ("Patient",) else None
        question = Asked(action, segments, parameters, meant)
        if question in self.asked:  # the reads of a transaction are tried before and answered after its writes
            self._asking = self.asked.index(question)
            return
        self._asking = len(self.asked)
        self.asked.append(question)

    def understand(self, parameters: tuple[tuple[str, str], ...]) -> None:
        """Note what a page link stands for."""
        if self._asking >= 0:
            now = self.asked[self._asking]
            self.asked[self._asking] = replace(now, parameters=parameters)

    def declare(self, mode: Mode, reason: str) -> None:
        """Note in which mode and why the caller acts in this request."""
        if self.origin is not None:
            occasion = self.origin.occasion
            caller = replace(occasion.caller, mode=mode, reason=reason)
            self.origin = replace(self.origin, occasion=occasion._replace(caller=caller))

    def disclose(self, touched: Iterable[Touched]) -> None:
        """Note resources that are about to be shown to the caller."""
        if self.origin is not None:
            self.disclosed.append(Noted(tuple(touched), self._asking))

    def records(self, written: Sequence[Touched]) -> tuple[tuple[str, Mapping[str, Any]], ...]:
        """Return the (collection, document) pairs to be committed together with what is written."""
        if self.origin is None or not written:
            return ()
        builder, ids = self._builder()
        groups = build_groups([Noted(written)], ())
        return tuple(("audit", builder.build(id, group)) for id, group in zip(ids, groups, strict=False))

    def events(self) -> list[Packed]:
        """Return the events of what has been asked and disclosed, and forget it."""
        if self.origin is None or not (self.disclosed or self.asked or self.refused):
            return []
        groups, refused = build_groups(self.disclosed, self.asked), self.refused
        self.disclosed, self.asked, self.refused, self._asking = [], [], [], -1
        return [*refused, *self._pack(groups)]

    def concern(self, patient: str) -> None:
        """Note that the request is about this patient, so that they are told even if it is refused."""
        self.concerned = patient

    def refusal(self, action: str, status: int, problem: str, *touched: Touched) -> list[Packed]:
        """Return the events of what was refused; ``problem`` is the issue code that the caller was told.

        ``touched`` is what it was about, as far as is known: its patients are told that somebody tried.
        """
        if self.origin is None:
            return []
        outcome = codes.SERIOUS_FAILURE if status >= 500 else codes.MINOR_FAILURE
        asked = [Noted([Touched(one.action, one.reference, 0, one.patients, one.labels) for one in touched])]
        groups = build_groups(asked, ()) if touched else [Group(action, self.concerned)]
        return self._pack(groups, outcome, problem)

    def _pack(self, groups: Iterable[Group], outcome: str = codes.SUCCESS, problem: str = "") -> list[Packed]:
        builder, ids = self._builder(outcome, problem)
        return builder.pack((f"{id[:-3]}000" for id in ids), groups)

    def _builder(self, outcome: str = codes.SUCCESS, problem: str = "") -> tuple[EventBuilder, Iterator[str]]:
        """Return what makes events that are recorded now, and the ids for them."""
        assert self.origin is not None
        recorded = self.origin.clock()
        moment = Moment(self.origin.started, recorded, self.origin.request_id)
        return EventBuilder(self.origin.occasion, moment, outcome, problem), new_event_ids(recorded)


def new_event_id(recorded: datetime) -> str:
    """Return a UUID of version 7 for an event of that moment: events are sealed in the order of their ids."""
    return next(new_event_ids(recorded))


def new_event_ids(recorded: datetime) -> Iterator[str]:
    """Yield ids for the events of one request, in their order."""
    # The version's neighbours are the part of the millisecond, so that a process's own events keep their order
    # (RFC 9562, section 6.2, method 3); a millisecond that is over by now counts as its end.
    moment = round(recorded.timestamp() * 1000)
    millisecond, rest = divmod(time.time_ns(), 1_000_000)
    part = rest * _PARTS // 1_000_000 if millisecond == moment else _PARTS
    while True:
        # Unlike a token an event's id is no secret: asking the system for each would hand the thread's turn to another.
        tail = f"{random.getrandbits(62) | 2 << 62:016x}"
        at = moment + (part >> 12)  # more than a millisecond has parts for go on in the next one
        yield f"{at >> 16:08x}-{at & 0xFFFF:04x}-7{part & 0xFFF:03x}-{tail[:4]}-{tail[4:]}"
        part += 1
