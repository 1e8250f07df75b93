"""Break glass, declared care and the explanation of access: flows of their own, each told to the holder."""

from typing import Any

import pytest

from fhir_server.repository.facts import EMERGENCIES
from tests.access.callers import STRUCTURE, World, backend, operator, patient, professional
from tests.access.records import GP, consent, resource
from tests.access.test_records import documents, gp, marie, mother, nurse, other, record

__all__ = ["record"]

INS = "urn:oid:1.2.250.1.213.1.4.10"
URGENT = {"mode": "bris_de_glace", "reason": "Patient inconscient"}


def parameters(**values: Any) -> dict[str, Any]:
    parts = []
    for name, value in values.items():
        kind = "valueReference" if isinstance(value, dict) else "valueString"
        parts.append({"name": name, kind: value})
    return {"resourceType": "Parameters", "parameter": parts}


def of(id: str) -> dict[str, str]:
    return {"reference": f"Patient/{id}"}


def declare(world: World, caller: Any, **values: Any) -> Any:
    return world.ask(caller).post("Patient/$emergency-access", parameters(**values))


def test_an_emergency_opens_a_record_for_a_while_and_tells_the_holder_and_the_attending_doctor(record: World) -> None:
    assert documents(record, other, "&patient=marie") == set()
    reply = declare(record, other, patient=of("marie"), **URGENT)
    assert reply.status == 200, reply.content
    assert documents(record, other) == {"plain", "later", "psy"}, "what is masked stays masked"
    assert record.ask(other).get("DocumentReference/plain").status == 200
    told = record.ask(marie).get("Communication").resources
    assert [one["category"][0]["coding"][0]["code"] for one in told] == ["emergency-access"]
    assert "inconscient" not in str(told), "the reason is for the audit, not for the message"
    assert record.ask(gp).get("Communication").ids == [told[0]["id"]]

    records = record.composition.store().records
    records.change_many(EMERGENCIES, {}, [{"$set": {"until": {"$subtract": ["$$NOW", 1]}}}])
    assert documents(record, other, "&patient=marie") == set()
    assert record.ask(other).get("DocumentReference/plain").status == 404


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({"mode": "bris_de_glace"}, 400),
        ({"mode": "bris_de_glace", "reason": "  "}, 400),
        ({"mode": "normal", "reason": "x"}, 400),
        ({"mode": "centre_15", "reason": "x"}, 403),
        ({**URGENT, "more": "x"}, 400),
    ],
)
def test_an_emergency_needs_a_mode_a_reason_and_the_right(record: World, given: dict[str, str], status: int) -> None:
    assert declare(record, other, patient=of("marie"), **given).status == status
    assert documents(record, other) == set()


def test_only_professions_with_emergency_access_have_it(record: World) -> None:
    pharmacist = professional("other", "899700000099", "21")
    for caller in (pharmacist, marie, patient("luc"), backend("hospital"), operator()):
        assert declare(record, caller, patient=of("marie"), **URGENT).status == 403, caller.key
    assert declare(record, other, patient=of("nobody"), **URGENT).status == 404
    samu = professional("other", "899700000022", regulation=True)
    assert declare(record, samu, patient=of("marie"), mode="centre_15", reason="appel").status == 200


@pytest.mark.parametrize(
    ("purpose", "refused"),
    [("BTG", {"bris_de_glace"}), ("ETREAT", {"centre_15"}), (None, {"bris_de_glace", "centre_15"})],
)
def test_express_opposition_prevails(record: World, purpose: str | None, refused: set[str]) -> None:
    system = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
    provision = {"purpose": [{"system": system, "code": purpose}]} if purpose else {}
    record.put(consent("opposed", "marie", "deny", **provision))
    samu = professional("other", "899700000022", regulation=True)
    for mode in ("bris_de_glace", "centre_15"):
        reply = declare(record, samu, patient=of("marie"), mode=mode, reason="x")
        assert reply.status == (403 if mode in refused else 200), (mode, reply.content)


def test_a_blocked_professional_has_no_access_in_any_mode(record: World) -> None:
    record.put(consent("block", "marie", "deny", "899700000022"))
    assert declare(record, other, patient=of("marie"), **URGENT).status == 403
    assert record.ask(other).post("Patient/$declare-care", parameters(patient=of("marie"))).status == 403


