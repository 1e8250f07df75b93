"""FHIR values as System values, and collections as single values.

Spec: http://hl7.org/fhir/R4/fhirpath.html#types, http://hl7.org/fhirpath/N1/#singleton-evaluation-of-collections
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, TypeAlias

from fhir_server.fhir.fhirpath.context import Collection, Context
from fhir_server.fhir.fhirpath.nodes import Node
from fhir_server.fhir.fhirpath.values import Quantity, Temporal, parse_moment, parse_time

SystemValue: TypeAlias = bool | int | Decimal | str | Temporal | Quantity

TRUE = Node(True, "System.Boolean")
FALSE = Node(False, "System.Boolean")
UCUM = "http://unitsofmeasure.org"
TEXT_TYPES = frozenset(
    {"string", "code", "id", "markdown", "uri", "url", "canonical", "oid", "uuid", "base64Binary", "xhtml"}
)
QUANTITY_TYPES = frozenset({"Quantity", "Age", "Count", "Distance", "Duration", "SimpleQuantity", "MoneyQuantity"})
_CALENDAR_CODES = {"a": "year", "mo": "month", "wk": "week", "d": "day", "h": "hour", "min": "minute", "s": "second"}
_PYTHON_TYPES: tuple[tuple[type, str], ...] = (
    (bool, "System.Boolean"),
    (int, "System.Integer"),
    (Decimal, "System.Decimal"),
    (str, "System.String"),
    (Quantity, "System.Quantity"),
)


def system_node(value: SystemValue) -> Node:
    """Return a System value as an item of a collection."""
    if value is True:
        return TRUE
    if value is False:
        return FALSE
    if isinstance(value, Temporal):
        return Node(value, f"System.{value.kind}")
    return Node(value, next(name for kind, name in _PYTHON_TYPES if isinstance(value, kind)))


def collection_of(value: SystemValue | None) -> Collection:
    """Return a System value as a collection; None is the empty one."""
    return [] if value is None else [system_node(value)]


def system_value(node: Node) -> SystemValue | None:
    """Return what an item is as a System value; None for complex types and for primitives without a (valid) value."""
    value = node.value
    if value is None:
        return None
    convert = _CONVERSIONS.get(node.type)
    if convert is not None:
        return convert(value)
    if node.type.startswith("System.") and type(value) is not dict:
        found: SystemValue = value
        return found
    return None


def truth(context: Context, items: Collection) -> bool | None:
    """Return a collection as true, false or empty; a single item that is not a Boolean counts as true."""
    if not items:
        return None
    if len(items) > 1:
        raise several_items(context)
    value = system_value(items[0])
    return value if isinstance(value, bool) else True


def single(context: Context, items: Collection) -> Node | None:
    """Return the only item or None; raises ``errors.Processing`` for more than one."""
    if len(items) > 1:
        raise several_items(context)
    return items[0] if items else None


def single_value(context: Context, items: Collection) -> SystemValue | None:
    """Return the only item as a System value or None; raises ``errors.Processing`` for a complex one or several."""
    node = single(context, items)
    if node is None:
        return None
    value = system_value(node)
    if value is None and node.value is not None:
        raise context.fault("a primitive value is needed here", "une valeur primitive est attendue ici")
    return value


def single_text(context: Context, items: Collection) -> str | None:
    """Return the only item, a String, or None; raises ``errors.Processing`` for anything else."""
    value = single_value(context, items)
    if value is None or isinstance(value, str):
        return value
    raise context.fault("a text is needed here", "un texte est attendu ici")


def single_integer(context: Context, items: Collection) -> int | None:
    """Return the only item, an Integer, or None; raises ``errors.Processing`` for anything else."""
    value = single_value(context, items)
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise context.fault("an integer is needed here", "un entier est attendu ici")


def several_items(context: Context) -> Exception:
    """Return the error for a collection of several items where one is needed."""
    return context.fault(
        "one value is needed where the collection has several",
        "une seule valeur est attendue là où la collection en a plusieurs",
    )


def quantity(value: Any) -> Quantity | None:
    """Return a FHIR Quantity as a System one: no comparator, a unit of UCUM, or else what names the unit."""
    if type(value) is not dict or "comparator" in value:
        return None
    number = _decimal(value.get("value"))
    if number is None:
        return None
    code = value.get("code")
    if isinstance(code, str):
        if value.get("system") in (UCUM, None):
            return Quantity(number, _CALENDAR_CODES.get(code, code))
        return Quantity(number, f"{value['system']}|{code}")
    unit = value.get("unit")
    return Quantity(number, unit if isinstance(unit, str) else "1")


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _boolean(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _integer(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _decimal(value: Any) -> Decimal | None:
    if isinstance(value, Decimal):
        return value
    return Decimal(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _date(value: Any) -> Temporal | None:
    return parse_moment(value, "Date") if isinstance(value, str) else None


def _date_time(value: Any) -> Temporal | None:
    return parse_moment(value, "DateTime") if isinstance(value, str) else None


def _time(value: Any) -> Temporal | None:
    return parse_time(value) if isinstance(value, str) else None


_CONVERSIONS: Mapping[str, Callable[[Any], SystemValue | None]] = {
    **dict.fromkeys(TEXT_TYPES, _text),
    **dict.fromkeys(QUANTITY_TYPES, quantity),
    **dict.fromkeys(("integer", "positiveInt", "unsignedInt"), _integer),
    "boolean": _boolean,
    "decimal": _decimal,
    "date": _date,
    "dateTime": _date_time,
    "instant": _date_time,
    "time": _time,
}
