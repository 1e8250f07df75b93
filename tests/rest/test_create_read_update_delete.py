"""create, read, vread, update, delete (http://hl7.org/fhir/R4/http.html)."""

import json

import pytest

from tests.rest.fhir import Fhir, observation, patient


def test_a_created_resource_is_answered_with_its_address_version_and_body(fhir: Fhir) -> None:
    reply = fhir.post("Patient", patient(active=True, id="ignored"))
    assert reply.status == 201
    id = reply.body["id"]
    assert id != "ignored"
    assert reply.headers["Location"].endswith(f"/fhir/Patient/{id}/_history/1")
    assert reply.headers["ETag"] == 'W/"1"'
    assert reply.headers["Last-Modified"].endswith("GMT")
    assert reply.body["meta"]["versionId"] == "1"
    assert fhir.get(f"Patient/{id}").content == reply.content


@pytest.mark.parametrize(
    ("preference", "body"), [("minimal", None), ("representation", "Patient"), ("OperationOutcome", "OperationOutcome")]
)
def test_prefer_return_decides_the_body(fhir: Fhir, preference: str, body: str | None) -> None:
    reply = fhir.post("Patient", patient(), Prefer=f"return={preference}")
    assert reply.status == 201
    assert (reply.body["resourceType"] if reply.content else None) == body


def test_decimals_and_unknown_extensions_come_back_digit_for_digit(fhir: Fhir) -> None:
    sent = (
        '{"resourceType":"Observation","status":"final","code":{"text":"x"},"valueQuantity":{"value":6.30},'
        '"extension":[{"url":"http://example.org/unknown","valueDecimal":1.0e2},'
        '{"url":"http://example.org/long","valueDecimal":0.1234567890123456789012345678901234567890}],'
        '"_status":{"id":"s"}}'
    )
    reply = fhir.post("Observation", sent.encode(), Content_Type="application/fhir+json")
    stored = fhir.get(f"Observation/{reply.body['id']}").content.decode()
    for digits in ("6.30}", "1.0e2}", "0.1234567890123456789012345678901234567890}", '"_status":{"id":"s"}'):
        assert digits in stored


def test_an_update_makes_a_new_version_and_keeps_the_old_one(fhir: Fhir) -> None:
    first = fhir.create(patient(active=True))
    reply = fhir.put(f"Patient/{first['id']}", {**first, "active": False})
    assert reply.status == 200
    assert reply.body["meta"]["versionId"] == "2"
    assert reply.body["meta"]["lastUpdated"] > first["meta"]["lastUpdated"]
    assert fhir.get(f"Patient/{first['id']}/_history/1").body == first
    assert fhir.get(f"Patient/{first['id']}").body["active"] is False


def test_an_update_that_changes_nothing_makes_no_version(fhir: Fhir) -> None:
    first = fhir.create(patient(active=True))
    reply = fhir.put(f"Patient/{first['id']}", first)
    assert reply.status == 200
    assert reply.body == first


def test_a_decimal_with_other_digits_is_a_change(fhir: Fhir) -> None:
    first = fhir.create(observation(valueQuantity={"value": 6.5}))
    body = json.dumps(observation(id=first["id"]))[:-1] + ',"valueQuantity":{"value":6.50}}'
    reply = fhir.put(f"Observation/{first['id']}", body, Content_Type="application/fhir+json")
    assert reply.body["meta"]["versionId"] == "2"
    assert b"6.50" in reply.content


def test_put_to_an_unknown_id_creates_there(fhir: Fhir) -> None:
    reply = fhir.put("Patient/mine", patient(id="mine"))
    assert reply.status == 201
    assert reply.headers["Location"].endswith("/Patient/mine/_history/1")


def test_the_id_of_the_body_must_be_that_of_the_address(fhir: Fhir) -> None:
    for body in (patient(id="other"), patient()):
        reply = fhir.put("Patient/mine", body)
        assert reply.status == 400
        assert reply.issues[0]["expression"] == ["Patient.id"]
    assert fhir.get("Patient/mine").status == 404


def test_the_type_of_the_body_must_be_that_of_the_address(fhir: Fhir) -> None:
    reply = fhir.post("Observation", patient())
    assert reply.status == 400


