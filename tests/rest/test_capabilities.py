"""capabilities: what the server says of itself, held against what it does (http://hl7.org/fhir/R4/http.html#capabilities)."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from fhir_server.fhir.definitions import resource_types
from fhir_server.interactions.operation import operations
from fhir_server.search.parameters import defined_parameters
from fhir_server.validation.structure import check_structure
from tests.rest.fhir import Fhir


def statement(fhir: Fhir) -> dict[str, object]:
    return dict(fhir.get("metadata").body)


def test_the_statement_is_valid_and_names_every_resource_type(fhir: Fhir) -> None:
    declared = statement(fhir)
    assert check_structure(declared) == []
    rest = declared["rest"][0]  # type: ignore[index]
    assert {one["type"] for one in rest["resource"]} == resource_types()
    assert len(resource_types()) == 146


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("full", "CapabilityStatement"), ("normative", "CapabilityStatement"), ("terminology", "TerminologyCapabilities")],
)
def test_each_mode_has_its_answer(fhir: Fhir, mode: str, kind: str) -> None:
    body = fhir.get(f"metadata?mode={mode}").body
    assert body["resourceType"] == kind
    assert check_structure(body) == []


def test_an_unknown_mode_is_refused(fhir: Fhir) -> None:
    assert fhir.get("metadata?mode=wild").status == 400


def test_the_normative_mode_names_normative_types_alone(fhir: Fhir) -> None:
    types = {one["type"] for one in fhir.get("metadata?mode=normative").body["rest"][0]["resource"]}
    assert "Patient" in types
    assert "Appointment" not in types


def test_what_a_search_can_do_is_declared(fhir: Fhir) -> None:
    observation = next(one for one in statement(fhir)["rest"][0]["resource"] if one["type"] == "Observation")  # type: ignore[index]
    declared = {one["name"]: one for one in observation["searchParam"]}
    assert declared["code"]["type"] == "token"
    assert declared["code"]["definition"] == "http://hl7.org/fhir/SearchParameter/clinical-code"
    assert ":missing" in declared["code"]["documentation"]
    assert declared["date"]["documentation"].endswith("Prefixes: eq, ne, gt, lt, ge, le, sa, eb, ap.")
    assert "Observation:subject" in observation["searchInclude"]
    assert "DiagnosticReport:result" in observation["searchRevInclude"]


def test_what_is_defined_and_refused_is_listed_with_its_reason(fhir: Fhir) -> None:
    rest = statement(fhir)["rest"][0]  # type: ignore[index]
    said = {one["type"]: one.get("documentation", "") for one in rest["resource"]}
    assert "Searches by _query are refused: no named query is defined on this server." in rest["documentation"]
    assert "Searches by age are refused: the definition says no expression" in said["Patient"]
    assert said["Observation"] == ""
    for kind, text in said.items():
        refused = {one.code for one in defined_parameters(kind) if one.refusal is not None} - {"_query"}
        assert refused == set(re.findall(r"Searches by (\S+) are", text))


def test_settings_show_in_the_statement(fhir_with: object) -> None:
    fhir: Fhir = fhir_with(update_as_create=False, conditional_delete="multiple", referential_integrity_write=False)  # type: ignore[operator]
    declared = statement(fhir)["rest"][0]["resource"][0]  # type: ignore[index]
    assert declared["updateCreate"] is False
    assert declared["conditionalDelete"] == "multiple"
    assert "enforced" not in declared["referencePolicy"]
    assert fhir.put("Patient/x", {"resourceType": "Patient", "id": "x"}).status == 405


def test_every_operation_is_declared_where_it_can_be_called(fhir: Fhir) -> None:
    rest = statement(fhir)["rest"][0]  # type: ignore[index]
    declared = {(kind, one["name"]) for kind, one in _declared(rest)}
    for code, each in operations().items():
        assert ((None, code) in declared) == ("system" in each.levels), code
        for kind in each.types:
            assert (kind, code) in declared, (kind, code)


def _declared(rest: dict[str, Any]) -> Iterator[tuple[str | None, dict[str, str]]]:
    yield from ((None, one) for one in rest.get("operation", ()))
    yield from ((each["type"], one) for each in rest["resource"] for one in each.get("operation", ()))
