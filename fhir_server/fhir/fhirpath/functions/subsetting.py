"""Subsetting and combining: http://hl7.org/fhirpath/N1/#subsetting, http://hl7.org/fhirpath/N1/#combining."""

from collections.abc import Mapping

from fhir_server.fhir.fhirpath.context import Collection, Context, Evaluate
from fhir_server.fhir.fhirpath.equality import distinct, key, keys
from fhir_server.fhir.fhirpath.functions.function import Function
from fhir_server.fhir.fhirpath.system import single, single_integer


def single_(context: Context, items: Collection) -> Collection:
    """``single()``."""
    single(context, items)
    return items


def first(context: Context, items: Collection) -> Collection:
    """``first()``."""
    return items[:1]


def last(context: Context, items: Collection) -> Collection:
    """``last()``."""
    return items[-1:]


def tail(context: Context, items: Collection) -> Collection:
    """``tail()``."""
    context.spend(len(items) >> 4)
    return items[1:]


def skip(context: Context, items: Collection, number: Evaluate) -> Collection:
    """``skip(num)``."""
    context.spend(len(items) >> 4)
    return items[max(_required_integer(context, number), 0) :]


def take(context: Context, items: Collection, number: Evaluate) -> Collection:
    """``take(num)``."""
    context.spend(len(items) >> 4)
    return items[: max(_required_integer(context, number), 0)]


def intersect(context: Context, items: Collection, other: Evaluate) -> Collection:
    """``intersect(other)``: without repetitions."""
    shared = keys(context, other(context))
    return [item for item in distinct(context, items) if key(context, item) in shared]


def exclude(context: Context, items: Collection, other: Evaluate) -> Collection:
    """``exclude(other)``: repetitions stay."""
    unwanted = keys(context, other(context))
    return [item for item in items if key(context, item) not in unwanted]


def union(context: Context, items: Collection, other: Evaluate) -> Collection:
    """``union(other)``: without repetitions, as the operator ``|``."""
    return distinct(context, items + other(context))


def combine(context: Context, items: Collection, other: Evaluate) -> Collection:
    """``combine(other)``: repetitions stay."""
    more = other(context)
    context.spend(len(items) + len(more))
    return items + more


def _required_integer(context: Context, number: Evaluate) -> int:
    value = single_integer(context, number(context))
    if value is None:
        raise context.fault("an integer is needed here", "un entier est attendu ici")
    return value


FUNCTIONS: Mapping[str, Function] = {
    "single": Function(single_),
    "first": Function(first),
    "last": Function(last),
    "tail": Function(tail),
    "skip": Function(skip, 1),
    "take": Function(take, 1),
    "intersect": Function(intersect, 1),
    "exclude": Function(exclude, 1),
    "union": Function(union, 1),
    "combine": Function(combine, 1),
}
