"""``_text`` and ``_content`` over HTTP: http://hl7.org/fhir/R4/search.html#text, in French and English."""

import time
from typing import Any
from urllib.parse import quote

import pytest

from tests.rest.fhir import Fhir, observation, patient


def condition(narrative: str, **more: Any) -> dict[str, Any]:
    div = f'<div xmlns="http://www.w3.org/1999/xhtml"><p>{narrative}</p></div>'
    return {
        "resourceType": "Condition",
        "text": {"status": "additional", "div": div},
        "subject": {"display": "x"},
        **more,
    }


@pytest.fixture
def ids(fhir: Fhir) -> dict[str, str]:
    texts = {
        "bone": "Bone metastases of a known tumour",
        "liver": "Métastases dans le <b>foie</b> (liver metastases)",
        "neither": "Lung metastases",
        "clean": "Liver without any finding",
    }
    return {str(fhir.create(condition(text))["id"]): name for name, text in texts.items()}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("(bone OR liver) and metastases", {"bone", "liver"}),
        ("metastases", {"bone", "liver", "neither"}),
        ("MÉTASTASE", {"bone", "liver", "neither"}),
        ('"bone metastases"', {"bone"}),
        ('"metastases bone"', set()),
        ("liver NOT metastases", {"clean"}),
        ("NOT metastases", {"clean"}),
        ("foi*", {"liver"}),
        ("le foie", {"liver"}),
        ("bone,clean,finding", {"bone", "clean"}),
        ("any finding", {"clean"}),
    ],
)
def test_the_narrative_is_searched(fhir: Fhir, ids: dict[str, str], query: str, expected: set[str]) -> None:
    reply = fhir.get(f"Condition?_text={quote(query)}")
    assert reply.status == 200, reply.content
    assert {ids[id] for id in reply.ids} == expected


def test_the_whole_content_is_searched_on_one_type_on_some_and_on_all(fhir: Fhir) -> None:
    one = fhir.create(condition("Glucose", note=[{"text": "hémoglobine élevée"}]))
    other = fhir.create(
        observation(code={"text": "Hemoglobin", "coding": [{"code": "718-7", "display": "Hémoglobine"}]})
    )
    assert fhir.get("Condition?_content=hemoglobine").ids == [one["id"]]
    assert fhir.get("Observation?_content=718-7").ids == [other["id"]]
    assert set(fhir.get("?_content=hemoglobin*").ids) == {one["id"], other["id"]}
    assert fhir.get("?_text=glucose").ids == [one["id"]]
    assert set(fhir.get("?_type=Condition,Observation&_content=hemoglobine").ids) == {one["id"], other["id"]}
    assert fhir.get("?_type=Patient&_content=hemoglobine").ids == []
    assert fhir.get("Condition?_text=hemoglobine").ids == []
    assert fhir.get("Condition?_content=glucose").ids == [one["id"]]
    assert fhir.get("Condition?_text:missing=false").ids == [one["id"]]
    assert fhir.get("Observation?_text:missing=true").ids == [other["id"]]


def test_the_text_of_an_older_version_is_found_no_more(fhir: Fhir) -> None:
    one = fhir.create(condition("fracture"))
    fhir.put(f"Condition/{one['id']}", {**one, **condition("guérison")})
    assert fhir.get("Condition?_text=fracture").ids == []
    assert fhir.get("Condition?_text=guerison").ids == [one["id"]]
    fhir.delete(f"Condition/{one['id']}")
    assert fhir.get("Condition?_content=guerison").ids == []


def test_script_in_markup_is_no_word(fhir: Fhir) -> None:
    one = fhir.create(patient(name=[{"text": "<b onclick='x'>Ada</b> $where"}]))
    for query in ("ada", "where", "onclick"):
        assert fhir.get(f"Patient?_content={query}").ids == [one["id"]]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("(liver", "value"),
        ('"liver', "value"),
        ("liver OR", "value"),
        ("the", "value"),
        ("a*b", "value"),
        ("(" * 20 + "x" + ")" * 20, "too-costly"),
        ("x " * 100, "too-costly"),
    ],
)
def test_the_grammar_refuses_what_it_does_not_have(fhir: Fhir, query: str, code: str) -> None:
    reply = fhir.get(f"Condition?_text={quote(query)}")
    assert reply.status == 400
    assert reply.issues[0]["code"] == code


def test_too_many_words_over_all_types_are_too_costly(fhir: Fhir) -> None:
    many = ",".join(f"{letter}{other}*" for letter in "bcdfghjk" for other in "aeiouyàéè")
    for query in (f"?_content={quote(many)}", "?_content=b*%20c*%20f*"):
        reply = fhir.get(query)
        assert reply.status == 400
        assert reply.issues[0]["code"] == "too-costly"
    assert fhir.get(f"Condition?_content={quote(many)}").status == 200


def test_modifiers_are_refused(fhir: Fhir) -> None:
    for name in ("_text:exact", "_content:contains", "_text:not", "_content:in"):
        assert fhir.get(f"Condition?{name}=x").status == 400


def test_patterns_and_operators_are_text(fhir: Fhir, ids: dict[str, str]) -> None:
    """Attacks 8 and 9."""
    started = time.perf_counter()
    for text in ("(a+)+$", ".*", '{"$ne": 1}', "$where", "[a-z]*", '"$regex"', "$$ROOT", '"((a+)+)+$"'):
        for name in ("_text", "_content", "code:text"):
            reply = fhir.get(f"Condition?{name}={quote(text)}")
            assert reply.status in (200, 400)
            if reply.status == 200:
                assert reply.ids == []
    assert time.perf_counter() - started < 5
