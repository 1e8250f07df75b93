"""Number parameters, and the bounds that quantities share with them.

A number in a resource is exact; one in a search has the precision it is written with for ``eq``, ``ne`` and ``ap``
(100 is [99.5, 100.5), 1e2 is [95, 105)), and is exact for the other prefixes. A Range reaches from its lower to its
upper end, both included, and is open where it has none.
Spec: http://hl7.org/fhir/R4/search.html#number
"""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from fhir_server.errors import NotSupported, Text, Value
from fhir_server.search.ast import Node, NumberIs, TokenIn
from fhir_server.search.building import build_and, build_or
from fhir_server.search.entries import Entries, Extract
from fhir_server.search.parameters import SearchParameter
from fhir_server.search.ranges import Bounds, Comparison, Prefix, on_points, passes, range_key, to_conditions
from fhir_server.search.sortable import EXACT, HIGHEST, LOWEST, sortable
from fhir_server.search.values import split_prefix, unescape

LONGEST_NUMBER = 64
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d{1,4})?", re.ASCII)
_INVALID = Text("not a decimal number", "pas un nombre décimal")


def build_extractor(parameter: SearchParameter) -> Extract:
    """Return the function that adds the range of one value."""
    key = parameter.key

    def extract(value: Any, kind: str, entries: Entries) -> None:
        found = range_of(value, kind)
        if found is not None:
            entries.n[key, found[0], found[1]] = None
            if found[0] != found[1]:
                entries.t[range_key(key)] = None

    return extract


def parse(parameter: SearchParameter, modifier: str | None, value: str) -> Node:
    """Return the condition of one value. Raises ``Value``, or ``NotSupported`` for a modifier."""
    if modifier is not None:
        raise NotSupported(Text(f"the modifier :{modifier}", f"le modificateur :{modifier}"))
    prefix, text = split_prefix(unescape(value))
    bounds = parse_bounds(prefix, text)
    points = on_points(bounds, "lo", "hi")
    if points is None:
        return NumberIs(parameter.key, bounds)
    ranges = build_and([TokenIn((range_key(parameter.key),)), NumberIs(parameter.key, bounds)])
    return build_or([NumberIs(parameter.key, points), ranges])


def to_filter(leaf: NumberIs) -> dict[str, Any]:
    """Return the leaf as a MongoDB filter."""
    return {"n": {"$elemMatch": {"p": leaf.key, **to_conditions(leaf.bounds)}}}


def matches(leaf: NumberIs, document: Mapping[str, Any]) -> bool:
    """Say whether one number of the index document keeps the bounds."""
    return any(entry["p"] == leaf.key and passes(leaf.bounds, entry) for entry in document.get("n", ()))


def parse_bounds(prefix: Prefix, text: str, convert: Callable[[Decimal], Decimal] = Decimal) -> Bounds:
    """Return what the table of prefixes says of a value's [lo, hi] against the number searched for.

    ``convert`` takes every bound to the unit that the entries are in, once the precision as written has made them.
    Raises ``Value`` for what is no number.
    """
    number = parse_number(text)
    exact = sortable(convert(number))
    match prefix:
        case "eq" | "ne" | "ap":
            low, high = _precise_range(prefix, number, _half_unit(text, number))
            return _precise_bounds(prefix, sortable(convert(low)), sortable(convert(high)))
        case "gt":
            return Bounds((Comparison("hi", "$gt", exact),))
        case "lt":
            return Bounds((Comparison("lo", "$lt", exact),))
        case "ge":
            return Bounds(
                (Comparison("hi", "$gte", exact),), (Comparison("hi", "$gt", exact), Comparison("lo", "$gte", exact))
            )
        case "le":
            return Bounds(
                (Comparison("lo", "$lte", exact),), (Comparison("lo", "$lt", exact), Comparison("hi", "$lte", exact))
            )
        case "sa":
            return Bounds((Comparison("lo", "$gt", exact),))
        case "eb":
            return Bounds((Comparison("lo", "$lt", exact), Comparison("hi", "$lt", exact)))


def parse_number(text: str) -> Decimal:
    """Return the number that a text of bounded length writes. Raises ``Value``."""
    if len(text) > LONGEST_NUMBER or not _NUMBER.fullmatch(text):
        raise Value(_INVALID)
    return Decimal(text)


def range_of(value: Any, kind: str) -> tuple[str, str] | None:
    """Return the bounds, both included, of a number or a Range as sortable texts; None for anything else."""
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        exact = sortable(value)
        return exact, exact
    if kind == "Range" and isinstance(value, Mapping):
        low, high = _end(value.get("low"), LOWEST), _end(value.get("high"), HIGHEST)
        return None if (low, high) == (LOWEST, HIGHEST) else (low, high)
    return None


def _end(quantity: Any, missing: str) -> str:
    number = quantity.get("value") if isinstance(quantity, Mapping) else None
    return missing if number is None else sortable(number)


def _half_unit(text: str, number: Decimal) -> Decimal:
    """Return half a unit of the last digit; of "1e2" that is 5 and not 50, for R4 says [95, 105)."""
    last = int(number.as_tuple().exponent)
    if "." not in text and "e" in text.lower():
        last -= 1
    return Decimal((0, (5,), last - 1))


def _precise_range(prefix: Prefix, number: Decimal, half: Decimal) -> tuple[Decimal, Decimal]:
    margin = max(half, EXACT.multiply(number.copy_abs(), Decimal("0.1"))) if prefix == "ap" else half
    return EXACT.subtract(number, margin), EXACT.add(number, margin)


def _precise_bounds(prefix: Prefix, low: str, high: str) -> Bounds:
    if prefix == "eq":
        return Bounds((Comparison("lo", "$gte", low), Comparison("lo", "$lt", high), Comparison("hi", "$lt", high)))
    if prefix == "ne":
        return Bounds(some=(Comparison("lo", "$lt", low), Comparison("hi", "$gte", high)))
    return Bounds((Comparison("lo", "$lte", high), Comparison("hi", "$gte", low)))
