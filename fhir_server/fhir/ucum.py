"""Units of measure: what a UCUM code comes to in UCUM's base units, exactly.

The grammar and the table of units are those of ``ucumvert``, which follows UCUM's releases; the arithmetic is on
fractions, for a float would move the bounds of a search. An arbitrary unit (``[iU]``) and a unit on a scale of its
own (``[pH]``, ``dB``) is a dimension of its own: it compares with itself and its multiples only. Temperatures convert
by scale and offset when they stand alone; in a product (``Cel/min``) they have no meaning that could be converted.
Spec: https://ucum.org/ucum, http://hl7.org/fhir/R4/search.html#quantity
"""

from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from functools import cache, lru_cache
from threading import Lock
from typing import Any

SYSTEM = "http://unitsofmeasure.org"
LONGEST_CODE = 64

_HIGHEST_EXPONENT = 99
_LARGEST = Fraction(10) ** 3_000
_EXACT = Context(prec=10_000, Emax=999_999, Emin=-999_999)
_ROUNDED = Context(prec=60, Emax=999_999, Emin=-999_999)
_ZERO_CELSIUS = Fraction("273.15")
_TEMPERATURES = {
    "Cel": (Fraction(1), _ZERO_CELSIUS),
    "[degF]": (Fraction(5, 9), Fraction("459.67") * Fraction(5, 9)),
    "[degRe]": (Fraction(5, 4), _ZERO_CELSIUS),
}
_lock = Lock()


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit as ``value × factor + offset`` of the base units that ``key`` names: ``g.m-3``, ``1`` for a number.

    Two units convert into one another when their keys are equal. ``exact`` are factor and offset as decimals, None
    where they have no end.
    """

    key: str
    factor: Fraction
    offset: Fraction
    exact: tuple[Decimal, Decimal] | None

    def to_base(self, number: Decimal | int) -> Decimal:
        """Return the number in base units: exact, or to 60 digits where it has no end."""
        if self.exact is not None:
            scaled = _EXACT.multiply(Decimal(number), self.exact[0])
            return _EXACT.add(scaled, self.exact[1]) if self.offset else scaled
        return _to_decimal(Fraction(number) * self.factor + self.offset)


@dataclass(frozen=True, slots=True)
class _Term:
    factor: Fraction
    dimensions: tuple[tuple[str, int], ...] = ()
    temperature: str | None = None


class _NotAUnit(Exception):
    """The code means nothing that can be converted."""


@lru_cache(maxsize=4_096)
def find_unit(code: str) -> Unit | None:
    """Return the unit of a UCUM code (case-sensitive), or None for what is no code or cannot be converted."""
    try:
        return _unit_of(_term_of(code))
    except _NotAUnit:
        return None


def _unit_of(term: _Term) -> Unit:
    factor, offset = term.factor, Fraction(0)
    if term.temperature is not None:
        scale, offset = _TEMPERATURES[term.temperature]
        factor *= scale
    if not 1 / _LARGEST < factor < _LARGEST:
        raise _NotAUnit
    key = ".".join(name if power == 1 else f"{name}{power}" for name, power in term.dimensions)
    ends = _ends(factor) and _ends(offset)
    return Unit(key or "1", factor, offset, (_to_decimal(factor), _to_decimal(offset)) if ends else None)


def _term_of(code: str) -> _Term:
    if not 0 < len(code) <= LONGEST_CODE:
        raise _NotAUnit
    from ucumvert import InvalidUcumError, parse_ucum  # pint comes with it: nobody pays for it before the first unit

    parser, _, _ = _tables()
    try:
        with _lock:  # the parser keeps its state in itself
            tree = parse_ucum(code, parser)
    except InvalidUcumError:
        raise _NotAUnit from None
    return _evaluate(tree)


def _evaluate(tree: Any) -> _Term:
    """Return what a node of the grammar comes to: a term, a component, a unit with its power, an annotation."""
    kind = getattr(tree, "data", None)
    if kind is None:
        return _Term(Fraction(1))
    children = tree.children
    if kind == "simple_unit":
        return _simple(children)
    if kind == "annotatable" and len(children) == 2:
        return _power(_evaluate(children[0]), str(children[1]))
    if kind == "component":
        return _evaluate(children[0])
    if kind == "main_term" and len(children) == 2:
        return _product(_Term(Fraction(1)), _evaluate(children[1]), -1)
    if kind == "term" and len(children) == 3:
        return _product(_evaluate(children[0]), _evaluate(children[2]), 1 if children[1] == "." else -1)
    return _evaluate(children[0])


def _simple(tokens: list[Any]) -> _Term:
    """Return a number, or an atom with or without prefix."""
    if tokens[0].type == "FACTOR":
        if int(tokens[0]) == 0:
            raise _NotAUnit
        return _Term(Fraction(int(tokens[0])))
    if len(tokens) == 1:
        return _atom(str(tokens[0]))
    _, prefixes, _ = _tables()
    atom = _atom(str(tokens[1]))
    return _Term(prefixes[str(tokens[0])] * atom.factor, atom.dimensions, atom.temperature)


@cache
def _atom(code: str) -> _Term:
    _, _, units = _tables()
    unit = units.get(code)
    if code in _TEMPERATURES:
        return _Term(Fraction(1), (("K", 1),), code)
    if unit is None or unit.is_special or (unit.is_arbitrary and unit.defining_unit == "1"):
        return _Term(Fraction(1), ((code, 1),))
    term = _term_of(unit.defining_unit)
    return _Term(Fraction(str(unit.conversion_factor)) * term.factor, term.dimensions)


def _power(term: _Term, text: str) -> _Term:
    exponent = int(text) if len(text) <= 4 else _HIGHEST_EXPONENT + 1
    if abs(exponent) > _HIGHEST_EXPONENT or term.temperature is not None:
        raise _NotAUnit
    return _Term(term.factor**exponent, tuple((name, power * exponent) for name, power in term.dimensions if exponent))


def _product(left: _Term, right: _Term, sign: int) -> _Term:
    if any(one.temperature is not None for one in (left, right)):
        raise _NotAUnit
    dimensions = dict(left.dimensions)
    for name, power in right.dimensions:
        dimensions[name] = dimensions.get(name, 0) + sign * power
    kept = tuple(sorted((name, power) for name, power in dimensions.items() if power))
    return _Term(left.factor * right.factor**sign, kept)


@cache
def _tables() -> tuple[Any, dict[str, Fraction], dict[str, Any]]:
    """Return the parser, the prefixes and the units; a base unit is in the grammar but not among the units."""
    from ucumvert import get_ucum_parser, xml_util

    prefixes = {
        one.attrib["Code"]: Fraction(value.attrib["value"])
        for one in xml_util.root.findall(".//{*}prefix")
        if (value := one.find("{*}value")) is not None
    }
    units = {one.code_cs: one for one in xml_util.get_units_with_full_definition()}
    return get_ucum_parser(), prefixes, units


def _ends(number: Fraction) -> bool:
    """Say whether the decimal form has an end: no other primes than 2 and 5 below the line."""
    rest = number.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    return rest == 1


def _to_decimal(number: Fraction) -> Decimal:
    context = _EXACT if _ends(number) else _ROUNDED
    return context.divide(Decimal(number.numerator), Decimal(number.denominator))