def test_tags_survive_an_update_that_does_not_name_them(fhir: Fhir) -> None:
    tag = {"system": "http://example.org", "code": "t"}
    first = fhir.create(patient(meta={"tag": [tag]}))
    reply = fhir.put(f"Patient/{first['id']}", patient(id=first["id"], active=True))
    assert reply.body["meta"]["tag"] == [tag]


def test_a_deleted_resource_is_gone_but_its_versions_stay(fhir: Fhir) -> None:
    first = fhir.create(patient())
    address = f"Patient/{first['id']}"
    reply = fhir.delete(address)
    assert reply.status == 204
    assert reply.content == b""
    assert fhir.get(address).status == 410
    assert fhir.get(f"{address}/_history/1").status == 200
    assert fhir.get(f"{address}/_history/2").status == 410
    assert fhir.delete(address).status == 204
    assert fhir.get(f"{address}/_history/3").status == 404


def test_deleting_what_never_was_is_no_error(fhir: Fhir) -> None:
    assert fhir.delete("Patient/nobody").status == 204
    assert fhir.get("Patient/nobody").status == 404


def test_an_update_brings_a_deleted_resource_back_with_the_next_version(fhir: Fhir) -> None:
    first = fhir.create(patient())
    fhir.delete(f"Patient/{first['id']}")
    reply = fhir.put(f"Patient/{first['id']}", patient(id=first["id"]))
    assert reply.status == 201
    assert reply.body["meta"]["versionId"] == "3"


def test_a_read_is_not_modified_for_who_has_the_version(fhir: Fhir) -> None:
    first = fhir.post("Patient", patient())
    address = f"Patient/{first.body['id']}"
    assert fhir.get(address, If_None_Match='W/"1"').status == 304
    assert fhir.get(address, If_None_Match='W/"2"').status == 200
    assert fhir.get(address, If_Modified_Since=first.headers["Last-Modified"]).status == 304
    assert fhir.get(address, If_Modified_Since="Thu, 01 Jan 1998 00:00:00 GMT").status == 200


def test_head_answers_like_get_without_a_body(fhir: Fhir) -> None:
    first = fhir.create(patient())
    get, head = fhir.get(f"Patient/{first['id']}"), fhir.send("HEAD", f"Patient/{first['id']}")
    assert head.status == 200
    assert head.content == b""
    assert head.headers["ETag"] == get.headers["ETag"]
    assert head.headers["Content-Length"] == get.headers["Content-Length"]


def test_a_read_can_be_summarised_and_says_so(fhir: Fhir) -> None:
    first = fhir.create(patient(birthDate="1979-03-28", communication=[{"language": {"text": "fr"}}]))
    body = fhir.get(f"Patient/{first['id']}?_summary=true").body
    assert "communication" not in body
    assert body["meta"]["tag"][0]["code"] == "SUBSETTED"
    assert "birthDate" not in fhir.get(f"Patient/{first['id']}?_elements=communication").body
    assert fhir.get(f"Patient/{first['id']}?_summary=count").status == 400
    assert fhir.get(f"Patient/{first['id']}?_whatever=1").status == 400


@pytest.mark.parametrize("id", ["a" * 65, "a_b", "%2e%2e%2f"])
def test_a_malformed_id_is_refused(fhir: Fhir, id: str) -> None:
    assert fhir.get(f"Patient/{id}").status in (400, 404)
    assert fhir.put(f"Patient/{id}", patient(id=id)).status in (400, 404)


def test_a_deep_resource_is_listed_in_xml_although_the_bundle_adds_levels(fhir: Fhir) -> None:
    item: dict[str, object] = {"linkId": "0"}
    for level in range(1, 28):
        item = {"linkId": str(level), "item": [item]}
    fhir.create({"resourceType": "QuestionnaireResponse", "status": "completed", "item": [item]})
    reply = fhir.get("QuestionnaireResponse", Accept="application/fhir+xml")
    assert reply.status == 200
    assert b'<linkId value="0"/>' in reply.content


def test_one_of_several_versions_is_enough_for_if_none_match_and_if_match(fhir: Fhir) -> None:
    first = fhir.create(patient())
    address = f"Patient/{first['id']}"
    assert fhir.get(address, If_None_Match='W/"7", W/"1"').status == 304
    assert fhir.put(address, {**first, "active": True}, If_Match='W/"7", W/"8"').status == 412
    assert fhir.put(address, {**first, "active": True}, If_Match='W/"7", W/"1"').status == 200
