"""IUA's claims in a token request."""

import json
from typing import Any

import pytest
from authlib.oauth2.rfc6749 import InvalidRequestError

from fhir_server.smart.iua import NO_CLAIMS, PURPOSES, Claims, parse_claims


def test_a_request_without_claims_has_none() -> None:
    assert parse_claims({"grant_type": "x", "state": "y"}) == NO_CLAIMS


def test_claims_come_as_fields() -> None:
    form = {
        "purpose_of_use": f"{PURPOSES}|bris_de_glace",
        "reason": "found unconscious",
        "secret_connection": "true",
        "person_id": "urn:oid:1.2.250.1.213.1.4.10|279035121518989",
        "subject_role": "urn:oid:1.2.250.1.71.1.2.7|10,SM54",
    }
    claims = parse_claims(form)
    assert claims.mode == "bris_de_glace"
    assert claims.reason == "found unconscious"
    assert claims.secret
    assert claims.stated == {
        "person_id": form["person_id"],
        "subject_role": [{"system": "urn:oid:1.2.250.1.71.1.2.7", "code": "10"}, {"code": "SM54"}],
    }


def test_claims_come_as_an_object_and_fields_win() -> None:
    inner = {"subject_name": "MEDIONI", "purpose_of_use": [{"system": PURPOSES, "code": "centre_15"}]}
    assert parse_claims({"claims": json.dumps({"extensions": {"ihe_iua": inner}})}) == Claims(
        "centre_15", stated={"subject_name": "MEDIONI"}
    )
    form = {"claims": json.dumps(inner), "purpose_of_use": "normal"}
    assert parse_claims(form).mode == "normal"


@pytest.mark.parametrize(
    "form",
    [
        {"purpose_of_use": "curiosity"},
        {"purpose_of_use": "urn:oid:9.9|normal"},
        {"purpose_of_use": "normal,centre_15"},
        {"purpose_of_use": ""},
        {"purpose_of_use": "bris_de_glace"},
        {"purpose_of_use": "bris_de_glace", "reason": "short"},
        {"purpose_of_use": "bris_de_glace", "reason": " " * 20},
        {"reason": "a" * 1_001},
        {"secret_connection": "perhaps"},
        {"person_id": ""},
        {"person_id": "a" * 300},
        {"claims": "{"},
        {"claims": "[]"},
        {"claims": "[" * 4_000},
        {"claims": "a" * 5_000},
        {"claims": '{"extensions": []}'},
        {"claims": '{"extensions": {"ihe_iua": []}}'},
        {"claims": '{"unknown": 1}'},
        {"claims": '{"subject_role": [1]}'},
        {"claims": '{"subject_name": {"$ne": 1}}'},
    ],
)
def test_claims_that_cannot_be_read_are_refused(form: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError):
        parse_claims(form)
