"""FHIR R4 4.0.1 as data: types, elements, invariants, search parameters, compartments, published artifacts.

Compiled by ``scripts/compile_definitions.py`` from HL7's package hl7.fhir.r4.core 4.0.1 into ``r4.bin``. Each type is
read from there when first asked for and kept; artifacts are read anew each time. Profiles (``vitalsigns``) and
logical models are artifacts, not structures. Safe to use from any number of threads and processes.
Spec: http://hl7.org/fhir/R4/elementdefinition.html, http://hl7.org/fhir/R4/datatypes.html
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from sys import intern
from typing import Any, Literal

from fhir_server.fhir.definition_archive import Archive

Kind = Literal["resource", "complex-type", "primitive-type"]

_BASE64 = r"\s*[0-9A-Za-z+/][0-9A-Za-z+/\s]*(?:=\s*){0,2}"


@dataclass(frozen=True, slots=True)
class Binding:
    """What codes an element takes: ``strength`` as in R4, ``value_set`` the canonical url, often with ``|4.0.1``."""

    strength: str
    value_set: str


@dataclass(frozen=True, slots=True)
class Element:
    """One element of a structure, e.g. name ``value``, path ``Observation.value[x]``.

    ``types`` are FHIR type codes; a backbone element's only type is its own path (``Patient.contact``), that of a
    contentReference the path it refers to (``Questionnaire.item``). ``max`` is None for ``*``. ``targets`` are the type
    names that a Reference or canonical may point to (``Resource`` for any). ``xml_attribute``: written in XML as an
    attribute.
    """

    name: str
    path: str
    types: tuple[str, ...]
    min: int
    max: int | None
    choice: bool
    summary: bool
    modifier: bool
    targets: tuple[str, ...]
    binding: Binding | None
    xml_attribute: bool


@dataclass(frozen=True, slots=True)
class Structure:
    """A resource type, a datatype, or a backbone element named by its path.

    ``elements`` are in the official order, inherited ones included. ``properties`` maps each JSON property to its
    element and type code, choices spelt out: ``valueQuantity`` → (Element ``value[x]``, ``Quantity``). The ``_x``
    siblings of primitives are not in it, nor is ``resourceType``.
    """

    name: str
    kind: Kind
    base: str | None
    abstract: bool
    elements: tuple[Element, ...]
    properties: Mapping[str, tuple[Element, str]]


@dataclass(frozen=True, slots=True)
class Invariant:
    """A constraint: FHIRPath ``expression``, evaluated on every element at ``path``."""

    key: str
    severity: str
    human: str
    expression: str
    path: str


def structure(name: str) -> Structure:
    """Return the structure of a type (``Patient``, ``HumanName``) or backbone element (``Patient.contact``).

    Raises ``KeyError`` for a name that R4 does not define as such.
    """
    return _structures(name.partition(".")[0])[name]


def has_structure(name: str) -> bool:
    """Say whether ``structure(name)`` has an answer."""
    root = name.partition(".")[0]
    return root in _types() and (root == name or name in _structures(root))


@cache
def resource_types() -> frozenset[str]:
    """Return the names of the 146 concrete resource types."""
    return frozenset(name for name, (kind, _, abstract) in _types().items() if kind == "resource" and not abstract)


def is_resource_type(name: str) -> bool:
    """Say whether the name is one of the 146 concrete resource types."""
    return name in resource_types()


def is_primitive(name: str) -> bool:
    """Say whether the name is a primitive datatype, ``xhtml`` included."""
    return name in _primitives()


@cache
def primitive_pattern(name: str) -> re.Pattern[str] | None:
    """Return R4's regular expression of a primitive type, anchored; None for ``xhtml`` and what is not primitive.

    White space is XML's, so that a no-break space counts as a character of a text. The pattern of base64Binary, which
    takes exponential time as HL7 publishes it, is replaced by a linear one that does not count the characters.
    """
    if not is_primitive(name):
        return None
    text: str | None = _BASE64 if name == "base64Binary" else _chunk(name)["pattern"]
    return None if text is None else re.compile(rf"\A(?:{text})\Z", re.ASCII)


def is_subtype(name: str, ancestor: str) -> bool:
    """Say whether a type (or backbone element) is the other one or derives from it: Age → Quantity → Element."""
    current: str | None = name
    while current is not None:
        if current == ancestor:
            return True
        current = _base(current)
    return False


@cache
def invariants(name: str) -> tuple[Invariant, ...]:
    """Return the invariants of a type, those on its backbone elements and on its root's bases included.

    Those that come with the datatype of an element (``ele-1`` comes with every one) are not repeated: ask for them
    by the datatype's name. Raises ``KeyError`` for an unknown name.
    """
    return tuple(Invariant(*row) for row in _chunk(name)["invariants"])


@cache
def search_parameter_definitions() -> tuple[dict[str, Any], ...]:
    """Return R4's search parameters in the order of their urls, HL7's three examples left out.

    Keys, where the definition has them: id, url, name, code, type, base (list), expression, target (list),
    comparator (list), modifier (list), multipleOr, multipleAnd, xpathUsage, component (list of definition and
    expression). Do not change them: they are shared.
    """
    return tuple(_archive().chunk("search-parameters"))


@cache
def compartment_definitions() -> Mapping[str, Mapping[str, tuple[str, ...]]]:
    """Return compartment type → resource type → codes of the search parameters that link it to the compartment.

    Types that are never in a compartment are absent; the code ``{def}`` means the resource that it is named after.
    """
    found: dict[str, dict[str, list[str]]] = _archive().chunk("compartments")
    return {name: {kind: tuple(codes) for kind, codes in links.items()} for name, links in found.items()}


@cache
def value_set_codes(value_set: str) -> frozenset[str] | None:
    """Return the codes of a value set that R4 requires for elements of type code; None when it cannot be listed.

    A ``|version`` at the end of the url is ignored. Not listed: media types, languages and currencies, whose code
    systems are not HL7's.
    """
    codes: list[str] | None = _required_codes().get(value_set.partition("|")[0])
    return None if codes is None else frozenset(map(intern, codes))


def artifact(kind: str, url: str) -> dict[str, Any] | None:
    """Return a fresh copy of a published artifact, complete as HL7 published it, or None.

    Kinds: StructureDefinition, SearchParameter, ValueSet, CodeSystem, ConceptMap, OperationDefinition,
    CompartmentDefinition. A ``|version`` at the end of the url must be the artifact's own.
    """
    canonical, _, version = url.partition("|")
    found = _archive().artifact(kind, canonical)
    return None if found is None or version not in ("", found.get("version")) else found


def artifacts(kind: str) -> Iterator[str]:
    """Yield the canonical url of every artifact of a kind, sorted."""
    yield from _archive().urls(kind)


@cache
def _archive() -> Archive:
    return Archive(Path(__file__).with_name("r4.bin"))


def _types() -> Mapping[str, tuple[str, str | None, bool]]:
    return _archive().types


@cache
def _primitives() -> frozenset[str]:
    return frozenset(name for name, (kind, _, _) in _types().items() if kind == "primitive-type")


def _chunk(name: str) -> Any:
    if name not in _types():
        raise KeyError(name)
    return _archive().chunk(f"type/{name}")


@cache
def _required_codes() -> dict[str, list[str]]:
    codes: dict[str, list[str]] = _archive().chunk("codes")
    return codes


def _base(name: str) -> str | None:
    if name in _types():
        return _types()[name][1]
    return structure(name).base if has_structure(name) else None


@cache
def _structures(root: str) -> Mapping[str, Structure]:
    content = _chunk(root)
    kind, _, abstract = _types()[root]
    found = {}
    for path, base, rows in content["structures"]:
        elements = tuple(_element(path, *row) for row in rows)
        is_root = path == root
        found[path] = Structure(
            name=intern(path),
            kind=kind if is_root else "complex-type",  # type: ignore[arg-type]
            base=base,
            abstract=is_root and abstract,
            elements=elements,
            properties=_properties(elements),
        )
    return found


def _element(
    parent: str,
    name: str,
    types: list[str],
    minimum: int,
    maximum: int | None,
    flags: str,
    targets: list[str],
    binding: list[str] | None,
) -> Element:
    choice = "x" in flags
    return Element(
        name=intern(name),
        path=intern(f"{parent}.{name}[x]" if choice else f"{parent}.{name}"),
        types=_names(*types),
        min=minimum,
        max=maximum,
        choice=choice,
        summary="s" in flags,
        modifier="m" in flags,
        targets=_names(*targets),
        binding=_binding(*binding) if binding else None,
        xml_attribute="a" in flags,
    )


@cache
def _names(*names: str) -> tuple[str, ...]:
    return tuple(intern(name) for name in names)


@cache
def _binding(strength: str, value_set: str) -> Binding:
    return Binding(strength, value_set)


def _properties(elements: tuple[Element, ...]) -> Mapping[str, tuple[Element, str]]:
    found = {}
    for element in elements:
        for code in element.types:
            name = element.name + code[0].upper() + code[1:] if element.choice else element.name
            found[intern(name)] = (element, code)
    return found
