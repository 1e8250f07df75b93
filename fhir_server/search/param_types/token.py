"""Token parameters: codes, identifiers, booleans, contact points; whole keys, so that no two elements mix.

A code asked for with its system is compared as its code system says: with regard to case for those of HL7 and UCUM that
declare it, without for all others, and wherever no system is given ("when in doubt, servers SHOULD treat tokens in a
case-insensitive manner"); systems with. A code whose required value set draws on one code system has that system
("implicit", says the table); other elements that have no place for one (boolean, id, string, contact point) are found
by ``code`` and ``|code``.

``:text`` looks at the concept's text and displays, or the text of an identifier's type: its words in a row, the last
one begun. ``:in``, ``:above`` and ``:below`` become nodes that ``terminology`` replaces by the codes they come to.
Spec: http://hl7.org/fhir/R4/search.html#token
"""

from collections.abc import Mapping
from typing import Any

from fhir_server.errors import NotSupported, Text, Value
from fhir_server.search.ast import InValueSet, KeyBetween, Node, Nothing, Subsumed, TokenIn
from fhir_server.search.entries import Entries, Extract, bounded, escape_system
from fhir_server.search.param_types.text import holds_beginnings, line_of
from fhir_server.search.parameters import SearchParameter
from fhir_server.search.values import split_escaped, unescape

_NO_SYSTEM = "\\-"
"""In the place of a system; no escaped one looks like it."""

_CASE_SENSITIVE = ("http://hl7.org/fhir/", "http://terminology.hl7.org/CodeSystem/", "http://unitsofmeasure.org")
_CASE_INSENSITIVE = ("http://terminology.hl7.org/CodeSystem/v2-", "http://hl7.org/fhir/sid/")
"""Beginnings of systems. HL7's version 2 tables do not say, the namespaces of other bodies' codes neither."""

_PAIR = Text("a token is code, |code, system| or system|code", "un jeton s’écrit code, |code, system| ou system|code")
_CONCEPT = Text("a concept is system|code", "un concept s’écrit system|code")
_EMPTY = Text("an empty value set", "un jeu de valeurs vide")
_TRIPLE = Text(":of-type takes system|code|value", ":of-type prend system|code|value")


def build_extractor(parameter: SearchParameter) -> Extract:
    """Return the function that adds the keys of one value."""
    key = parameter.key
    of_type = f"{key}:of-type"
    start = f"{parameter.code}:"

    def add_text(text: str | None, entries: Entries) -> None:
        line = line_of(text) if text else ""
        if line:
            entries.v[start + line] = None

    def add(code: str | None, tokens: dict[str, None]) -> None:
        if parameter.system is None:
            add_pair(key, None, code, tokens)
        elif code:
            tokens[bounded(f"{key}||{code.casefold()}")] = None

    def extract(value: Any, kind: str, entries: Entries) -> None:
        tokens = entries.t
        if kind == "CodeableConcept":
            for coding in value.get("coding", ()):
                add_pair(key, coding.get("system"), coding.get("code"), tokens)
                add_text(coding.get("display"), entries)
            add_text(value.get("text"), entries)
        elif kind == "Coding":
            add_pair(key, value.get("system"), value.get("code"), tokens)
            add_text(value.get("display"), entries)
        elif kind == "Identifier":
            add_pair(key, value.get("system"), value.get("value"), tokens)
            if "type" in value:
                _add_typed_identifier(of_type, value, tokens)
                add_text(value["type"].get("text"), entries)
        elif kind == "ContactPoint":
            add(value.get("value"), tokens)
        elif isinstance(value, bool):
            add("true" if value else "false", tokens)
        elif not isinstance(value, Mapping):
            add(str(value), tokens)

    return extract


def parse(parameter: SearchParameter, modifier: str | None, value: str, base_url: str = "") -> Node:
    """Return the condition of one value; a value set under ``base_url`` is one of this server's own.

    Raises ``Value``, or ``NotSupported`` for another modifier.
    """
    match modifier:
        case None:
            return pair_node(parameter.key, value, parameter.system)
        case "of-type":
            return TokenIn((_typed_key(parameter.key, value),))
        case "text":
            return holds_beginnings(parameter.resource_type, f"{parameter.code}:", unescape(value))
        case "in":
            return InValueSet(parameter.code, parameter.key, parameter.system, _canonical(value, base_url))
        case "above":
            return Subsumed(parameter.code, parameter.key, parameter.system, *_concept(parameter, value), "above")
        case "below":
            return Subsumed(parameter.code, parameter.key, parameter.system, *_concept(parameter, value), "below")
        case _:
            raise NotSupported(Text(f"the modifier :{modifier}", f"le modificateur :{modifier}"))