def test_declared_care_is_a_consent_that_the_holder_sees_and_ends(record: World) -> None:
    ask = record.ask(other)
    assert ask.post("Patient/$declare-care", parameters(patient=of("marie"))).status == 200
    assert documents(record, other) == {"plain", "later", "psy"}
    [given] = record.ask(marie).get("Consent").resources
    assert given["category"][1]["coding"][0]["code"] == "presomption-equipe-soins"
    assert record.ask(other).get("Consent").ids == [given["id"]]
    assert record.ask(nurse).get("Consent").ids == []
    assert len(record.ask(marie).get("Communication").ids) == 1
    assert record.ask(other).post("Patient/$declare-care", parameters(patient=of("marie"))).status == 200
    assert len(record.ask(marie).get("Consent").ids) == 1, "once is enough"
    block = consent("block", "marie", "deny", "899700000022")
    assert record.ask(marie).post("Consent", {**block, "dateTime": "2099-01-01T00:00:00Z"}).status == 201
    assert documents(record, other) == set()


def explain(world: World, caller: Any, **values: str) -> dict[str, Any]:
    reply = world.ask(caller).post("$explain-access", parameters(**values))
    assert reply.status == 200, reply.content
    return {one["name"]: next(value for key, value in one.items() if key != "name") for one in reply.body["parameter"]}


def test_an_operator_is_told_which_rule_decides_and_nothing_of_the_content(record: World) -> None:
    asked = {"user": "Practitioner/gp", "identifier": f"urn:oid:1.2.250.1.71.4.2.1|{GP}", "action": "read"}
    told = explain(record, operator(), **asked, profession="10", resource="DocumentReference/masked")
    assert (told["allowed"], told["rule"], told["general-practitioner"]) == (True, "professional", True)
    told = explain(record, operator(), **asked, profession="99", resource="DocumentReference/masked")
    assert (told["allowed"], told["missing"]) == (False, "rule")
    told = explain(record, operator(), user="Patient/marie", action="read", resource="DocumentReference/later")
    assert (told["allowed"], told["missing"], told["record-open"]) == (False, "rule", True)
    told = explain(record, operator(), user="Patient/marie", action="read", resource="DocumentReference/plain")
    assert told["rule"] == "own-record"
    scoped = {"scope": "patient/Observation.rs", "action": "read", "resource": "DocumentReference/plain"}
    assert explain(record, operator(), user="Patient/marie", **scoped)["missing"] == "scope"
    for caller in (marie, gp, backend("hospital", trusted=True)):
        assert record.ask(caller).post("$explain-access", parameters(user="Patient/x")).status == 403


def test_the_matrix_can_be_read_by_who_is_known(record: World) -> None:
    reply = record.ask(marie).get("$habilitation-matrix")
    assert reply.status == 200
    assert reply.body["parameter"][0]["name"] == "version"


def test_a_patient_is_found_by_identity(record: World) -> None:
    identity = {"system": INS, "value": "279035121518989"}
    record.put(resource("Patient/marie", birthDate="1979-03-28", identifier=[identity]))
    found = declare(record, other, identifier=f"{INS}|279035121518989", **URGENT)
    assert found.body["parameter"][0]["valueReference"] == of("marie")
    assert declare(record, other, **URGENT).status == 400
    written_out = {"name": "identifier", "valueIdentifier": identity}
    found = record.ask(other).post("Patient/$declare-care", {"resourceType": "Parameters", "parameter": [written_out]})
    assert found.body["parameter"][0]["valueReference"] == of("marie")


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({"system": INS, "value": "shared"}, 412),
        ({"system": INS, "value": "unknown"}, 404),
        ({"system": INS, "value": "of-luc,of-lea"}, 404),
        ({"system": INS, "value": "of|luc"}, 200),
        ({"system": INS}, 400),
        ({"value": "bare"}, 200),
        ({}, 400),
        (f"{INS}|", 400),
        ("|", 400),
        ("of-luc", 200),
        (f"{INS}|of-lea", 200),
        (7, 400),
    ],
)
def test_an_identity_means_one_patient_or_none(record: World, given: Any, status: int) -> None:
    def identified(id: str, *values: str, **more: str) -> dict[str, Any]:
        identifiers = [{"system": INS, "value": value} for value in values]
        return resource(f"Patient/{id}", birthDate="1979-03-28", identifier=[*identifiers, *([more] if more else [])])

    record.put(
        identified("marie", "shared", value="bare"), identified("luc", "shared", "of-luc", "of|luc"),
        identified("lea", "of-lea"),
    )  # fmt: skip
    kind = {dict: "valueIdentifier", str: "valueString", int: "valueInteger"}[type(given)]
    body = {"resourceType": "Parameters", "parameter": [{"name": "identifier", kind: given}]}
    reply = record.ask(other).post("Patient/$declare-care", body)
    assert reply.status == status, reply.content


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({"valueReference": {"reference": "Patient/marie"}}, 200),
        ({"valueReference": {"reference": "http://localhost/fhir/Patient/marie"}}, 200),
        ({"valueString": "Patient/marie"}, 200),
        ({"valueString": "marie"}, 200),
        ({"valueString": "marie,luc"}, 400),
        ({"valueString": "nobody,marie"}, 400),
        ({"valueString": "nobody"}, 404),
        ({"valueReference": {"reference": "Practitioner/gp"}}, 400),
        ({"valueReference": {"reference": "http://elsewhere.example/fhir/Patient/marie"}}, 400),
        ({"valueReference": {"display": "Marie"}}, 400),
        ({"valueInteger": 7}, 400),
    ],
)
def test_a_reference_means_one_patient_or_none(record: World, given: dict[str, Any], status: int) -> None:
    body = {"resourceType": "Parameters", "parameter": [{"name": "patient", **given}]}
    reply = record.ask(other).post("Patient/$declare-care", body)
    assert reply.status == status, reply.content


