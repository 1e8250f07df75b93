"""Math: http://hl7.org/fhirpath/N1/#math-1. Overflows and what has no real result give the empty collection."""

from collections.abc import Callable, Mapping
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, ROUND_HALF_UP, Decimal

from fhir_server.fhir.fhirpath.arithmetic import QUOTIENT, bounded
from fhir_server.fhir.fhirpath.context import Collection, Context, Evaluate
from fhir_server.fhir.fhirpath.functions.function import Function
from fhir_server.fhir.fhirpath.system import collection_of, single_integer, single_value
from fhir_server.fhir.fhirpath.values import EXACT, Quantity

_MAX_PLACES = 100
_MAX_INTEGER_DIGITS = 10
_LOG_PLACES = Decimal("1e-28")


def absolute(context: Context, items: Collection) -> Collection:
    """``abs()``, of a Quantity too."""
    value = single_value(context, items)
    if isinstance(value, Quantity):
        return collection_of(Quantity(abs(value.value), value.unit))
    number = _number(context, items)
    if isinstance(number, int):
        return collection_of(bounded(abs(number)))
    return collection_of(None if number is None else EXACT.abs(number))


def round_(context: Context, items: Collection, precision: Evaluate | None = None) -> Collection:
    """``round([precision])``: halves away from zero."""
    number = _number(context, items)
    places = 0 if precision is None else single_integer(context, precision(context))
    if number is None or places is None:
        return []
    if places < 0:
        raise context.fault("the precision may not be negative", "la précision ne peut être négative")
    if isinstance(number, int) or places > _MAX_PLACES:
        return collection_of(number if isinstance(number, int) else bounded(number))
    rounded = EXACT.quantize(number, Decimal(1).scaleb(-places))
    return collection_of(bounded(rounded))


def power(context: Context, items: Collection, exponent: Evaluate) -> Collection:
    """``power(exponent)``: an Integer when both are, and the result fits."""
    number, by = _number(context, items), _number(context, exponent(context))
    if number is None or by is None:
        return []
    if isinstance(number, int) and isinstance(by, int) and by >= 0:
        if by > 31 and abs(number) > 1:
            return []
        return collection_of(bounded(number ** (by if by <= 31 else 2 + by % 2)))
    return collection_of(bounded(QUOTIENT.power(Decimal(number), Decimal(by))))


def log(context: Context, items: Collection, base: Evaluate) -> Collection:
    """``log(base)``."""
    number, by = _number(context, items), _number(context, base(context))
    if number is None or by is None or number <= 0 or by <= 0 or by == 1:
        return []
    quotient = QUOTIENT.divide(QUOTIENT.ln(Decimal(number)), QUOTIENT.ln(Decimal(by)))
    # Both logarithms are rounded: the last digits of the quotient are noise, and 100.log(10) is exactly 2.
    return collection_of(bounded(quotient.quantize(_LOG_PLACES, ROUND_HALF_UP, QUOTIENT)))


def _on_number(operate: Callable[[Decimal], Decimal]) -> Function:
    def call(context: Context, items: Collection) -> Collection:
        number = _number(context, items)
        return collection_of(None if number is None else bounded(operate(Decimal(number))))

    return Function(call)


def _to_whole(rounding: str) -> Function:
    def call(context: Context, items: Collection) -> Collection:
        number = _number(context, items)
        if number is None or isinstance(number, int):
            return collection_of(number)
        if number.adjusted() > _MAX_INTEGER_DIGITS:
            return []
        return collection_of(bounded(int(number.to_integral_value(rounding))))

    return Function(call)


def _number(context: Context, items: Collection) -> int | Decimal | None:
    value = single_value(context, items)
    if value is None or (isinstance(value, int | Decimal) and not isinstance(value, bool)):
        return value
    raise context.fault("a number is needed here", "un nombre est attendu ici")


FUNCTIONS: Mapping[str, Function] = {
    "abs": Function(absolute),
    "ceiling": _to_whole(ROUND_CEILING),
    "floor": _to_whole(ROUND_FLOOR),
    "truncate": _to_whole(ROUND_DOWN),
    "round": Function(round_, 0, 1),
    "exp": _on_number(QUOTIENT.exp),
    "ln": _on_number(QUOTIENT.ln),
    "sqrt": _on_number(QUOTIENT.sqrt),
    "log": Function(log, 1),
    "power": Function(power, 1),
}
