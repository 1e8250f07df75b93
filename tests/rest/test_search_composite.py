"""composite: pairs on one element (http://hl7.org/fhir/R4/search.html#composite), and what must not be mixed up."""

from typing import Any

import pytest

from tests.rest.fhir import Fhir, observation
from tests.rest.stored import found, put_all, refused

UCUM = "http://unitsofmeasure.org"
LOINC = "http://loinc.org"


def concept(code: str, system: str | None = LOINC) -> dict[str, Any]:
    return {"coding": [{"code": code, **({"system": system} if system else {})}]}


def pressure(value: float, code: str = "mm[Hg]") -> dict[str, Any]:
    return {"value": value, "system": UCUM, "code": code, "unit": code}


@pytest.fixture
def vitals(fhir: Fhir) -> Fhir:
    put_all(
        fhir,
        {"resourceType": "Patient", "id": "ada", "gender": "female"},
        {
            **observation("Patient/ada", id="panel", code=concept("85354-9")),
            "component": [
                {"code": concept("8480-6"), "valueQuantity": pressure(150)},
                {"code": concept("8462-4"), "valueQuantity": pressure(90)},
                {"code": concept("8357-6"), "valueCodeableConcept": concept("cuff", "http://methods.example")},
            ],
        },
        observation(id="single", code=concept("8480-6"), valueQuantity=pressure(20, "kPa")),
        observation(id="low", code=concept("8480-6"), valueQuantity=pressure(90)),
        observation(id="local", code=concept("8480-6", None), valueQuantity={"value": 150}),
        observation(id="concept", code=concept("group"), valueCodeableConcept=concept("A|b$c,d", "http://s.example")),
        observation(id="text", code=concept("note"), valueString="Élan vital"),
        observation(id="dated", code=concept("born"), valueDateTime="1979-03-28"),
        observation(id="period", code=concept("born"), valuePeriod={"start": "1979-01-01", "end": "1979-12-31"}),
    )
    return fhir


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("code-value-quantity=http://loinc.org|8480-6$gt140||mm%5BHg%5D", ""),
        ("code-value-quantity=8480-6$gt140", "local"),
        (f"code-value-quantity=8480-6$gt140|{UCUM}|mm%5BHg%5D", "single"),  # 20 kPa is 150.01 mm[Hg]
        (f"code-value-quantity={LOINC}|8480-6$lt100|{UCUM}|mm%5BHg%5D", "low"),
        (f"code-value-quantity={LOINC}|$le150", "low single"),
        ("code-value-quantity=|8480-6$150", "local"),
        ("component-code-value-quantity=8480-6$150", "panel"),
        ("component-code-value-quantity=8480-6$90", ""),  # 90 belongs to the other component
        ("component-code-value-quantity=8462-4$90", "panel"),
        (f"component-code-value-quantity=8480-6$ge19.9|{UCUM}|kPa", "panel"),
        ("combo-code-value-quantity=8480-6$ge90", "local low panel"),
        (f"combo-code-value-quantity=8480-6$ge19.9|{UCUM}|kPa", "panel single"),
        ("combo-code-value-quantity=85354-9$150", ""),  # the panel's code and a component's value
        ("component-code-value-concept=8357-6$cuff", "panel"),
        ("component-code-value-concept=8357-6$http://methods.example|cuff", "panel"),
        ("component-code-value-concept=8480-6$cuff", ""),
        ("combo-code-value-concept=8357-6$cuff", "panel"),
        (r"code-value-concept=group$A\|b\$c\,d", "concept"),
        (r"code-value-concept=group$http://s.example|A\|b\$c\,d", "concept"),
        ("code-value-concept=group$http://s.example|", "concept"),
        ("code-value-concept=group$A", ""),
        ("code-value-string=note$elan", "text"),
        ("code-value-string=note$vital", ""),
        ("code-value-date=born$1979", "dated period"),
        ("code-value-date=born$1979-03-28", "dated"),
        ("code-value-date=born$gt1979-06", "period"),
        ("code-value-date=born$1979,note$1979", "dated period"),
        ("code-value-quantity:missing=false", "local low single"),
        ("component-code-value-quantity:missing=false", "panel"),
        ("patient.gender=female&component-code-value-quantity=8480-6$150", "panel"),
    ],
)
def test_the_parts_of_a_composite_are_met_by_one_element(vitals: Fhir, query: str, expected: str) -> None:
    assert found(vitals, f"Observation?{query}") == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("Patient?_has:Observation:patient:component-code-value-quantity=8480-6$150", "ada"),
        ("Patient?_has:Observation:patient:component-code-value-quantity=8480-6$90", ""),
    ],
)
def test_a_composite_stands_at_the_end_of_a_join(vitals: Fhir, query: str, expected: str) -> None:
    assert found(vitals, query) == expected


