"""Attacks by way of IUA's claims: purposes that nobody has registered, persons who are not to be found."""

from typing import Any

import pytest

from tests.access.oauth import refused
from tests.rest.smart import Smart
from tests.rest.smart_people import DOCTOR
from tests.trail import stored_events

INS = "urn:oid:1.2.250.1.213.1.4.10"
FINESS = "urn:oid:1.2.250.1.71.4.2.2"
GLASS = {"purpose_of_use": "bris_de_glace", "reason": "found unconscious"}


def person(id: str, value: str) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": id, "identifier": [{"system": INS, "value": value}]}


@pytest.mark.parametrize(
    ("registered", "stated"),
    [
        ({}, GLASS),
        ({}, {"purpose_of_use": "centre_15"}),
        ({"purposes": ("centre_15",)}, GLASS),
        ({"purposes": ("bris_de_glace",)}, {"purpose_of_use": "centre_15"}),
        ({}, {"secret_connection": "true"}),
        ({"purposes": ("bris_de_glace",)}, {**GLASS, "secret_connection": "true"}),
        ({}, {"subject_organization_id": f"{FINESS}|1750803447"}),
        ({"organization_identifiers": (f"{FINESS}|1",)}, {"subject_organization_id": f"{FINESS}|1750803447"}),
    ],
    ids=str,
)
def test_a_backend_states_only_what_it_is_registered_for(
    smart: Smart, registered: dict[str, Any], stated: dict[str, str]
) -> None:
    backend = smart.backend(roles=("trusted",), **registered)
    refused(backend.ask(**stated), "invalid_request")
    assert smart.composition.store().records.find("smart_tokens", {}) == []
    assert backend.ask(purpose_of_use="normal").status_code == 200


def test_what_is_registered_may_be_stated(smart: Smart) -> None:
    backend = smart.backend(organization_identifiers=(f"{FINESS}|1",), purposes=("bris_de_glace",))
    token = backend.token(**GLASS, subject_organization_id=f"{FINESS}|1")
    assert smart.caller(token).mode == "bris_de_glace"


@pytest.mark.parametrize(
    "person_id",
    [
        f"{INS}|unknown",
        f"{INS}|twice",
        f"{INS}|",
        "|279035121518989",
        "279035121518989",
        f"{INS}|279035121518989,{INS}|1",
        f"{INS}|279035121518989&_id=x",
        '{"$ne":null}',
        "a|b|c",
    ],
)
def test_unknown_and_ambiguous_persons_are_refused_alike(smart: Smart, person_id: str) -> None:
    smart.put(person("dom", "279035121518989"), person("one", "twice"), person("two", "twice"))
    said = {refused(smart.backend().ask(person_id=person_id), "invalid_request")}
    said.add(refused(smart.backend("other").ask(person_id=f"{INS}|nobody at all".replace(" ", "-")), "invalid_request"))
    assert len(said) == 1


def test_a_person_other_than_the_one_in_context_is_refused_like_an_unknown_one(smart: Smart) -> None:
    smart.put(person("dom", "279035121518989"), person("other", "1"))
    app = smart.app()
    launch = smart.composition.smart().launches.mint("app", None, {"patient": "dom"})
    given = app.run(DOCTOR, "launch patient/*.rs offline_access", launch=launch)
    assert given["patient"] == "dom"
    answer = app.refresh(given["refresh_token"], person_id=f"{INS}|1")
    assert refused(answer, "invalid_request").startswith("person_id is system|value of one patient")


def test_the_person_of_a_token_opens_no_record(smart: Smart) -> None:
    smart.put(person("dom", "279035121518989"))
    token = smart.backend().token(person_id=f"{INS}|279035121518989")
    assert smart.fhir("Patient/dom", token).status_code == 404
    doctor = smart.app()
    given = doctor.refresh(
        doctor.run(DOCTOR, "user/*.rs offline_access")["refresh_token"], person_id=f"{INS}|279035121518989"
    ).get_json()
    assert smart.fhir("Patient/dom", given["access_token"]).status_code == 404


@pytest.mark.parametrize("roles", [(), ("trusted",)])
def test_a_service_whose_token_is_about_one_person_touches_no_other_record(
    smart: Smart, roles: tuple[str, ...]
) -> None:
    smart.put(person("dom", "279035121518989"), person("other", "1"))
    service = smart.backend(roles=roles, organization="Organization/h")
    wide, narrow = service.token("system/*.cruds"), service.token("system/*.cruds", person_id=f"{INS}|279035121518989")
    for id, whose in (("mine", "dom"), ("theirs", "other")):
        observation = {"resourceType": "Observation", "status": "final", "code": {"text": id}}
        body = {**observation, "subject": {"reference": f"Patient/{whose}"}}
        answer = smart.fhir("Observation", wide, "POST", json=body, content_type="application/fhir+json")
        assert answer.status_code == 201
        path = "/".join(answer.headers["Location"].rsplit("/", 4)[1:3])
        assert smart.fhir(path, wide).status_code == 200
        assert smart.fhir(path, narrow).status_code == (200 if whose == "dom" else 404)
        changed = {**answer.get_json(), "status": "amended"}
        put = smart.fhir(path, narrow, "PUT", json=changed, content_type="application/fhir+json")
        nobodys = {**changed, "id": "unknown"}
        unknown = smart.fhir("Observation/unknown", narrow, "PUT", json=nobodys, content_type="application/fhir+json")
        assert put.status_code == (200 if whose == "dom" else unknown.status_code)
        assert unknown.status_code in (404, 405)
        created = smart.fhir("Observation", narrow, "POST", json=body, content_type="application/fhir+json")
        assert created.status_code == (201 if whose == "dom" else 403)
    assert smart.fhir("Observation", wide).get_json()["entry"][2:]
    found = [one["resource"]["subject"]["reference"] for one in smart.fhir("Observation", narrow).get_json()["entry"]]
    assert set(found) == {"Patient/dom"}


def test_the_audit_has_no_number_of_a_person(smart: Smart) -> None:
    smart.put(person("dom", "279035121518989"))
    smart.backend().token(person_id=f"{INS}|279035121518989")
    smart.backend("other").ask(person_id=f"{INS}|1790351215189")
    events = stored_events(smart.composition.store(), t={"$in": ["AuditEvent.type||110114", "AuditEvent.type||110113"]})
    assert len(events) == 2
    assert "90351215189" not in str(events)


def test_half_a_character_states_nothing(smart: Smart) -> None:
    answer = smart.backend().ask(claims='{"subject_name": "\\ud800"}')
    refused(answer, "invalid_request")
