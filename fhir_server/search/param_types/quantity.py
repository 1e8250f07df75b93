"""Quantity parameters: a number with a unit, ``[prefix][number]|[system]|[code]``.

Each quantity is indexed as it is written; one with a UCUM code a second time, in UCUM's base units under a key that
names them (``Observation.value-quantity~g``), so that 5.4 mg finds 0.0054 g. A code of UCUM's system that is none, or
cannot be converted (``Cel/min``), is compared as written. Without a unit any unit matches; ``5.4||mg`` means the unit
by code or as a human reads it, without conversion. "Less than 5" reaches from below to 5. Of SampledData the bounds of
its values count.
Spec: http://hl7.org/fhir/R4/search.html#quantity
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from fhir_server.errors import NotSupported, Text, Value
from fhir_server.fhir import ucum
from fhir_server.search.ast import Node, QuantityIs, TokenIn
from fhir_server.search.building import build_and, build_or
from fhir_server.search.entries import Entries, Extract
from fhir_server.search.param_types.number import parse_bounds, range_of
from fhir_server.search.parameters import SearchParameter
from fhir_server.search.ranges import Bounds, Comparison, merge_conditions, on_points, passes, range_key, to_conditions
from fhir_server.search.sortable import EXACT, HIGHEST, LOWEST, sortable
from fhir_server.search.values import split_escaped, split_prefix, unescape

Measure = tuple[str, str, str, str | None, str | None, str | None]
"""What follows the parameter's key (empty, or ``~`` and base units), lower and upper bound, system|code, code, unit."""

_CURRENCIES = "urn:iso:std:iso:4217"
_FORM = Text(
    "a quantity is number, number|system|code, number||code or number|system|",
    "une quantité s’écrit nombre, nombre|système|code, nombre||code ou nombre|système|",
)
_TOO_FAR = Text(
    "a number out of range once converted to base units",
    "un nombre hors limites une fois converti en unités de base",
)


def build_extractor(parameter: SearchParameter) -> Extract:
    """Return the function that adds the ranges and unit of one value."""
    key = parameter.key

    def extract(value: Any, kind: str, entries: Entries) -> None:
        for suffix, low, high, system, code, unit in measures_of(value, kind, entries):
            entries.q[key + suffix, low, high, system, code, unit] = None
            if low != high:
                entries.t[range_key(key)] = None

    return extract


def parse(parameter: SearchParameter, modifier: str | None, value: str) -> Node:
    """Return the condition of one value. Raises ``Value``, or ``NotSupported`` for a modifier."""
    if modifier is not None:
        raise NotSupported(Text(f"the modifier :{modifier}", f"le modificateur :{modifier}"))
    suffix, bounds, unit = parse_measure(value)
    key, points = parameter.key + suffix, on_points(bounds, "lo", "hi")
    if points is None:
        return QuantityIs(key, bounds, unit)
    ranges = build_and([TokenIn((range_key(parameter.key),)), QuantityIs(key, bounds, unit)])
    return build_or([QuantityIs(key, points, unit), ranges])


def parse_measure(value: str) -> tuple[str, Bounds, Bounds | None]:
    """Return what follows the key of the entries to look at, the bounds on the number, those on the unit."""
    parts = [unescape(part) for part in split_escaped(value, "|")]
    prefix, number = split_prefix(parts[0])
    match parts[1:]:
        case [] | ["", ""]:
            return "", parse_bounds(prefix, number), None
        case ["", code]:
            unit = Bounds(some=(Comparison("c", "$eq", code), Comparison("n", "$eq", code)))
            return "", parse_bounds(prefix, number), unit
        case [system, ""]:
            start = f"{system}|"
            unit = Bounds((Comparison("u", "$gte", start), Comparison("u", "$lt", f"{system}}}")))
            return "", parse_bounds(prefix, number), unit
        case [system, code]:
            base = ucum.find_unit(code) if system == ucum.SYSTEM else None
            if base is None:
                return "", parse_bounds(prefix, number), Bounds((Comparison("u", "$eq", f"{system}|{code}"),))
            try:
                return f"~{base.key}", parse_bounds(prefix, number, base.to_base), None
            except ValueError:
                raise Value(_TOO_FAR) from None
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


