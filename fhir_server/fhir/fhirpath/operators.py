"""Operators as closures: http://hl7.org/fhirpath/N1/#operations."""

from collections.abc import Callable, Mapping

from fhir_server.fhir.fhirpath import arithmetic
from fhir_server.fhir.fhirpath.context import Collection, Context, Evaluate
from fhir_server.fhir.fhirpath.equality import compare, equal, equivalent, key, keys
from fhir_server.fhir.fhirpath.system import (
    FALSE,
    TRUE,
    SystemValue,
    collection_of,
    single,
    single_text,
    single_value,
    truth,
)

_ORDERS: Mapping[str, Callable[[int], bool]] = {
    "<": lambda order: order < 0,
    ">": lambda order: order > 0,
    "<=": lambda order: order <= 0,
    ">=": lambda order: order >= 0,
}


def compile_unary(operator: str, operand: Evaluate) -> Evaluate:
    """Return ``+x`` or ``-x``; both take a number or a Quantity."""

    def unary(context: Context) -> Collection:
        value = single_value(context, operand(context))
        if value is None:
            return []
        negative = arithmetic.negate(context, value)
        return collection_of(negative if operator == "-" else value)

    return unary


def compile_binary(operator: str, left: Evaluate, right: Evaluate) -> Evaluate:
    """Return the closure of any operator but ``|``, ``is`` and ``as``."""
    build = _BUILDERS.get(operator)
    if build is not None:
        return build(left, right)
    if operator in _ORDERS:
        return _compile_order(_ORDERS[operator], left, right)
    return _compile_arithmetic(arithmetic.OPERATORS[operator], left, right)


def _compile_arithmetic(
    operate: Callable[[Context, SystemValue, SystemValue], SystemValue | None], left: Evaluate, right: Evaluate
) -> Evaluate:
    def calculate(context: Context) -> Collection:
        context.spend(1)
        one, other = single_value(context, left(context)), single_value(context, right(context))
        return [] if one is None or other is None else collection_of(operate(context, one, other))

    return calculate


def _compile_order(holds: Callable[[int], bool], left: Evaluate, right: Evaluate) -> Evaluate:
    def order(context: Context) -> Collection:
        context.spend(1)
        one, other = single_value(context, left(context)), single_value(context, right(context))
        found = None if one is None or other is None else compare(context, one, other)
        return [] if found is None else collection_of(holds(found))

    return order


def _concatenate(left: Evaluate, right: Evaluate) -> Evaluate:
    def concatenate(context: Context) -> Collection:
        one = single_text(context, left(context)) or ""
        other = single_text(context, right(context)) or ""
        context.spend_text(len(one) + len(other))
        return collection_of(one + other)

    return concatenate


def _equal(left: Evaluate, right: Evaluate) -> Evaluate:
    return lambda context: collection_of(equal(context, left(context), right(context)))


def _unequal(left: Evaluate, right: Evaluate) -> Evaluate:
    def unequal(context: Context) -> Collection:
        same = equal(context, left(context), right(context))
        return [] if same is None else collection_of(not same)

    return unequal


def _equivalent(left: Evaluate, right: Evaluate) -> Evaluate:
    return lambda context: collection_of(equivalent(context, left(context), right(context)))


def _not_equivalent(left: Evaluate, right: Evaluate) -> Evaluate:
    return lambda context: collection_of(not equivalent(context, left(context), right(context)))


def _in(left: Evaluate, right: Evaluate) -> Evaluate:
    def in_(context: Context) -> Collection:
        item = single(context, left(context))
        if item is None:
            return []
        items = right(context)
        return [TRUE] if items and key(context, item) in keys(context, items) else [FALSE]

    return in_


def _contains(left: Evaluate, right: Evaluate) -> Evaluate:
    return _in(right, left)


def _and(left: Evaluate, right: Evaluate) -> Evaluate:
    def and_(context: Context) -> Collection:
        one = truth(context, left(context))
        if one is False:
            return [FALSE]
        other = truth(context, right(context))
        return [FALSE] if other is False else [] if one is None or other is None else [TRUE]

    return and_


def _or(left: Evaluate, right: Evaluate) -> Evaluate:
    def or_(context: Context) -> Collection:
        one = truth(context, left(context))
        if one is True:
            return [TRUE]
        other = truth(context, right(context))
        return [TRUE] if other is True else [] if one is None or other is None else [FALSE]

    return or_


def _xor(left: Evaluate, right: Evaluate) -> Evaluate:
    def xor(context: Context) -> Collection:
        one, other = truth(context, left(context)), truth(context, right(context))
        return [] if one is None or other is None else collection_of(one is not other)

    return xor


def _implies(left: Evaluate, right: Evaluate) -> Evaluate:
    def implies(context: Context) -> Collection:
        one = truth(context, left(context))
        if one is False:
            return [TRUE]
        other = truth(context, right(context))
        return [TRUE] if other is True else [] if one is None or other is None else [FALSE]

    return implies


_BUILDERS: Mapping[str, Callable[[Evaluate, Evaluate], Evaluate]] = {
    "&": _concatenate,
    "=": _equal,
    "!=": _unequal,
    "~": _equivalent,
    "!~": _not_equivalent,
    "in": _in,
    "contains": _contains,
    "and": _and,
    "or": _or,
    "xor": _xor,
    "implies": _implies,
}
