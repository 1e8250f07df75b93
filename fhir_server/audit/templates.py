"""What all events of one caller and one kind say, without what differs from one to the next. Pure.

Spec: http://hl7.org/fhir/R4/auditevent.html, https://profiles.ihe.net/ITI/BALP/
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple, cast
from urllib.parse import urlsplit

from fhir_server.access.caller import Caller, Mode
from fhir_server.audit import codes

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


class Occasion(NamedTuple):
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


EMERGENCY = "emergency/"
"""Begins the rule of an access in a declared emergency; its mode follows."""


def to_template(occasion: Occasion, shape: Shape) -> dict[str, Any]:
    """Return all that a frame is made of, as JSON that stands for itself: no later version of the server reads more
    into it.

    ``event`` is the AuditEvent; ``data``, ``patient``, ``query``, ``request`` are entities without what they are
    about; ``named``: it names somebody or something; ``alone`` as in ``Shape``.
    """
    return {
        "base": occasion.base_url,
        "event": _event(occasion, shape),
        "data": _labelled(DATA_ENTITY, shape),
        "patient": _labelled(PATIENT_ENTITY, shape),
        "query": QUERY_ENTITY,
        "request": _request_entity(occasion.caller),
        "named": shape.data or shape.patient,
        "alone": shape.alone,
    }


def _event(occasion: Occasion, shape: Shape) -> dict[str, Any]:
    """Return the event without what differs from one to the next; entities lack what they are about."""
    caller, kind = _in_emergency(occasion.caller, shape.rules), codes.KINDS[shape.action]
    occasion = occasion._replace(caller=caller)
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
