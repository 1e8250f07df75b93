"""Existence: http://hl7.org/fhirpath/N1/#existence."""

from collections.abc import Mapping

from fhir_server.fhir.fhirpath.context import Collection, Context, Evaluate
from fhir_server.fhir.fhirpath.equality import distinct as distinct_items
from fhir_server.fhir.fhirpath.equality import keys
from fhir_server.fhir.fhirpath.functions.function import Function, each
from fhir_server.fhir.fhirpath.system import FALSE, TRUE, collection_of, system_value, truth


def empty(context: Context, items: Collection) -> Collection:
    """``empty()``."""
    return [FALSE] if items else [TRUE]


def exists(context: Context, items: Collection, criteria: Evaluate | None = None) -> Collection:
    """``exists([criteria])``."""
    if criteria is None:
        return [TRUE] if items else [FALSE]
    return [TRUE] if any(truth(context, found) is True for _, found in each(context, items, criteria)) else [FALSE]


def all_(context: Context, items: Collection, criteria: Evaluate) -> Collection:
    """``all(criteria)``."""
    return [TRUE] if all(truth(context, found) is True for _, found in each(context, items, criteria)) else [FALSE]


def all_true(context: Context, items: Collection) -> Collection:
    """``allTrue()``."""
    return collection_of(all(_booleans(context, items)))


def any_true(context: Context, items: Collection) -> Collection:
    """``anyTrue()``."""
    return collection_of(any(_booleans(context, items)))


def all_false(context: Context, items: Collection) -> Collection:
    """``allFalse()``."""
    return collection_of(not any(_booleans(context, items)))


def any_false(context: Context, items: Collection) -> Collection:
    """``anyFalse()``."""
    return collection_of(not all(_booleans(context, items)))


def subset_of(context: Context, items: Collection, other: Evaluate) -> Collection:
    """``subsetOf(other)``."""
    return collection_of(keys(context, items).keys() <= keys(context, other(context)).keys())


def superset_of(context: Context, items: Collection, other: Evaluate) -> Collection:
    """``supersetOf(other)``."""
    return collection_of(keys(context, items).keys() >= keys(context, other(context)).keys())


def count(context: Context, items: Collection) -> Collection:
    """``count()``."""
    return collection_of(len(items))


def distinct(context: Context, items: Collection) -> Collection:
    """``distinct()``."""
    return distinct_items(context, items)


def is_distinct(context: Context, items: Collection) -> Collection:
    """``isDistinct()``."""
    return collection_of(len(distinct_items(context, items)) == len(items))


def not_(context: Context, items: Collection) -> Collection:
    """``not()``."""
    value = truth(context, items)
    return [] if value is None else collection_of(not value)


def _booleans(context: Context, items: Collection) -> list[bool]:
    context.spend(len(items))
    found = [system_value(item) for item in items]
    if all(isinstance(value, bool) for value in found):
        return [value is True for value in found]
    raise context.fault("this function takes Booleans only", "cette fonction ne prend que des booléens")


FUNCTIONS: Mapping[str, Function] = {
    "empty": Function(empty),
    "exists": Function(exists, 0, 1),
    "all": Function(all_, 1),
    "allTrue": Function(all_true),
    "anyTrue": Function(any_true),
    "allFalse": Function(all_false),
    "anyFalse": Function(any_false),
    "subsetOf": Function(subset_of, 1),
    "supersetOf": Function(superset_of, 1),
    "count": Function(count),
    "distinct": Function(distinct),
    "isDistinct": Function(is_distinct),
    "not": Function(not_),
}
