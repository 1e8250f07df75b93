"""Events of accounts and of the authorization server: who signed in, who was given what, whose means changed. Pure.

They are about accounts and clients, never about a record: people are named by their account alone, so that no
compartment holds them, and nothing that was typed, no secret, code or token is in them.
Spec: https://profiles.ihe.net/ITI/BALP/StructureDefinition-IHE.IUA.71.html,
https://dicom.nema.org/medical/dicom/current/output/html/part15.html#sect_A.5.3
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from fhir_server.audit import codes
from fhir_server.audit.codes import Coding
from fhir_server.audit.events import Event
from fhir_server.audit.trail import new_event_id
from fhir_server.fhir.datatypes import format_instant
from fhir_server.fhir.json import parse_json, to_json
from fhir_server.search.indexer import to_index

SecurityCode = Literal[
    "sign-in",
    "sign-out",
    "access-token",
    "token-revoked",
    "credential-reused",
    "authorization",
    "account-added",
    "account-linked",
    "account-locked",
    "account-unlocked",
    "account-removed",
    "password-changed",
    "second-factor-added",
    "second-factors-removed",
    "recovery-codes-renewed",
    "security-key-added",
    "security-key-removed",
    "client-added",
    "client-changed",
    "client-rotated",
    "client-removed",
    "server-rotated",
    "token-introspected",
]
SECURITY = "https://espace-sante.example/fhir/CodeSystem/security-event"
ACCOUNT, CLIENT = (f"https://espace-sante.example/fhir/identifier/{each}" for each in ("account", "client"))
ITI_71 = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.IUA.71"

_AGENTS = "https://profiles.ihe.net/ITI/BALP/CodeSystem/UserAgentTypes"
_APPLICATION: Coding = {"system": codes.DICOM, "code": "110150"}
_AUTHORIZATION_SERVER: Coding = {"system": _AGENTS, "code": "AuthzOauthService"}
_RECIPIENT: Coding = {"system": codes.PARTICIPATION, "code": "IRCP"}
_AUTHENTICATION, _ALERT, _QUERY = "110114", "110113", "110112"
_USER_ATTRIBUTES: Coding = {"system": codes.DICOM, "code": "110137"}
_OBJECT_ATTRIBUTES: Coding = {"system": codes.DICOM, "code": "110135"}
_CONFIGURATION: Coding = {"system": codes.DICOM, "code": "110129"}
_MACHINE, _IP = "1", "2"


@dataclass(frozen=True, slots=True)
class Actor:
    """An account, a client, the command line, the server itself, or somebody who has shown nothing.

    ``id`` and ``name`` are of an account or client that exists, never what somebody typed; ``role`` is the kind of
    caller that it is.
    """

    kind: Literal["account", "client", "local", "server", "unknown"]
    id: str = ""
    name: str = ""
    role: str = ""
    address: str = ""


COMMAND_LINE = Actor("local", role="local")
THE_SERVER = Actor("server")


@dataclass(frozen=True, slots=True)
class SecurityEvent:
    """What has happened.

    ``actor`` has done it, through the app ``client`` if there is one; ``about`` is the account or client that it was
    done to, unless it is the actor. ``request`` is a token request without what proves anything. ``purposes`` say why.
    """

    code: SecurityCode
    actor: Actor
    client: Actor | None = None
    about: Actor | None = None
    outcome: str = codes.SUCCESS
    problem: str = ""
    request: str = ""
    details: tuple[tuple[str, str], ...] = ()
    purposes: tuple[Mapping[str, str], ...] = ()


class _Kind(NamedTuple):
    type: str
    subtypes: tuple[Coding, ...]
    action: str


def to_document(event: SecurityEvent, recorded: datetime, base_url: str) -> Event:
    """Return the event as a document of the collection ``audit``."""
    id = new_event_id(recorded)
    body = to_json(to_resource(event, id, recorded, base_url))
    return {
        "_id": f"AuditEvent/{id}",
        "type": "AuditEvent",
        "version": 1,
        "updated": recorded,
        "deleted": False,
        "method": "POST",
        "body": body,
        **to_index(parse_json(body), base_url),
    }


def to_resource(event: SecurityEvent, id: str, recorded: datetime, base_url: str) -> dict[str, Any]:
    """Return the event as an AuditEvent."""
    kind, moment = _kind(event.code), format_instant(recorded)
    host = urlsplit(base_url).hostname or "fhir-server"
    profiled = event.code == "access-token" and event.outcome == codes.SUCCESS
    meta = {"versionId": "1", "lastUpdated": moment, **({"profile": [ITI_71]} if profiled else {})}
    resource = {
        "resourceType": "AuditEvent",
        "id": id,
        "meta": meta,
        "type": {"system": codes.DICOM, "code": kind.type},
        "subtype": list(kind.subtypes),
        "action": kind.action,
        "period": {"start": moment, "end": moment},
        "recorded": moment,
        "outcome": event.outcome,
        "outcomeDesc": event.problem,
        "agent": _agents(event, base_url, host),
        "source": {"observer": {"display": host}, "type": [codes.APPLICATION_SERVER]},
        "entity": _entities(event),
    }
    return {name: value for name, value in resource.items() if value not in ("", [])}


def _kind(code: SecurityCode) -> _Kind:
    own: Coding = {"system": SECURITY, "code": code}
    match code:
        case "sign-in":
            return _Kind(_AUTHENTICATION, ({"system": codes.DICOM, "code": "110122"},), "E")
        case "sign-out":
            return _Kind(_AUTHENTICATION, ({"system": codes.DICOM, "code": "110123"},), "E")
        case "access-token":
            return _Kind(_AUTHENTICATION, ({"system": "urn:ihe:event-type-code", "code": "ITI-71"},), "E")
        case "token-revoked":
            return _Kind(_AUTHENTICATION, (own,), "D")
        case "token-introspected":
            return _Kind(_QUERY, ({"system": "urn:ihe:event-type-code", "code": "ITI-102"}, own), "E")
        case "credential-reused":
            return _Kind(_ALERT, (own,), "E")
        case "authorization":
            return _Kind(_ALERT, (_OBJECT_ATTRIBUTES, own), "E")
    what = _CONFIGURATION if code.startswith(("client-", "server-")) else _USER_ATTRIBUTES
    return _Kind(_ALERT, (what, own), _ACTIONS.get(code.rpartition("-")[2], "U"))


_ACTIONS = {"added": "C", "removed": "D"}


def _agents(event: SecurityEvent, base_url: str, host: str) -> list[dict[str, Any]]:
    """Return the app if there is one, this server, and who acts through the app or without one."""
    actor = event.actor if event.actor.kind not in ("client", "server") else None
    client = event.actor if event.actor.kind == "client" else event.client
    server = {
        "type": {"coding": [_AUTHORIZATION_SERVER]},
        "who": {"display": base_url},
        "requestor": event.actor.kind == "server",
        "network": {"address": host, "type": _MACHINE},
    }
    agents = [_application(client, host, alone=actor is None), server] if client is not None else [server]
    return agents if actor is None else [*agents, _person(actor, event, client)]


def _application(client: Actor, host: str, *, alone: bool) -> dict[str, Any]:
    network = {"address": client.address, "type": _IP} if client.address else {"address": host, "type": _MACHINE}
    return {
        "type": {"coding": [_APPLICATION]},
        **_roles(client),
        "who": _who(client),
        "requestor": alone,
        "network": network,
    }


def _person(actor: Actor, event: SecurityEvent, client: Actor | None) -> dict[str, Any]:
    agent: dict[str, Any] = {"type": {"coding": [_RECIPIENT]}, **_roles(actor), "who": _who(actor), "requestor": True}
    if client is None and actor.address:
        agent["network"] = {"address": actor.address, "type": _IP}
    if event.purposes:
        agent["purposeOfUse"] = [{"coding": [dict(one) for one in event.purposes]}]
    return agent


def _roles(actor: Actor) -> dict[str, Any]:
    return {"role": [{"coding": [{"system": codes.CALLER_KIND, "code": actor.role}]}]} if actor.role else {}


def _who(actor: Actor) -> dict[str, Any]:
    if not actor.id:
        return {"display": "command line" if actor.kind == "local" else "unknown"}
    system = ACCOUNT if actor.kind == "account" else CLIENT
    named = {"display": actor.name} if actor.name else {}
    return {"identifier": {"system": system, "value": actor.id}, **named}


def _entities(event: SecurityEvent) -> list[dict[str, Any]]:
    details = [{"type": name, "valueString": value} for name, value in event.details if value]
    detail = {"detail": details} if details else {}
    if event.code == "access-token":
        query = base64.b64encode(event.request.encode()).decode("ascii")
        return [{**_entity("2", "24"), "query": query, **detail}]
    if event.about is not None:
        described = _entity("1", "11") if event.about.kind == "account" else _entity("2", "13")
        return [{"what": _who(event.about), **described, **detail}]
    return [{**_entity("2", "13"), **detail}] if details else []


def _entity(type_code: str, role: str) -> dict[str, Any]:
    return {
        "type": {"system": codes.ENTITY_TYPE, "code": type_code},
        "role": {"system": codes.OBJECT_ROLE, "code": role},
    }
