"""An AuditEvent as a DICOM audit message, and as a syslog message that carries it. Pure.

Spec: https://dicom.nema.org/medical/dicom/current/output/html/part15.html#sect_A.5,
https://www.rfc-editor.org/rfc/rfc5424, https://www.rfc-editor.org/rfc/rfc5425
"""

import re
from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import quoteattr

_AUTHORISATION_NOTICE = 10 * 8 + 5
"""Facility security/authorization (private), severity notice; IHE ITI TF-2 3.20.7."""

_UNPRINTABLE = re.compile(r"[^!-~]")
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SYSTEMS = {
    "http://dicom.nema.org/resources/ontology/DCM": "DCM",
    "http://hl7.org/fhir/restful-interaction": "http://hl7.org/fhir/restful-interaction",
}


def to_dicom(event: Mapping[str, Any]) -> str:
    """Return the XML of an AuditEvent, without a declaration."""
    return _element(
        "AuditMessage", {}, _identification(event) + _participants(event) + _source(event) + _objects(event)
    )


def to_syslog(event: Mapping[str, Any], host: str) -> bytes:
    """Return one frame of syslog over TLS: its length in octets, a blank, the message."""
    name = _UNPRINTABLE.sub("", host)[:255] or "-"
    head = f"<{_AUTHORISATION_NOTICE}>1 {event['recorded']} {name} fhir-server - DICOM+RFC3881 - "
    message = head.encode() + b"\xef\xbb\xbf" + to_dicom(event).encode()
    return b"%d %s" % (len(message), message)


def _identification(event: Mapping[str, Any]) -> str:
    attributes = {
        "EventActionCode": event.get("action", ""),
        "EventDateTime": event["recorded"],
        "EventOutcomeIndicator": event.get("outcome", "0"),
    }
    types = "".join(_code("EventTypeCode", coding) for coding in event.get("subtype", ()))
    reasons = "".join(
        _code("PurposeOfUse", coding)
        for reason in event.get("purposeOfEvent", ())
        for coding in reason.get("coding", ())
    )
    return _element("EventIdentification", attributes, _code("EventID", event["type"]) + types + reasons)


def _participants(event: Mapping[str, Any]) -> str:
    return "".join(_participant(agent) for agent in event.get("agent", ()))


def _participant(agent: Mapping[str, Any]) -> str:
    who, network = agent.get("who", {}), agent.get("network", {})
    attributes = {
        "UserID": _id(who) or who.get("display", "") or "unknown",
        "AlternativeUserID": agent.get("altId", ""),
        "UserName": agent.get("name", who.get("display", "")),
        "UserIsRequestor": "true" if agent.get("requestor") else "false",
        "NetworkAccessPointID": network.get("address", ""),
        "NetworkAccessPointTypeCode": network.get("type", ""),
    }
    concepts = [*([agent["type"]] if "type" in agent else []), *agent.get("role", ())]
    roles = "".join(_code("RoleIDCode", coding) for concept in concepts for coding in concept.get("coding", ()))
    return _element("ActiveParticipant", attributes, roles)


def _source(event: Mapping[str, Any]) -> str:
    source = event.get("source", {})
    observer = source.get("observer", {})
    attributes = {"AuditSourceID": _id(observer) or observer.get("display", "") or "unknown"}
    kinds = "".join(_code("AuditSourceTypeCode", coding) for coding in source.get("type", ()))
    return _element("AuditSourceIdentification", attributes, kinds)


def _objects(event: Mapping[str, Any]) -> str:
    return "".join(_object(entity) for entity in event.get("entity", ()))


def _object(entity: Mapping[str, Any]) -> str:
    kind, role = entity.get("type", {}), entity.get("role", {})
    attributes = {
        "ParticipantObjectID": _id(entity.get("what", {})) or "unknown",
        "ParticipantObjectTypeCode": kind.get("code", "") if str(kind.get("code", "")).isdigit() else "",
        "ParticipantObjectTypeCodeRole": role.get("code", ""),
        "ParticipantObjectSensitivity": " ".join(one.get("code", "") for one in entity.get("securityLabel", ())),
    }
    type_code = _code("ParticipantObjectIDTypeCode", kind) if kind else ""
    query = f"<ParticipantObjectQuery>{entity['query']}</ParticipantObjectQuery>" if "query" in entity else ""
    details = "".join(
        _element("ParticipantObjectDetail", {"type": one.get("type", ""), "value": one.get("valueString", "")})
        for one in entity.get("detail", ())
    )
    return _element("ParticipantObjectIdentification", attributes, type_code + query + details)


def _id(reference: Mapping[str, Any]) -> str:
    return str(reference.get("reference") or reference.get("identifier", {}).get("value") or "")


def _code(name: str, coding: Mapping[str, Any]) -> str:
    system = coding.get("system", "")
    attributes = {
        "csd-code": coding.get("code", ""),
        "codeSystemName": _SYSTEMS.get(system, system),
        "originalText": coding.get("display") or coding.get("code", ""),
    }
    return _element(name, attributes)


def _element(name: str, attributes: Mapping[str, str], content: str = "") -> str:
    told = "".join(f" {key}={quoteattr(_NOT_XML.sub('', str(value)))}" for key, value in attributes.items() if value)
    return f"<{name}{told}>{content}</{name}>" if content else f"<{name}{told}/>"
