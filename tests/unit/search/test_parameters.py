"""Parameters out of the definitions, and the index fields that they give."""

import pytest

from fhir_server.errors import Processing
from fhir_server.fhir.definitions import resource_types
from fhir_server.search.expressions import cast_of, first_step, resolved_type_of, split_union, steps_of
from fhir_server.search.indexer import to_index
from fhir_server.search.parameters import (
    documentation,
    primary_date,
    search_parameter,
    search_parameters,
    supported_parameters,
)


def test_every_type_has_the_common_parameters() -> None:
    for resource_type in resource_types():
        codes = {one.code for one in supported_parameters(resource_type)}
        assert {"_id", "_lastUpdated", "_tag", "_profile", "_security", "_source"} <= codes


def test_every_parameter_is_supported_or_says_why_not() -> None:
    for resource_type in resource_types():
        for one in search_parameters(resource_type):
            indexed_otherwise = one.code in ("_text", "_content", "_filter", "near")
            assert (one.refusal is not None) == (not one.parts and not indexed_otherwise)


def test_every_supported_parameter_compiles() -> None:
    for resource_type in resource_types():
        assert to_index({"resourceType": resource_type, "id": "1"})["t"][0] == resource_type


def test_a_parameter_knows_its_type_url_targets_and_prefixes() -> None:
    patient = search_parameter("Observation", "patient")
    assert patient is not None
    assert patient.targets == ("Patient",)
    assert patient.patient
    date = search_parameter("Observation", "date")
    assert date is not None
    assert date.primary
    assert date.url == "http://hl7.org/fhir/SearchParameter/clinical-date"
    assert "gt" in date.prefixes
    assert documentation(date)
    assert search_parameter("Observation", "nothing") is None


@pytest.mark.parametrize(
    ("resource_type", "code"),
    [
        ("Observation", "date"),
        ("Encounter", "date"),
        ("MedicationRequest", "authoredon"),
        ("Patient", "birthdate"),
        ("Condition", "onset-date"),
        ("Organization", None),
    ],
)
def test_the_primary_date_is_one_with_a_single_value(resource_type: str, code: str | None) -> None:
    assert primary_date(resource_type) == code


def test_expressions_come_apart() -> None:
    assert split_union("A.b | (C.d as E) | F.g.where(x='|')") == ("A.b", "(C.d as E)", "F.g.where(x='|')")
    assert steps_of("(Observation.value as Quantity)") == ("Observation", "value")
    assert cast_of("Condition.onset.as(Age)") == "Age"
    assert resolved_type_of("Observation.subject.where(resolve() is Patient)") == "Patient"
    assert steps_of("PlanDefinition.relatedArtifact.where(type='depends-on').resource")[-1] == "resource"
    assert first_step("Patient.deceased.exists() and Patient.deceased != false") is None


def test_the_patient_is_the_only_one_by_definition() -> None:
    both = {
        "resourceType": "Observation",
        "id": "1",
        "subject": {"reference": "Patient/1"},
        "performer": [{"reference": "Patient/2"}, {"reference": "Practitioner/3"}],
    }
    index = to_index(both)
    assert index["pt"] == "Patient/1"
    assert set(index["c"]) == {"Patient/1", "Patient/2", "Practitioner/3"}
    assert set(index["x"]) == {"Patient/1", "Patient/2", "Practitioner/3"}
    assert to_index({"resourceType": "Patient", "id": "7"})["pt"] == "Patient/7"
    assert "pt" not in to_index({**both, "subject": {"reference": "Group/1"}})


def test_labels_are_those_of_the_resource_and_of_its_document() -> None:
    label = {"system": "http://s", "code": "R"}
    resource = {
        "resourceType": "DocumentReference",
        "id": "1",
        "meta": {"security": [label]},
        "securityLabel": [{"coding": [{"system": "http://s", "code": "V"}, label]}],
    }
    assert to_index(resource)["l"] == ["http://s|R", "http://s|V"]


def test_a_value_that_cannot_be_indexed_fails_the_write_and_names_the_parameter() -> None:
    with pytest.raises(Processing) as caught:
        to_index({"resourceType": "Observation", "id": "1", "effectiveDateTime": "soon"})
    assert "date" in caught.value.issues[0].text.en
    assert "soon" not in str(caught.value)


def test_long_values_keep_their_identity_in_a_bounded_key() -> None:
    resource = {"resourceType": "Patient", "id": "1", "identifier": [{"value": "x" * 5000}]}
    assert all(len(key) < 600 for key in to_index(resource)["t"])


def test_ten_thousand_components_are_indexed_in_time() -> None:
    components = [{"valueQuantity": {"value": number, "code": "mg"}} for number in range(10_000)]
    index = to_index({"resourceType": "Observation", "id": "1", "component": components})
    assert len(index["q"]) == 20_000
