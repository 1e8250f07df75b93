"""The operators ``+ - * / div mod &`` on single System values; None stands for the empty collection.

Integers are of 32 bits and decimals of 200 digits at most (quotients of 34): what does not fit is empty, as N1 asks of
overflows, and so is a division by zero.
Spec: http://hl7.org/fhirpath/N1/#math, http://hl7.org/fhirpath/N1/#datetime-arithmetic
"""

import calendar
import datetime
from collections.abc import Callable, Mapping
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from decimal import Context as DecimalContext
from typing import TypeVar

from fhir_server.fhir.fhirpath.context import Context
from fhir_server.fhir.fhirpath.system import SystemValue
from fhir_server.fhir.fhirpath.units import canonical, times, to_decimal, unit
from fhir_server.fhir.fhirpath.values import CALENDAR_UNITS, EXACT, Part, Quantity, Temporal

QUOTIENT = DecimalContext(prec=34, rounding=ROUND_HALF_UP, Emin=-20_000, Emax=20_000, traps=[])
"""Quotients, roots and logarithms: as many digits as IEEE 754 decimal128 has."""
MAX_EXPONENT = 10_000
Number = TypeVar("Number", int, Decimal)
_MAX_INTEGER = 2**31 - 1
_DEFINITE_UNITS = {"wk": "week", "d": "day", "h": "hour", "min": "minute", "s": "second", "ms": "millisecond"}
_SECONDS = {"week": 604_800, "day": 86_400, "hour": 3600, "minute": 60, "second": 1}
_DAYS = {"year": 365, "month": 30, "week": 7, "day": 1}


def bounded(number: Number) -> Number | None:
    """Return a result, or None for an overflow or what is no number."""
    if isinstance(number, int):
        return number if -_MAX_INTEGER - 1 <= number <= _MAX_INTEGER else None
    return number if number.is_finite() and abs(number.adjusted()) < MAX_EXPONENT else None


def add(context: Context, left: SystemValue, right: SystemValue) -> SystemValue | None:
    """``left + right``."""
    if isinstance(left, str) and isinstance(right, str):
        context.spend_text(len(left) + len(right))
        return left + right
    if isinstance(left, Temporal) and isinstance(right, Quantity):
        return _moved(context, left, right, 1)
    return _sum(context, left, right, 1)


def subtract(context: Context, left: SystemValue, right: SystemValue) -> SystemValue | None:
    """``left - right``."""
    if isinstance(left, Temporal) and isinstance(right, Quantity):
        return _moved(context, left, right, -1)
    return _sum(context, left, right, -1)


def multiply(context: Context, left: SystemValue, right: SystemValue) -> SystemValue | None:
    """``left * right``."""
    if isinstance(left, Quantity) or isinstance(right, Quantity):
        one, other, code = times(_quantity(context, left), _quantity(context, right))
        return _with_unit(EXACT.multiply(one, other), code)
    one_number, other_number = _numbers(context, left, right)
    if isinstance(one_number, int) and isinstance(other_number, int):
        return bounded(one_number * other_number)
    return bounded(EXACT.multiply(Decimal(one_number), Decimal(other_number)))


def divide(context: Context, left: SystemValue, right: SystemValue) -> SystemValue | None:
    """``left / right``, always a Decimal or Quantity."""
    if isinstance(left, Quantity) or isinstance(right, Quantity):
        one, other, code = times(_quantity(context, left), _quantity(context, right), divide=True)
        return _with_unit(QUOTIENT.divide(one, other), code)
    one_number, other_number = _numbers(context, left, right)
    return bounded(QUOTIENT.divide(Decimal(one_number), Decimal(other_number)))


def div(context: Context, left: SystemValue, right: SystemValue) -> SystemValue | None:
    """``left div right``: the whole part of the quotient."""
    one, other = _numbers(context, left, right)
    if other == 0:
        return None
    whole = bounded(EXACT.divide_int(Decimal(one), Decimal(other)))
    return None if whole is None or abs(whole) > _MAX_INTEGER + 1 else bounded(int(whole))


def mod(context: Context, left: SystemValue, right: SystemValue) -> SystemValue | None:
    """``left mod right``: what remains of ``left div right``, with the sign of the left side."""
    one, other = _numbers(context, left, right)
    if other == 0:
        return None
    rest = bounded(EXACT.remainder(Decimal(one), Decimal(other)))
    return int(rest) if rest is not None and isinstance(one, int) and isinstance(other, int) else rest


def negate(context: Context, value: SystemValue) -> SystemValue | None:
    """``-value``."""
    if isinstance(value, Quantity):
        return Quantity(-value.value, value.unit)
    number, _ = _numbers(context, value, 0)
    return bounded(-number) if isinstance(number, int) else EXACT.minus(number)


OPERATORS: Mapping[str, Callable[[Context, SystemValue, SystemValue], SystemValue | None]] = {
    "+": add,
    "-": subtract,
    "*": multiply,
    "/": divide,
    "div": div,
    "mod": mod,
}


def _sum(context: Context, left: SystemValue, right: SystemValue, sign: int) -> SystemValue | None:
    if isinstance(left, Quantity) or isinstance(right, Quantity):
        return _sum_of_quantities(_quantity(context, left), _quantity(context, right), sign)
    one, other = _numbers(context, left, right)
    if isinstance(one, int) and isinstance(other, int):
        return bounded(one + sign * other)
    return bounded(EXACT.add(Decimal(one), EXACT.multiply(Decimal(other), Decimal(sign))))


