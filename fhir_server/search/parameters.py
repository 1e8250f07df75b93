"""The search parameters of each resource type, out of the R4 definitions; none is written by hand.

Spec: http://hl7.org/fhir/R4/searchparameter.html, http://hl7.org/fhir/R4/searchparameter-registry.html
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from fhir_server.errors import NotSupported, Processing, Text
from fhir_server.fhir.definitions import (
    artifact,
    is_resource_type,
    is_subtype,
    resource_types,
    search_parameter_definitions,
)
from fhir_server.search.elements import (
    are_found_by_url,
    bears_url,
    has_canonicals,
    implicit_system,
    is_single,
    may_be,
    targets_of,
)
from fhir_server.search.expressions import split_union, steps_of
from fhir_server.search.ranges import PREFIXES
from fhir_server.search.stored import stored_parameter, stored_parameters, stored_parameters_of

ParameterType = Literal["number", "date", "string", "token", "reference", "composite", "quantity", "uri", "special"]

_BASES = ("Resource", "DomainResource")
_PRIMARY_DATES = (
    "date", "effective", "effective-time", "authored", "authored-on", "authoredon", "occurrence", "event-date",
    "created", "issued", "recorded", "sent", "started", "start", "start-date", "when", "whenprepared", "collected",
    "identified", "timestamp", "datewritten", "datetime", "onset-date", "period", "birthdate", "expiry",
    "expiration-date",
)  # fmt: skip
_PREFIXED = frozenset({"number", "date", "quantity"})
_MODIFIERS: Mapping[str, tuple[str, ...]] = {
    "string": ("missing", "exact", "contains"),
    "token": ("missing", "not", "text", "in", "not-in", "above", "below", "of-type"),
    "reference": ("missing", "identifier"),
    "number": ("missing",),
    "date": ("missing",),
    "quantity": ("missing",),
    "uri": ("missing", "above", "below"),
    "composite": ("missing",),
    "special": ("missing",),
}
_DOCUMENT_MODIFIERS: Mapping[str, tuple[str, ...]] = {
    "_id": ("missing", "not"),
    "_lastUpdated": ("missing",),
    "_text": ("missing",),
    "_content": ("missing",),
}
_NO_EXPRESSION = Text(
    "the definition says no expression by which it could be indexed",
    "sa définition ne donne aucune expression qui permette de l’indexer",
)
_NO_COMPONENTS = Text(
    "the definition says no components, or one that cannot be read off the element",
    "sa définition ne donne pas de composants, ou en donne un qui ne peut se lire sur l’élément",
)
_NO_QUERY = Text(
    "no named query is defined on this server",
    "aucune requête nommée n’est définie sur ce serveur",
)
_NOT_YET = Text("this kind of parameter is not supported", "ce genre de paramètre n’est pas pris en charge")
_SPECIAL = frozenset({"near", "_filter"})
_TEXT = frozenset({"_text", "_content"})
_COMPONENT = re.compile(
    r"(?:%resource(?:\.[A-Za-z]+)+|[A-Za-z]+(?:\.(?:as|ofType)\([A-Za-z]+\))?(?:\s*\|\s*[A-Za-z]+(?:\.(?:as|ofType)\([A-Za-z]+\))?)*)"
)


@dataclass(frozen=True, slots=True)
class Component:
    """One component of a composite: its own parameter, and the expression that reads it off the composite's element."""

    code: str
    type: ParameterType
    url: str
    expression: str


@dataclass(frozen=True, slots=True)
class SearchParameter:
    """One parameter as it applies to one resource type.

    ``key`` begins its index entries (``Observation.code``). ``parts`` are those members of the expression's union
    that concern the type. ``refusal`` says why a search by it is refused. ``primary``: it is the type's primary date,
    kept in ``ds`` and ``de``. ``patient``: it has at most one value and a Patient among its targets, so that ``pt``
    answers for it. ``system``: all its values have this code system without writing it, or none if it is empty.
    ``modifiers`` are those supported, resource types (``:Patient``) aside. ``pending``: it is a stored one whose
    index is not complete yet; ``refusal`` then tells how far it is, and what is written is indexed by it already.
    ``components`` are a composite's. ``canonical``: some of its elements are canonicals, which have versions.
    """

    resource_type: str
    code: str
    type: ParameterType
    url: str
    parts: tuple[str, ...]
    targets: tuple[str, ...]
    refusal: Text | None
    primary: bool = False
    patient: bool = False
    system: str | None = None
    pending: bool = False
    components: tuple[Component, ...] = ()
    canonical: bool = False

    @property
    def key(self) -> str:
        """What the index entries begin with."""
        return f"{self.resource_type}.{self.code}"

    def check_usable(self) -> None:
        """Raise ``NotSupported`` for a parameter that is refused, ``Processing`` for one still being indexed."""
        if self.refusal is not None:
            raise (Processing if self.pending else NotSupported)(self.refusal)

    @property
    def in_document(self) -> bool:
        """The document itself answers for it, not an index entry."""
        return self.code in ("_id", "_lastUpdated", "_filter", "_text", "_content")

    @property
    def modifiers(self) -> tuple[str, ...]:
        """The supported modifiers that are not resource types."""
        if self.refusal is not None:
            return ()
        if self.in_document:
            return _DOCUMENT_MODIFIERS.get(self.code, ())
        if self.type in ("token", "reference"):
            below = ("below",) if self.canonical else ()
            return tuple(one for one in (*_MODIFIERS[self.type], *below) if _has_meaning(self, one))
        return _MODIFIERS.get(self.type, ())

    @property
    def prefixes(self) -> tuple[str, ...]:
        """The supported prefixes."""
        return PREFIXES if self.type in _PREFIXED else ()


