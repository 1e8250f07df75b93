"""number: the examples of http://hl7.org/fhir/R4/search.html#number, on RiskAssessment.probability."""

from typing import Any

import pytest

from tests.rest.fhir import Fhir
from tests.rest.stored import found, put_all, refused


def risk(id: str, **prediction: Any) -> dict[str, Any]:
    subject = {"reference": "Patient/1"}
    return {
        "resourceType": "RiskAssessment",
        "id": id,
        "status": "final",
        "subject": subject,
        "prediction": [prediction],
    }


@pytest.fixture
def hundreds(fhir: Fhir) -> Fhir:
    """Seven probabilities around one hundred, and a range, that R4's examples tell apart."""
    numbers = {"p94": 94.99, "p95": 95, "p995": 99.5, "p99995": 99.995, "p100": 100, "p1005": 100.5, "p105": 105}
    put_all(
        fhir,
        {"resourceType": "Patient", "id": "1"},
        *(risk(id, probabilityDecimal=number) for id, number in numbers.items()),
        risk("range", probabilityRange={"low": {"value": 100}, "high": {"value": 200}}),
    )
    return fhir


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("100", "p100 p995 p99995"),  # "Values that equal 100, to 3 significant figures": [99.5 ... 100.5)
        ("100.00", "p100 p99995"),  # "to 5 significant figures": [99.995 ... 100.005)
        ("1e2", "p100 p1005 p95 p995 p99995"),  # "to 1 significant figure": [95 ... 105)
        ("lt100", "p94 p95 p995 p99995"),  # "less than exactly 100"
        ("le100", "p100 p94 p95 p995 p99995"),  # "less or equal to exactly 100"
        ("gt100", "p1005 p105 range"),  # "greater than exactly 100"; a range above it overlaps
        ("ge100", "p100 p1005 p105 range"),
        ("ne100", "p1005 p105 p94 p95 range"),  # "not equal to 100, to 3 significant figures"
        ("sa100", "p1005 p105"),
        ("eb100", "p94 p95 p995 p99995"),
        ("ap100", "p100 p1005 p105 p94 p95 p995 p99995 range"),
        ("1.0e2", "p100 p1005 p95 p995 p99995"),
        ("+100", "p100 p995 p99995"),
        ("94.99,105", "p105 p94"),
    ],
)
def test_a_number_is_found_with_its_precision_and_prefix(hundreds: Fhir, value: str, expected: str) -> None:
    assert found(hundreds, f"RiskAssessment?probability={value.replace('+', '%2B')}") == expected


@pytest.mark.parametrize("value", ["abc", "1..2", "0x10", "1e99999", "NaN", "gtgt1", "100|x"])
def test_what_is_no_number_is_refused(fhir: Fhir, value: str) -> None:
    assert "probability" in refused(fhir, f"RiskAssessment?probability={value}")


def test_a_modifier_other_than_missing_is_refused(hundreds: Fhir) -> None:
    assert found(hundreds, "RiskAssessment?probability:missing=true") == ""
    assert ":exact" in refused(hundreds, "RiskAssessment?probability:exact=100")
