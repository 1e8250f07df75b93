"""HL7's own R4 examples pass the structural check, but for the defects that they are published with."""

import re

import pytest

from fhir_server.fhir.json import parse_json
from fhir_server.validation.structure import check_structure
from tests.conformance.examples import example_paths, package_paths

INDEX = re.compile(r"\[[0-9]+\]")

# Defects of the published files, each checked against the definitions by hand.
KNOWN_DEFECTS: dict[str, set[str]] = {
    # References to types that the element may not point to: DeviceDefinition, Procedure, Practitioner, Encounter.
    "DeviceMetric-example.json": {"DeviceMetric.parent.reference"},
    "DeviceUseStatement-example.json": {"DeviceUseStatement.reasonReference.reference"},
    "MedicationRequest-medrx0301.json": {"MedicationRequest.dispenseRequest.performer.reference"},
    "Observation-clinical-gender.json": {"Observation.performer.reference"},
    # Required elements that are missing.
    "ImplementationGuide-fhir.json": {"ImplementationGuide.name", "ImplementationGuide.status"},
    "ig-r4.json": {"ImplementationGuide.name", "ImplementationGuide.status"},
    "Questionnaire-qs1.json": {f"Questionnaire.{'item.' * level}linkId" for level in (2, 3, 4)},
    # Definitions, not examples: an id of 68 characters, and search parameters that apply to nothing.
    "SearchParameter-questionnaireresponse-extensions-QuestionnaireResponse-item-subject.json": {"SearchParameter.id"},
    **{
        f"SearchParameter-{kind.lower()}-extensions-{kind}-{code}.json": {"SearchParameter.base"}
        for kind in ("CodeSystem", "ValueSet")
        for code in ("author", "effective", "end", "keyword", "workflow")
    },
}


SLICES = range(4)
"""The package in parts, for as many test processes."""


@pytest.mark.parametrize("part", SLICES)
def test_all_that_hl7_publishes_passes_but_for_its_known_defects(part: int) -> None:
    paths = package_paths()[part :: len(SLICES)]
    found = {}
    for path in paths:
        if issues := check_structure(parse_json(path.read_bytes())):
            found[path.name] = {INDEX.sub("", issue.expression[0]) for issue in issues}
    assert found == {path.name: KNOWN_DEFECTS[path.name] for path in paths if path.name in KNOWN_DEFECTS}


def test_six_of_the_727_examples_are_defective() -> None:
    names = {path.name for path in example_paths()}
    assert len(names) == 727
    assert len(names & KNOWN_DEFECTS.keys()) == 6
