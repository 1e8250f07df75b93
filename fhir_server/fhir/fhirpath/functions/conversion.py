"""Conversion: http://hl7.org/fhirpath/N1/#conversion. A value that does not convert gives the empty collection."""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction

from fhir_server.fhir.fhirpath.arithmetic import MAX_EXPONENT
from fhir_server.fhir.fhirpath.context import Collection, Context, Evaluate
from fhir_server.fhir.fhirpath.functions.function import Function
from fhir_server.fhir.fhirpath.system import SystemValue, collection_of, single_text, single_value, truth
from fhir_server.fhir.fhirpath.units import to_decimal as amount_in_decimal
from fhir_server.fhir.fhirpath.units import unit
from fhir_server.fhir.fhirpath.values import CALENDAR_UNITS, Quantity, Temporal, parse_moment, parse_time

_TRUE_TEXTS = frozenset({"true", "t", "yes", "y", "1", "1.0"})
_FALSE_TEXTS = frozenset({"false", "f", "no", "n", "0", "0.0"})
_INTEGER = re.compile(r"[+-]?[0-9]{1,10}", re.ASCII)
_DECIMAL = re.compile(r"[+-]?[0-9]{1,100}(?:\.[0-9]{1,100})?", re.ASCII)
_QUANTITY = re.compile(r"(?P<value>[+-]?\d{1,100}(?:\.\d{1,100})?)\s*(?:'(?P<unit>[^']+)'|(?P<word>[a-z]+))?", re.ASCII)
_MAX_INTEGER = 2**31 - 1


def to_boolean(value: SystemValue) -> bool | None:
    """true, 't', 'yes', 'y', 1, 1.0 and so on, of any case."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int | Decimal):
        return bool(value) if value in (0, 1) else None
    if isinstance(value, str):
        text = value.lower()
        return True if text in _TRUE_TEXTS else False if text in _FALSE_TEXTS else None
    return None


def to_integer(value: SystemValue) -> int | None:
    """Integers, Booleans, and the texts of integers; no decimal."""
    if isinstance(value, int):
        return int(value)
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        number = int(value)
        return number if -_MAX_INTEGER - 1 <= number <= _MAX_INTEGER else None
    return None


def to_decimal(value: SystemValue) -> Decimal | None:
    """Numbers, Booleans, and the texts of numbers."""
    if isinstance(value, bool):
        return Decimal("1.0" if value else "0.0")
    if isinstance(value, int | Decimal):
        return value if isinstance(value, Decimal) else Decimal(value)
    return Decimal(value) if isinstance(value, str) and _DECIMAL.fullmatch(value) else None


def to_date(value: SystemValue) -> Temporal | None:
    """Dates, the date of a DateTime, and the texts of dates."""
    if isinstance(value, str):
        moment = parse_moment(value, "DateTime")
        return None if moment is None else Temporal("Date", moment.parts[:3])
    return Temporal("Date", value.date) if isinstance(value, Temporal) and value.kind != "Time" else None


def to_date_time(value: SystemValue) -> Temporal | None:
    """DateTimes, Dates, and the texts of both."""
    if isinstance(value, str):
        return parse_moment(value, "DateTime")
    if isinstance(value, Temporal) and value.kind != "Time":
        return Temporal("DateTime", value.parts, value.zone)
    return None


def to_time(value: SystemValue) -> Temporal | None:
    """Times and the texts of times."""
    if isinstance(value, str):
        return parse_time(value.removeprefix("T"))
    return value if isinstance(value, Temporal) and value.kind == "Time" else None


def to_text(value: SystemValue) -> str | None:
    """Return the text of any value, as a literal would write it without its signs."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Quantity):
        number = to_text(value.value)
        if value.unit not in CALENDAR_UNITS:
            return f"{number} '{value.unit}'"
        return f"{number} {value.unit}{'' if value.value == 1 else 's'}"
    if isinstance(value, Decimal):
        if not value.is_finite() or abs(value.adjusted()) >= MAX_EXPONENT:
            return None
        return str(value) if value.adjusted() > 200 or value.adjusted() < -200 else f"{value:f}"
    return str(value)


def to_quantity(value: SystemValue) -> Quantity | None:
    """Quantities, numbers (with the unit '1'), Booleans, and texts such as ``4 days`` and ``10 'mg'``."""
    if isinstance(value, Quantity):
        return value
    if isinstance(value, int | Decimal):
        number = to_decimal(value)
        return None if number is None else Quantity(number, "1")
    match = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
    if match is None or (match["word"] and match["word"] not in CALENDAR_UNITS):
        return None
    name = CALENDAR_UNITS[match["word"]] if match["word"] else match["unit"] or "1"
    return Quantity(Decimal(match["value"]), name)


def iif(
    context: Context, items: Collection, criterion: Evaluate, then: Evaluate, otherwise: Evaluate | None = None
) -> Collection:
    """``iif(criterion, true-result [, otherwise-result])``; only the result that is asked for is evaluated."""
    outer = context.this
    context.this = items
    try:
        if truth(context, criterion(context)) is True:
            return then(context)
        return [] if otherwise is None else otherwise(context)
    finally:
        context.this = outer


def quantity_to(context: Context, items: Collection, unit_text: Evaluate | None = None) -> Collection:
    """``toQuantity([unit])``."""
    return collection_of(_in_unit(context, items, unit_text))


def converts_to_quantity(context: Context, items: Collection, unit_text: Evaluate | None = None) -> Collection:
    """``convertsToQuantity([unit])``."""
    if not items:
        return []
    return collection_of(_in_unit(context, items, unit_text) is not None)


def _in_unit(context: Context, items: Collection, unit_text: Evaluate | None) -> Quantity | None:
    value = single_value(context, items)
    found = None if value is None else to_quantity(value)
    wanted = None if unit_text is None else single_text(context, unit_text(context))
    if found is None or wanted is None:
        return found
    wanted = CALENDAR_UNITS.get(wanted, wanted)
    source, target = unit(found.unit), unit(wanted)
    if source.dimension != target.dimension:
        return None
    return Quantity(amount_in_decimal(Fraction(found.value) * source.factor / target.factor), wanted)


def _to(convert: Callable[[SystemValue], SystemValue | None]) -> Function:
    def call(context: Context, items: Collection) -> Collection:
        value = single_value(context, items)
        return collection_of(None if value is None else convert(value))

    return Function(call)


def _converts_to(convert: Callable[[SystemValue], SystemValue | None]) -> Function:
    def call(context: Context, items: Collection) -> Collection:
        value = single_value(context, items)
        return [] if value is None else collection_of(convert(value) is not None)

    return Function(call)


_CONVERSIONS: Mapping[str, Callable[[SystemValue], SystemValue | None]] = {
    "Boolean": to_boolean,
    "Integer": to_integer,
    "Decimal": to_decimal,
    "Date": to_date,
    "DateTime": to_date_time,
    "Time": to_time,
    "String": to_text,
}
FUNCTIONS: Mapping[str, Function] = {
    "iif": Function(iif, 2, 3),
    **{f"to{name}": _to(convert) for name, convert in _CONVERSIONS.items()},
    **{f"convertsTo{name}": _converts_to(convert) for name, convert in _CONVERSIONS.items()},
    "toQuantity": Function(quantity_to, 0, 1),
    "convertsToQuantity": Function(converts_to_quantity, 0, 1),
}
