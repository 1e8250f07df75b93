"""What all events of one caller and one kind have in common, made once: their JSON around the gaps, and their index.

An event of the hot path costs a few microseconds: its body is pieces joined, its index the frame's, as it is stored,
plus what the gaps are filled with. A property test holds the result to ``to_index`` of the parsed body.
Spec: http://hl7.org/fhir/R4/auditevent.html, https://profiles.ihe.net/ITI/BALP/
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple, cast
from urllib.parse import urlsplit

from fhir_server.access.caller import Caller, Mode
from fhir_server.audit import codes
from fhir_server.fhir.json import to_json
from fhir_server.search.indexer import to_index
from fhir_server.search.stored import NONE_STORED, stored_parameters_in_force
from fhir_server.storage.splicing import Pattern, build_pattern

DATA_ENTITY = {
    "type": {"system": codes.ENTITY_TYPE, "code": "2"},
    "role": {"system": codes.OBJECT_ROLE, "code": "4"},
}
QUERY_ENTITY = {
    "type": {"system": codes.ENTITY_TYPE, "code": "2"},
    "role": {"system": codes.OBJECT_ROLE, "code": "24"},
}
PATIENT_ENTITY = {
    "type": {"system": codes.ENTITY_TYPE, "code": "1"},
    "role": {"system": codes.OBJECT_ROLE, "code": "1"},
}
REQUEST_ENTITY = {"type": {"system": codes.BALP_ENTITY_TYPE, "code": "XrequestId"}}
VERSION = "version"
_REFERABLE = frozenset({"Patient", "RelatedPerson", "Practitioner", "PractitionerRole"})
"""Of the types that a fhirUser may have, those that an agent may be."""


@dataclass(frozen=True, slots=True)
class Occasion:
    """Who asks, from where, of which server; ``address`` is the client's, empty if not known."""

    caller: Caller
    base_url: str
    address: str = ""


class Shape(NamedTuple):
    """What kind of event: besides the occasion all that its frame depends on.

    ``problem``: the issue code of what was refused; ``data``, ``patient``, ``query``: entities that it has;
    ``versions``: its data are said with their versions; ``own``: the record is the caller's, or nobody's; ``alone``:
    it names no patient but the caller.
    """

    action: str
    labels: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    outcome: str = codes.SUCCESS
    problem: str = ""
    data: bool = True
    versions: bool = True
    patient: bool = False
    query: bool = False
    own: bool = True
    alone: bool = False


HEAD: Mapping[str, Any] = {"type": "AuditEvent", "version": 1, "deleted": False, "method": "POST"}
"""What all events are stored with, besides reference and time."""

MOMENTS = ("updated", "ds", "de")