def test_a_composite_is_chained(vitals: Fhir) -> None:
    put_all(
        vitals,
        {
            "resourceType": "DiagnosticReport",
            "id": "r",
            "status": "final",
            "code": {"text": "x"},
            "result": [{"reference": "Observation/panel"}],
        },
    )
    assert found(vitals, "DiagnosticReport?result.component-code-value-quantity=8480-6$150") == "r"
    assert found(vitals, "DiagnosticReport?result.component-code-value-quantity=8480-6$90") == ""


def test_contexts_of_use_are_composites(fhir: Fhir) -> None:
    def use(code: str, value: dict[str, Any]) -> dict[str, Any]:
        return {"code": {"system": "http://u.example", "code": code}, **value}

    contexts = [
        use("focus", {"valueCodeableConcept": concept("diabetes")}),
        use("age", {"valueRange": {"low": {"value": 18, "system": UCUM, "code": "a"}}}),
        use("weight", {"valueQuantity": {"value": 70, "system": UCUM, "code": "kg"}}),
    ]
    put_all(fhir, {"resourceType": "ValueSet", "id": "v", "status": "draft", "useContext": contexts})
    assert found(fhir, "ValueSet?context-type-value=focus$diabetes") == "v"
    assert found(fhir, "ValueSet?context-type-value=age$diabetes") == ""
    assert found(fhir, f"ValueSet?context-type-quantity=weight$70000|{UCUM}|g") == "v"
    assert found(fhir, f"ValueSet?context-type-quantity=age$ge216|{UCUM}|mo") == "v"
    assert found(fhir, f"ValueSet?context-type-quantity=age$70|{UCUM}|kg") == ""


def test_a_composite_of_three_and_one_with_a_value_of_the_resource(fhir: Fhir) -> None:
    sequence = {
        "resourceType": "MolecularSequence",
        "id": "m",
        "coordinateSystem": 0,
        "referenceSeq": {
            "chromosome": concept("1"),
            "referenceSeqId": concept("NC_1"),
            "windowStart": 5,
            "windowEnd": 50,
        },
        "variant": [{"start": 10, "end": 20}, {"start": 30, "end": 40}],
    }
    put_all(fhir, sequence)
    assert found(fhir, "MolecularSequence?chromosome-variant-coordinate=1$ge10$le20") == "m"
    assert found(fhir, "MolecularSequence?chromosome-variant-coordinate=1$10$40") == ""
    assert found(fhir, "MolecularSequence?chromosome-window-coordinate=1$5$50") == "m"
    assert found(fhir, "MolecularSequence?referenceseqid-variant-coordinate=NC_1$30$40") == "m"
    assert found(fhir, "MolecularSequence?referenceseqid-variant-coordinate=NC_2$30$40") == ""


def test_a_relation_is_a_code_and_a_document(fhir: Fhir) -> None:
    relates = [{"code": "replaces", "target": {"reference": "DocumentReference/a"}}]
    content = {"status": "current", "content": [{"attachment": {"title": "x"}}]}
    put_all(
        fhir,
        {"resourceType": "DocumentReference", "id": "a", **content},
        {"resourceType": "DocumentReference", "id": "b", **content, "relatesTo": relates},
    )
    assert found(fhir, "DocumentReference?relationship=replaces$DocumentReference/a") == "b"
    assert found(fhir, "DocumentReference?relationship=replaces$a") == "b"
    assert found(fhir, "DocumentReference?relationship=appends$a") == ""


@pytest.mark.parametrize("value", ["8480-6", "8480-6$", "$5", "8480-6$5$6", "8480-6$x", r"8480-6\$5", "|$5", "a|b|c$5"])
def test_what_is_no_composite_is_refused(fhir: Fhir, value: str) -> None:
    assert "code-value-quantity" in refused(fhir, f"Observation?code-value-quantity={value}")


def test_a_modifier_other_than_missing_is_refused(fhir: Fhir) -> None:
    assert ":exact" in refused(fhir, "Observation?code-value-string:exact=a$b")
