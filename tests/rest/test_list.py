"""The members of a List over HTTP (http://hl7.org/fhir/R4/search.html#list)."""

from typing import Any

import pytest

from tests.rest.fhir import Fhir, observation
from tests.rest.test_chains import follow, put


def put_list(fhir: Fhir, id: str, *members: str) -> None:
    put(fhir, f"List/{id}", status="current", mode="working", entry=[{"item": {"reference": one}} for one in members])


@pytest.fixture
def listed(fhir: Fhir) -> Fhir:
    """A list of two patients and an observation, a list of one patient, an empty one."""
    for id in ("a", "b", "c"):
        put(fhir, f"Patient/{id}", gender="female" if id == "a" else "male")
    found = observation("Patient/c")
    put(fhir, "Observation/o", **{name: value for name, value in found.items() if name != "resourceType"})
    put_list(fhir, "42", "Patient/a", "Patient/b", "Observation/o")
    put_list(fhir, "43", "Patient/c")
    put(fhir, "List/empty", status="current", mode="working")
    return fhir


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("Patient?_list=42", {"a", "b"}),
        ("Patient?_list=List/42", {"a", "b"}),
        ("Patient?_list=42,43", {"a", "b", "c"}),
        ("Patient?_list=42&_list=43", set()),
        ("Patient?_list=42&gender=female", {"a"}),
        ("Patient?_list=empty", set()),
        ("Patient?_list=nothing", set()),
        ("Observation?_list=42", {"o"}),
        ("?_list=42", {"a", "b", "o"}),
        ("?_list=42&_type=Patient,Encounter", {"a", "b"}),
        ("Observation?patient._list=43", {"o"}),
        ("Patient?_has:Observation:patient:_list=42", {"c"}),
        ("Patient/c/Observation?_list=42", {"o"}),
    ],
)
def test_the_members_of_a_list_are_found(listed: Fhir, query: str, expected: set[str]) -> None:
    reply = listed.get(query)
    assert reply.status == 200, reply.content
    assert set(reply.ids) == expected
    assert sorted(follow(listed, f"{query}&_count=1")) == sorted(expected)
    assert listed.get(f"{query}&_summary=count").body["total"] == len(expected)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("_list=$current-problems", "not-supported"),
        ("_list=$current-allergies", "not-supported"),
        ("_list=Patient/1", "value"),
        ("_list=a_b", "value"),
        ("_list=", "value"),
        ("_list:not=42", "value"),
    ],
)
def test_functional_lists_and_what_is_no_id_are_refused(listed: Fhir, query: str, code: str) -> None:
    refused = listed.get(f"Patient?{query}")
    assert refused.status == 400
    assert refused.issues[0]["code"] == code
    assert "_list" in refused.issues[0]["details"]["text"]


def test_a_list_too_long_for_the_budget_is_refused(fhir_with: Any) -> None:
    fhir = fhir_with(search_budget=3, referential_integrity_write=False)
    put_list(fhir, "long", *(f"Patient/{number}" for number in range(5)))
    refused = fhir.get("Patient?_list=long")
    assert refused.status == 400
    assert refused.issues[0]["code"] == "too-costly"
    assert "_list" in refused.issues[0]["details"]["text"]


def test_a_deleted_list_has_no_members(listed: Fhir) -> None:
    listed.delete("List/42")
    assert listed.get("Patient?_list=42").ids == []
