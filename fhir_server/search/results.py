"""The parameters that shape a result rather than choose it: page size, order, total, summary, elements, includes.

Spec: http://hl7.org/fhir/R4/search.html#return
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

from fhir_server.errors import NotSupported, Text, Value
from fhir_server.fhir.definitions import is_resource_type, resource_types, structure
from fhir_server.search.includes import Include, is_include, parse_include
from fhir_server.search.sorting import DEFAULT_SORT, SortKey, parse_sort

Total = Literal["none", "estimate", "accurate"]
Summary = Literal["true", "text", "data", "count", "false"]

MAX_COUNT = 1_000
"""The largest page; a larger ``_count`` is cut to it, as R4 allows, and the self link says so."""

_DIGITS = re.compile(r"\d{1,9}", re.ASCII)
_ELEMENT = re.compile(r"(?:[A-Z][A-Za-z]{0,63}\.)?[a-z][A-Za-z0-9]{0,63}(?:\[x\])?", re.ASCII)
_NOT_A_COUNT = Text("not a whole number", "pas un nombre entier")
_UNKNOWN_CODE = Text("none of the codes it takes", "aucun des codes admis")
_UNKNOWN_ELEMENT = Text("an element that the resource type does not have", "un élément que ce type n’a pas")
_CONTAINED = Text(
    "contained resources are not searched; only false is supported",
    "les ressources contenues ne sont pas cherchées ; seul false est pris en charge",
)
_CONTAINED_TYPE = Text(
    "contained resources are not searched, so there is none to return",
    "les ressources contenues ne sont pas cherchées ; il n’y en a donc pas à rendre",
)
_NOT_WITH_TEXT = Text(
    "it cannot be used together with _summary=text",
    "il ne peut être employé avec _summary=text",
)
_NOT_WITH_SUMMARY = Text("it cannot be used together with _summary", "il ne peut être employé avec _summary")


@dataclass(frozen=True, slots=True)
class Shape:
    """What the result parameters ask for."""

    sort: tuple[SortKey, ...] = DEFAULT_SORT
    count: int | None = None
    total: Total | None = None
    summary: Summary | None = None
    elements: tuple[str, ...] = ()
    includes: tuple[Include, ...] = ()


Parse = Callable[[Shape, str, tuple[str, ...]], Shape]


def is_result_parameter(name: str) -> bool:
    """Say whether the name is one that this module parses."""
    return name in _PARSERS or is_include(name)


def may_repeat(name: str) -> bool:
    """Say whether the parameter may be given more than once."""
    return is_include(name)


def settle(shape: Shape) -> tuple[Shape, dict[str, Text]]:
    """Return the shape without what its other parameters exclude, and the reasons by the names of those left out.

    Spec: http://hl7.org/fhir/R4/search.html#summary ("_include and _revinclude cannot be mixed with _summary=text")
    """
    excluded: dict[str, Text] = {}
    if shape.summary == "text" and shape.includes:
        excluded |= dict.fromkeys(("_include", "_revinclude"), _NOT_WITH_TEXT)
        shape = replace(shape, includes=())
    if shape.summary in ("true", "text", "data") and shape.elements:
        excluded["_elements"] = _NOT_WITH_SUMMARY
        shape = replace(shape, elements=())
    return shape, excluded


def parse_result_parameter(shape: Shape, name: str, value: str, types: tuple[str, ...]) -> Shape:
    """Return the shape with one more parameter; ``types`` are those searched. Raises ``Value``, ``NotSupported``."""
    if is_include(name):
        return replace(shape, includes=(*shape.includes, parse_include(name, value, types)))
    return _PARSERS[name](shape, value, types)


def used_value(shape: Shape, name: str, value: str) -> str:
    """Return the value as it was used, for the self link."""
    return str(shape.count) if name == "_count" else value


def _with_count(shape: Shape, value: str, types: tuple[str, ...]) -> Shape:
    if not _DIGITS.fullmatch(value):
        raise Value(_NOT_A_COUNT)
    return replace(shape, count=min(int(value), MAX_COUNT))


def _with_total(shape: Shape, value: str, types: tuple[str, ...]) -> Shape:
    for total in get_args(Total):
        if value == total:
            return replace(shape, total=total)
    raise Value(_UNKNOWN_CODE)


def _with_summary(shape: Shape, value: str, types: tuple[str, ...]) -> Shape:
    for summary in get_args(Summary):
        if value == summary:
            return replace(shape, summary=summary)
    raise Value(_UNKNOWN_CODE)


def _with_elements(shape: Shape, value: str, types: tuple[str, ...]) -> Shape:
    names = tuple(dict.fromkeys(value.split(",")))
    if not all(_ELEMENT.fullmatch(name) and _is_element(name, types) for name in names):
        raise Value(_UNKNOWN_ELEMENT)
    return replace(shape, elements=names)


def _is_element(name: str, types: tuple[str, ...]) -> bool:
    """Say whether a type searched has the root element; ``Type.name`` may be of any type, which may be included."""
    qualifier, dot, element = name.rpartition(".")
    if dot:
        return is_resource_type(qualifier) and _has_element(qualifier, element)
    return any(_has_element(one, name) for one in types or sorted(resource_types()))


def _has_element(resource_type: str, name: str) -> bool:
    base, definition = name.removesuffix("[x]"), structure(resource_type)
    return name in definition.properties or any(element.name == base for element in definition.elements)


def _with_sort(shape: Shape, value: str, types: tuple[str, ...]) -> Shape:
    return replace(shape, sort=parse_sort(value, types))


def _with_contained(shape: Shape, value: str, types: tuple[str, ...]) -> Shape:
    """``false`` is what a search does anyway."""
    if value == "false":
        return shape
    if value in ("true", "both"):
        raise NotSupported(_CONTAINED)
    raise Value(_UNKNOWN_CODE)


def _with_contained_type(shape: Shape, value: str, types: tuple[str, ...]) -> Shape:
    raise NotSupported(_CONTAINED_TYPE) if value in ("container", "contained") else Value(_UNKNOWN_CODE)


_PARSERS: Mapping[str, Parse] = {
    "_count": _with_count,
    "_total": _with_total,
    "_summary": _with_summary,
    "_elements": _with_elements,
    "_sort": _with_sort,
    "_contained": _with_contained,
    "_containedType": _with_contained_type,
}
