"""Events as they are stored and served: a frame with its gaps filled, and the index that search needs. Pure.

Spec: http://hl7.org/fhir/R4/auditevent.html
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fhir_server.audit import codes
from fhir_server.audit.frames import HEAD, Frame, Occasion, Shape, frame_of
from fhir_server.audit.grouping import Group
from fhir_server.audit.moulds import Cast, Moment, cast, details_of, mould_of
from fhir_server.fhir.json import parse_json
from fhir_server.search.indexer import to_index
from fhir_server.search.stored import stored_parameters_of
from fhir_server.storage.splicing import to_document

__all__ = ["Event", "EventBuilder", "Moment"]

Event = Mapping[str, Any]
"""A document of the collection ``audit``."""

_PATIENT = "AuditEvent.patient>"
_Kind = tuple[str, tuple[str, ...], tuple[str, ...], str, tuple[int, ...], bool, bool, bool, bool]


@dataclass(slots=True)
class EventBuilder:
    """Makes the events of one request; what several of them have in common is made once.

    ``problem`` is the issue code of what was refused.
    """

    occasion: Occasion
    moment: Moment
    outcome: str = codes.SUCCESS
    problem: str = ""
    _casts: dict[_Kind, Cast] = field(default_factory=dict)

    def build(self, id: str, group: Group) -> Event:
        """Return the document of one event."""
        references = dict.fromkeys(group.resources)
        if group.patient is not None:
            references[group.patient] = None
        patients = [one for one in references if one.startswith("Patient/")]
        common = self._cast(group, patients)
        frame = common.frame
        start = f'{{"resourceType":"AuditEvent","id":"{id}{common.after_id}'
        body = f"{start}{_entities(frame, group)}{common.end}".encode()
        own: dict[str, Any] = {"_id": f"AuditEvent/{id}", "body": body}
        if stored_parameters_of("AuditEvent"):
            index = to_index(parse_json(body), self.occasion.base_url)
            return to_document({**own, **HEAD, "updated": self.moment.recorded, **index})
        return to_document({**own, **_index(frame, references, patients)}, common.shared)

    def _cast(self, group: Group, patients: Sequence[str]) -> Cast:
        """Return what the event has in common with those that differ in whom and what they name, nothing else."""
        user, resources = self.occasion.caller.user, group.resources
        versions = tuple(dict.fromkeys([one for each in dict.fromkeys(resources.values()) for one in each if one]))
        about, data = group.patient is not None, bool(resources)
        own = user is None or self._is_own(user, group)
        alone = bool(patients) and patients.count(user or "") == len(patients)
        kind = (group.action, group.labels, group.rules, group.query, versions, about, data, own, alone)
        common = self._casts.get(kind)
        if common is None:
            shape = Shape(
                group.action, group.labels, group.rules, self.outcome, self.problem,
                data=data, versions=bool(versions), patient=about, query=bool(group.query), own=own, alone=alone,
            )  # fmt: skip
            mould = mould_of(frame_of(self.occasion, shape), group.query, versions)
            common = self._casts[kind] = cast(mould, self.moment)
        return common

    def _is_own(self, user: str, group: Group) -> bool:
        """Say whether the event is of the user's own record, or nobody's.

        What was asked for in vain is not: whether it is in another's record, or nowhere, must be the same to see.
        """
        if group.patient is None:
            return self.outcome == codes.SUCCESS or not group.resources
        return user == group.patient


def _entities(frame: Frame, group: Group) -> str:
    """Return the JSON of whom and what the event names, a comma after each."""
    start, end = '{"what":{"reference":"', frame.data_after_reference
    parts = [f"{start}{reference}{end}{details_of(versions)}}}," for reference, versions in group.resources.items()]
    if group.patient is not None:
        parts.append(f"{start}{group.patient}{frame.patient_end},")
    return "".join(parts)


def _index(frame: Frame, references: Mapping[str, None], patients: Sequence[str]) -> dict[str, Any]:
    """Return of the index, as ``to_index`` would of the body, what names somebody or something."""
    pointers = [f"AuditEvent.entity>{one}" for one in references]
    pointers += [f"{_PATIENT}{one}" for one in patients]
    compartments = list(dict.fromkeys((*frame.compartments, *patients)))
    index: dict[str, Any] = {
        "r": list(dict.fromkeys((*frame.references, *pointers))),
        "x": list(dict.fromkeys((*frame.targets, *references))),
        "c": compartments,
    }
    records = [one for one in compartments if one.startswith("Patient/")]
    if len(records) == 1:
        index["pt"] = records[0]
    return {name: value for name, value in index.items() if value}
