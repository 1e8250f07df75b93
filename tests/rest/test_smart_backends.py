"""SMART Backend Services and what professionals' software and backends state of an access (IUA)."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.access.test_egress import body, serving
from tests.rest.smart import Smart
from tests.rest.smart_apps import new_key
from tests.rest.smart_people import DOCTOR, MARIE, Account, Professional

INS = "urn:oid:1.2.250.1.213.1.4.10"
DOMINIQUE = {"resourceType": "Patient", "id": "dom", "identifier": [{"system": INS, "value": "279035121518989"}]}
NORMAL = [{"system": "urn:oid:1.2.250.1.213.1.1.4.248", "code": "normal"}]


@pytest.mark.parametrize("alg", ["RS384", "ES384"])
def test_a_backend_gets_a_token_for_what_it_may(smart: Smart, alg: str) -> None:
    backend = smart.backend(
        alg=alg, organization="Organization/h", organization_identifiers=("urn:oid:1|2",), roles=("trusted", "auditor")
    )
    answer = backend.ask("system/Observation.rs ITI-67 system/Patient.d").get_json()
    assert answer["token_type"] == "Bearer"
    assert answer["expires_in"] == 900
    assert answer["scope"] == "system/Observation.rs ITI-67 system/Patient.d"
    caller = smart.caller(answer["access_token"])
    assert (caller.kind, caller.client_id, caller.client_name) == ("system", "backend", "The backend backend")
    assert (caller.organization, caller.organization_identifiers) == ("Organization/h", ("urn:oid:1|2",))
    assert (caller.trusted, caller.roles, caller.user, caller.patient) == (True, ("auditor",), None, None)
    named = [(scope.context, scope.resource_type, scope.actions) for scope in caller.scopes]
    assert named == [("system", "Observation", "rs"), ("system", "Patient", "d"), ("system", "DocumentReference", "rs")]
    assert smart.works(answer["access_token"])


def test_keys_are_fetched_from_the_address_that_the_client_has_registered(smart_with: Callable[..., Smart]) -> None:
    smart, key = smart_with(fetch_loopback=True), new_key("ES384")
    document = json.dumps({"keys": [key.as_dict(private=False)]}).encode()
    with serving(body(document)) as (port, asked):
        backend = smart.backend(jwks=None, jwks_uri=f"http://127.0.0.1:{port}/jwks")
        backend.key = key
        for _ in range(3):
            assert backend.ask().status_code == 200
        assert len(asked) == 1
        jku = {"jku": backend.client.jwks_uri}
        assert backend.ask(assertion=backend.assertion(jku)).status_code == 200
        other = backend.ask(assertion=backend.assertion({"jku": f"http://127.0.0.1:{port}/other"}))
        assert other.get_json()["error"] == "invalid_client"
        assert len(asked) == 1


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/jwks", "https://169.254.169.254/jwks", "https://localhost/jwks"])
def test_keys_inside_are_not_fetched(smart: Smart, url: str) -> None:
    answer = smart.backend(jwks=None, jwks_uri=url).ask()
    assert answer.get_json()["error"] == "invalid_client"
    assert "jwks_uri" in answer.get_json()["error_description"]


def test_a_backend_states_what_for(smart: Smart) -> None:
    smart.put(DOMINIQUE)
    backend = smart.backend(purposes=("bris_de_glace",), secret_connections=True)
    ehr = smart.app("ehr", secret="e", roles=("ehr",))
    form = {
        "purpose_of_use": "bris_de_glace",
        "reason": "found unconscious",
        "subject_name": "MEDIONI Stéphane",
        "subject_organization": "Cabinet",
        "person_id": "urn:oid:1.2.250.1.213.1.4.10|279035121518989",
        "secret_connection": "true",
    }
    token = backend.token(**form)
    caller = smart.caller(token)
    assert (caller.mode, caller.reason, caller.secret) == ("bris_de_glace", "found unconscious", True)
    said = smart.introspect(token, ehr)
    assert said["secret_connection"] is True
    assert said["extensions"]["ihe_iua"] == {
        "subject_name": "MEDIONI Stéphane",
        "subject_organization": "Cabinet",
        "person_id": form["person_id"],
        "purpose_of_use": [{**NORMAL[0], "code": "bris_de_glace"}],
    }
    assert backend.ask(purpose_of_use="bris_de_glace").get_json()["error"] == "invalid_request"


def test_a_professional_states_what_for_and_the_login_says_who(smart: Smart) -> None:
    app, ehr = smart.app(), smart.app("ehr", secret="e", roles=("ehr",))
    code = app.code(smart.browser(DOCTOR), "user/*.rs ITI-68 offline_access")
    token = app.exchange(code, subject_name="Somebody Else", national_provider_identifier="000").get_json()
    said = smart.introspect(token["access_token"], ehr)
    assert said["extensions"]["ihe_iua"] == {
        "subject_name": "Dr. House",
        "national_provider_identifier": "899700218896",
        "subject_organization_id": "urn:oid:1.2.250.1.71.4.2.2|1750803447",
        "subject_role": [
            {"system": "urn:oid:1.2.250.1.71.1.2.7", "code": "10"},
            {"system": "urn:oid:1.2.250.1.71.4.2.5", "code": "SM54"},
        ],
        "purpose_of_use": NORMAL,
    }
    glass = app.refresh(token["refresh_token"], purpose_of_use="bris_de_glace", reason="found unconscious").get_json()
    assert smart.caller(glass["access_token"]).mode == "bris_de_glace"
    assert ("user", "Binary", "r") in {
        (scope.context, scope.resource_type, scope.actions) for scope in smart.caller(glass["access_token"]).scopes
    }
    after = app.refresh(glass["refresh_token"]).get_json()
    assert smart.caller(after["access_token"]).mode == "normal"
    refused = app.refresh(after["refresh_token"], purpose_of_use="centre_15")
    assert refused.get_json()["error"] == "invalid_request"


def test_an_emergency_lasts_a_quarter_of_an_hour_whatever_is_set(smart_with: Callable[..., Smart]) -> None:
    smart = smart_with(professional_token_lifetime=7_200.0, access_token_lifetime=7_200.0)
    backend = smart.backend(purposes=("bris_de_glace",))
    assert backend.ask().get_json()["expires_in"] == 7_200
    glass = backend.ask(purpose_of_use="bris_de_glace", reason="found unconscious").get_json()
    assert glass["expires_in"] == 900
    token = backend.smart.composition.smart().tokens.find(glass["access_token"])
    assert token is not None
    assert round((token.expires - token.issued).total_seconds()) == 900


def test_a_token_is_about_the_person_whom_its_claims_name(smart: Smart) -> None:
    smart.put(DOMINIQUE)
    ehr = smart.app("ehr", secret="e", roles=("ehr",))
    given = smart.backend().ask(person_id=f"{INS}|279035121518989").get_json()
    assert given["patient"] == "dom"
    assert smart.caller(given["access_token"]).patient == "dom"
    assert smart.introspect(given["access_token"], ehr)["patient"] == "dom"
    assert "patient" not in smart.backend("other").ask().get_json()


def test_a_professional_names_another_person_with_each_token(smart: Smart) -> None:
    other = {"resourceType": "Patient", "id": "other", "identifier": [{"system": INS, "value": "1"}]}
    smart.put(DOMINIQUE, other)
    app = smart.app()
    given = app.run(DOCTOR, "user/*.rs offline_access")
    for value, patient in (("279035121518989", "dom"), ("1", "other")):
        given = app.refresh(given["refresh_token"], person_id=f"{INS}|{value}").get_json()
        assert given["patient"] == patient
    assert "patient" not in app.refresh(given["refresh_token"]).get_json()


def test_a_regulating_doctor_may_state_it(smart: Smart) -> None:
    regulating = Account("samu", "professional", "Practitioner/samu", "Dr. S", (), Professional(regulation=True))
    app = smart.app()
    code = app.code(smart.browser(regulating), "user/*.rs")
    token = app.exchange(code, purpose_of_use="centre_15").get_json()
    assert smart.caller(token["access_token"]).mode == "centre_15"


def test_a_patients_app_states_nothing(smart: Smart) -> None:
    app = smart.app()
    for form in ({"purpose_of_use": "bris_de_glace", "reason": "found unconscious"}, {"secret_connection": "true"}):
        answer = app.exchange(app.code(smart.browser(MARIE), "patient/*.rs"), **form)
        assert answer.get_json()["error"] == "invalid_request"


def test_a_patients_transactions_are_in_their_record(smart: Smart) -> None:
    token = smart.app().run(MARIE, "ITI-67")
    scopes: Any = smart.caller(token["access_token"]).scopes
    assert [(scope.context, scope.resource_type) for scope in scopes] == [("patient", "DocumentReference")]