def to_filter(leaf: TokenIn) -> dict[str, Any]:
    """Return the leaf as a MongoDB filter."""
    return {"t": leaf.keys[0] if len(leaf.keys) == 1 else {"$in": list(leaf.keys)}}


def matches(leaf: TokenIn, document: Mapping[str, Any]) -> bool:
    """Say whether the index document has one of the keys."""
    held = document.get("t", ())
    return any(key in held for key in leaf.keys)


def add_pair(key: str, system: str | None, code: str | None, tokens: dict[str, None]) -> None:
    """Add the keys by which a system and code are found: both or "no system" and the code, and the code alone."""
    folded = code.casefold() if code else ""
    if system:
        tokens[bounded(f"{key}|{escape_system(system)}|{fold(system, code or '')}")] = None
    elif folded:
        tokens[bounded(f"{key}|{_NO_SYSTEM}|{folded}")] = None
    if folded:
        tokens[bounded(f"{key}||{folded}")] = None


def fold(system: str, code: str) -> str:
    """Return a code as it is compared within its system."""
    return code if system.startswith(_CASE_SENSITIVE) and not system.startswith(_CASE_INSENSITIVE) else code.casefold()


def coded_key(key: str, system: str, code: str) -> str:
    """Return the index key of a code with its system."""
    return bounded(f"{key}|{escape_system(system)}|{fold(system, code)}")


def code_key(key: str, code: str) -> str:
    """Return the index key of a code of any system."""
    return bounded(f"{key}||{code.casefold()}")


def system_node(key: str, system: str) -> Node:
    """Return the condition that there is a coding of this system."""
    start = f"{key}|{escape_system(system)}"
    return KeyBetween("t", f"{start}|", f"{start}}}")


def pair_node(key: str, value: str, implicit: str | None = None) -> Node:
    """Return the condition that a query value states. Raises ``Value``.

    ``implicit`` is the one system that all elements of the parameter have without writing it, empty for none.
    """
    parts = [unescape(part) for part in split_escaped(value, "|")]
    match parts:
        case [code] if code:
            return TokenIn((code_key(key, code),))
        case [system, code] if code and system == implicit:
            return TokenIn((code_key(key, code),))
        case [system, code] if (system or code) and implicit is not None:
            # "system|" alone means whatever has a value.
            return KeyBetween("t", f"{key}|", f"{key}}}") if system == implicit else Nothing()
        case ["", code] if code:
            return TokenIn((bounded(f"{key}|{_NO_SYSTEM}|{code.casefold()}"),))
        case [system, ""] if system:
            return system_node(key, system)
        case [system, code] if system:
            return TokenIn((coded_key(key, system, code),))
        case _:
            raise Value(_PAIR)


def _canonical(value: str, base_url: str) -> str:
    canonical = unescape(value)
    if not canonical:
        raise Value(_EMPTY)
    return canonical.removeprefix(f"{base_url}/") if base_url else canonical


def _concept(parameter: SearchParameter, value: str) -> tuple[str, str]:
    parts = [unescape(part) for part in split_escaped(value, "|")]
    if len(parts) == 1 and parameter.system:
        parts = [parameter.system, *parts]
    if len(parts) != 2 or not all(parts):
        raise Value(_CONCEPT)
    return parts[0], parts[1]


def _add_typed_identifier(key: str, identifier: Mapping[str, Any], tokens: dict[str, None]) -> None:
    value = identifier.get("value")
    for coding in identifier["type"].get("coding", ()) if value else ():
        if coding.get("system") and coding.get("code"):
            tokens[_typed(key, coding["system"], coding["code"], str(value))] = None


def _typed_key(key: str, value: str) -> str:
    parts = [unescape(part) for part in split_escaped(value, "|")]
    if len(parts) != 3 or not all(parts):
        raise Value(_TRIPLE)
    return _typed(f"{key}:of-type", *parts)


def _typed(key: str, system: str, code: str, value: str) -> str:
    return bounded(f"{key}|{escape_system(system)}|{escape_system(code.casefold())}|{value.casefold()}")