def _sum_of_quantities(left: Quantity, right: Quantity, sign: int) -> Quantity | None:
    other = right.value if left.unit == right.unit else None
    if other is None:
        amount, dimension = canonical(right)
        if dimension != unit(left.unit).dimension:
            return None
        other = to_decimal(amount / unit(left.unit).factor)
    return _with_unit(EXACT.add(left.value, EXACT.multiply(other, Decimal(sign))), left.unit)


def _moved(context: Context, moment: Temporal, quantity: Quantity, sign: int) -> Temporal | None:
    word = CALENDAR_UNITS.get(quantity.unit) or _DEFINITE_UNITS.get(quantity.unit)
    if word is None:
        raise context.fault(
            "only a calendar duration, or a UCUM one from the week down, can be added to a date",
            "seule une durée du calendrier, ou une durée UCUM jusqu’à la semaine, s’ajoute à une date",
        )
    value = quantity.value.scaleb(-3) if word == "millisecond" else quantity.value
    if value.adjusted() > 15:
        return None
    unit_word = "second" if word == "millisecond" else word
    amount = value if unit_word == "second" else value.to_integral_value(ROUND_DOWN)
    if moment.kind == "Time":
        return _moved_time(moment, unit_word, amount * sign)
    try:
        return _moved_date(moment, unit_word, amount * sign)
    except (OverflowError, ValueError):
        return None


def _moved_date(moment: Temporal, word: str, amount: Decimal) -> Temporal:
    """Move by an amount, cut to what the date knows: 40 days are one month for ``@2014-03`` and none for ``@2014``."""
    known = len(moment.parts)
    if word in ("year", "month"):
        return _moved_months(moment, _whole(amount * 12 if word == "year" else amount, 12 if known == 1 else 1))
    if known < 3:
        days = amount * _DAYS[word] if word in _DAYS else _quotient(amount * _SECONDS[word], 86_400)
        count = _whole(_quotient(days, 365 if known == 1 else 30), 1)
        return _moved_months(moment, 12 * count if known == 1 else count)
    if known == 3:
        shift = datetime.timedelta(days=_whole(_quotient(amount * _SECONDS[word], 86_400), 1))
        day = datetime.date(*(int(part) for part in moment.parts)) + shift
        return Temporal(moment.kind, (day.year, day.month, day.day), moment.zone)
    return _moved_moment(moment, amount * _SECONDS[word])


def _moved_moment(moment: Temporal, seconds: Decimal) -> Temporal:
    year, month, day, hour, minute, second = (*moment.parts, 0, Decimal(0))[:6]
    start = datetime.datetime(int(year), int(month), int(day), int(hour), int(minute))
    total = EXACT.add(Decimal(second), seconds)
    minutes = _floor(_quotient(total, 60))
    end = start + datetime.timedelta(minutes=minutes)
    rest = EXACT.subtract(total, Decimal(60 * minutes))
    parts = (end.year, end.month, end.day, end.hour, end.minute, rest)
    return Temporal(moment.kind, parts[: len(moment.parts)], moment.zone)


def _moved_months(moment: Temporal, months: int) -> Temporal:
    year, month = int(moment.parts[0]), int(moment.parts[1]) if len(moment.parts) > 1 else 1
    count = year * 12 + month - 1 + months
    year, month = count // 12, count % 12 + 1
    if not 1 <= year <= 9999:
        raise ValueError(year)
    parts: tuple[Part, ...] = (year, month, *moment.parts[2:])
    if len(parts) > 2:
        parts = (year, month, min(int(parts[2]), calendar.monthrange(year, month)[1]), *parts[3:])
    return Temporal(moment.kind, parts[: len(moment.parts)], moment.zone)


def _moved_time(moment: Temporal, word: str, amount: Decimal) -> Temporal | None:
    if word not in ("hour", "minute", "second"):
        return moment
    hour, minute, second = (*moment.parts, 0, Decimal(0))[:3]
    seconds = Decimal(int(hour) * 3600 + int(minute) * 60) + Decimal(second) + amount * _SECONDS[word]
    seconds -= 86_400 * _floor(_quotient(seconds, 86_400))
    whole = _floor(seconds)
    parts = (whole // 3600, whole // 60 % 60, whole % 60 + (seconds - whole))
    return Temporal("Time", parts[: len(moment.parts)])


def _whole(amount: Decimal, multiple: int) -> int:
    """Return an amount without its fraction, cut towards zero to a multiple."""
    count = int(amount)
    return (abs(count) // multiple * multiple) * (-1 if count < 0 else 1)


def _quotient(amount: Decimal, divisor: int) -> Decimal:
    return QUOTIENT.divide(amount, Decimal(divisor))


def _floor(amount: Decimal) -> int:
    whole = int(amount)
    return whole - 1 if amount < whole else whole


def _with_unit(amount: Decimal, code: str) -> Quantity | None:
    found = bounded(amount)
    return None if found is None else Quantity(Decimal(found), code)


def _quantity(context: Context, value: SystemValue) -> Quantity:
    if isinstance(value, Quantity):
        return value
    number, _ = _numbers(context, value, 0)
    return Quantity(Decimal(number), "1")


def _numbers(context: Context, left: SystemValue, right: SystemValue) -> tuple[int | Decimal, int | Decimal]:
    if (
        isinstance(left, int | Decimal)
        and isinstance(right, int | Decimal)
        and not isinstance(left, bool)
        and not isinstance(right, bool)
    ):
        return left, right
    raise context.fault(
        "this operator does not take values of these types",
        "cet opérateur ne s’applique pas à des valeurs de ces types",
    )
