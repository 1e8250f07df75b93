"""Comparisons on the fields of one index entry, said once and read twice: as a MongoDB filter and as a yes or no.

A prefix (``eq``, ``gt``, …) compares the range of the search value with the range of the resource's value.
Spec: http://hl7.org/fhir/R4/search.html#prefix
"""

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Prefix = Literal["eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"]
PREFIXES: tuple[Prefix, ...] = ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")

Operator = Literal["$eq", "$lt", "$lte", "$gt", "$gte"]
_OPERATORS: Mapping[Operator, Callable[[Any, Any], bool]] = {
    "$eq": operator.eq,
    "$lt": operator.lt,
    "$lte": operator.le,
    "$gt": operator.gt,
    "$gte": operator.ge,
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """``field operator value``; a document without the field never passes."""

    field: str
    operator: Operator
    value: Any


@dataclass(frozen=True, slots=True)
class Bounds:
    """All of ``every``, and one of ``some`` unless that is empty."""

    every: tuple[Comparison, ...] = ()
    some: tuple[Comparison, ...] = ()

    def __post_init__(self) -> None:
        if not (self.every or self.some):
            raise ValueError("bounds without a bound")


def on_points(bounds: Bounds, low: str, high: str) -> Bounds | None:
    """Return lower bounds on ``high`` as bounds on ``low``, which say the same of an entry whose two ends are one.

    None where there are none. What keeps them keeps the bounds given, for its high end is not below its low one.

    Indexes begin with ``low``: a bound on ``high`` would have every entry looked at. Nearly all entries are points; a
    resource with another one is marked (``range_key``), so that these are few to look at.
    """
    if not any(one.field == high and one.operator in ("$gt", "$gte") for one in bounds.every):
        return None
    every = tuple(Comparison(low, one.operator, one.value) for one in bounds.every)
    return Bounds(every, tuple(Comparison(low, one.operator, one.value) for one in bounds.some))


def range_key(key: str) -> str:
    """Return the token of resources that have an entry of this parameter whose two ends differ."""
    return f"{key}:range"


def to_conditions(bounds: Bounds) -> dict[str, Any]:
    """Return the bounds as MongoDB conditions on one (sub)document."""
    conditions: dict[str, Any] = {}
    for one in bounds.every:
        conditions.setdefault(one.field, {})[one.operator] = one.value
    if len(bounds.some) == 1:
        return merge_conditions([conditions, {bounds.some[0].field: {bounds.some[0].operator: bounds.some[0].value}}])
    if bounds.some:
        conditions["$or"] = [{one.field: {one.operator: one.value}} for one in bounds.some]
    return conditions


def merge_conditions(filters: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the conjunction of filters, as one document where no key says two things."""
    merged: dict[str, Any] = {}
    clashing: list[Mapping[str, Any]] = []
    for one in filters:
        if all(name not in merged or merged[name] == condition for name, condition in one.items()):
            merged |= one
        else:
            clashing.append(one)
    return {"$and": [merged, *clashing]} if clashing else merged


def passes(bounds: Bounds, entry: Mapping[str, Any]) -> bool:
    """Say whether one entry keeps the bounds."""
    for one in bounds.every:
        if not _holds(one, entry):
            return False
    return not bounds.some or any(_holds(one, entry) for one in bounds.some)


def _holds(one: Comparison, entry: Mapping[str, Any]) -> bool:
    value = entry.get(one.field)
    return value is not None and _OPERATORS[one.operator](value, one.value)
