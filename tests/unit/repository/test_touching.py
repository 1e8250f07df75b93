"""What the trail notes of a document is worked out once, and anew for whatever differs."""

from dataclasses import replace
from datetime import UTC, datetime

from fhir_server.audit.touched import Touched
from fhir_server.repository.touching import to_touched
from fhir_server.storage.store import Document

INDEX = {"c": ["Patient/1", "Encounter/2", "Patient/3"], "l": ["conf|R"]}
DOCUMENT = Document("Observation/1", 4, datetime(2026, 1, 1, tzinfo=UTC), False, b"{}", index=INDEX)


def test_it_says_whose_it_is_and_how_it_is_labelled() -> None:
    touched = Touched("read", "Observation/1", 4, ("Patient/1", "Patient/3"), ("conf|R",), "rule")
    assert to_touched("read", DOCUMENT, "rule") == touched
    of_one = replace(DOCUMENT, index={**INDEX, "pt": "Patient/3"})
    assert to_touched("read", of_one, "rule") == touched._replace(patients=("Patient/3",))
    assert to_touched("read", replace(DOCUMENT, index={})) == Touched("read", "Observation/1", 4)


def test_the_same_is_noted_again_and_another_action_or_rule_anew() -> None:
    first = to_touched("search", DOCUMENT)
    assert to_touched("search", DOCUMENT) is first
    assert to_touched("read", DOCUMENT) == first._replace(action="read")
    assert to_touched("search", DOCUMENT, "rule") == first._replace(rule="rule")
    assert to_touched("search", DOCUMENT) == first
    assert to_touched("search", replace(DOCUMENT, index={"pt": "Patient/9"})).patients == ("Patient/9",)
