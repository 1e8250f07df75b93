"""What an _include or _revinclude says, and what it asks for around given index entries."""

from typing import Any

import pytest

from fhir_server.errors import FhirError, NotSupported, Value
from fhir_server.fhir.definitions import resource_types
from fhir_server.search.ast import ReferenceIs, RefersTo
from fhir_server.search.includes import (
    Include,
    fields_for,
    find_pointers,
    parse_include,
    supported_includes,
    supported_revincludes,
)

OBSERVATION = ("Observation",)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("_include", "*", Include()),
        ("_include:iterate", "*", Include(iterate=True)),
        ("_include:recurse", "*", Include(iterate=True)),
        ("_include", "Observation:*", Include(source="Observation")),
        ("_include", "Observation:subject", Include(source="Observation", code="subject")),
        ("_include", "Observation:subject:Group", Include(source="Observation", code="subject", target="Group")),
        ("_include:iterate", "Patient:organization", Include(False, True, "Patient", "organization")),
        ("_revinclude", "*", Include(reverse=True)),
        ("_revinclude", "Provenance:target", Include(True, False, "Provenance", "target")),
        ("_revinclude:iterate", "Provenance:target:Patient", Include(True, True, "Provenance", "target", "Patient")),
    ],
)
def test_an_include_is_read(name: str, value: str, expected: Include) -> None:
    assert parse_include(name, value, OBSERVATION) == expected


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("_include", "", Value),
        ("_include", "**", Value),
        ("_include", "*:subject", Value),
        ("_include", "Observation:subject:", Value),
        ("_include", "Observation:subject:patient", Value),
        ("_include", "observation:subject", Value),
        ("_include", "Observation:$ne", NotSupported),
        ("_include", "Observation:code", Value),
        ("_include", "Patient:organization", NotSupported),
        ("_revinclude", "Patient:organization", NotSupported),
        ("_include:x", "*", NotSupported),
        ("_include:", "*", NotSupported),
        ("_include:iterate:iterate", "*", NotSupported),
        ("_include", "Bundle:composition", NotSupported),
    ],
)
def test_what_cannot_bring_anything_is_refused(name: str, value: str, error: type[FhirError]) -> None:
    with pytest.raises(error):
        parse_include(name, value, ("Observation", "Bundle"))


def test_over_all_types_every_parameter_concerns_something() -> None:
    assert parse_include("_include", "Patient:organization", ()).source == "Patient"


def pointers(*includes: Include, **index: Any) -> Any:
    return find_pointers(includes, [("Observation/o", index)])


def test_references_are_told_apart() -> None:
    held = [
        "Observation.subject>Patient/1",
        "Observation.patient>Patient/1",
        "Observation.performer>Practitioner/2",
        "Observation.performer>Practitioner/2/_history/3",
        "Observation.performer>http://other.example/Practitioner/9",
        "Observation.performer>urn:uuid:0",
        "Encounter.subject>Patient/7",
    ]
    found = pointers(Include(), r=held)
    assert list(found.resources) == ["Patient/1"]
    assert list(found.versions) == [("Practitioner/2", "3")]
    assert not found.canonicals
    assert found.by_type() == {"Patient": ReferenceIs(("Patient/1",))}
    assert list(pointers(Include(code="subject", source="Observation"), r=held).resources) == ["Patient/1"]
    assert pointers(Include(code="subject", source="Observation", target="Group"), r=held).size == 0
    assert pointers(Include(source="Encounter"), r=held).size == 0


def test_an_unversioned_reference_of_another_parameter_is_not_lost() -> None:
    one = ("Observation/1", {"r": ["Observation.subject>Patient/1", "Observation.subject>Patient/1/_history/1"]})
    two = ("Observation/2", {"r": ["Observation.subject>Patient/1"]})
    found = find_pointers((Include(),), [one, two])
    assert (list(found.resources), list(found.versions)) == (["Patient/1"], [("Patient/1", "1")])


def test_referrers_are_asked_for_by_whole_keys() -> None:
    found = find_pointers((Include(True, False, "Observation", "subject"),), [("Patient/1", {}), ("Device/2", {})])
    keys = ("Observation.subject>Patient/1", "Observation.subject>Device/2")
    assert found.by_type() == {"Observation": RefersTo(keys)}


def test_a_canonical_too_long_to_be_followed_is_told() -> None:
    index = {"r": ["QuestionnaireResponse.questionnaire>http://" + "x" * 400 + "\0abc"]}
    assert find_pointers((Include(),), [("QuestionnaireResponse/1", index)]).unreadable


def test_only_the_fields_that_are_needed_are_read() -> None:
    assert fields_for((), OBSERVATION) == ()
    assert fields_for((Include(),), OBSERVATION) == ("r",)
    assert fields_for((Include(reverse=True),), OBSERVATION) == ()
    assert fields_for((Include(reverse=True),), ("Questionnaire",)) == ("t",)
    assert fields_for((Include(), Include(reverse=True)), ()) == ("r", "t")


def test_what_is_claimed_can_be_parsed() -> None:
    for kind in resource_types():
        for value in supported_includes(kind):
            parse_include("_include", value, (kind,))
        for value in supported_revincludes(kind):
            parse_include("_revinclude", value, (kind,))
    assert "Observation:subject" in supported_includes("Observation")
    assert "Observation:subject" in supported_revincludes("Patient")
