"""What an expression can give, told from its text."""

import pytest

from fhir_server.fhir.definitions import is_resource_type, search_parameter_definitions
from fhir_server.fhir.fhirpath.result_types import result_types


@pytest.mark.parametrize(
    ("expression", "types"),
    [
        ("Patient.name", {"HumanName"}),
        ("Observation.code", set()),
        ("Patient.deceased", {"boolean", "dateTime"}),
        ("Patient.deceased as boolean", {"boolean"}),
        ("(Patient.deceased as dateTime) | Patient.birthDate", {"dateTime", "date"}),
        ("Patient.deceased.exists() and Patient.deceased != false", {"System.Boolean"}),
        ("Patient.name.where(use = 'official').first().family", {"string"}),
        ("Patient.name[0].given.upper()", {"System.String"}),
        ("Patient.generalPractitioner.where(resolve() is Practitioner)", {"Reference"}),
        ("Patient.extension('http://x').value as Coding", {"Coding"}),
        ("Patient.contact.iif(gender.exists(), gender, name)", {"code", "HumanName"}),
        ("Patient.birthDate.is(date)", {"System.Boolean"}),
        ("name.union(contact.name)", {"HumanName"}),
        ("Resource.meta.source", {"uri"}),
    ],
)
def test_types_are_told(expression: str, types: set[str]) -> None:
    assert result_types(expression, "Patient") == types


@pytest.mark.parametrize(
    "expression", ["%resource", "1", "-1", "1 + 1", "Patient.descendants()", "Patient.name.select(given)"]
)
def test_what_cannot_be_told_has_no_answer(expression: str) -> None:
    assert result_types(expression, "Patient") is None


def test_every_published_expression_is_told() -> None:
    expressions = {
        (base, definition["expression"])
        for definition in search_parameter_definitions()
        for base in definition["base"]
        if definition.get("expression") and is_resource_type(base)
    }
    told = {(base, text): result_types(text, base) for base, text in expressions}
    assert [one for one, types in told.items() if not types] == []
