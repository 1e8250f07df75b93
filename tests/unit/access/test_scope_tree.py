"""What scopes open of one type: exactly what their parameters find, and never more together than apart."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.access.scope_tree import enforceable, is_enforceable, scope_tree
from fhir_server.access.scopes import Scope, format_scopes, parse_scope, parse_scopes
from fhir_server.search.ast import Nothing
from fhir_server.search.indexer import to_index
from fhir_server.search.matcher import index_document, matches
from fhir_server.search.parameters import build_parameter
from fhir_server.search.stored import StoredParameters, stored_parameters_in_force

BASE = "http://here.example/fhir"
UPDATED = datetime(2024, 1, 1, tzinfo=UTC)
CATEGORIES = "http://terminology.hl7.org/CodeSystem/observation-category"


def observation(id: str, patient: str, *categories: str, security: str = "N") -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": id,
        "meta": {"security": [{"system": "http://labels", "code": security}]},
        "status": "final",
        "category": [{"coding": [{"system": CATEGORIES, "code": code}]} for code in categories],
        "code": {"coding": [{"system": "http://loinc.org", "code": "8302-2"}]},
        "subject": {"reference": f"Patient/{patient}"},
        "effectiveDateTime": "2020-05-01",
    }


RESOURCES = [
    observation("lab-a", "a", "laboratory"),
    observation("vital-a", "a", "vital-signs"),
    observation("both-a", "a", "laboratory", "vital-signs"),
    observation("bare-a", "a"),
    observation("secret-a", "a", "laboratory", security="R"),
    observation("lab-b", "b", "laboratory"),
    {"resourceType": "Patient", "id": "a"},
    {"resourceType": "Patient", "id": "b"},
    {"resourceType": "Organization", "id": "o"},
]
DOCUMENTS = {
    (one["resourceType"], one["id"]): index_document(f"{one['resourceType']}/{one['id']}", UPDATED, to_index(one, BASE))
    for one in RESOURCES
}


def found(scopes: str, resource_type: str = "Observation", letter: Any = "r", patient: str | None = "a") -> set[str]:
    tree = scope_tree(parse_scopes(scopes).scopes, resource_type, letter, patient, BASE)
    return {id for (kind, id), document in DOCUMENTS.items() if matches(tree, document)}


def test_a_patient_scope_opens_the_patient_in_context_alone() -> None:
    assert found("patient/Observation.rs") == {"lab-a", "vital-a", "both-a", "bare-a", "secret-a"}
    assert found("patient/*.rs", "Patient") == {"a"}
    assert found("patient/Observation.rs", patient=None) == set()
    assert found("patient/Observation.rs", patient="nobody") == set()


def test_user_and_system_scopes_open_the_type() -> None:
    everything = {"lab-a", "vital-a", "both-a", "bare-a", "secret-a", "lab-b"}
    assert found("user/Observation.rs") == everything
    assert found("system/Observation.rs", patient=None) == everything


def test_another_letter_or_type_opens_nothing() -> None:
    assert found("patient/Observation.rs", letter="u") == set()
    assert found("patient/Observation.rs", "Patient") == set()
    assert found("user/*.rs", "NoSuchType") == set()
    assert isinstance(scope_tree((), "Observation", "r", "a", BASE), Nothing)


def test_parameters_open_what_they_find() -> None:
    assert found(f"patient/Observation.rs?category={CATEGORIES}|laboratory") == {"lab-a", "both-a", "secret-a"}
    assert found("patient/Observation.rs?category=laboratory&category=vital-signs") == {"both-a"}
    assert found("patient/Observation.rs?category:not=laboratory") == {"vital-a", "bare-a"}
    assert found("patient/Observation.rs?category:missing=true") == {"bare-a"}
    assert found("user/Observation.rs?subject=Patient/b") == {"lab-b"}
    assert found("user/*.rs?_security=http://labels|R") == {"secret-a"}


def test_scopes_are_joined_without_widening_one_another() -> None:
    apart = found("patient/Observation.rs?category=laboratory") | found("user/Observation.rs?category=vital-signs")
    assert found("patient/Observation.rs?category=laboratory user/Observation.rs?category=vital-signs") == apart
    assert "lab-b" not in apart


@pytest.mark.parametrize(
    "query",
    [
        "wrong=1",
        "category:wrong=1",
        "date=never",
        "patient.name=x",
        "subject:Patient.name=x",
        "_has:Provenance:target:agent=x",
        "_list=1",
        "code:in=http://a/vs",
        "code:not-in=http://a/vs",
        "code:below=http://loinc.org|1",
        "_filter=patient.name eq x",
        "_filter=not (code in http://a/vs or patient.name eq x)",
        "date=ap2020",
        "_count=1",
        "_sort=date",
        "_include=Observation:subject",
        "_elements=id",
        "_summary=count",
        "_type=Patient",
        "_format=json",
        "category=laboratory&patient.name=x",
    ],
)
def test_what_one_resource_cannot_answer_is_never_granted_and_opens_nothing(query: str) -> None:
    scope = parse_scope(f"user/Observation.rs?{query.replace(' ', '+')}")
    assert scope is not None
    assert not is_enforceable(scope, BASE)
    assert enforceable((scope, Scope("user", "Patient", "r")), BASE) == (Scope("user", "Patient", "r"),)
    assert isinstance(scope_tree((scope,), "Observation", "r", "a", BASE), Nothing)


def test_a_scope_on_all_types_takes_parameters_of_all_types_only() -> None:
    assert is_enforceable(Scope("user", "*", "r", (("_security", "R"),)), BASE)
    assert not is_enforceable(Scope("user", "*", "r", (("category", "laboratory"),)), BASE)
    assert is_enforceable(Scope("user", "*", "r"), BASE)


def test_a_published_search_parameter_changes_no_scope() -> None:
    definition = {"code": "mine", "type": "token", "url": "http://a/mine", "expression": "Observation.status"}
    mine = build_parameter("Observation", definition)
    with stored_parameters_in_force(StoredParameters(1, {"Observation": {"mine": mine}})):
        assert not is_enforceable(Scope("user", "Observation", "r", (("mine", "final"),)), BASE)


PARTS = [
    "patient/Observation.rs",
    "patient/Observation.r?category=laboratory",
    "patient/Observation.rs?category:not=laboratory",
    "user/Observation.r?category=vital-signs",
    "user/Observation.c",
    "system/*.s",
    "user/*.r?_security=R",
    "patient/Patient.cruds",
    "user/Observation.r?patient.name=x",
    "patient/*.r",
]


@given(
    st.lists(st.sampled_from(PARTS), max_size=5),
    st.sampled_from(["Observation", "Patient", "Organization"]),
    st.sampled_from("cruds"),
    st.sampled_from(["a", "b", None]),
)
def test_a_union_is_exactly_its_parts(parts: list[str], resource_type: str, letter: str, patient: str | None) -> None:
    apart = set().union(*(found(one, resource_type, letter, patient) for one in parts))
    assert found(format_scopes(parse_scopes(" ".join(parts)).scopes), resource_type, letter, patient) == apart
