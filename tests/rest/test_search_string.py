"""String parameters over HTTP: the examples of http://hl7.org/fhir/R4/search.html#string, in both languages."""

import time
from urllib.parse import quote

import pytest

from tests.rest.fhir import Fhir, patient


def named(fhir: Fhir, *given: str) -> dict[str, str]:
    """Create a patient for each given name and return the names by id."""
    return {str(fhir.create(patient(name=[{"given": [one]}]))["id"]): one for one in given}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("given=eve", {"Eve", "Evelyn", "EVE", "Ève"}),
        ("given:contains=eve", {"Eve", "Evelyn", "Severine", "EVE", "Ève", "Séverine"}),
        ("given:exact=Eve", {"Eve"}),
        ("given:exact=%C3%88ve", {"Ève"}),
        ("given:contains=S%C3%89V", {"Severine", "Séverine"}),
        ("given:contains=verine,lyn", {"Severine", "Séverine", "Evelyn"}),
        ("given:contains=ve", {"Eve", "Evelyn", "Severine", "EVE", "Ève", "Séverine"}),
        ("given:contains=severine", {"Severine", "Séverine"}),
        ("given:contains=severines", set()),
        ("given:missing=true", set()),
        ("given:missing=false", {"Eve", "Evelyn", "Severine", "EVE", "Ève", "Séverine"}),
    ],
)
def test_eve_and_evelyn(fhir: Fhir, query: str, expected: set[str]) -> None:
    names = named(fhir, "Eve", "Evelyn", "Severine", "EVE", "Ève", "Séverine")
    reply = fhir.get(f"Patient?{query}")
    assert reply.status == 200, reply.content
    assert {names[id] for id in reply.ids} == expected


def test_parts_of_a_family_name_are_found_with_contains(fhir: Fhir) -> None:
    one = fhir.create(patient(name=[{"family": "Carreno Quinones"}], address=[{"city": "L’Haÿ-les-Roses"}]))
    for query in ("family=carreno", "family:contains=quinones", "name:contains=o%20q", "address:contains=hay les"):
        assert fhir.get(f"Patient?{query}").ids == [one["id"]], query
    assert fhir.get("Patient?family=quinones").ids == []
    assert fhir.get("Patient?family:contains=quinones&family:contains=nobody").ids == []


def test_contains_looks_into_its_own_parameter_alone(fhir: Fhir) -> None:
    one = fhir.create(patient(name=[{"family": "Dupontel", "given": ["Albert"]}]))
    assert fhir.get("Patient?name:contains=ponte").ids == [one["id"]]
    assert fhir.get("Patient?given:contains=ponte").ids == []
    assert fhir.get("Patient?family:contains=lber").ids == []


def test_a_long_description_is_searched_to_its_end(fhir: Fhir) -> None:
    text = "x" * 3_000 + " épilogue"
    made = {"resourceType": "ValueSet", "url": "http://here.example/v", "status": "draft", "description": text}
    one = fhir.create(made)
    assert fhir.get("ValueSet?description:contains=pilog").ids == [one["id"]]
    assert fhir.get("ValueSet?description:contains=prolog").ids == []


def test_other_modifiers_are_refused_by_name(fhir: Fhir) -> None:
    for modifier in ("text", "not", "in", "below", "of-type", "identifier", "Patient", "$regex"):
        reply = fhir.get(f"Patient?name:{modifier}=x")
        assert reply.status == 400
        assert "name" in reply.issues[0]["diagnostics" if "diagnostics" in reply.issues[0] else "details"]["text"]
    assert fhir.get("Patient?name:contains=%2E%2E%2E").status == 400


def test_patterns_are_text(fhir: Fhir) -> None:
    """Attacks 8 and 9: metacharacters and operators are compared, and take no time."""
    fhir.create(patient(name=[{"family": "a" * 30 + "!"}]))
    started = time.perf_counter()
    for text in ("(a+)+$", ".*", "^a", "[a-z]", "a{1,9999}", '{"$regex": "a"}', "$where", "$$ROOT", "a\\\\d"):
        for modifier in ("", ":contains", ":exact"):
            reply = fhir.get(f"Patient?family{modifier}={quote(text)}")
            assert reply.status in (200, 400)
            if reply.status == 200 and modifier == ":exact":
                assert reply.ids == []
    assert time.perf_counter() - started < 5
