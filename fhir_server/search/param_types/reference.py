"""Reference parameters: local, versioned, absolute and logical references, canonicals, uris.

A bare id (``subject=42``) is expanded to the types that the parameter may point to, so that no key is needed for it.
A reference into ``contained`` is not found by its target, and a display alone only by ``:missing``.
Spec: http://hl7.org/fhir/R4/search.html#reference, http://hl7.org/fhir/R4/references.html#canonical
"""

import re
from collections.abc import Mapping
from typing import Any

from fhir_server.errors import NotSupported, Text, Value
from fhir_server.fhir.definitions import is_resource_type
from fhir_server.search.ast import KeyBetween, Node, RefersTo
from fhir_server.search.building import build_or
from fhir_server.search.entries import Entries, Extract, bounded
from fhir_server.search.param_types import token
from fhir_server.search.parameters import SearchParameter
from fhir_server.search.values import unescape

_LOCAL = re.compile(r"([A-Z][A-Za-z]+)/([A-Za-z0-9.-]{1,64})(?:/_history/([A-Za-z0-9.-]{1,64}))?")
_ID = re.compile(r"[A-Za-z0-9.-]{1,64}")
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_NOT_A_REFERENCE = Text(
    "neither an id, nor Type/id, nor a url",
    "ni un identifiant, ni Type/id, ni une url",
)
_NOT_A_CANONICAL = Text("not a canonical url", "pas une url canonique")
_OTHER_TYPE = Text(
    "a reference to a type that the parameter cannot point to",
    "une référence vers un type que le paramètre ne peut pas désigner",
)


def build_extractor(parameter: SearchParameter, base_url: str = "") -> Extract:
    """Return the function that adds the keys of one reference; those under ``base_url`` count as local."""
    key, code = parameter.key, parameter.code
    start, identifier = f"{key}>", f"{key}:identifier"
    home = f"{base_url}/" if base_url else None

    def extract(value: Any, kind: str, entries: Entries) -> None:
        if isinstance(value, str):
            _add_text(start, value, home, code, entries)
            if kind in ("canonical", "uri"):  # ConceptMap names value sets by either
                entries.r[bounded(start + join_canonical(*split_canonical(value)))] = None
        elif isinstance(value, Mapping):
            if "resourceType" in value:
                if value["resourceType"] in parameter.targets:
                    _add_resource(start, value, entries)
                return
            text = value.get("reference")
            if isinstance(text, str):
                _add_text(start, text, home, code, entries)
            logical = value.get("identifier")
            if isinstance(logical, Mapping):
                token.add_pair(identifier, logical.get("system"), logical.get("value"), entries.t)

    return extract


def parse(parameter: SearchParameter, modifier: str | None, value: str, base_url: str = "") -> Node:
    """Return the condition of one value; ``modifier`` is a resource type, ``identifier`` or None.

    Raises ``Value``, or ``NotSupported`` for another modifier.
    """
    if modifier == "identifier":
        return token.pair_node(f"{parameter.key}:identifier", value)
    start, text = f"{parameter.key}>", unescape(value)
    if modifier == "below" and parameter.canonical:
        return _below(start, text)
    if modifier is not None and not is_resource_type(modifier):
        raise NotSupported(Text(f"the modifier :{modifier}", f"le modificateur :{modifier}"))
    targets = targets_of(parameter, modifier, text, base_url)
    patients = targets if parameter.patient and all(_is_current_patient(one) for one in targets) else ()
    return RefersTo(tuple(bounded(start + one) for one in targets), parameter.resource_type, patients)


def targets_of(parameter: SearchParameter, modifier: str | None, text: str, base_url: str) -> tuple[str, ...]:
    """Return the references that an unescaped value means; ``modifier`` is a resource type or None.

    A url under ``base_url`` is local, a bare id of any type that the parameter may point to. Raises ``Value``.
    """
    if modifier is not None and modifier not in parameter.targets:
        raise Value(_OTHER_TYPE)
    if base_url and text.startswith(f"{base_url}/"):
        text = text[len(base_url) + 1 :]
    return _targets(parameter, modifier, text)


def names_in(parameter: SearchParameter, value: Any, kind: str, base_url: str) -> tuple[str, ...]:
    """Return what a reference of a resource may be called in a search."""
    entries = Entries()
    build_extractor(parameter, base_url)(value, kind, entries)
    return tuple(key[len(parameter.key) + 1 :] for key in entries.r)


def split_canonical(text: str) -> tuple[str, str]:
    """Return a canonical's url and version (may be empty), without its fragment."""
    url, _, version = text.partition("#")[0].partition("|")
    return url, version


def join_canonical(url: str, version: str) -> str:
    """Return how a join compares a canonical; without version its key shows that none is said."""
    return f"{url}||{version.casefold()}"


def to_filter(leaf: RefersTo) -> dict[str, Any]:
    """Return the leaf as a MongoDB filter, on ``pt`` where that says the same."""
    if leaf.patients:
        patients = leaf.patients[0] if len(leaf.patients) == 1 else {"$in": list(leaf.patients)}
        return {"pt": patients, "type": leaf.resource_type}
    return {"r": leaf.keys[0] if len(leaf.keys) == 1 else {"$in": list(leaf.keys)}}


def matches(leaf: RefersTo, document: Mapping[str, Any]) -> bool:
    """Say whether the index document has one of the references."""
    if leaf.patients:
        return document.get("pt") in leaf.patients and document.get("type") == leaf.resource_type
    held = document.get("r", ())
    return any(key in held for key in leaf.keys)


def _below(start: str, text: str) -> Node:
    """Return the condition of a canonical whose version is this one or begins with it: 1.4 is 1.4, 1.4.0, 1.4.1, …"""
    if not _ABSOLUTE.match(text):
        raise Value(_NOT_A_CANONICAL)
    same = RefersTo((bounded(start + text),))
    if not split_canonical(text)[1]:
        return same
    return build_or([same, KeyBetween("r", f"{start}{text}.", f"{start}{text}/")])


def _targets(parameter: SearchParameter, modifier: str | None, text: str) -> tuple[str, ...]:
    match = _LOCAL.fullmatch(text)
    if match is not None and is_resource_type(match[1]):
        if modifier is not None and modifier != match[1]:
            raise Value(_OTHER_TYPE)
        return (text,)
    if _ABSOLUTE.match(text):
        return (text,)
    if not _ID.fullmatch(text):
        raise Value(_NOT_A_REFERENCE)
    return (f"{modifier}/{text}",) if modifier else tuple(f"{target}/{text}" for target in parameter.targets)


def _is_current_patient(target: str) -> bool:
    return target.startswith("Patient/") and "/_history/" not in target


def _add_text(start: str, text: str, home: str | None, code: str, entries: Entries) -> None:
    if home is not None and text.startswith(home):
        text = text[len(home) :]
    match = _LOCAL.fullmatch(text)
    if match is not None:
        target = f"{match[1]}/{match[2]}"
        entries.r[start + target] = None
        if match[3] is not None:
            entries.r[start + text] = None
        entries.references.setdefault(code, []).append(target)
    elif text and not text.startswith("#"):
        entries.r[bounded(start + text)] = None
        if "|" in text:
            entries.r[bounded(start + text.partition("|")[0])] = None


def _add_resource(start: str, resource: Mapping[str, Any], entries: Entries) -> None:
    """A parameter that points into the resource itself, such as Bundle's ``composition``."""
    if resource.get("id"):
        entries.r[f"{start}{resource['resourceType']}/{resource['id']}"] = None
