"""HL7's official R4 examples, from the npm package hl7.fhir.r4.examples 4.0.1 (CC0), fetched once into ``build/``.

The package also repeats the definitions of the core specification (4,578 of its 5,306 resources: every
StructureDefinition, ValueSet, ... that hl7.fhir.r4.core publishes). What remains when those types are taken away is
728 resources: HL7's 727 examples and ``ig-r4.json``, the specification's own ImplementationGuide, the only file that is
not named ``Type-id.json``.
"""

from collections.abc import Iterator
from pathlib import Path

from tests.npm import unpacked

PACKAGE = "hl7.fhir.r4.examples@4.0.1"
SHA512 = (
    "0d705d21939e41a48a220094ef0e87382eecc3fe81cf29668a92e4056e1ffffa"
    "53f8173de31fbc2c89b04ddbda35384f2683b3a41cefc40ccdaa37aedd7ff32f"
)

DEFINITION_TYPES = frozenset(
    {
        "CapabilityStatement",
        "CodeSystem",
        "CompartmentDefinition",
        "ConceptMap",
        "NamingSystem",
        "OperationDefinition",
        "SearchParameter",
        "StructureDefinition",
        "StructureMap",
        "ValueSet",
    }
)
"""The types that the core package consists of."""


def package_paths() -> list[Path]:
    """Return every resource of the package, 5,306 files, definitions included."""
    return sorted(path for path in unpacked(PACKAGE, SHA512, "examples").glob("*.json") if path.name != "package.json")


def example_paths() -> list[Path]:
    """Return HL7's 727 examples."""
    return [path for path in package_paths() if _is_example(path.name)]


def examples() -> Iterator[tuple[str, bytes]]:
    """Yield the file name and content of each of the 727 examples."""
    for path in example_paths():
        yield path.name, path.read_bytes()


def _is_example(name: str) -> bool:
    type_name, dash, _ = name.partition("-")
    return bool(dash) and type_name[0].isupper() and type_name not in DEFINITION_TYPES
