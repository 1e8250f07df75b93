"""The parameters that shape a result rather than choose it: page size, order, total, summary, elements.

Spec: http://hl7.org/fhir/R4/search.html#return
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

from fhir_server.errors import NotSupported, Text, Value
from fhir_server.fhir.definitions import structure
from fhir_server.search.parameters import primary_date

Total = Literal["none", "estimate", "accurate"]
Summary = Literal["true", "text", "data", "count", "false"]

MAX_COUNT = 1_000
"""The largest page; a larger ``_count`` is cut to it, as R4 allows, and the self link says so."""

_DIGITS = re.compile(r"\d{1,9}", re.ASCII)
_ELEMENT = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:\.[A-Za-z][A-Za-z0-9]*)*", re.ASCII)
_NOT_A_COUNT = Text("not a whole number", "pas un nombre entier")
_UNKNOWN_CODE = Text("none of the codes it takes", "aucun des codes admis")
_UNKNOWN_ELEMENT = Text("an element that the resource type does not have", "un élément que ce type n’a pas")
_UNSORTABLE = Text(
    "this server sorts by _id, _lastUpdated and the type's main date only",
    "ce serveur ne trie que par _id, _lastUpdated et la date principale du type",
)
_SEVERAL = Text(
    "this server sorts by one key, after which only _id may follow",
    "ce serveur trie selon une seule clé, que seul _id peut suivre",
)


@dataclass(frozen=True, slots=True)
class SortKey:
    """One key of the order: a document's field and a direction, 1 or -1."""

    field: str
    direction: int


DEFAULT_SORT = (SortKey("ds", -1), SortKey("_id", -1))
"""Newest first; documents without a primary date last."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What the result parameters ask for."""

    sort: tuple[SortKey, ...] = DEFAULT_SORT
    count: int | None = None
    total: Total | None = None
    summary: Summary | None = None
    elements: tuple[str, ...] = ()


Parse = Callable[[Shape, str, tuple[str, ...]], Shape]


def is_result_parameter(name: str) -> bool:
    """Say whether the name is one that this module parses."""
    return name in _PARSERS


def parse_result_parameter(shape: Shape, name: str, value: str, types: tuple[str, ...]) -> Shape:
    """Return the shape with one more parameter; ``types`` are those searched. Raises ``Value``, ``NotSupported``."""
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
    if not all(_ELEMENT.fullmatch(name) for name in names):
        raise Value(_UNKNOWN_ELEMENT)
    known = {element.name for one in types or ("DomainResource",) for element in structure(one).elements}
    if types and not all(_plain(name, types).partition(".")[0] in known for name in names):
        raise Value(_UNKNOWN_ELEMENT)
    return replace(shape, elements=names)


def _plain(name: str, types: tuple[str, ...]) -> str:
    """Return ``Patient.name`` as ``name``."""
    first, _, rest = name.partition(".")
    return rest if first in types and rest else name


def _with_sort(shape: Shape, value: str, types: tuple[str, ...]) -> Shape:
    keys = [_sort_key(text, types) for text in value.split(",")]
    if len(keys) > 2 or (len(keys) == 2 and (keys[1].field != "_id" or keys[0].field == "_id")):
        raise NotSupported(_SEVERAL)
    if keys[0].field != "_id" and len(keys) == 1:
        keys.append(SortKey("_id", keys[0].direction))
    return replace(shape, sort=tuple(keys))


def _sort_key(text: str, types: tuple[str, ...]) -> SortKey:
    code, direction = (text[1:], -1) if text.startswith("-") else (text, 1)
    if code == "_id":
        return SortKey("_id", direction)
    if code == "_lastUpdated":
        return SortKey("updated", direction)
    if types and all(primary_date(one) == code for one in types):
        return SortKey("ds", direction)
    raise NotSupported(_UNSORTABLE)


_PARSERS: Mapping[str, Parse] = {
    "_count": _with_count,
    "_total": _with_total,
    "_summary": _with_summary,
    "_elements": _with_elements,
    "_sort": _with_sort,
}
