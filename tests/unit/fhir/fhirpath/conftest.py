"""One patient and one observation that the tables of expressions are evaluated on."""

from collections.abc import Callable
from typing import Any

import pytest

from fhir_server.errors import FhirError
from fhir_server.fhir.decimals import FhirDecimal
from fhir_server.fhir.fhirpath.expression import compile_expression

PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "example",
    "contained": [{"resourceType": "Organization", "id": "org", "name": "Clinic"}],
    "extension": [
        {"url": "http://a.org/birth-place", "valueAddress": {"city": "Lyon"}},
        {"url": "http://a.org/score", "valueDecimal": FhirDecimal("6.30")},
    ],
    "active": True,
    "name": [
        {"use": "official", "family": "Chalmers", "given": ["Peter", "James"]},
        {"use": "usual", "given": ["Jim"]},
        {"use": "maiden", "family": "Windsor", "given": ["Peter", "James"], "period": {"end": "2002"}},
    ],
    "telecom": [
        {"system": "phone", "use": "home", "value": "(03) 5555 6473"},
        {"system": "email", "use": "work", "value": "peter@example.org"},
    ],
    "gender": "male",
    "birthDate": "1974-12-25",
    "_birthDate": {"extension": [{"url": "http://a.org/birth-time", "valueDateTime": "1974-12-25T14:35:45-05:00"}]},
    "_deceasedBoolean": {"extension": [{"url": "http://a.org/unknown", "valueCode": "unknown"}]},
    "multipleBirthInteger": 2,
    "contact": [{"relationship": [{"coding": [{"code": "N"}]}], "gender": "female"}],
    "managingOrganization": {"reference": "#org"},
    "generalPractitioner": [{"reference": "Practitioner/7"}, {"type": "Organization", "display": "Elsewhere"}],
}
OBSERVATION: dict[str, Any] = {
    "resourceType": "Observation",
    "id": "weight",
    "status": "final",
    "code": {"coding": [{"system": "http://loinc.org", "code": "29463-7"}]},
    "subject": {"reference": "http://a.org/fhir/Patient/example/_history/2"},
    "effectiveDateTime": "2016-03-28",
    "valueQuantity": {
        "value": FhirDecimal("185.0"),
        "unit": "lbs",
        "system": "http://unitsofmeasure.org",
        "code": "[lb_av]",
    },
}


@pytest.fixture
def patient() -> dict[str, Any]:
    return PATIENT


@pytest.fixture
def observation() -> dict[str, Any]:
    return OBSERVATION


@pytest.fixture
def outcome() -> Callable[..., list[Any] | str]:
    """Evaluate an expression: a list of raw values, or the name of the error."""

    def evaluate(text: str, **arguments: Any) -> list[Any] | str:
        resource = OBSERVATION if "Observation" in text else PATIENT
        try:
            return [node.value for node in compile_expression(text).evaluate(resource, **arguments)]
        except FhirError as error:
            return type(error).__name__

    return evaluate
