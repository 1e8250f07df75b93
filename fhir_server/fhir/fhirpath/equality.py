"""``=``, ``~``, ``<`` and what makes two items the same in a set.

Equality knows three answers: dates of different precision, and times of which only one has a zone, are neither equal
nor unequal (None). ``key`` is hashable and the same exactly where ``equal`` is true, so sets cost linear time.
Spec: http://hl7.org/fhirpath/N1/#equality, http://hl7.org/fhirpath/N1/#comparison
"""

import datetime
from collections import Counter
from collections.abc import Hashable
from decimal import Decimal
from typing import Any

from fhir_server.fhir.fhirpath.context import Collection, Context
from fhir_server.fhir.fhirpath.nodes import Node
from fhir_server.fhir.fhirpath.system import SystemValue, system_value
from fhir_server.fhir.fhirpath.units import canonical, to_decimal, to_definite, unit
from fhir_server.fhir.fhirpath.values import EXACT, Quantity, Temporal

_WIDEST_ZONE = 14 * 60
_CALENDAR = (("month", 1),)
_SECONDS = (("s", 1),)


def equal(context: Context, left: Collection, right: Collection) -> bool | None:
    """Return whether two collections hold equal items in the same order; None when one is empty or it is not known."""
    if not left or not right:
        return None
    if len(left) != len(right):
        return False
    context.spend(len(left))
    known = True
    for one, other in zip(left, right, strict=True):
        same = _equal_items(context, one, other)
        if same is False:
            return False
        known = known and same is True
    return True if known else None


def equivalent(context: Context, left: Collection, right: Collection) -> bool:
    """Return whether two collections hold equivalent items in any order."""
    if len(left) != len(right):
        return False
    rest = list(right)
    for one in left:
        context.spend(len(rest))
        match = next((i for i, other in enumerate(rest) if _equivalent_items(context, one, other)), None)
        if match is None:
            return False
        del rest[match]
    return True


def compare(context: Context, left: SystemValue, right: SystemValue) -> int | None:
    """Return less than 0, 0, more than 0, or None when it is not known; raises for values of different kinds."""
    if isinstance(left, str) and isinstance(right, str):
        return _sign(left, right)
    if _is_number(left) and _is_number(right):
        return _sign(left, right)
    if isinstance(left, Temporal) and isinstance(right, Temporal) and (left.kind == "Time") == (right.kind == "Time"):
        return _compare_temporals(left, right)
    if (isinstance(left, Quantity) or isinstance(right, Quantity)) and not isinstance(left, Temporal):
        one, other = _as_quantity(left), _as_quantity(right)
        if one is not None and other is not None:
            (amount, dimension), (other_amount, other_dimension) = canonical(one), canonical(other)
            return _sign(amount, other_amount) if dimension == other_dimension else None
    raise context.fault("these two values cannot be compared", "ces deux valeurs ne sont pas comparables")


def distinct(context: Context, items: Collection) -> Collection:
    """Return the items without the repetitions of equal ones."""
    if len(items) < 2:
        return items
    found: dict[Hashable, Node] = {}
    for item in items:
        found.setdefault(key(context, item), item)
    return list(found.values())


def keys(context: Context, items: Collection) -> Counter[Hashable]:
    """Return how often each key comes in a collection."""
    return Counter(key(context, item) for item in items)


def key(context: Context, node: Node) -> Hashable:
    """Return what is the same for two items exactly when they are equal; spends a step for each part of the item."""
    context.spend(1)
    value = system_value(node)
    if value is None:
        return ("complex", _freeze(context, node.extras if node.value is None else node.value))
    if isinstance(value, bool):
        return ("boolean", value)
    if isinstance(value, Temporal):
        moment = value.in_utc()
        return ("time", value.kind == "Time", moment.parts, moment.zone is None or len(moment.parts) < 4)
    if isinstance(value, Quantity):
        amount, dimension = canonical(value)
        return ("quantity" if dimension else "value", amount, dimension) if dimension else ("value", amount)
    return ("value", value)


def _equal_items(context: Context, left: Node, right: Node) -> bool | None:
    one, other = system_value(left), system_value(right)
    if one is None or other is None:
        if left.value is None and right.value is None:
            return bool(left.extras == right.extras)
        if left.value is None or right.value is None:
            return None  # what is not told may be anything
        context.spend(_weight(left.value))
        return bool(left.value == right.value) and isinstance(left.value, dict)
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, Temporal) and isinstance(other, Temporal):
        if (one.kind == "Time") != (other.kind == "Time"):
            return False
        order = _compare_temporals(one, other)
        return None if order is None else order == 0
    if isinstance(one, Quantity) or isinstance(other, Quantity):
        return _equal_quantities(_as_quantity(one), _as_quantity(other))
    return (type(one) is type(other) and one == other) or (_is_number(one) and _is_number(other) and one == other)


