"""Quantity parameters: a number with a unit, ``[prefix][number]|[system]|[code]``.

Without a unit any unit matches; ``5.4||mg`` means the unit by code or as a human reads it. A quantity that is "less
than 5" reaches from below to 5. Units are compared as written; conversion (UCUM) is for entries to come, in the
canonical unit beside these.
Spec: http://hl7.org/fhir/R4/search.html#quantity
"""

from collections.abc import Mapping
from typing import Any

from fhir_server.errors import NotSupported, Text, Value
from fhir_server.search.ast import Node, QuantityIs
from fhir_server.search.entries import Entries, Extract
from fhir_server.search.param_types.number import parse_bounds, range_of
from fhir_server.search.parameters import SearchParameter
from fhir_server.search.ranges import Bounds, Comparison, merge_conditions, passes, to_conditions
from fhir_server.search.sortable import HIGHEST, LOWEST, sortable
from fhir_server.search.values import split_escaped, split_prefix, unescape

_CURRENCIES = "urn:iso:std:iso:4217"
_FORM = Text("a quantity is number or number|system|code", "une quantité s’écrit nombre ou nombre|système|code")


def build_extractor(parameter: SearchParameter) -> Extract:
    """Return the function that adds the range and unit of one value."""
    key = parameter.key

    def extract(value: Any, kind: str, entries: Entries) -> None:
        found = _bounds_of(value, kind)
        if found is None:
            return
        entries.q[key, found[0], found[1], *_unit_of(value, kind)] = None

    return extract


def parse(parameter: SearchParameter, modifier: str | None, value: str) -> Node:
    """Return the condition of one value. Raises ``Value``, or ``NotSupported`` for a modifier."""
    if modifier is not None:
        raise NotSupported(Text(f"the modifier :{modifier}", f"le modificateur :{modifier}"))
    parts = [unescape(part) for part in split_escaped(value, "|")]
    prefix, number = split_prefix(parts[0])
    bounds = parse_bounds(prefix, number)
    match parts[1:]:
        case [] | ["", ""]:
            return QuantityIs(parameter.key, bounds)
        case ["", code]:
            unit = Bounds(some=(Comparison("c", "$eq", code), Comparison("n", "$eq", code)))
            return QuantityIs(parameter.key, bounds, unit)
        case [system, code] if code:
            return QuantityIs(parameter.key, bounds, Bounds((Comparison("u", "$eq", f"{system}|{code}"),)))
        case _:
            raise Value(_FORM)


def to_filter(leaf: QuantityIs) -> dict[str, Any]:
    """Return the leaf as a MongoDB filter: number and unit of the same entry."""
    conditions = [{"p": leaf.key}, to_conditions(leaf.bounds)]
    if leaf.unit is not None:
        conditions.append(to_conditions(leaf.unit))
    return {"q": {"$elemMatch": merge_conditions(conditions)}}


def matches(leaf: QuantityIs, document: Mapping[str, Any]) -> bool:
    """Say whether one quantity of the index document keeps the bounds and has the unit."""
    return any(
        entry["p"] == leaf.key and passes(leaf.bounds, entry) and (leaf.unit is None or passes(leaf.unit, entry))
        for entry in document.get("q", ())
    )


def _bounds_of(value: Any, kind: str) -> tuple[str, str] | None:
    if not isinstance(value, Mapping):
        return range_of(value, kind)
    if kind == "Range":
        return range_of(value, kind)
    if kind == "SampledData":
        low, high = value.get("lowerLimit"), value.get("upperLimit")
        if low is None and high is None:
            return None
        return (LOWEST if low is None else sortable(low)), (HIGHEST if high is None else sortable(high))
    number = value.get("value")
    if number is None:
        return None
    exact = sortable(number)
    match value.get("comparator"):
        case "<" | "<=":
            return LOWEST, exact
        case ">" | ">=":
            return exact, HIGHEST
        case _:
            return exact, exact


def _unit_of(value: Any, kind: str) -> tuple[str | None, str | None, str | None]:
    """Return system|code, code and unit; of a Range those of its lower end, or of its upper one."""
    if not isinstance(value, Mapping):
        return None, None, None
    if kind == "Range":
        return _unit_of(value.get("low") or value.get("high"), "Quantity")
    if kind == "SampledData":
        return _unit_of(value.get("origin"), "Quantity")
    if kind == "Money":
        currency = value.get("currency")
        return (f"{_CURRENCIES}|{currency}", currency, None) if currency else (None, None, None)
    code, unit = value.get("code"), value.get("unit")
    return (f"{value.get('system', '')}|{code}" if code else None), code, unit
