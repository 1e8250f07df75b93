"""Who is meant: references and identifiers as they are compared."""

from collections.abc import Mapping
from typing import Any

_RPPS_SYSTEMS = frozenset({"urn:oid:1.2.250.1.71.4.2.1", "https://rpps.esante.gouv.fr"})
_RPPS_DIGITS = 11


def identity_key(identifier: str) -> str:
    """Return ``system|value`` as it is compared: an RPPS number is one with its prefix 8 or without."""
    system, _, value = identifier.rpartition("|")
    if system in _RPPS_SYSTEMS and value.isascii() and value.isdigit():
        if len(value) == _RPPS_DIGITS:
            return f"rpps|{value}"
        if len(value) == _RPPS_DIGITS + 1 and value.startswith("8"):
            return f"rpps|{value[1:]}"
    return identifier


def name_of(reference: Mapping[str, Any]) -> str:
    """Return what a Reference names, as ``Type/id`` or ``system|value``, empty when it names nothing."""
    literal = reference.get("reference")
    if literal:
        return str(literal).partition("/_history/")[0]
    identifier = reference.get("identifier", {})
    value = identifier.get("value")
    return identity_key(f"{identifier.get('system', '')}|{value}") if value else ""


def spellings(identifier: str) -> tuple[str, ...]:
    """Return every form, ``system|value``, in which others may have written the identifier."""
    key = identity_key(identifier)
    if not key.startswith("rpps|"):
        return (identifier,)
    number = key.removeprefix("rpps|")
    return tuple(f"{system}|{value}" for system in sorted(_RPPS_SYSTEMS) for value in (number, f"8{number}"))


def split_identifier(identifier: str) -> tuple[str, str]:
    """Return the system and the value of ``system|value``."""
    system, _, value = identifier.rpartition("|")
    return system, value
