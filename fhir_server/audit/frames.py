"""What all events of one caller and one kind have in common, made once: their JSON around the gaps, and their index.

An event of the hot path costs a few microseconds: its body is pieces joined, its index the frame's, as it is stored,
plus what the gaps are filled with. A property test holds the result to ``to_index`` of the parsed body.
Spec: http://hl7.org/fhir/R4/auditevent.html, https://profiles.ihe.net/ITI/BALP/
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Any

from fhir_server.audit.templates import Occasion, Shape, to_template
from fhir_server.fhir.json import parse_json, to_json
from fhir_server.search.indexer import to_index
from fhir_server.search.stored import NONE_STORED, stored_parameters_in_force
from fhir_server.storage.splicing import Pattern, build_pattern

HEAD: Mapping[str, Any] = {"type": "AuditEvent", "version": 1, "deleted": False, "method": "POST"}
"""What all events are stored with, besides reference and time."""

MOMENTS = ("updated", "ds", "de")
_KEY_BYTES = 16


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """The JSON between id, lastUpdated, start and end of the period, recorded, entities; and the fixed index.

    The index is in ``pattern``, as it is stored, with gaps for ``MOMENTS``, further tokens and words, and the line; but
    ``references``, ``targets`` and ``compartments`` are for each event to merge with those that it has of its own.
    ``text`` is the template that it is made of, ``key`` what that is kept by: its content alone, so that nobody can
    change what it says; ``base_url`` tells whose references are local.
    """

    text: bytes
    key: bytes
    base_url: str
    after_id: str
    after_updated: str
    after_recorded: str
    data_after_reference: str
    patient_end: str
    query_start: str
    request_start: str
    request_end: str
    pattern: Pattern
    words: frozenset[str]
    references: tuple[str, ...]
    targets: tuple[str, ...]
    compartments: tuple[str, ...]
    line: str
    """The fixed part of the text that ``_content`` looks into, of ``lines`` each once."""
    lines: frozenset[str]


@lru_cache(maxsize=4_096)
def frame_of(occasion: Occasion, shape: Shape) -> Frame:
    """Return the frame; those of the latest callers are kept."""
    return frame_from(to_json(to_template(occasion, shape)))


@lru_cache(maxsize=4_096)
def frame_from(text: bytes) -> Frame:
    """Return the frame that is made of a template in JSON."""
    template = parse_json(text)
    event = template["event"]
    head = {name: event[name] for name in ("type", "subtype", "action")}
    tail: dict[str, Any] = {
        name: event[name] for name in ("outcome", "outcomeDesc", "purposeOfEvent", "agent", "source") if name in event
    }
    index, line = _index(event, template["base"])
    tokens, words = index.pop("t"), index.pop("w")
    references, targets, compartments = (tuple(index.pop(name, ())) for name in ("r", "x", "c"))
    return Frame(
        text=text,
        key=key_of(text),
        base_url=template["base"],
        after_id='","meta":{"versionId":"1","lastUpdated":"',
        after_updated=f'"{_members(event["meta"], leading=True)}}},{_members(head)},"period":{{"start":"',
        after_recorded=f'",{_members(tail)},"entity":[',
        data_after_reference=f'"}}{_members(template["data"], leading=True)}',
        patient_end=f'"}}{_members(template["patient"], leading=True)}}}',
        query_start=f'{{{_members(template["query"])},"query":"',
        request_start='{"what":{"identifier":{"value":"',
        request_end=f'"}}}}{_members(template["request"], leading=True)}}}',
        pattern=build_pattern(
            {**HEAD, **index}, MOMENTS, {"t": [*tokens, *_marks(template, references)], "w": words, "v": ()}
        ),
        words=frozenset(words),
        references=references,
        targets=targets,
        compartments=compartments,
        line=line,
        lines=frozenset(f" {one} |" for one in line.removeprefix("_content:").strip(" |").split(" | ")),
    )


def key_of(text: bytes) -> bytes:
    """Return the key of a template: 16 bytes of its digest."""
    return sha256(text).digest()[:_KEY_BYTES]


def _marks(template: Mapping[str, Any], references: Sequence[str]) -> list[str]:
    """Return the tokens that say of parameters that they are there though no entry of theirs does."""
    marks = [] if template["named"] else ["AuditEvent.entity:present"]
    # The indexer marks a member of an expression whose values are all there already: here the agent is the patient.
    if template["alone"] and any(one.startswith("AuditEvent.patient>") for one in references):
        marks.append("AuditEvent.patient:present")
    return marks


def _members(part: dict[str, Any], *, leading: bool = False) -> str:
    """Return the members of a JSON object without its braces; ``leading``: each after a comma."""
    text = to_json(part).decode()[1:-1]
    return f",{text}" if leading and text else text


def _index(event: dict[str, Any], base_url: str) -> tuple[dict[str, Any], str]:
    """Return the index of the fixed part. Stored parameters are not in it: an event that they concern has no frame."""
    with stored_parameters_in_force(NONE_STORED):
        index = to_index(event, base_url)
    line = index.pop("v")[0]
    index.pop("pt", None)
    return index, line