EMERGENCY = "emergency/"
"""Begins the rule of an access in a declared emergency; its mode follows."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """The JSON between id, lastUpdated, start and end of the period, recorded, entities; and the fixed index.

    The index is in ``pattern``, as it is stored, with gaps for ``MOMENTS``, further tokens and words, and the line; but
    ``references``, ``targets`` and ``compartments`` are for each event to merge with those that it has of its own.
    """

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
    event = _event(occasion, shape)
    head = {name: event[name] for name in ("type", "subtype", "action")}
    tail: dict[str, Any] = {
        name: event[name] for name in ("outcome", "outcomeDesc", "purposeOfEvent", "agent", "source") if name in event
    }
    index, line = _index(event, occasion.base_url)
    tokens, words = index.pop("t"), index.pop("w")
    references, targets, compartments = (tuple(index.pop(name, ())) for name in ("r", "x", "c"))
    return Frame(
        after_id='","meta":{"versionId":"1","lastUpdated":"',
        after_updated=f'"{_members(event["meta"], leading=True)}}},{_members(head)},"period":{{"start":"',
        after_recorded=f'",{_members(tail)},"entity":[',
        data_after_reference=f'"}}{_members(_labelled(DATA_ENTITY, shape), leading=True)}',
        patient_end=f'"}}{_members(_labelled(PATIENT_ENTITY, shape), leading=True)}}}',
        query_start=f'{{{_members(QUERY_ENTITY)},"query":"',
        request_start='{"what":{"identifier":{"value":"',
        request_end=f'"}}}}{_members(_request_entity(occasion.caller), leading=True)}}}',
        pattern=build_pattern(
            {**HEAD, **index}, MOMENTS, {"t": [*tokens, *_marks(shape, references)], "w": words, "v": ()}
        ),
        words=frozenset(words),
        references=references,
        targets=targets,
        compartments=compartments,
        line=line,
        lines=frozenset(f" {one} |" for one in line.removeprefix("_content:").strip(" |").split(" | ")),
    )


def _marks(shape: Shape, references: Sequence[str]) -> list[str]:
    """Return the tokens that say of parameters that they are there though no entry of theirs does."""
    marks = [] if shape.data or shape.patient else ["AuditEvent.entity:present"]
    # The indexer marks a member of an expression whose values are all there already: here the agent is the patient.
    if shape.alone and any(one.startswith("AuditEvent.patient>") for one in references):
        marks.append("AuditEvent.patient:present")
    return marks


def _event(occasion: Occasion, shape: Shape) -> dict[str, Any]:
    """Return the event without what differs from one to the next; entities lack what they are about."""
    caller, kind = _in_emergency(occasion.caller, shape.rules), codes.KINDS[shape.action]
    occasion = replace(occasion, caller=caller)
    labels = dict.fromkeys(shape.labels)
    if caller.secret:
        labels[codes.HIDDEN_FROM_REPRESENTATIVES] = None
    profile = codes.profile_of(kind, patient=shape.patient)
    meta: dict[str, Any] = {"profile": [profile]} if profile else {}
    if labels:
        meta["security"] = [codes.to_coding(label) for label in labels]
    purposes = codes.purposes_of(caller)
    event = {
        "resourceType": "AuditEvent",
        "meta": meta,
        "type": codes.REST,
        "subtype": [{"system": codes.INTERACTION, "code": kind.interaction}],
        "action": kind.action,
        "outcome": shape.outcome,
        "outcomeDesc": shape.problem,
        "purposeOfEvent": [{"coding": purposes}] if purposes else [],
        "agent": _agents(occasion, kind, shape),
        "source": {
            "observer": {"display": urlsplit(occasion.base_url).hostname or "fhir-server"},
            "type": [codes.APPLICATION_SERVER],
        },
        "entity": _entities(caller, shape),
    }
    return {name: value for name, value in event.items() if value not in ("", [])}


def _in_emergency(caller: Caller, rules: Iterable[str]) -> Caller:
    """Return the caller in the mode in which the rules have let them through (``emergency/bris_de_glace``)."""
    modes = [rule.removeprefix(EMERGENCY) for rule in rules if rule.startswith(EMERGENCY)]
    return replace(caller, mode=cast(Mode, modes[0])) if modes else caller


def _agents(occasion: Occasion, kind: codes.Kind, shape: Shape) -> list[dict[str, Any]]:
    caller = occasion.caller
    client_role, server_role = (codes.SOURCE, codes.DESTINATION) if kind.client_sends else (
        codes.DESTINATION,
        codes.SOURCE,
    )  # fmt: skip
    decided = {"policy": [f"{codes.RULE}{rule}" for rule in shape.rules]} if shape.rules else {}
    alone = not caller.user
    client: dict[str, Any] = {"type": {"coding": [client_role]}}
    if alone:
        client["role"] = codes.roles_of(caller)
    client |= {"who": _client(caller), "requestor": alone}
    if caller.client_name:
        client["name"] = caller.client_name
    if alone:
        client |= decided
    if occasion.address:
        client["network"] = {"address": occasion.address, "type": "2"}
    server = {"type": {"coding": [server_role]}, "who": {"display": occasion.base_url}, "requestor": False}
    return [client, server, *([] if alone else [_user(caller, shape, decided)])]


def _client(caller: Caller) -> dict[str, Any]:
    if not caller.client_id:
        return {"display": "command line" if caller.kind == "local" else "unknown"}
    who: dict[str, Any] = {"identifier": {"value": caller.client_id}}
    return {**who, "display": caller.client_name} if caller.client_name else who


def _user(caller: Caller, shape: Shape, decided: Mapping[str, Any]) -> dict[str, Any]:
    """Return the person. A patient who acts for another one is named by an identifier: the event is of one record."""
    assert caller.user is not None
    who: dict[str, Any] = {"reference": caller.user}
    kind = caller.user.partition("/")[0]
    if kind not in _REFERABLE or (kind == "Patient" and not shape.own):
        who = {"identifier": {"value": caller.user.partition("/")[2]}}
    elif caller.identifiers:
        system, _, value = caller.identifiers[0].rpartition("|")
        who["identifier"] = {"system": system, "value": value} if system else {"value": value}
    user: dict[str, Any] = {
        "type": {"coding": [{"system": codes.PARTICIPATION, "code": "IRCP"}]},
        "role": codes.roles_of(caller),
        "who": who,
        "requestor": True,
        **decided,
    }
    if caller.user_name:
        who["display"] = caller.user_name
        user["name"] = caller.user_name
    purposes = codes.purposes_of(caller)
    return {**user, "purposeOfUse": [{"coding": purposes}]} if purposes else user


def _entities(caller: Caller, shape: Shape) -> list[dict[str, Any]]:
    entities: list[dict[str, Any]] = []
    if shape.data:
        detail = {"detail": [{"type": VERSION}]} if shape.versions else {}
        entities.append({**_labelled(DATA_ENTITY, shape), **detail})
    if shape.patient:
        entities.append(_labelled(PATIENT_ENTITY, shape))
    if shape.query:
        entities.append(QUERY_ENTITY)
    return [*entities, _request_entity(caller)]


def _labelled(entity: dict[str, Any], shape: Shape) -> dict[str, Any]:
    if not shape.labels:
        return entity
    return {**entity, "securityLabel": [codes.to_coding(label) for label in shape.labels]}


def _request_entity(caller: Caller) -> dict[str, Any]:
    if not caller.reason:
        return REQUEST_ENTITY
    return {**REQUEST_ENTITY, "detail": [{"type": "motif", "valueString": caller.reason}]}


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
