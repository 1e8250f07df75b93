"""Filtering and projection, aggregates: http://hl7.org/fhirpath/N1/#filtering-and-projection.

``ofType`` is compiled as ``is`` and ``as`` are, for its argument is a type and not an expression.
"""

from collections import deque
from collections.abc import Mapping

from fhir_server.fhir.fhirpath.context import Collection, Context, Evaluate
from fhir_server.fhir.fhirpath.equality import key
from fhir_server.fhir.fhirpath.functions.function import Function, each
from fhir_server.fhir.fhirpath.system import truth


def where(context: Context, items: Collection, criteria: Evaluate) -> Collection:
    """``where(criteria)``."""
    return [item for item, found in each(context, items, criteria) if truth(context, found) is True]


def select(context: Context, items: Collection, projection: Evaluate) -> Collection:
    """``select(projection)``."""
    out: Collection = []
    for _, found in each(context, items, projection):
        context.spend(len(found))
        out += found
    return out


def repeat(context: Context, items: Collection, projection: Evaluate) -> Collection:
    """``repeat(projection)``: each item once, however often and by whatever cycle it is reached."""
    out: Collection = []
    seen = set()
    waiting = deque([items])
    while waiting:
        for _, found in each(context, waiting.popleft(), projection):
            fresh = []
            for item in found:
                known = key(context, item)
                if known not in seen:
                    seen.add(known)
                    fresh.append(item)
            if fresh:
                out += fresh
                waiting.append(fresh)
    return out


def aggregate(context: Context, items: Collection, aggregator: Evaluate, start: Evaluate | None = None) -> Collection:
    """``aggregate(aggregator [, init])``."""
    outer = context.total
    context.total = [] if start is None else start(context)
    try:
        for _, found in each(context, items, aggregator):
            context.spend(len(found))
            context.total = found
        return context.total
    finally:
        context.total = outer


FUNCTIONS: Mapping[str, Function] = {
    "where": Function(where, 1),
    "select": Function(select, 1),
    "repeat": Function(repeat, 1),
    "aggregate": Function(aggregate, 1, 2),
}
