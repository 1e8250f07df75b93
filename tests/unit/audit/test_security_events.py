"""Events of accounts and clients as AuditEvents: in BALP's shape, of nobody's record, without anything typed."""

import base64
from datetime import UTC, datetime
from typing import Any, get_args

import pytest

from fhir_server.audit.codes import ENTITY_TYPE, OBJECT_ROLE, SERIOUS_FAILURE
from fhir_server.audit.security_events import (
    COMMAND_LINE,
    ITI_71,
    THE_SERVER,
    Actor,
    SecurityCode,
    SecurityEvent,
    to_document,
    to_resource,
)
from fhir_server.fhir.definitions import artifact
from fhir_server.fhir.json import parse_json
from fhir_server.validation.structure import check_structure

BASE = "https://health.example/fhir"
NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
MARIE = Actor("account", "acc1", role="patient", address="203.0.113.7")
APP = Actor("client", "app-1", "An app", address="203.0.113.7")
CODES: tuple[SecurityCode, ...] = get_args(SecurityCode)


def resource(event: SecurityEvent) -> dict[str, Any]:
    return to_resource(event, "a", NOW, BASE)


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("actor", [MARIE, APP, COMMAND_LINE, THE_SERVER, Actor("unknown", address="::1")])
@pytest.mark.parametrize("about", [None, MARIE, APP])
def test_every_event_is_a_valid_audit_event_of_no_record(code: SecurityCode, actor: Actor, about: Actor | None) -> None:
    document = to_document(SecurityEvent(code, actor, about=about, request="grant_type=x"), NOW, BASE)
    assert not check_structure(parse_json(document["body"]))
    assert not {"c", "pt", "x"} & document.keys()
    requestors = [agent for agent in parse_json(document["body"])["agent"] if agent["requestor"]]
    assert len(requestors) == 1


@pytest.mark.parametrize("code", CODES)
def test_its_codes_exist(code: SecurityCode) -> None:
    event = resource(SecurityEvent(code, MARIE, APP, about=APP, details=(("a", "b"),)))
    known = {one["code"] for one in artifact("CodeSystem", "http://dicom.nema.org/resources/ontology/DCM")["concept"]}
    codings = [event["type"], *event["subtype"], *(one for agent in event["agent"] for one in agent["type"]["coding"])]
    assert {one["code"] for one in codings if one["system"].endswith("/DCM")} <= known
    types = {one["code"] for one in artifact("CodeSystem", ENTITY_TYPE)["concept"]}
    roles = {one["code"] for one in artifact("CodeSystem", OBJECT_ROLE)["concept"]}
    for entity in event["entity"]:
        assert entity["type"]["code"] in types
        assert entity["role"]["code"] in roles


def test_a_sign_in_is_dicoms_login_by_the_account() -> None:
    event = resource(SecurityEvent("sign-in", MARIE, details=(("amr", "pwd otp mfa"), ("acr", ""))))
    assert (event["type"]["code"], [one["code"] for one in event["subtype"]]) == ("110114", ["110122"])
    agent = event["agent"][-1]
    assert agent["who"]["identifier"]["value"] == "acc1"
    assert agent["network"] == {"address": "203.0.113.7", "type": "2"}
    assert event["entity"][0]["detail"] == [{"type": "amr", "valueString": "pwd otp mfa"}]


def test_a_token_is_told_as_iua_wants_it() -> None:
    """https://profiles.ihe.net/ITI/BALP/StructureDefinition-IHE.IUA.71.html, slice by slice."""
    event = resource(SecurityEvent("access-token", MARIE, APP, request="grant_type=authorization_code"))
    assert event["meta"]["profile"] == [ITI_71]
    assert event["subtype"] == [{"system": "urn:ihe:event-type-code", "code": "ITI-71"}]
    assert (event["action"], event["outcome"]) == ("E", "0")
    kinds = [agent["type"]["coding"][0]["code"] for agent in event["agent"]]
    assert kinds == ["110150", "AuthzOauthService", "IRCP"]
    client, server, user = event["agent"]
    assert client["network"]["address"] == "203.0.113.7"
    assert server["network"] == {"address": "health.example", "type": "1"}
    assert "network" not in user
    assert user["requestor"] is True
    (entity,) = event["entity"]
    assert base64.b64decode(entity["query"]) == b"grant_type=authorization_code"
    assert "what" not in entity


def test_a_token_of_a_backend_has_two_agents() -> None:
    event = resource(SecurityEvent("access-token", APP, APP, request="x"))
    assert [agent["type"]["coding"][0]["code"] for agent in event["agent"]] == ["110150", "AuthzOauthService"]
    assert event["agent"][0]["requestor"] is True


def test_a_refused_token_claims_no_profile() -> None:
    event = resource(SecurityEvent("access-token", APP, outcome=SERIOUS_FAILURE, problem="invalid_grant", request="x"))
    assert "profile" not in event["meta"]
    assert event["outcomeDesc"] == "invalid_grant"
