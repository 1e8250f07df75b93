"""Events as they are stored and served: a frame with its gaps filled, and the index that search needs. Pure.

Spec: http://hl7.org/fhir/R4/auditevent.html
"""

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from fhir_server.audit import codes
from fhir_server.audit.frames import VERSION, Frame, Occasion, Shape, frame_of
from fhir_server.audit.grouping import Group
from fhir_server.fhir.datatypes import format_instant
from fhir_server.fhir.json import parse_json
from fhir_server.search.entries import bounded
from fhir_server.search.indexer import to_index
from fhir_server.search.param_types.text import MOST_TEXT, analyse
from fhir_server.search.stored import stored_parameters_of

Event = dict[str, Any]

_IDENTIFIER = "AuditEvent.entity:identifier"
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Moment:
    """When and in which request: ``started`` and ``recorded`` are UTC with milliseconds."""

    started: datetime
    recorded: datetime
    request_id: str


def build_event(
    id: str, occasion: Occasion, moment: Moment, group: Group, outcome: str = codes.SUCCESS, problem: str = ""
) -> Event:
    """Return the document of one event for the collection ``audit``."""
    frame = frame_of(occasion, _shape(occasion, group, outcome, problem))
    query = base64.b64encode(group.query.encode()).decode("ascii") if group.query else ""
    recorded = format_instant(moment.recorded)
    body = "".join(
        [
            f'{{"resourceType":"AuditEvent","id":"{id}',
            frame.after_id,
            recorded,
            frame.after_updated,
            format_instant(moment.started),
            f'","end":"{recorded}"}},"recorded":"{recorded}',
            frame.after_recorded,
            _entities(frame, group, query, moment.request_id),
            "]}",
        ]
    ).encode()
    if stored_parameters_of("AuditEvent"):
        index = to_index(parse_json(body), occasion.base_url)
    else:
        index = _index(frame, group, query, moment)
    return {
        "_id": f"AuditEvent/{id}",
        "type": "AuditEvent",
        "version": 1,
        "updated": moment.recorded,
        "deleted": False,
        "method": "POST",
        "body": body,
        **index,
    }


def _shape(occasion: Occasion, group: Group, outcome: str, problem: str) -> Shape:
    caller = occasion.caller
    versions = any(number for numbers in group.resources.values() for number in numbers)
    return Shape(
        group.action,
        group.labels,
        group.rules,
        outcome,
        problem,
        data=bool(group.resources),
        versions=versions,
        patient=group.patient is not None,
        query=bool(group.query),
        own=caller.user is None or _is_own(caller.user, group, outcome),
    )


def _is_own(user: str, group: Group, outcome: str) -> bool:
    """Say whether the event is of the user's own record, or nobody's.

    What was asked for in vain is not: whether it is in another's record, or nowhere, must be the same to see.
    """
    if group.patient is None:
        return outcome == codes.SUCCESS or not group.resources
    return user == group.patient


def _entities(frame: Frame, group: Group, query: str, request_id: str) -> str:
    parts = [
        f'{{"what":{{"reference":"{reference}{frame.data_after_reference}{_details(versions)}}}'
        for reference, versions in group.resources.items()
    ]
    if group.patient is not None:
        parts.append(f'{{"what":{{"reference":"{group.patient}{frame.patient_end}')
    if query:
        parts.append(f'{frame.query_start}{query}"}}')
    parts.append(f"{frame.request_start}{request_id}{frame.request_end}")
    return ",".join(parts)


def _details(versions: Iterable[int]) -> str:
    told = [f'{{"type":"{VERSION}","valueString":"{number}"}}' for number in versions if number]
    return f',"detail":[{",".join(told)}]' if told else ""


def _index(frame: Frame, group: Group, query: str, moment: Moment) -> dict[str, Any]:
    """Return what ``to_index`` would of the body, from the frame's part and what has been put into the gaps."""
    fixed = frame.index
    references = dict.fromkeys(group.resources)
    if group.patient is not None:
        references[group.patient] = None
    patients = [one for one in references if one.startswith("Patient/")]
    folded = moment.request_id.casefold()
    tokens = [bounded(f"{_IDENTIFIER}|\\-|{folded}"), bounded(f"{_IDENTIFIER}||{folded}")]
    if not references:
        tokens.append("AuditEvent.entity:present")
    if patients and all(f"AuditEvent.patient>{one}" in fixed.get("r", ()) for one in patients):
        # The indexer marks a member of an expression whose values are all there already; the agent is the patient.
        tokens.append("AuditEvent.patient:present")
    words, line = _words(frame, group, query, moment.request_id)
    pointers = [f"AuditEvent.entity>{one}" for one in references]
    pointers += [f"AuditEvent.patient>{one}" for one in patients]
    compartments = dict.fromkeys((*fixed.get("c", ()), *patients))
    index: dict[str, Any] = {name: list(values) for name, values in fixed.items()}
    index["ds"] = moment.recorded
    index["de"] = moment.recorded + _MILLISECOND
    index["t"] += tokens
    index["r"] = list(dict.fromkeys((*fixed.get("r", ()), *pointers)))
    index["w"] += words
    index["v"] = [line]
    index["x"] = list(dict.fromkeys((*fixed.get("x", ()), *references)))
    if compartments:
        index["c"] = list(compartments)
        records = [one for one in compartments if one.startswith("Patient/")]
        if len(records) == 1:
            index["pt"] = records[0]
    return {name: value for name, value in index.items() if value != []}


def _words(frame: Frame, group: Group, query: str, request_id: str) -> tuple[list[str], str]:
    """Return the further keys of ``w``, and ``v``: the fixed line with what is added."""
    texts = [request_id]
    texts += {str(number): None for numbers in group.resources.values() for number in numbers if number}
    if query:
        texts.append(query)
    present = frame.words
    found: dict[str, None] = {}
    line = frame.line
    for text in texts:
        words, told = analyse(text)
        for word in words:
            key = f"AuditEvent+{word}"
            if key not in present:
                found[key] = None
        if told not in frame.lines:
            line += told
    return list(found), line[: MOST_TEXT + len("_content:")]
