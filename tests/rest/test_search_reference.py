"""reference: every form of http://hl7.org/fhir/R4/search.html#reference that can be stored and asked for."""

import pytest

from tests.rest.fhir import Fhir, observation
from tests.rest.stored import found, put_all, refused


@pytest.fixture
def referring(fhir: Fhir) -> Fhir:
    people = [
        {"resourceType": "Patient", "id": "23"},
        {"resourceType": "Group", "id": "23", "type": "person", "actual": True},
        {"resourceType": "Practitioner", "id": "97"},
    ]
    subjects = {
        "relative": {"reference": "Patient/23"},
        "group": {"reference": "Group/23"},
        "absolute": {"reference": "http://acme.example/fhir/Patient/23"},
        "urn": {"reference": "urn:oid:1.2.3"},
        "logical": {"identifier": {"system": "http://acme.example/ids", "value": "Abc"}},
        "display": {"display": "somebody"},
    }
    inside = {"contained": [{"resourceType": "Patient", "id": "p"}], "subject": {"reference": "#p"}}
    observations = [{**observation(id=id), "subject": subject} for id, subject in subjects.items()]
    put_all(fhir, *people, *observations, {**observation(id="contained"), **inside})
    return fhir


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("subject=Patient/23", "relative"),
        ("subject:Patient=23", "relative"),
        ("subject:Group=23", "group"),
        ("subject=23", "group relative"),
        ("patient=23", "relative"),
        ("subject=http://localhost/fhir/Patient/23", "relative"),
        ("subject=http://acme.example/fhir/Patient/23", "absolute"),
        ("subject=urn:oid:1.2.3", "urn"),
        ("subject:identifier=http://acme.example/ids|Abc", "logical"),
        ("subject:identifier=http://acme.example/ids|", "logical"),
        ("subject:identifier=abc", "logical"),
        ("subject:identifier=|abc", ""),
        ("subject=Patient/24", ""),
        ("subject=Patient/23,Group/23", "group relative"),
        ("subject:missing=true", ""),
    ],
)
def test_a_reference_is_found_in_every_form(referring: Fhir, query: str, expected: str) -> None:
    assert found(referring, f"Observation?{query}") == expected


def test_a_versioned_reference_is_found_with_and_without_its_version(fhir: Fhir) -> None:
    put_all(fhir, {"resourceType": "Patient", "id": "1"})
    put_all(fhir, observation(id="v", subject="Patient/1/_history/1"))
    assert found(fhir, "Observation?focus:missing=true&subject=Patient/1") == "v"
    assert found(fhir, "Observation?subject=Patient/1/_history/1") == "v"
    assert found(fhir, "Observation?subject=Patient/1/_history/2") == ""


def test_a_canonical_is_found_by_url_version_and_from_a_version_down(fhir: Fhir) -> None:
    url = "http://example.org/Questionnaire/q"

    def answer(id: str, canonical: str) -> dict[str, object]:
        return {"resourceType": "QuestionnaireResponse", "id": id, "status": "completed", "questionnaire": canonical}

    put_all(
        fhir,
        answer("none", url),
        answer("one", f"{url}|1.4"),
        answer("two", f"{url}|1.4.2"),
        answer("far", f"{url}|1.40"),
    )
    assert found(fhir, f"QuestionnaireResponse?questionnaire={url}") == "far none one two"
    assert found(fhir, f"QuestionnaireResponse?questionnaire={url}|1.4") == "one"
    assert found(fhir, f"QuestionnaireResponse?questionnaire:below={url}|1.4") == "one two"
    assert found(fhir, f"QuestionnaireResponse?questionnaire:below={url}") == "far none one two"
    assert "questionnaire" in refused(fhir, "QuestionnaireResponse?questionnaire:below=1.4")


@pytest.mark.parametrize(
    "query",
    [
        "subject:Practitioner=97",
        "subject:Patient=Group/23",
        "subject=%7B",
        "subject:Nothing=1",
        "subject=a/b/c/d",
        "subject:exact=1",
    ],
)
def test_what_cannot_be_pointed_to_is_refused(fhir: Fhir, query: str) -> None:
    assert "subject" in refused(fhir, f"Observation?{query}")
