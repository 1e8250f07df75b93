"""patch in its three formats (http://hl7.org/fhir/R4/http.html#patch)."""

import pytest

from tests.rest.fhir import Fhir, patient

JSON_PATCH, XML_PATCH = "application/json-patch+json", "application/xml-patch+xml"


@pytest.fixture
def address(fhir: Fhir) -> str:
    return f"Patient/{fhir.create(patient(active=True, name=[{'family': 'Dupont', 'given': ['Anne']}]))['id']}"


def test_a_json_patch_makes_a_new_version(fhir: Fhir, address: str) -> None:
    operations = [
        {"op": "test", "path": "/active", "value": True},
        {"op": "replace", "path": "/active", "value": False},
        {"op": "add", "path": "/name/0/given/-", "value": "Marie"},
    ]
    reply = fhir.patch(address, operations, Content_Type=JSON_PATCH)
    assert reply.status == 200
    assert reply.headers["ETag"] == 'W/"2"'
    assert reply.body["active"] is False
    assert reply.body["name"][0]["given"] == ["Anne", "Marie"]


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/active", "value": True},
        {"op": "remove", "path": "/deceasedBoolean"},
        {"op": "replace", "path": "/name/7/family", "value": "x"},
        {"op": "replace", "path": "/id", "value": "other"},
        {"op": "add", "path": "/nonsense", "value": 1},
        {"op": "remove", "path": "/name/0/family/deep"},
        {"op": "explode", "path": "/active"},
        {"path": "/active"},
    ],
)
def test_a_json_patch_that_cannot_be_applied_is_refused_whole(fhir: Fhir, address: str, operation: object) -> None:
    operations = [{"op": "replace", "path": "/active", "value": False}, operation]
    reply = fhir.patch(address, operations, Content_Type=JSON_PATCH)
    assert reply.status in (400, 422)
    assert reply.issues
    assert fhir.get(address).body["meta"]["versionId"] == "1"
    assert fhir.get(address).body["active"] is True


def test_a_patch_that_is_not_json_is_refused(fhir: Fhir, address: str) -> None:
    assert fhir.patch(address, b"[{", Content_Type=JSON_PATCH).status == 400
    assert fhir.patch(address, b"", Content_Type=JSON_PATCH).status == 400
    assert fhir.patch(address, b"{}", Content_Type=JSON_PATCH).status in (400, 422)


def test_an_xml_patch_makes_a_new_version(fhir: Fhir, address: str) -> None:
    body = b"""<diff xmlns:f="http://hl7.org/fhir"><replace sel="f:Patient/f:active/@value">false</replace></diff>"""
    reply = fhir.patch(address, body, Content_Type=XML_PATCH)
    assert reply.status == 200, reply.content
    assert reply.body["active"] is False


def test_an_xml_patch_with_a_wrong_path_is_refused(fhir: Fhir, address: str) -> None:
    body = b"""<diff xmlns:f="http://hl7.org/fhir"><remove sel="f:Patient/f:birthDate"/></diff>"""
    assert fhir.patch(address, body, Content_Type=XML_PATCH).status in (400, 422)


def parameters(**parts: object) -> dict[str, object]:
    part = [{"name": name, **value} for name, value in parts.items()]  # type: ignore[dict-item]
    return {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": part}]}


def test_a_fhirpath_patch_makes_a_new_version(fhir: Fhir, address: str) -> None:
    patch = parameters(
        type={"valueCode": "replace"}, path={"valueString": "Patient.name[0].family"}, value={"valueString": "Martin"}
    )
    reply = fhir.patch(address, patch)
    assert reply.status == 200, reply.content
    assert reply.body["name"][0]["family"] == "Martin"


@pytest.mark.parametrize(
    "path", ["Patient.birthDate", "Patient.name.given | Patient.name.family", "Patient.(", "repeat(children())"]
)
def test_a_fhirpath_patch_with_a_wrong_path_is_refused(fhir: Fhir, address: str, path: str) -> None:
    patch = parameters(type={"valueCode": "replace"}, path={"valueString": path}, value={"valueString": "x"})
    assert fhir.patch(address, patch).status in (400, 422)
    assert fhir.get(address).body["meta"]["versionId"] == "1"


def test_the_wrong_body_for_a_patch_is_refused(fhir: Fhir, address: str) -> None:
    assert fhir.patch(address, patient()).status == 400
    reply = fhir.patch(address, b"x", Content_Type="text/csv")
    assert reply.status == 415


def test_a_patch_of_nothing_is_not_found_and_of_the_deleted_gone(fhir: Fhir, address: str) -> None:
    operations = [{"op": "replace", "path": "/active", "value": False}]
    assert fhir.patch("Patient/nobody", operations, Content_Type=JSON_PATCH).status == 404
    fhir.delete(address)
    assert fhir.patch(address, operations, Content_Type=JSON_PATCH).status == 410


def test_a_patch_honours_if_match(fhir: Fhir, address: str) -> None:
    operations = [{"op": "replace", "path": "/active", "value": False}]
    assert fhir.patch(address, operations, Content_Type=JSON_PATCH, If_Match='W/"2"').status == 412
    assert fhir.patch(address, operations, Content_Type=JSON_PATCH, If_Match='W/"1"').status == 200


def test_a_patch_can_take_a_tag_away(fhir: Fhir) -> None:
    first = fhir.create(patient(meta={"tag": [{"code": "t"}]}))
    reply = fhir.patch(f"Patient/{first['id']}", [{"op": "remove", "path": "/meta/tag"}], Content_Type=JSON_PATCH)
    assert "tag" not in reply.body["meta"]