def purposes(event: dict[str, Any]) -> set[str]:
    return {coding["code"] for purpose in event.get("purposeOfEvent", []) for coding in purpose["coding"]}


def test_the_trail_tells_the_emergency_its_reason_and_all_that_was_seen_in_it(record: World) -> None:
    declare(record, other, patient=of("marie"), **URGENT)
    record.ask(other).get("DocumentReference/plain")
    record.ask(other).get("DocumentReference?patient=marie")
    record.ask(gp).get("DocumentReference/plain")
    auditor = operator(roles=("auditor",))
    events = record.ask(auditor).get("AuditEvent?patient=Patient/marie&_count=100").resources
    by_other = [event for event in events if "Practitioner/other" in str(event["agent"])]
    assert len(by_other) >= 3
    ordinary = [event for event in by_other if purposes(event) != {"BTG", "bris_de_glace"}]
    assert ordinary == []
    assert "Patient inconscient" in str(by_other)
    assert all("BTG" not in purposes(event) for event in events if event not in by_other)
    assert record.ask(other).get("AuditEvent").ids == []
    assert "Patient inconscient" in str(record.ask(marie).get("AuditEvent?_count=100").resources)


def test_an_emergency_is_that_of_who_declared_it_and_no_colleagues(record: World) -> None:
    clinic = {"organization": "Organization/clinic", "organization_identifiers": (f"{STRUCTURE}|750000001",)}
    one = professional("other", "899700000022", **clinic)
    colleague = professional("colleague", "899700000077", **clinic)
    assert declare(record, one, patient=of("marie"), **URGENT).status == 200
    assert documents(record, one, "&patient=marie") == {"plain", "later", "psy"}
    assert documents(record, colleague, "&patient=marie") == set()
    assert record.ask(colleague).get("DocumentReference/plain").status == 404


@pytest.mark.parametrize("operation", ["$declare-care", "$emergency-access"])
def test_a_secret_connection_leaves_nothing_that_representatives_see(record: World, operation: str) -> None:
    given = {} if operation == "$declare-care" else URGENT
    discreet = professional("other", "899700000022", secret=True)
    reply = record.ask(discreet).post(f"Patient/{operation}", parameters(patient=of("lea"), **given))
    assert reply.status == 200, reply.content
    written = [
        f"{one['resourceType']}/{one['id']}"
        for kind in ("Consent", "Communication")
        for one in record.ask(patient("lea")).get(kind).resources
    ]
    assert written, "the child is told"
    for reference in written:
        assert record.ask(mother).get(reference).status == 404, reference
    for kind in ("Consent", "Communication", "Provenance", "AuditEvent", "Patient/lea/*"):
        found = record.ask(mother).get(f"{kind}{'' if '*' in kind else '?_count=100'}")
        assert b"Practitioner/other" not in found.content, kind
        assert b"899700000022" not in found.content, kind