def search_parameter(resource_type: str, code: str) -> SearchParameter | None:
    """Return the parameter of a resource type, also one that is defined but refused; None for an unknown one."""
    return _by_code(resource_type).get(code) or stored_parameter(resource_type, code)


def search_parameters(resource_type: str) -> tuple[SearchParameter, ...]:
    """Return all parameters defined for a type, the common ones first; raises ``KeyError`` for what is no type."""
    return (*_by_code(resource_type).values(), *stored_parameters_of(resource_type))


def defined_parameters(resource_type: str) -> tuple[SearchParameter, ...]:
    """Return those of R4's definitions alone, whatever is stored."""
    return tuple(_by_code(resource_type).values())


def common_parameter(code: str) -> SearchParameter | None:
    """Return the parameter that every resource type has (``_tag``), by which a system search may ask."""
    # R4 defines _text on DomainResource: it is common to all types that have a narrative.
    return search_parameter("Basic" if code == "_text" else "Resource", code)


def supported_parameters(resource_type: str) -> tuple[SearchParameter, ...]:
    """Return what the CapabilityStatement may claim for the type."""
    return tuple(parameter for parameter in search_parameters(resource_type) if parameter.refusal is None)


def indexed_parameters(resource_type: str) -> tuple[SearchParameter, ...]:
    """Return what a resource of the type is indexed by: what may be asked, and what will be once all are indexed."""
    return tuple(one for one in search_parameters(resource_type) if one.refusal is None or one.pending)


def build_parameter(resource_type: str, definition: Mapping[str, Any]) -> SearchParameter:
    """Return the parameter that a stored SearchParameter resource defines on one of its types."""
    return _parameter(resource_type, definition, primary=False)


def documentation(parameter: SearchParameter) -> str:
    """Return the definition's description in Markdown."""
    definition = stored_parameters().definitions.get(parameter.url) or artifact("SearchParameter", parameter.url) or {}
    return str(definition.get("description", ""))


def primary_date(resource_type: str) -> str | None:
    """Return the code of the date parameter that ``ds`` and ``de`` hold, by which the type is sorted; or None."""
    return next((one.code for one in _by_code(resource_type).values() if one.primary), None)


@cache
def _by_code(resource_type: str) -> Mapping[str, SearchParameter]:
    if resource_type != "Resource" and not is_resource_type(resource_type):
        raise KeyError(resource_type)
    chosen: dict[str, Mapping[str, Any]] = {}
    for base in (*_BASES, resource_type):
        if base == resource_type or is_subtype(resource_type, base):
            chosen |= {one["code"]: one for one in _definitions().get(base, ())}
    primary = _primary_date_of(resource_type, chosen)
    return {code: _parameter(resource_type, one, primary=code == primary) for code, one in chosen.items()}


@cache
def _definitions() -> Mapping[str, tuple[Mapping[str, Any], ...]]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for definition in search_parameter_definitions():
        for base in definition.get("base", ()):
            found.setdefault(base, []).append(definition)
    return {base: tuple(definitions) for base, definitions in found.items()}


def _has_meaning(parameter: SearchParameter, modifier: str) -> bool:
    """Say whether a token's or reference's modifier can ask anything of the parameter's elements.

    What has no place for a code system is in no value set; what is only a code has no text; a type of identifier is
    found in identifiers; only a Reference has an identifier beside it.
    """
    match modifier:
        case "identifier":
            return may_be(parameter.resource_type, parameter.parts, "Reference")
        case "below" if parameter.type == "reference":
            return True
        case "missing" | "not":
            return True
        case "text":
            return parameter.system is None
        case "of-type":
            return parameter.system is None and may_be(parameter.resource_type, parameter.parts, "Identifier")
        case _:
            return parameter.system != ""


