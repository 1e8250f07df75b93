"""Units of measure as far as comparing needs them: UCUM codes made of common atoms, prefixes, products and powers.

An unknown unit is comparable to itself only. Calendar durations from the week down equal their UCUM twins; years and
months are no fixed time and stand alone.
Spec: http://hl7.org/fhirpath/N1/#quantity, https://ucum.org/ucum
"""

import re
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from fhir_server.fhir.fhirpath.values import EXACT, Quantity


class Unit(NamedTuple):
    """``factor`` base units to the powers of ``dimension``, sorted by name."""

    factor: Fraction
    dimension: tuple[tuple[str, int], ...]


_PREFIXES = {
    "Y": 24, "Z": 21, "E": 18, "P": 15, "T": 12, "G": 9, "M": 6, "k": 3, "h": 2, "da": 1,
    "d": -1, "c": -2, "m": -3, "u": -6, "n": -9, "p": -12, "f": -15, "a": -18,
}  # fmt: skip
_METRIC = {
    "m": Unit(Fraction(1), (("m", 1),)),
    "g": Unit(Fraction(1), (("g", 1),)),
    "s": Unit(Fraction(1), (("s", 1),)),
    "L": Unit(Fraction("0.001"), (("m", 3),)),
    "l": Unit(Fraction("0.001"), (("m", 3),)),
    "mol": Unit(Fraction(1), (("mol", 1),)),
    "K": Unit(Fraction(1), (("K", 1),)),
    "A": Unit(Fraction(1), (("A", 1),)),
    "Hz": Unit(Fraction(1), (("s", -1),)),
    "N": Unit(Fraction(1000), (("g", 1), ("m", 1), ("s", -2))),
    "Pa": Unit(Fraction(1000), (("g", 1), ("m", -1), ("s", -2))),
    "bar": Unit(Fraction(100_000_000), (("g", 1), ("m", -1), ("s", -2))),
    "J": Unit(Fraction(1000), (("g", 1), ("m", 2), ("s", -2))),
    "W": Unit(Fraction(1000), (("g", 1), ("m", 2), ("s", -3))),
    "cal": Unit(Fraction(4184), (("g", 1), ("m", 2), ("s", -2))),
    "m[Hg]": Unit(Fraction(133_322_000), (("g", 1), ("m", -1), ("s", -2))),
    "eq": Unit(Fraction(1), (("mol", 1),)),
    "osm": Unit(Fraction(1), (("mol", 1),)),
    "[iU]": Unit(Fraction(1), (("[iU]", 1),)),
    "[IU]": Unit(Fraction(1), (("[iU]", 1),)),
    "U": Unit(Fraction(1), (("U", 1),)),
}
_PLAIN = {
    "1": Unit(Fraction(1), ()),
    "%": Unit(Fraction("0.01"), ()),
    "min": Unit(Fraction(60), (("s", 1),)),
    "h": Unit(Fraction(3600), (("s", 1),)),
    "d": Unit(Fraction(86_400), (("s", 1),)),
    "wk": Unit(Fraction(604_800), (("s", 1),)),
    "mo": Unit(Fraction(2_629_800), (("s", 1),)),
    "a": Unit(Fraction(31_557_600), (("s", 1),)),
    "[in_i]": Unit(Fraction("0.0254"), (("m", 1),)),
    "[ft_i]": Unit(Fraction("0.3048"), (("m", 1),)),
    "[yd_i]": Unit(Fraction("0.9144"), (("m", 1),)),
    "[mi_i]": Unit(Fraction("1609.344"), (("m", 1),)),
    "[lb_av]": Unit(Fraction("453.59237"), (("g", 1),)),
    "[oz_av]": Unit(Fraction("28.349523125"), (("g", 1),)),
    "millisecond": Unit(Fraction("0.001"), (("s", 1),)),
    "second": Unit(Fraction(1), (("s", 1),)),
    "minute": Unit(Fraction(60), (("s", 1),)),
    "hour": Unit(Fraction(3600), (("s", 1),)),
    "day": Unit(Fraction(86_400), (("s", 1),)),
    "week": Unit(Fraction(604_800), (("s", 1),)),
    "month": Unit(Fraction(1), (("month", 1),)),
    "year": Unit(Fraction(12), (("month", 1),)),
}
_COMPONENT = re.compile(r"([./]?)([^./0-9+-](?:\[[^\]]*\]|[^./0-9+\[-])*|1(?![0-9])|10\*|10\^)([+-]?[0-9]{1,2})?")
_ANNOTATION = re.compile(r"\{[^{}]*\}")
_BRACKETED = re.compile(r"(\[[^\]]*\])")
_MAX_CODE = 64
_CALENDAR_TWIN = {"year": "a", "month": "mo"}


