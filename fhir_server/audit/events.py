"""The events of one request: packed as the audit keeps them, or whole where they are written together with the work.

Spec: http://hl7.org/fhir/R4/auditevent.html
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fhir_server.audit import codes
from fhir_server.audit.assembling import assemble
from fhir_server.audit.frames import Frame, frame_of
from fhir_server.audit.grouping import Group
from fhir_server.audit.moulds import Cast, Moment, cast, mould_of
from fhir_server.audit.packs import MOST_EVENTS, to_pack
from fhir_server.audit.templates import Occasion, Shape
from fhir_server.storage.store import Packed

__all__ = ["Event", "EventBuilder", "Moment"]

Event = Mapping[str, Any]
"""A document of the collection ``audit``."""

_Kind = tuple[str, str, tuple[str, ...], tuple[str, ...], tuple[bool, ...]]


@dataclass(slots=True)
class EventBuilder:
    """Makes the events of one request; what several of them have in common is made once.

    ``problem`` is the issue code of what was refused.
    """

    occasion: Occasion
    moment: Moment
    outcome: str = codes.SUCCESS
    problem: str = ""
    _casts: dict[tuple[Shape, str, tuple[int, ...]], tuple[Frame, Cast]] = field(default_factory=dict)

    def build(self, id: str, group: Group) -> Event:
        """Return one event whole."""
        shape = self._shape(group.action, group.labels, group.rules, self._flags(group))
        kind = (shape, group.query, group.versions)
        made = self._casts.get(kind)
        if made is None:
            frame = frame_of(self.occasion, shape)
            made = self._casts[kind] = frame, cast(mould_of(frame, group.query, group.versions), self.moment)
        return assemble(id, *made, group, self.moment.recorded)

    def pack(self, ids: Iterator[str], groups: Iterable[Group]) -> list[Packed]:
        """Return all events of a request, those of one kind together."""
        kinds: dict[_Kind, list[Group]] = {}
        for group in groups:
            kind = (group.query, group.action, group.labels, group.rules, self._flags(group))
            kinds.setdefault(kind, []).append(group)
        return [
            to_pack(
                next(ids),
                frame_of(self.occasion, self._shape(action, labels, rules, flags)),
                self.moment,
                query,
                part,
            )
            for (query, action, labels, rules, flags), together in kinds.items()
            for part in _parts(together)
        ]

    def _shape(self, action: str, labels: tuple[str, ...], rules: tuple[str, ...], flags: tuple[bool, ...]) -> Shape:
        return Shape(action, labels, rules, self.outcome, self.problem, *flags)

    def _flags(self, group: Group) -> tuple[bool, ...]:
        """Return ``data``, ``versions``, ``patient``, ``query``, ``own``, ``alone`` of the shape."""
        user, resources, patient = self.occasion.caller.user, group.resources, group.patient
        return (
            bool(resources),
            any(map(any, resources.values())),
            patient is not None,
            bool(group.query),
            user is None or self._is_own(user, group),
            user is not None and patient in (user, None) and _names_alone(user, group),
        )

    def _is_own(self, user: str, group: Group) -> bool:
        """Say whether the event is of the user's own record, or nobody's.

        What was asked for in vain is not: whether it is in another's record, or nowhere, must be the same to see.
        """
        if group.patient is None:
            return self.outcome == codes.SUCCESS or not group.resources
        return user == group.patient


def _names_alone(user: str, group: Group) -> bool:
    """Say whether the user is a patient, and the only one that the event names; no other one is the record's."""
    if not user.startswith("Patient/"):
        return False
    patients = [one for one in group.resources if one.startswith("Patient/")]
    return all(one == user for one in patients) and (group.patient is not None or bool(patients))


def _parts(told: Sequence[Group]) -> Iterator[Sequence[Group]]:
    for start in range(0, len(told), MOST_EVENTS):
        yield told[start : start + MOST_EVENTS]
