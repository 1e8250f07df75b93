"""The compiled definitions: what they contain, how types relate, and that reading them is cheap and repeatable."""

import importlib.util
import io
import json
import re
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fhir_server.fhir import definitions
from fhir_server.fhir.definition_archive import Archive, build_archive

ROOT = Path(__file__).resolve().parents[3]


def compiler() -> ModuleType:
    spec = importlib.util.spec_from_file_location("compile_definitions", ROOT / "scripts" / "compile_definitions.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def package(*resources: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for resource in resources:
            data = json.dumps(resource).encode()
            entry = tarfile.TarInfo(f"package/{resource['resourceType']}-{resource['id']}.json")
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def test_there_are_146_concrete_resource_types() -> None:
    assert len(definitions.resource_types()) == 146
    assert definitions.is_resource_type("Patient")
    assert not definitions.is_resource_type("DomainResource")
    assert not definitions.is_resource_type("HumanName")
    assert not definitions.is_resource_type("vitalsigns")


def test_elements_stand_in_the_official_order_with_the_inherited_ones_first() -> None:
    names = [element.name for element in definitions.structure("Patient").elements]
    assert names[:12] == [
        *("id", "meta", "implicitRules", "language", "text", "contained", "extension", "modifierExtension"),
        *("identifier", "active", "name", "telecom"),
    ]


def test_a_choice_is_one_element_and_a_property_for_each_type() -> None:
    observation = definitions.structure("Observation")
    element, code = observation.properties["valueQuantity"]
    assert (element.name, element.path, element.choice, code) == ("value", "Observation.value[x]", True, "Quantity")
    assert observation.properties["valueDateTime"] == (element, "dateTime")
    assert "value" not in observation.properties
    assert "value[x]" not in observation.properties


def test_a_backbone_element_is_a_structure_named_by_its_path() -> None:
    element, code = definitions.structure("Patient").properties["contact"]
    assert element.types == ("Patient.contact",)
    assert code == "Patient.contact"
    contact = definitions.structure("Patient.contact")
    assert contact.base == "BackboneElement"
    assert [item.name for item in contact.elements][:4] == ["id", "extension", "modifierExtension", "relationship"]
    assert definitions.structure("Timing.repeat").base == "Element"


def test_a_content_reference_leads_to_the_structure_that_it_names() -> None:
    assert definitions.structure("Questionnaire.item").properties["item"][1] == "Questionnaire.item"
    assert definitions.structure("Bundle.entry").properties["link"][1] == "Bundle.link"


def test_ids_and_urls_have_the_types_of_fhir_and_not_those_of_fhirpath() -> None:
    assert definitions.structure("Patient").properties["id"][1] == "id"
    assert definitions.structure("Patient.contact").properties["id"][1] == "string"
    assert definitions.structure("Extension").properties["url"][1] == "uri"
    assert definitions.structure("decimal").properties["value"][1] == "decimal"


def test_only_element_ids_extension_urls_and_primitive_values_are_xml_attributes() -> None:
    attributes = {
        element.path
        for name in ("Extension", "HumanName", "Patient", "Patient.contact", "string", "xhtml")
        for element in definitions.structure(name).elements
        if element.xml_attribute
    }
    assert attributes == {
        *("Extension.id", "Extension.url", "HumanName.id", "Patient.contact.id", "string.id", "string.value"),
        "xhtml.id",
    }


def test_flags_targets_and_bindings_are_those_of_the_definition() -> None:
    properties = definitions.structure("Observation").properties
    status, subject = properties["status"][0], properties["subject"][0]
    assert (status.min, status.max, status.summary, status.modifier) == (1, 1, True, True)
    assert status.binding == definitions.Binding("required", "http://hl7.org/fhir/ValueSet/observation-status|4.0.1")
    assert subject.targets == ("Device", "Group", "Location", "Patient")
    assert properties["note"][0].max is None
    assert definitions.structure("Provenance").properties["target"][0].targets == ("Resource",)


def test_every_type_code_of_every_element_is_a_structure() -> None:
    seen: set[str] = set()
    todo = {*definitions.resource_types(), "Resource", "DomainResource"}
    while todo:
        name = todo.pop()
        seen.add(name)
        todo |= {code for element in definitions.structure(name).elements for code in element.types} - seen
    assert all(map(definitions.has_structure, seen))
    assert "SubstanceAmount.referenceRange" in seen


@pytest.mark.parametrize("name", ["", "Nothing", "Patient.nothing", "vitalsigns", "Patient.name", "Definition", "."])
def test_what_is_no_structure_raises_a_key_error(name: str) -> None:
    assert not definitions.has_structure(name)
    with pytest.raises(KeyError):
        definitions.structure(name)


def test_subtypes_follow_the_bases() -> None:
    assert definitions.is_subtype("Patient", "DomainResource")
    assert definitions.is_subtype("Bundle", "Resource")
    assert not definitions.is_subtype("Bundle", "DomainResource")
    assert definitions.is_subtype("Age", "Quantity")
    assert definitions.is_subtype("canonical", "uri")
    assert definitions.is_subtype("Patient.contact", "BackboneElement")
    assert definitions.is_subtype("Patient.contact", "Element")
    assert not definitions.is_subtype("Quantity", "Age")
    assert not definitions.is_subtype("Nothing", "Element")


def test_primitives_have_anchored_patterns_but_for_xhtml() -> None:
    pattern = definitions.primitive_pattern("id")
    assert pattern is not None
    assert pattern.match("a-1.B")
    assert not pattern.match("a b")
    assert not pattern.match("a\n")
    assert definitions.primitive_pattern("xhtml") is None
    assert definitions.primitive_pattern("HumanName") is None
    assert definitions.is_primitive("xhtml")
    assert not definitions.is_primitive("HumanName")


def test_a_no_break_space_is_part_of_a_text() -> None:
    pattern = definitions.primitive_pattern("string")
    assert pattern is not None
    assert pattern.match("«\N{NO-BREAK SPACE}oui\N{NARROW NO-BREAK SPACE}»")


def test_the_pattern_of_base64_takes_linear_time() -> None:
    pattern = definitions.primitive_pattern("base64Binary")
    assert pattern is not None
    assert pattern.match("QUJD\nREVG\n")
    assert pattern.match("QQ==")
    start = time.perf_counter()
    assert not pattern.match(" QUJD " * 50_000 + "!")
    assert time.perf_counter() - start < 10


def test_invariants_are_the_types_own_and_the_roots() -> None:
    found = {(item.key, item.path) for item in definitions.invariants("Patient")}
    assert ("pat-1", "Patient.contact") in found
    assert ("dom-2", "Patient") in found
    assert not any(key == "ele-1" for key, _ in found)
    assert {item.key for item in definitions.invariants("Period")} == {"ele-1", "per-1"}
    with pytest.raises(KeyError):
        definitions.invariants("Nothing")


def test_search_parameters_are_unique_by_base_and_code() -> None:
    places = [(base, item["code"]) for item in definitions.search_parameter_definitions() for base in item["base"]]
    assert len(places) == len(set(places))
    assert ("Condition", "subject") in places
    composite = next(item for item in definitions.search_parameter_definitions() if item["type"] == "composite")
    assert composite["component"][0].keys() == {"definition", "expression"}


def test_compartments_name_the_parameters_that_link_to_them() -> None:
    compartments = definitions.compartment_definitions()
    assert set(compartments) == {"Patient", "Practitioner", "Encounter", "RelatedPerson", "Device"}
    assert compartments["Patient"]["Observation"] == ("subject", "performer")
    assert compartments["Encounter"]["Encounter"] == ("{def}",)
    assert "Organization" not in compartments["Patient"]


def test_required_value_sets_are_listed_when_hl7_owns_the_codes() -> None:
    url = "http://hl7.org/fhir/ValueSet/administrative-gender"
    assert definitions.value_set_codes(url) == frozenset({"male", "female", "other", "unknown"})
    assert definitions.value_set_codes(f"{url}|4.0.1") == definitions.value_set_codes(url)
    assert definitions.value_set_codes("http://hl7.org/fhir/ValueSet/mimetypes|4.0.1") is None


def test_artifacts_come_whole_by_url_and_version_and_are_fresh_copies() -> None:
    url = "http://hl7.org/fhir/StructureDefinition/vitalsigns"
    found = definitions.artifact("StructureDefinition", url)
    assert found is not None
    assert found["snapshot"]["element"][0]["path"] == "Observation"
    found.clear()
    assert definitions.artifact("StructureDefinition", f"{url}|4.0.1")
    assert definitions.artifact("StructureDefinition", f"{url}|3.0.0") is None
    assert definitions.artifact("StructureDefinition", "http://example.org/none") is None
    assert definitions.artifact("Nothing", url) is None
    assert list(definitions.artifacts("Nothing")) == []


def test_all_official_definitions_are_there() -> None:
    counts = {kind: len(list(definitions.artifacts(kind))) for kind in ("StructureDefinition", "SearchParameter")}
    counts |= {kind: len(list(definitions.artifacts(kind))) for kind in ("ValueSet", "CodeSystem")}
    assert counts == {"StructureDefinition": 655, "SearchParameter": 1400, "ValueSet": 1316, "CodeSystem": 1062}


def test_many_threads_read_the_same_artifacts() -> None:
    urls = list(definitions.artifacts("CodeSystem"))[::20]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda url: definitions.artifact("CodeSystem", url), urls * 3))
    assert [item["url"] for item in found if item] == urls * 3


