"""Tree navigation, utility functions and types: http://hl7.org/fhirpath/N1/#tree-navigation and following."""

import datetime
from collections.abc import Mapping

from fhir_server.fhir import definitions
from fhir_server.fhir.fhirpath.context import Collection, Context, Evaluate
from fhir_server.fhir.fhirpath.functions.function import Function
from fhir_server.fhir.fhirpath.nodes import TYPE_INFO, Node
from fhir_server.fhir.fhirpath.nodes import children as children_of
from fhir_server.fhir.fhirpath.system import system_node
from fhir_server.fhir.fhirpath.values import Temporal, from_datetime


def children(context: Context, items: Collection) -> Collection:
    """``children()``."""
    out: Collection = []
    for item in items:
        out += children_of(item)
        context.spend(1)
    context.spend(len(out))
    return out


def descendants(context: Context, items: Collection) -> Collection:
    """``descendants()``: all the children of children, each before its own."""
    out: Collection = []
    stack = [child for item in reversed(items) for child in reversed(children_of(item))]
    while stack:
        node = stack.pop()
        context.spend(1)
        out.append(node)
        stack.extend(reversed(children_of(node)))
    return out


def trace(context: Context, items: Collection, name: Evaluate, projection: Evaluate | None = None) -> Collection:
    """``trace(name [, projection])``: nothing is written, for it would write health data into a log."""
    return items


def now(context: Context, items: Collection) -> Collection:
    """``now()``: the same throughout an evaluation."""
    return [system_node(from_datetime(_moment(context)))]


def today(context: Context, items: Collection) -> Collection:
    """``today()``."""
    return [system_node(Temporal("Date", from_datetime(_moment(context)).parts[:3]))]


def time_of_day(context: Context, items: Collection) -> Collection:
    """``timeOfDay()``."""
    return [system_node(Temporal("Time", from_datetime(_moment(context)).parts[3:]))]


def type_(context: Context, items: Collection) -> Collection:
    """``type()``: namespace and name of each item's type; that of a backbone element is BackboneElement."""
    context.spend(len(items))
    return [Node(_type_info(item.type), TYPE_INFO) for item in items]


def _moment(context: Context) -> datetime.datetime:
    if context.now is None:
        context.now = datetime.datetime.now().astimezone()
    return context.now


def _type_info(type_code: str) -> dict[str, str]:
    if type_code.startswith("System."):
        return {"namespace": "System", "name": type_code.removeprefix("System.")}
    if "." in type_code:
        return {"namespace": "FHIR", "name": definitions.structure(type_code).base or "Element"}
    return {"namespace": "FHIR", "name": type_code}


FUNCTIONS: Mapping[str, Function] = {
    "children": Function(children),
    "descendants": Function(descendants),
    "trace": Function(trace, 1, 2),
    "now": Function(now),
    "today": Function(today),
    "timeOfDay": Function(time_of_day),
    "type": Function(type_),
}