def measures_of(value: Any, kind: str, entries: Entries) -> tuple[Measure, ...]:
    """Return what a value is found by: as written, and in base units. Several parameters look at the same value."""
    known = entries.memo.get(id(value))
    if known is None:
        known = entries.memo[id(value)] = (value, tuple(_measures(value, kind)))
    found: tuple[Measure, ...] = known[1]
    return found


def _measures(value: Any, kind: str) -> Iterator[Measure]:
    ends = _ends_of(value, kind)
    if ends is None:
        return
    low, high = ends
    below = LOWEST if low[0] is None else sortable(low[0])
    above = below if low is high else HIGHEST if high[0] is None else sortable(high[0])
    yield "", below, above, *_unit_of(value, kind)
    if low[1] is None and high[1] is None:
        return
    try:
        first = _base(*low)
        second = first if low is high else _base(*high)
    except ValueError:
        return
    if first is None or second is None or (first[0] and second[0] and first[0] != second[0]):
        return
    yield f"~{first[0] or second[0]}", first[1] or LOWEST, second[1] or HIGHEST, None, None, None


End = tuple[Decimal | int | None, str | None]
"""A number, None for an open end, and its UCUM code if it has one."""


def _base(number: Decimal | int | None, code: str | None) -> tuple[str, str] | None:
    """Return the base units and the bound in them, both empty for an open end; None for what cannot be converted."""
    if number is None:
        return "", ""
    unit = ucum.find_unit(code) if code is not None else None
    return None if unit is None else (unit.key, sortable(unit.to_base(number)))


def _ends_of(value: Any, kind: str) -> tuple[End, End] | None:
    """Return the lower and the upper end of a value, both included; None where it says nothing."""
    if not isinstance(value, Mapping):
        if range_of(value, kind) is None:
            return None
        exact: End = (value, None)
        return exact, exact
    if kind == "Range":
        low, high = value.get("low") or {}, value.get("high") or {}
        ends = (low.get("value"), _ucum_code(low)), (high.get("value"), _ucum_code(high))
        return None if ends[0][0] is None and ends[1][0] is None else ends
    if kind == "SampledData":
        return _sampled(value)
    number = value.get("value")
    if number is None:
        return None
    end = number, _ucum_code(value) if kind != "Money" else None
    match value.get("comparator"):
        case "<" | "<=":
            return (None, end[1]), end
        case ">" | ">=":
            return end, (None, end[1])
        case _:
            return end, end


def _sampled(data: Mapping[str, Any]) -> tuple[End, End] | None:
    """Return the least and the greatest sample; below the lower limit (L) or above the upper one (U) they are open."""
    origin = data.get("origin") or {}
    code = _ucum_code(origin)
    samples = str(data.get("data", "")).split()
    numbers = [_scaled(one, data, origin) for one in samples if one not in ("E", "U", "L")]
    low = min(numbers) if numbers else data.get("lowerLimit")
    high = max(numbers) if numbers else data.get("upperLimit")
    if low is None and high is None:
        return None
    return (None if "L" in samples else low, code), (None if "U" in samples else high, code)


def _scaled(sample: str, data: Mapping[str, Any], origin: Mapping[str, Any]) -> Decimal:
    try:
        number = EXACT.multiply(Decimal(sample), Decimal(data.get("factor", 1)))
    except InvalidOperation:
        raise ValueError("a sample that is no number") from None
    if not number.is_finite():
        raise ValueError("a sample that is no number")
    return EXACT.add(number, Decimal(origin.get("value", 0)))


def _ucum_code(quantity: Mapping[str, Any]) -> str | None:
    return quantity.get("code") if quantity.get("system") == ucum.SYSTEM else None


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