def test_the_data_file_is_small() -> None:
    assert (ROOT / "fhir_server" / "fhir" / "r4.bin").stat().st_size < 6_000_000


def test_another_file_is_refused_as_archive(tmp_path: Path) -> None:
    path = tmp_path / "other.bin"
    path.write_bytes(b"something else")
    with pytest.raises(ValueError, match=re.escape("other.bin is not a file of compiled FHIR definitions")):
        Archive(path)


def test_an_archive_gives_back_what_was_put_in_over_several_blocks(tmp_path: Path) -> None:
    artifacts = {"ValueSet": {f"http://example.org/{n}": {"id": str(n), "x": "é" * 40_000} for n in range(9)}}
    data = build_archive({"T": ("resource", None, True)}, {"a": [1]}, artifacts)
    path = tmp_path / "some.bin"
    path.write_bytes(data)
    archive = Archive(path)
    assert archive.types == {"T": ("resource", None, True)}
    assert archive.chunk("a") == [1]
    assert "a" in archive
    assert archive.urls("ValueSet") == tuple(artifacts["ValueSet"])
    assert {url: archive.artifact("ValueSet", url) for url in archive.urls("ValueSet")} == artifacts["ValueSet"]


def test_compiling_twice_gives_the_same_bytes_whatever_the_order_of_files(tmp_path: Path) -> None:
    kinds = ("StructureDefinition", "ValueSet", "CodeSystem", "SearchParameter", "CompartmentDefinition")
    names = {"StructureDefinition": ("Period", "string", "Patient"), "ValueSet": ("administrative-gender", "link-type")}
    resources = [
        artifact
        for kind in kinds
        for name in names.get(kind, ())
        if (artifact := definitions.artifact(kind, f"http://hl7.org/fhir/{kind}/{name}"))
    ]
    systems = [
        artifact
        for name in ("administrative-gender", "link-type")
        if (artifact := definitions.artifact("CodeSystem", f"http://hl7.org/fhir/{name}"))
    ]
    module = compiler()
    first = module.compile_package(package(*resources, *systems))
    assert first == module.compile_package(package(*reversed(systems), *reversed(resources)))
    path = tmp_path / "mini.bin"
    path.write_bytes(first)
    assert set(Archive(path).types) == {"Period", "string", "Patient"}
    assert Archive(path).chunk("codes")["http://hl7.org/fhir/ValueSet/link-type"] == [
        *("refer", "replaced-by", "replaces", "seealso"),
    ]
