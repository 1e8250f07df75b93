"""Token parameters: codes, identifiers, booleans, contact points; whole keys, so that no two elements mix.

Codes are compared without regard to case ("when in doubt, servers SHOULD treat tokens in a case-insensitive manner"),
systems with. A code whose required value set draws on one code system has that system ("implicit", says the table);
other elements that have no place for one (boolean, id, string, contact point) are found by ``code`` and ``|code``.
Spec: http://hl7.org/fhir/R4/search.html#token
"""

from collections.abc import Mapping
from typing import Any

from fhir_server.errors import NotSupported, Text, Value
from fhir_server.search.ast import KeyBetween, Node, Nothing, TokenIn
from fhir_server.search.entries import Entries, Extract, bounded, escape_system
from fhir_server.search.parameters import SearchParameter
from fhir_server.search.values import split_escaped, unescape

_NO_SYSTEM = "\\-"
"""In the place of a system; no escaped one looks like it."""

_PAIR = Text("a token is code, |code, system| or system|code", "un jeton s’écrit code, |code, system| ou system|code")
_TRIPLE = Text(":of-type takes system|code|value", ":of-type prend system|code|value")


def build_extractor(parameter: SearchParameter) -> Extract:
    """Return the function that adds the keys of one value."""
    key = parameter.key
    of_type = f"{key}:of-type"

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
        elif kind == "Coding":
            add_pair(key, value.get("system"), value.get("code"), tokens)
        elif kind == "Identifier":
            add_pair(key, value.get("system"), value.get("value"), tokens)
            _add_typed_identifier(of_type, value, tokens)
        elif kind == "ContactPoint":
            add(value.get("value"), tokens)
        elif isinstance(value, bool):
            add("true" if value else "false", tokens)
        elif not isinstance(value, Mapping):
            add(str(value), tokens)

    return extract


def parse(parameter: SearchParameter, modifier: str | None, value: str) -> Node:
    """Return the condition of one value. Raises ``Value``, or ``NotSupported`` for another modifier."""
    match modifier:
        case None:
            return pair_node(parameter.key, value, parameter.system)
        case "of-type":
            return TokenIn((_typed_key(parameter.key, value),))
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
        tokens[bounded(f"{key}|{escape_system(system)}|{folded}")] = None
    elif folded:
        tokens[bounded(f"{key}|{_NO_SYSTEM}|{folded}")] = None
    if folded:
        tokens[bounded(f"{key}||{folded}")] = None


def pair_node(key: str, value: str, implicit: str | None = None) -> Node:
    """Return the condition that a query value states. Raises ``Value``.

    ``implicit`` is the one system that all elements of the parameter have without writing it, empty for none.
    """
    parts = [unescape(part) for part in split_escaped(value, "|")]
    match parts:
        case [code] if code:
            return TokenIn((bounded(f"{key}||{code.casefold()}"),))
        case [system, code] if code and system == implicit:
            return TokenIn((bounded(f"{key}||{code.casefold()}"),))
        case [system, code] if (system or code) and implicit is not None:
            # "system|" alone means whatever has a value.
            return KeyBetween("t", f"{key}|", f"{key}}}") if system == implicit else Nothing()
        case ["", code] if code:
            return TokenIn((bounded(f"{key}|{_NO_SYSTEM}|{code.casefold()}"),))
        case [system, ""] if system:
            start = f"{key}|{escape_system(system)}"
            return KeyBetween("t", f"{start}|", f"{start}}}")
        case [system, code] if system:
            return TokenIn((bounded(f"{key}|{escape_system(system)}|{code.casefold()}"),))
        case _:
            raise Value(_PAIR)


def _add_typed_identifier(key: str, identifier: Mapping[str, Any], tokens: dict[str, None]) -> None:
    value = identifier.get("value")
    for coding in identifier.get("type", {}).get("coding", ()) if value else ():
        if coding.get("system") and coding.get("code"):
            tokens[_typed(key, coding["system"], coding["code"], str(value))] = None


def _typed_key(key: str, value: str) -> str:
    parts = [unescape(part) for part in split_escaped(value, "|")]
    if len(parts) != 3 or not all(parts):
        raise Value(_TRIPLE)
    return _typed(f"{key}:of-type", *parts)


def _typed(key: str, system: str, code: str, value: str) -> str:
    return bounded(f"{key}|{escape_system(system)}|{escape_system(code.casefold())}|{value.casefold()}")