def _parameter(resource_type: str, definition: Mapping[str, Any], *, primary: bool) -> SearchParameter:
    parts = _parts_for(resource_type, definition)
    components = _components(definition, parts)
    targets = _targets(resource_type, definition, parts) if definition["type"] == "reference" else ()
    return SearchParameter(
        resource_type=resource_type,
        code=definition["code"],
        type=definition["type"],
        url=definition["url"],
        parts=parts,
        targets=targets,
        refusal=_refusal(definition, parts, components),
        primary=primary,
        patient=definition["type"] == "reference" and _holds_the_patient(resource_type, definition["code"], parts),
        system=implicit_system(resource_type, parts) if definition["type"] == "token" else None,
        components=components,
        canonical=definition["type"] == "reference" and has_canonicals(resource_type, parts),
    )


def _targets(resource_type: str, definition: Mapping[str, Any], parts: tuple[str, ...]) -> tuple[str, ...]:
    """Return the types that the parameter can point to on this resource type.

    A definition lists those of all its types together (``patient`` of some may be a Group): the elements know better.
    What is found by its url must be of a type that has one.
    """
    declared = set(definition.get("target", ())) or {"Resource"}
    if "Resource" in declared:
        declared = set(resource_types())
    if are_found_by_url(resource_type, parts):
        declared = {one for one in declared if bears_url(one) and _defines(one, "url")}
    pointed = [targets_of(resource_type, part) for part in parts]
    if not pointed or None in pointed:
        return tuple(sorted(declared))
    narrowed = declared.intersection(*[set().union(*(one for one in pointed if one is not None))])
    return tuple(sorted(narrowed or declared))


def _defines(resource_type: str, code: str) -> bool:
    return any(one["code"] == code for one in _definitions().get(resource_type, ()))


def _parts_for(resource_type: str, definition: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the members of the union that begin at the type, at one of its bases, or at nothing in particular."""
    kept = []
    for part in split_union(definition.get("expression", "")):
        root = re.match(r"\(*\s*([A-Za-z]+)", part)
        name = root[1] if root else ""
        if not name[:1].isupper() or name == resource_type or name in _BASES:
            kept.append(part)
    return tuple(kept)


def _components(definition: Mapping[str, Any], parts: tuple[str, ...]) -> tuple[Component, ...]:
    """Return the components of a composite, () if one of them is unknown or is not plain steps from the element."""
    declared = definition.get("component", ()) if definition["type"] == "composite" else ()
    stored = stored_parameters().definitions
    urls = [one["definition"].partition("|")[0] for one in declared]
    owners = [_by_url().get(url) or stored.get(url) for url in urls]
    found = []
    for own, one in zip(owners, declared, strict=True):
        expression = one.get("expression", "").strip()
        if own is None or own["type"] in ("composite", "special") or not _COMPONENT.fullmatch(expression):
            return ()
        owner = _owner(own, owners, {f"{part}.{expression}" for part in parts})
        found.append(Component(owner["code"], owner["type"], owner["url"], expression))
    return tuple(found)


def _owner(own: Mapping[str, Any], owners: Sequence[Mapping[str, Any] | None], paths: set[str]) -> Mapping[str, Any]:
    """Return the definition of one component: that of another where the path is not its own but the other's.

    R4 has the two of DocumentReference's ``relationship`` the wrong way round.
    """
    for one in (own, *owners):
        if one is not None and paths & set(split_union(one.get("expression", ""))):
            return one
    return own


@cache
def _by_url() -> Mapping[str, Mapping[str, Any]]:
    return {definition["url"]: definition for definition in search_parameter_definitions()}


def _refusal(definition: Mapping[str, Any], parts: tuple[str, ...], components: tuple[Component, ...]) -> Text | None:
    code, kind = definition["code"], definition["type"]
    if code == "_query":
        return _NO_QUERY
    if kind == "special":
        return None if code in _SPECIAL else _NOT_YET
    if not parts:
        return None if code in _TEXT else _NO_EXPRESSION
    return _NO_COMPONENTS if kind == "composite" and len(components) < 2 else None


def _primary_date_of(resource_type: str, chosen: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Return the first code of ``_PRIMARY_DATES`` that is a date of the type with at most one value."""
    for code in _PRIMARY_DATES:
        if code in chosen and chosen[code]["type"] == "date":
            parts = _parts_for(resource_type, chosen[code])
            if is_single(resource_type, parts):
                return code
    return None


def _holds_the_patient(resource_type: str, code: str, parts: tuple[str, ...]) -> bool:
    """Say whether the parameter is ``patient``, or walks to the same single element as ``patient`` does."""
    if not is_single(resource_type, parts):
        return False
    definition = next((one for one in _definitions().get(resource_type, ()) if one["code"] == "patient"), None)
    if definition is None or definition["type"] != "reference":
        return False
    ours = [steps_of(part) for part in _parts_for(resource_type, definition)]
    return len(ours) == 1 and ours[0] == steps_of(parts[0])
