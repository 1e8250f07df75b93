"""The codes of a value set: R4's own, and stored ones, by their definition or by their complete expansion.

A system taken whole stays a system, so that LOINC or SNOMED CT need not be here for it. A filter needs the codes of its
system. What cannot be told completely raises ``NotSupported``, what is too large ``TooCostly``.
Spec: http://hl7.org/fhir/R4/valueset.html#compositions, http://hl7.org/fhir/R4/valueset.html#expansion
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fhir_server.errors import NotSupported, Text, TooCostly, Value
from fhir_server.fhir.definitions import artifact
from fhir_server.search.param_types.token import fold
from fhir_server.terminology.code_systems import CodeSystem, Lookup, Resource, find_code_system

MOST_CODES = 10_000
DEEPEST = 20

_WHOLE_SYSTEMS = {
    "http://loinc.org/vs": "http://loinc.org",
    "http://snomed.info/sct?fhir_vs": "http://snomed.info/sct",
    "http://unitsofmeasure.org/vs": "http://unitsofmeasure.org",
}
"""Implicit value sets of all codes of a system (http://hl7.org/fhir/R4/valueset.html#implicit)."""

_SNOMED = "http://snomed.info/sct"
_SNOMED_BELOW = f"{_SNOMED}?fhir_vs=isa/"
"""The beginning of one that holds a concept and what it subsumes (http://hl7.org/fhir/R4/snomedct.html#implicit)."""

_UNKNOWN = Text("this server does not have the value set", "ce serveur n’a pas ce jeu de valeurs")
_NO_CODES = Text(
    "the value set cannot be told completely: codes that it draws on are not on this server",
    "le jeu de valeurs ne peut être établi en entier : des codes dont il dépend ne sont pas sur ce serveur",
)
_NO_FILTER = Text(
    "the value set has a filter that this server does not apply",
    "le jeu de valeurs a un filtre que ce serveur n’applique pas",
)
_EMPTY = Text(
    "the value set has neither a definition nor a complete expansion",
    "le jeu de valeurs n’a ni définition ni expansion complète",
)
_CYCLE = Text("the value set includes itself", "le jeu de valeurs s’inclut lui-même")
_TOO_DEEP = Text(
    f"value sets include one another over more than {DEEPEST} steps",
    f"des jeux de valeurs s’incluent sur plus de {DEEPEST} niveaux",
)
_TOO_MANY = Text(f"the value set has more than {MOST_CODES} codes", f"le jeu de valeurs a plus de {MOST_CODES} codes")


@dataclass(frozen=True, slots=True)
class Codes:
    """What a value set holds: ``pairs`` of system and folded code, and all codes of ``systems``."""

    pairs: frozenset[tuple[str, str]] = frozenset()
    systems: frozenset[str] = frozenset()

    def holds(self, pair: tuple[str, str]) -> bool:
        """Say whether the code is among them."""
        return pair in self.pairs or pair[0] in self.systems


def expand(value_set: str, lookup: Lookup) -> Codes:
    """Return the codes of a value set by its canonical, or by ``ValueSet/id`` for a stored one.

    Raises ``Value`` for one that is not here, ``NotSupported`` and ``TooCostly``.
    """
    return _expand(value_set, lookup, ())


def find_value_set(value_set: str, lookup: Lookup) -> Resource | None:
    """Return the ValueSet of R4's definitions, or else of the look-up."""
    return artifact("ValueSet", value_set) or lookup("ValueSet", value_set)


def _expand(value_set: str, lookup: Lookup, within: tuple[str, ...]) -> Codes:
    if value_set in within:
        raise NotSupported(_CYCLE)
    if len(within) >= DEEPEST:
        raise TooCostly(_TOO_DEEP)
    if value_set in _WHOLE_SYSTEMS:
        return Codes(systems=frozenset({_WHOLE_SYSTEMS[value_set]}))
    if value_set.startswith(_SNOMED_BELOW):
        is_a = {"property": "concept", "op": "is-a", "value": value_set.removeprefix(_SNOMED_BELOW)}
        return _of_system(_SNOMED, {"filter": [is_a]}, lookup)
    resource = find_value_set(value_set, lookup)
    if resource is None:
        raise Value(_UNKNOWN) if not within else NotSupported(_NO_CODES)
    compose = resource.get("compose")
    if compose is None:
        return _expanded(resource)
    try:
        return _compose(compose, lookup, (*within, value_set))
    except NotSupported:
        if "expansion" in resource:
            return _expanded(resource)
        raise


def _expanded(resource: Resource) -> Codes:
    """Return what an expansion lists. Raises ``NotSupported`` for one that is a page or a part of the whole."""
    expansion: Mapping[str, Any] = resource.get("expansion", {})
    pairs, waiting, entries = set(), list(expansion.get("contains", ())), 0
    while waiting:
        entry = waiting.pop()
        waiting += entry.get("contains", ())
        entries += 1
        if "code" in entry and "system" in entry and not entry.get("abstract"):
            pairs.add((entry["system"], fold(entry["system"], entry["code"])))
    if not pairs or expansion.get("offset") or int(expansion.get("total", 0)) > entries or _is_cut(expansion):
        raise NotSupported(_EMPTY)
    return _bounded(Codes(frozenset(pairs)))


def _is_cut(expansion: Mapping[str, Any]) -> bool:
    narrowing = {"filter", "count", "offset", "limitedExpansion", "date", "context"}
    return any(one.get("name") in narrowing for one in expansion.get("parameter", ()))


def _compose(compose: Mapping[str, Any], lookup: Lookup, within: tuple[str, ...]) -> Codes:
    found = _union([_part(part, lookup, within) for part in compose.get("include", ())])
    for part in compose.get("exclude", ()):
        found = _without(found, _part(part, lookup, within), lookup)
    return _bounded(found)


def _part(part: Mapping[str, Any], lookup: Lookup, within: tuple[str, ...]) -> Codes:
    """Return what one include or exclude says: its system's codes that are in all of its value sets."""
    sets = [_expand(one, lookup, within) for one in part.get("valueSet", ())]
    system = part.get("system")
    if system is not None:
        sets.insert(0, _of_system(system, part, lookup))
    if not sets:
        return Codes()
    found = sets[0]
    for other in sets[1:]:
        found = _intersection(found, other)
    return _bounded(found)


def _of_system(system: str, part: Mapping[str, Any], lookup: Lookup) -> Codes:
    if "concept" in part:
        return Codes(frozenset((system, fold(system, one["code"])) for one in part["concept"]))
    if "filter" not in part:
        return Codes(systems=frozenset({system}))
    code_system = _complete(system, lookup)
    codes = set(code_system.concepts)
    for one in part["filter"]:
        codes &= _filtered(code_system, one.get("property", ""), one.get("op", ""), one.get("value", ""))
    return Codes(frozenset((system, code) for code in codes))


def _complete(system: str, lookup: Lookup) -> CodeSystem:
    code_system = find_code_system(system, lookup)
    if code_system is None or not code_system.complete:
        raise NotSupported(_NO_CODES)
    return code_system


def _filtered(code_system: CodeSystem, name: str, operator: str, value: str) -> set[str]:
    """Return the codes that a filter keeps (http://hl7.org/fhir/R4/valueset-filter-operator.html)."""
    codes = set(code_system.concepts)
    if operator in ("is-a", "descendent-of", "is-not-a", "generalizes"):
        if name not in ("concept", "code") or not code_system.subsumes:
            raise NotSupported(_NO_FILTER)
        below = code_system.below(value)
        match operator:
            case "is-a":
                return set(below)
            case "descendent-of":
                return set(below) - {fold(code_system.url, value)}
            case "is-not-a":
                return codes - below
            case _:
                return set(code_system.above(value))
    wanted = {one.strip() for one in value.split(",")} if operator in ("in", "not-in") else {value}
    match operator:
        case "=" | "in":
            return {code for code in codes if _values(code_system, code, name) & wanted}
        case "not-in":
            return {code for code in codes if not _values(code_system, code, name) & wanted}
        case "exists" if value in ("true", "false"):
            return {code for code in codes if bool(_values(code_system, code, name)) == (value == "true")}
        case _:
            raise NotSupported(_NO_FILTER)


def _values(code_system: CodeSystem, code: str, name: str) -> set[str]:
    concept = code_system.concepts[code]
    match name:
        case "concept" | "code":
            return {concept.code}
        case "display":
            return {concept.display}
        case "parent":
            return {code_system.concepts[one].code for one in code_system.parents[code] if one in code_system.concepts}
        case "child":
            return {code_system.concepts[one].code for one in code_system.children.get(code, ())}
        case _:
            return {value for known, value in concept.properties if known == name}


def _union(sets: Iterable[Codes]) -> Codes:
    listed = list(sets)
    systems = frozenset[str]().union(*(one.systems for one in listed))
    pairs = frozenset[tuple[str, str]]().union(*(one.pairs for one in listed))
    return Codes(frozenset(pair for pair in pairs if pair[0] not in systems), systems)


def _intersection(one: Codes, other: Codes) -> Codes:
    pairs = {pair for pair in one.pairs if other.holds(pair)} | {pair for pair in other.pairs if one.holds(pair)}
    return Codes(frozenset(pairs), one.systems & other.systems)


def _without(found: Codes, excluded: Codes, lookup: Lookup) -> Codes:
    """Return the codes that are not excluded; a system of which some are is spelt out, which needs all its codes."""
    touched = {system for system, _ in excluded.pairs} & found.systems - excluded.systems
    spelt = {(system, code) for system in touched for code in _complete(system, lookup).concepts}
    pairs = {pair for pair in found.pairs | spelt if not excluded.holds(pair)}
    return Codes(frozenset(pairs), found.systems - excluded.systems - touched)


def _bounded(codes: Codes) -> Codes:
    if len(codes.pairs) > MOST_CODES:
        raise TooCostly(_TOO_MANY)
    return codes
