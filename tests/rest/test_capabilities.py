"""capabilities: what the server says of itself, held against what it does (http://hl7.org/fhir/R4/http.html#capabilities)."""

import pytest

from fhir_server.fhir.definitions import resource_types
from fhir_server.validation.structure import check_structure
from tests.rest.fhir import Fhir

RESOURCE = ["Patient", "Observation", "DocumentReference", "Encounter", "Bundle", "MedicinalProduct"]


def statement(fhir: Fhir) -> dict[str, object]:
    return dict(fhir.get("metadata").body)


def test_the_statement_is_valid_and_names_every_resource_type(fhir: Fhir) -> None:
    declared = statement(fhir)
    assert check_structure(declared) == []
    rest = declared["rest"][0]  # type: ignore[index]
    assert {one["type"] for one in rest["resource"]} == resource_types()
    assert len(resource_types()) == 146


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("full", "CapabilityStatement"), ("normative", "CapabilityStatement"), ("terminology", "TerminologyCapabilities")],
)
def test_each_mode_has_its_answer(fhir: Fhir, mode: str, kind: str) -> None:
    body = fhir.get(f"metadata?mode={mode}").body
    assert body["resourceType"] == kind
    assert check_structure(body) == []


def test_an_unknown_mode_is_refused(fhir: Fhir) -> None:
    assert fhir.get("metadata?mode=wild").status == 400


def test_the_normative_mode_names_normative_types_alone(fhir: Fhir) -> None:
    types = {one["type"] for one in fhir.get("metadata?mode=normative").body["rest"][0]["resource"]}
    assert "Patient" in types
    assert "Appointment" not in types


@pytest.mark.parametrize("kind", RESOURCE)
def test_every_declared_search_parameter_is_understood(fhir: Fhir, kind: str) -> None:
    values = {
        "number": "1",
        "date": "2020",
        "string": "x",
        "token": "x",
        "reference": "Patient/1",
        "quantity": "1",
        "uri": "http://example.org",
    }
    declared = next(one for one in statement(fhir)["rest"][0]["resource"] if one["type"] == kind)  # type: ignore[index]
    assert len(declared["searchParam"]) >= 5
    for parameter in declared["searchParam"]:
        value = "1" if parameter["name"] == "_id" else values[parameter["type"]]
        reply = fhir.get(f"{kind}?{parameter['name']}={value}", Prefer="handling=strict")
        assert reply.status == 200, (parameter["name"], reply.content)


def test_settings_show_in_the_statement(fhir_with: object) -> None:
    fhir: Fhir = fhir_with(update_as_create=False, conditional_delete="multiple", referential_integrity_write=False)  # type: ignore[operator]
    declared = statement(fhir)["rest"][0]["resource"][0]  # type: ignore[index]
    assert declared["updateCreate"] is False
    assert declared["conditionalDelete"] == "multiple"
    assert "enforced" not in declared["referencePolicy"]
    assert fhir.put("Patient/x", {"resourceType": "Patient", "id": "x"}).status == 405
