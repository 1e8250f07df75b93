"""quantity: the examples of http://hl7.org/fhir/R4/search.html#quantity, units converted by UCUM's table."""

from typing import Any

import pytest

from tests.rest.fhir import Fhir, observation
from tests.rest.stored import found, put_all, refused

UCUM = "http://unitsofmeasure.org"


def measured(id: str, value: Any, code: str | None = None, system: str | None = UCUM, **more: Any) -> dict[str, Any]:
    quantity = {"value": value, **({"code": code, "system": system} if code else {}), **more}
    return observation(id=id, valueQuantity={name: one for name, one in quantity.items() if one is not None})


@pytest.fixture
def measures(fhir: Fhir) -> Fhir:
    put_all(
        fhir,
        measured("mg", 5.4, "mg", unit="milligram"),
        measured("g", 0.0054, "g"),
        measured("ug", 5400, "ug"),
        measured("near", 5.44, "mg"),
        measured("other", 5.4, "mg", "http://elsewhere.example"),
        measured("nosystem", 5.4, "mg", None),
        measured("human", 5.4, unit="mg"),
        measured("bare", 5.4),
        measured("ml", 5.4, "mL"),
        measured("below", 5, "mg", comparator="<"),
        measured("above", 6, "mg", comparator=">="),
        measured("fever", 38.5, "Cel"),
        measured("fahrenheit", 101.3, "[degF]"),
        measured("units", 5.4, "[iU]"),
        measured("invalid", 120, "mmHg"),
        observation(
            id="curve",
            valueSampledData={
                "origin": {"value": 0, "system": UCUM, "code": "mV"},
                "period": 10,
                "factor": 0.5,
                "dimensions": 1,
                "data": "2 E 10 4 U",
            },
        ),
    )
    return fhir


MG = f"|{UCUM}|mg"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (f"5.4{MG}", "g mg near ug"),  # 5.4(+/-0.05) mg, and what converts to it
        (f"5.40{MG}", "g mg ug"),
        (f"5.40e-3|{UCUM}|g", "g mg ug"),  # 0.0054(+/-0.000005) g
        (f"0.0054|{UCUM}|g", "g mg near ug"),
        (f"5400|{UCUM}|ug", "g mg ug"),
        ("5.4||mg", "human mg near nosystem other"),  # "code or the stated human unit", as written
        ("5.4||milligram", "mg"),
        ("5.4", "bare human mg ml near nosystem other units"),  # "irrespective of the unit"
        (f"le5.4{MG}", "below g mg ug"),
        (f"lt5.4{MG}", "below"),
        (f"gt5.4{MG}", "above near"),
        (f"ge5.44{MG}", "above near"),
        (f"sa5.4{MG}", "above near"),
        (f"eb5.44{MG}", "below g mg ug"),
        (f"ap5.4{MG}", "below g mg near ug"),
        (f"ne5.4{MG}", "above below"),
        ("5.4|http://elsewhere.example|mg", "other"),
        ("5.4|http://elsewhere.example|", "other"),
        (f"5.4|{UCUM}|", "mg ml near units"),
        (f"38.5|{UCUM}|Cel", "fahrenheit fever"),
        (f"101.3|{UCUM}|%5BdegF%5D", "fahrenheit fever"),
        (f"311.65|{UCUM}|K", "fahrenheit fever"),
        (f"5.4|{UCUM}|%5BiU%5D", "units"),
        (f"5400|{UCUM}|m%5BiU%5D", "units"),
        (f"5.4|{UCUM}|1", ""),
        (f"120|{UCUM}|mmHg", "invalid"),  # no UCUM code: compared as it is written
        (f"16|{UCUM}|kPa", ""),
        (f"gt1000|{UCUM}|mV", "curve"),
        (f"lt1.5|{UCUM}|mV", "curve"),
        (f"lt1|{UCUM}|mV", ""),
    ],
)
def test_a_quantity_is_found_in_whatever_unit(measures: Fhir, value: str, expected: str) -> None:
    assert found(measures, f"Observation?value-quantity={value}") == expected


def test_money_is_found_by_its_currency(fhir: Fhir) -> None:
    bill = {"resourceType": "Invoice", "id": "euro", "status": "issued", "totalNet": {"value": 12.5, "currency": "EUR"}}
    put_all(fhir, bill)
    assert found(fhir, "Invoice?totalnet=12.5|urn:iso:std:iso:4217|EUR") == "euro"
    assert found(fhir, "Invoice?totalnet=12.5||EUR") == "euro"
    assert found(fhir, "Invoice?totalnet=12.5|urn:iso:std:iso:4217|USD") == ""


def test_an_age_and_a_range_are_quantities(fhir: Fhir) -> None:
    subject = {"subject": {"reference": "Patient/1"}}
    year = {"system": UCUM, "code": "a"}
    put_all(
        fhir,
        {"resourceType": "Patient", "id": "1"},
        {"resourceType": "Condition", "id": "age", **subject, "onsetAge": {"value": 2, **year}},
        {
            "resourceType": "Condition",
            "id": "range",
            **subject,
            "onsetRange": {"low": {"value": 24, "system": UCUM, "code": "mo"}, "high": {"value": 3, **year}},
        },
    )
    assert found(fhir, f"Condition?onset-age=24|{UCUM}|mo") == "age"
    assert found(fhir, f"Condition?onset-age=ge2|{UCUM}|a") == "age range"
    assert found(fhir, f"Condition?onset-age=gt30|{UCUM}|mo") == "range"


@pytest.mark.parametrize("value", ["x", "5|mg", "5|a|b|c", "|a|b", "5|", "gt"])
def test_what_is_no_quantity_is_refused(fhir: Fhir, value: str) -> None:
    assert "value-quantity" in refused(fhir, f"Observation?value-quantity={value}")
