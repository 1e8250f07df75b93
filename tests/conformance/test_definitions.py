"""The compiled tables say what HL7's StructureDefinitions, ValueSets and SearchParameters say, element by element."""

from typing import Any

import pytest

from fhir_server.fhir import definitions

CANONICAL = "http://hl7.org/fhir/StructureDefinition/"
FHIR_TYPE = f"{CANONICAL}structuredefinition-fhir-type"


def specializations() -> dict[str, dict[str, Any]]:
    found = {}
    for url in definitions.artifacts("StructureDefinition"):
        artifact = definitions.artifact("StructureDefinition", url)
        assert artifact is not None
        if artifact["kind"] != "logical" and artifact.get("derivation") != "constraint":
            found[artifact["type"]] = artifact
    return found


SPECIALIZATIONS = specializations()


def test_every_type_that_hl7_defines_is_a_structure_and_no_other() -> None:
    assert len(SPECIALIZATIONS) == 148 + 41 + 20
    assert {name for name, item in SPECIALIZATIONS.items() if item["kind"] == "resource" and not item["abstract"]} == (
        definitions.resource_types()
    )
    for name, item in SPECIALIZATIONS.items():
        found = definitions.structure(name)
        assert (found.kind, found.abstract) == (item["kind"], item["abstract"])
        assert found.base == (item["baseDefinition"].removeprefix(CANONICAL) if "baseDefinition" in item else None)


@pytest.mark.parametrize("name", sorted(SPECIALIZATIONS))
def test_elements_are_those_of_the_snapshot_in_its_order(name: str) -> None:
    snapshot = {element["path"]: element for element in SPECIALIZATIONS[name]["snapshot"]["element"]}
    parents = {path.rpartition(".")[0] for path in snapshot} - {""}
    for parent in parents:
        elements = definitions.structure(parent).elements
        assert [item.path for item in elements] == [path for path in snapshot if path.rpartition(".")[0] == parent]
        for element in elements:
            official = snapshot[element.path]
            assert (element.min, "*" if element.max is None else str(element.max)) == (official["min"], official["max"])
            assert element.summary is official.get("isSummary", False)
            assert element.modifier is official.get("isModifier", False)
            assert element.choice is element.path.endswith("[x]")
            assert element.xml_attribute is ("xmlAttr" in official.get("representation", ()))
            assert_types_are_official(element, official, snapshot)
            binding = official.get("binding", {})
            expected = definitions.Binding(binding["strength"], binding["valueSet"]) if "valueSet" in binding else None
            assert element.binding == expected


def assert_types_are_official(
    element: definitions.Element, official: dict[str, Any], snapshot: dict[str, dict[str, Any]]
) -> None:
    if "contentReference" in official:
        assert element.types == (official["contentReference"][1:],)
        assert element.types[0] in snapshot
        return
    codes = [item["code"] for item in official["type"]]
    if codes in (["BackboneElement"], ["Element"]):
        assert element.types == (element.path,)
    elif codes[0].startswith("http://hl7.org/fhirpath/System."):
        stated = [ext["valueUrl"] for ext in official["type"][0].get("extension", ()) if ext["url"] == FHIR_TYPE]
        is_resource_id = official["base"]["path"] == "Resource.id"
        assert list(element.types) == (["id"] if is_resource_id else stated or ["string"])
    else:
        assert list(element.types) == codes
        targets = {target for item in official["type"] for target in item.get("targetProfile", ())}
        assert set(element.targets) == {target.removeprefix(CANONICAL) for target in targets}


def test_required_codes_are_listed_for_all_value_sets_but_those_of_other_owners() -> None:
    listed = 0
    for item in SPECIALIZATIONS.values():
        for element in item["snapshot"]["element"]:
            binding = element.get("binding", {})
            if binding.get("strength") != "required" or element["type"][0]["code"] != "code":
                continue
            codes = definitions.value_set_codes(binding["valueSet"])
            if codes is None:
                assert binding["valueSet"].rpartition("/")[2] in {"mimetypes|4.0.1", "currencies|4.0.1"}
                continue
            listed += 1
            assert codes
            assert all(code and code == code.strip() for code in codes)
    assert listed == 339


def test_every_official_search_parameter_but_the_unusable_ones_is_compiled() -> None:
    compiled = {item["url"]: item for item in definitions.search_parameter_definitions()}
    left_out = []
    for url in definitions.artifacts("SearchParameter"):
        official = definitions.artifact("SearchParameter", url)
        assert official is not None
        if url in compiled:
            assert compiled[url].items() <= official.items()
        else:
            left_out.append(official)
    assert len(left_out) == 13
    assert all("base" not in item or "example" in item["id"] for item in left_out)


def test_every_invariant_of_a_type_stands_on_one_of_its_elements() -> None:
    for name, item in SPECIALIZATIONS.items():
        paths = {element["path"] for element in item["snapshot"]["element"]}
        assert {invariant.path for invariant in definitions.invariants(name)} <= paths
        assert all(invariant.expression and invariant.human for invariant in definitions.invariants(name))