def unit(code: str) -> Unit:
    """Return what a unit amounts to; an unknown one is a dimension of its own."""
    known = _PLAIN.get(code) or _METRIC.get(code)
    if known is not None:
        return known
    return (_compound(code) if len(code) <= _MAX_CODE else None) or Unit(Fraction(1), ((code, 1),))


def canonical(quantity: Quantity) -> tuple[Fraction, tuple[tuple[str, int], ...]]:
    """Return the amount in base units and its dimension; equal quantities have equal ones."""
    found = unit(quantity.unit)
    return Fraction(quantity.value) * found.factor, found.dimension


def to_definite(quantity: Quantity) -> Quantity:
    """Return a quantity of calendar years or months in UCUM's mean ones, as equivalence takes them."""
    return Quantity(quantity.value, _CALENDAR_TWIN.get(quantity.unit, quantity.unit))


def to_decimal(amount: Fraction) -> Decimal:
    """Return an amount as a decimal: exactly when it has an end."""
    return EXACT.divide(Decimal(amount.numerator), Decimal(amount.denominator))


def times(left: Quantity, right: Quantity, divide: bool = False) -> tuple[Decimal, Decimal, str]:
    """Return the two amounts to multiply (or divide), and the unit of the result."""
    if right.unit == "1":
        return left.value, right.value, left.unit
    if left.unit == right.unit and divide:
        return left.value, right.value, "1"
    if left.unit == "1" and not divide:
        return left.value, right.value, right.unit
    one, other = canonical(left), canonical(right)
    powers = dict(one[1])
    for name, power in other[1]:
        powers[name] = powers.get(name, 0) + (-power if divide else power)
    code = ".".join(f"{name}{power if power != 1 else ''}" for name, power in sorted(powers.items()) if power)
    return to_decimal(one[0]), to_decimal(other[0]), code or "1"


@lru_cache(maxsize=256)
def _compound(code: str) -> Unit | None:
    text = _ANNOTATION.sub("", code) or "1"
    factor = Fraction(1)
    powers: dict[str, int] = {}
    position = 0
    while position < len(text):
        match = _COMPONENT.match(text, position)
        atom = None if match is None or ((position > 0) != bool(match[1]) and match[1] != "/") else _atom(match[2])
        if match is None or atom is None:
            return None
        power = int(match[3] or 1) * (-1 if match[1] == "/" else 1)
        factor *= atom.factor**power
        for name, own in atom.dimension:
            powers[name] = powers.get(name, 0) + own * power
        position = match.end()
    return Unit(factor, tuple(sorted((name, power) for name, power in powers.items() if power)))


def _atom(text: str) -> Unit | None:
    if text in ("10*", "10^"):
        return Unit(Fraction(10), ())
    found = _PLAIN.get(text) or _METRIC.get(text)
    if found is not None:
        return found
    for length in (1, 2):
        base, exponent = _METRIC.get(text[length:]), _PREFIXES.get(text[:length])
        if base is not None and exponent is not None:
            return Unit(base.factor * Fraction(10) ** exponent, base.dimension)
    return None