def _equal_quantities(left: Quantity | None, right: Quantity | None) -> bool | None:
    if left is None or right is None:
        return False
    (amount, dimension), (other_amount, other_dimension) = canonical(left), canonical(right)
    if dimension == other_dimension:
        return amount == other_amount
    return None if {dimension, other_dimension} == {_CALENDAR, _SECONDS} else False


def _equivalent_items(context: Context, left: Node, right: Node) -> bool:
    one, other = system_value(left), system_value(right)
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, str) and isinstance(other, str):
        context.spend((len(one) + len(other)) >> 4)
        return _plain_text(one) == _plain_text(other)
    if one is not None and other is not None and _is_number(one) and _is_number(other):
        return _equivalent_numbers(_to_decimal(one), _to_decimal(other))
    if isinstance(one, Quantity) and isinstance(other, Quantity):
        return _equivalent_quantities(to_definite(one), to_definite(other))
    if one is None and other is None and isinstance(left.value, dict) and isinstance(right.value, dict):
        context.spend(_weight(left.value))
        return _equivalent_raw(left.value, right.value)
    return _equal_items(context, left, right) is True


def _equivalent_quantities(left: Quantity, right: Quantity) -> bool:
    one, other = unit(left.unit), unit(right.unit)
    if one.dimension != other.dimension:
        return False
    # In the coarser of the two units: 4 'g' ~ 4040 'mg' is a question about grams, of which 4 has no decimals.
    factor = max(one.factor, other.factor)
    amounts = (to_decimal(canonical(each)[0] / factor) for each in (left, right))
    return _equivalent_numbers(*amounts)


def _equivalent_raw(left: Any, right: Any) -> bool:
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_equivalent_raw(left[name], right[name]) for name in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_equivalent_raw, left, right))
    if isinstance(left, str) and isinstance(right, str):
        return _plain_text(left) == _plain_text(right)
    return bool(left == right)


def _equivalent_numbers(left: Decimal, right: Decimal) -> bool:
    places = max(_exponent(left), _exponent(right))
    quantum = Decimal(1).scaleb(places)
    one, other = (EXACT.quantize(number, quantum) for number in (left, right))
    return left == right if one.is_nan() or other.is_nan() else one == other


def _exponent(number: Decimal) -> int:
    exponent = EXACT.normalize(number).as_tuple().exponent
    return min(exponent, 0) if isinstance(exponent, int) else 0


def _compare_temporals(left: Temporal, right: Temporal) -> int | None:
    with_time = len(left.parts) > 3 and len(right.parts) > 3 and left.kind != "Time"
    if with_time and (left.zone is None) != (right.zone is None) and _within_zones(left, right):
        return None
    if with_time and left.zone is not None and right.zone is not None:
        left, right = left.in_utc(), right.in_utc()
    for one, other in zip(left.parts, right.parts, strict=False):
        if one != other:
            return -1 if one < other else 1
    return 0 if len(left.parts) == len(right.parts) else None


def _within_zones(left: Temporal, right: Temporal) -> bool:
    """Say whether a time zone could decide which of the two comes first."""
    one, other = (_minute(moment) for moment in (left, right))
    return abs(one - other) <= datetime.timedelta(minutes=2 * _WIDEST_ZONE)


def _minute(moment: Temporal) -> datetime.datetime:
    year, month, day, hour, minute = (int(part) for part in (*moment.parts[:5], 0)[:5])
    return datetime.datetime(year, month, day, hour, minute)


def _freeze(context: Context, value: Any) -> Hashable:
    if isinstance(value, dict):
        context.spend(len(value))
        return frozenset((name, _freeze(context, item)) for name, item in value.items())
    if isinstance(value, list):
        context.spend(len(value))
        return tuple(_freeze(context, item) for item in value)
    return ("boolean", value) if isinstance(value, bool) else value


def _weight(value: Any) -> int:
    """Return how many parts a JSON value has: what it costs to compare it."""
    if isinstance(value, dict):
        return 1 + sum(map(_weight, value.values()))
    return 1 + sum(map(_weight, value)) if isinstance(value, list) else 1


def _as_quantity(value: SystemValue) -> Quantity | None:
    if isinstance(value, Quantity):
        return value
    return Quantity(_to_decimal(value), "1") if _is_number(value) else None


def _is_number(value: SystemValue) -> bool:
    return isinstance(value, int | Decimal) and not isinstance(value, bool)


def _to_decimal(value: Any) -> Decimal:
    return value if isinstance(value, Decimal) else Decimal(value)


def _plain_text(text: str) -> str:
    return " ".join(text.casefold().split())


def _sign(left: Any, right: Any) -> int:
    return int(left > right) - int(left < right)
