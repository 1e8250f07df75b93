"""Parts of resources: ``_summary`` and ``_elements``, marked as SUBSETTED so that nobody writes them back.

Spec: http://hl7.org/fhir/R4/search.html#summary, http://hl7.org/fhir/R4/search.html#elements
"""

import re
from collections.abc import Collection, Sequence
from functools import cache
from typing import Any

from fhir_server.errors import Invalid, Issue, Text
from fhir_server.fhir import definitions

SUMMARY_MODES = ("true", "text", "data", "count", "false")

_SUBSETTED = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"}
_ALWAYS = frozenset({"resourceType", "id", "meta"})
_ELEMENT_NAME = re.compile(r"(?:[A-Z][A-Za-z]{0,63}\.)?[a-z][A-Za-z0-9]{0,63}(?:\[x\])?")


def summarize(resource: dict[str, Any], mode: str) -> dict[str, Any]:
    """Return the resource as ``_summary`` asks, the very same for ``false``.

    ``true``: the elements that R4 marks as summary, mandatory and modifiers, at every level; resources within (a
    Bundle's entries) stay whole. ``text``: narrative and mandatory elements; ``data``: all but the narrative.
    Raises ``errors.Invalid`` for another mode; ``count`` asks for no resource at all.
    """
    type_name = resource["resourceType"]
    if mode == "false":
        return resource
    if mode == "true":
        return _subset(resource, _summary_members(resource, type_name))
    if mode == "text":
        return _subset(resource, _only(resource, _mandatory(type_name) | {"text"}))
    if mode == "data":
        return _subset(resource, {key: value for key, value in resource.items() if key != "text"})
    listed = ", ".join(SUMMARY_MODES)
    raise Invalid(Text(f"_summary of a resource is one of: {listed}.", f"_summary d’une ressource vaut : {listed}."))


def select_elements(resource: dict[str, Any], elements: Sequence[str], *, strict: bool = True) -> dict[str, Any]:
    """Return the resource with the root elements named (``name``, ``value``, ``Patient.name``) and the mandatory ones.

    Modifier elements stay as well, without which the others could mislead. Names qualified by another type do not
    count. Raises ``errors.Invalid`` with every name that the type does not define, unless ``strict`` is off, as it
    must be for what a search includes.
    """
    type_name = resource["resourceType"]
    if strict:
        check_elements(type_name, elements)
    properties = _element_properties(type_name)
    wanted = {key for name in elements for key in properties.get(_unqualified(type_name, name), ())}
    return _subset(resource, _only(resource, wanted | _mandatory(type_name) | _modifiers(type_name)))


def check_elements(type_name: str, elements: Sequence[str]) -> None:
    """Raise ``errors.Invalid`` with every name in ``elements`` that is no root element of the type."""
    properties = _element_properties(type_name)
    issues = [
        Issue("invalid", _unknown(type_name, name))
        for name in elements
        if not _is_of_another_type(type_name, name) and _unqualified(type_name, name) not in properties
    ]
    if issues:
        raise Invalid(issues)


def _unknown(type_name: str, name: str) -> Text:
    shown = name if _ELEMENT_NAME.fullmatch(name) else "?"
    return Text(
        f"_elements: {type_name} has no root element {shown}.",
        f"_elements : {type_name} n’a pas d’élément racine {shown}.",
    )


def _unqualified(type_name: str, name: str) -> str:
    return name.removeprefix(f"{type_name}.").removesuffix("[x]")


def _is_of_another_type(type_name: str, name: str) -> bool:
    qualifier, dot, element = name.partition(".")
    return (
        bool(dot)
        and qualifier != type_name
        and definitions.is_resource_type(qualifier)
        and element.removesuffix("[x]") in _element_properties(qualifier)
    )


@cache
def _element_properties(type_name: str) -> dict[str, frozenset[str]]:
    """Return the JSON properties by element name; a choice goes by its base name and by each of its properties."""
    found: dict[str, set[str]] = {"resourceType": {"resourceType"}}
    for key, (element, _) in definitions.structure(type_name).properties.items():
        found.setdefault(element.name, set()).add(key)
        found.setdefault(key, set()).add(key)
    return {name: frozenset(keys) for name, keys in found.items()}


@cache
def _mandatory(type_name: str) -> frozenset[str]:
    return frozenset(key for key, (element, _) in definitions.structure(type_name).properties.items() if element.min)


@cache
def _modifiers(type_name: str) -> frozenset[str]:
    properties = definitions.structure(type_name).properties
    return frozenset(key for key, (element, _) in properties.items() if element.modifier)


def _only(resource: dict[str, Any], keys: Collection[str]) -> dict[str, Any]:
    return {key: value for key, value in resource.items() if key in _ALWAYS or key.removeprefix("_") in keys}


@cache
def _summary_table(type_name: str) -> dict[str, str]:
    """Return type codes by JSON property, of what a summary keeps; what is kept whole has none.

    Modifiers are among it, marked or not: without them the rest would say something else.
    """
    kept = {}
    for key, (element, code) in definitions.structure(type_name).properties.items():
        if element.summary or element.min or element.modifier:
            whole = code in ("Resource", "Extension") or definitions.is_primitive(code)
            kept[key] = "" if whole else code
    return kept


def _summary_members(value: dict[str, Any], type_name: str) -> dict[str, Any]:
    table = _summary_table(type_name)
    kept: dict[str, Any] = {}
    for key, member in value.items():
        if key == "resourceType":
            kept[key] = member
        elif key[:1] == "_" and key[1:] in table:
            # Where there is no value, its extensions say why.
            if _has_gaps(value.get(key[1:])):
                kept[key] = member
        elif key in table:
            part = _summary_part(member, table[key])
            # An object of which nothing is left would not be FHIR.
            if part not in ({}, []):
                kept[key] = part
    return kept


def _summary_part(member: Any, code: str) -> Any:
    if not code:
        return member
    if isinstance(member, list):
        return [part for item in member if (part := _summary_part(item, code))]
    return _summary_members(member, code) if isinstance(member, dict) else {}


def _has_gaps(value: Any) -> bool:
    return value is None or (isinstance(value, list) and None in value)


def _subset(resource: dict[str, Any], kept: dict[str, Any]) -> dict[str, Any]:
    """Return what is kept with its identity first and the SUBSETTED tag in its meta."""
    meta = dict(resource.get("meta") or {})
    tags = [tag for tag in meta.get("tag") or () if not _is_subsetted(tag)]
    meta["tag"] = [*tags, _SUBSETTED]
    head = {key: resource[key] for key in ("resourceType", "id") if key in resource}
    return head | {"meta": meta} | {key: value for key, value in kept.items() if key not in _ALWAYS}


def _is_subsetted(tag: Any) -> bool:
    return isinstance(tag, dict) and all(tag.get(key) == value for key, value in _SUBSETTED.items())
