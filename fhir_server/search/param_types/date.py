"""Date parameters: every date is a range of milliseconds in UTC, start included and end excluded.

A value without a time zone counts as UTC. A period that lacks a side is open there. Of a Timing only the outer limits
count. Fractions finer than a millisecond widen the range to whole milliseconds, on both sides alike.
Spec: http://hl7.org/fhir/R4/search.html#date
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from fhir_server.errors import NotSupported, Text
from fhir_server.fhir import datatypes
from fhir_server.search.ast import DateIs, Node, PrimaryDateIs, UpdatedIs
from fhir_server.search.entries import Entries, Extract
from fhir_server.search.parameters import SearchParameter
from fhir_server.search.ranges import Bounds, Comparison, Prefix, passes, to_conditions
from fhir_server.search.values import split_prefix, unescape

Range = tuple[datetime, datetime]

FIRST = datetime(1, 1, 1, tzinfo=UTC)
LAST = datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)
LONG = timedelta(days=1)
"""A primary date that lasts longer is marked (``Encounter:long``), so that all others can be looked for by ``ds``."""

_MILLISECOND = timedelta(milliseconds=1)
_SECOND = timedelta(seconds=1)
_USUAL = re.compile(r"\d{4}-\d\d-\d\dT(?:[01]\d|2[0-3]):\d\d:\d\d(?:Z|[+-](?:0\d|1[0-3]):[0-5]\d|[+-]14:00)", re.ASCII)
"""Whole seconds with a time zone. ``fromisoformat`` alone would also take what FHIR does not have, such as weeks."""
_TEXTS = frozenset({"date", "dateTime", "instant", "System.Date", "System.DateTime"})


def build_extractor(parameter: SearchParameter) -> Extract:
    """Return the function that adds the range of one value; that of the primary date goes to ``primary``."""
    key, primary = parameter.key, parameter.primary

    def extract(value: Any, kind: str, entries: Entries) -> None:
        found = range_of(value, kind)
        if found is None:
            return
        if primary:
            entries.primary = found
        else:
            entries.d[key, found[0], found[1]] = None

    return extract


def parse(parameter: SearchParameter, modifier: str | None, value: str, now: datetime) -> Node:
    """Return the condition of one value; ``ap`` is as wide as a tenth of the distance to ``now``.

    Raises ``Value``, or ``NotSupported`` for a modifier.
    """
    if modifier is not None:
        raise NotSupported(Text(f"the modifier :{modifier}", f"le modificateur :{modifier}"))
    text = unescape(value)
    if parameter.code == "_lastUpdated":
        return UpdatedIs(_instant_bounds(parse_bounds(text, now)))
    if parameter.primary:
        return PrimaryDateIs(parameter.resource_type, parse_bounds(text, now, "ds", "de"))
    return DateIs(parameter.key, parse_bounds(text, now))


def parse_bounds(text: str, now: datetime, start: str = "s", end: str = "e") -> Bounds:
    """Return what a date with its prefix says of an entry's fields ``start`` and ``end``. Raises ``Value``."""
    prefix, said = split_prefix(text)
    low, high = date_range(said)
    if prefix == "ap":
        low, high = _widened(low, high, now)
    return to_bounds(prefix, low, high, start, end)


def overlapping(parameter: SearchParameter, text: str) -> Node:
    """Return the condition that the value's range has an instant in common with that of a date."""
    start, end = ("ds", "de") if parameter.primary else ("s", "e")
    bounds = to_bounds("ap", *date_range(text), start, end)
    return PrimaryDateIs(parameter.resource_type, bounds) if parameter.primary else DateIs(parameter.key, bounds)


def to_filter(leaf: DateIs | PrimaryDateIs | UpdatedIs) -> dict[str, Any]:
    """Return the leaf as a MongoDB filter."""
    match leaf:
        case DateIs(key, bounds):
            return {"d": {"$elemMatch": {"p": key, **to_conditions(bounds)}}}
        case PrimaryDateIs(resource_type, bounds):
            return {"type": resource_type, **to_conditions(bounds)}
        case UpdatedIs(bounds):
            return to_conditions(bounds)


def matches(leaf: DateIs | PrimaryDateIs | UpdatedIs, document: Mapping[str, Any]) -> bool:
    """Say whether the index document keeps the bounds."""
    match leaf:
        case DateIs(key, bounds):
            return any(entry["p"] == key and passes(bounds, entry) for entry in document.get("d", ()))
        case PrimaryDateIs(resource_type, bounds):
            return document.get("type") == resource_type and passes(bounds, document)
        case UpdatedIs(bounds):
            return passes(bounds, document)


def to_bounds(prefix: Prefix, low: datetime, high: datetime, start: str = "s", end: str = "e") -> Bounds:
    """Return what the table of prefixes says of a value's [start, end) against the search's [low, high).

    ``ge`` (and ``le`` likewise) is "above, or contained": the end is above ``high``, or the start not below ``low``.
    Either says that the end is above ``low``, which is given too, for the index.
    """
    match prefix:
        case "eq":
            every = (Comparison(start, "$gte", low), Comparison(start, "$lt", high), Comparison(end, "$lte", high))
            return Bounds(every)
        case "ne":
            return Bounds(some=(Comparison(start, "$lt", low), Comparison(end, "$gt", high)))
        case "gt":
            return Bounds((Comparison(end, "$gt", high),))
        case "lt":
            return Bounds((Comparison(start, "$lt", low),))
        case "ge":
            above = (Comparison(end, "$gt", high), Comparison(start, "$gte", low))
            return Bounds((Comparison(end, "$gt", low),), above)
        case "le":
            below = (Comparison(start, "$lt", low), Comparison(end, "$lte", high))
            return Bounds((Comparison(start, "$lt", high),), below)
        case "sa":
            return Bounds((Comparison(start, "$gte", high),))
        case "eb":
            return Bounds((Comparison(end, "$lte", low),))
        case "ap":
            return Bounds((Comparison(start, "$lt", high), Comparison(end, "$gt", low)))


def date_range(text: str) -> Range:
    """Return the half-open range of a date of any precision, in whole milliseconds. Raises ``Value``."""
    if _USUAL.fullmatch(text):
        quick = _whole_second(text)
        if quick is not None:
            return quick
    first, last = datatypes.date_range(text)
    return first.replace(microsecond=first.microsecond // 1000 * 1000), _end_after(last)


def _whole_second(text: str) -> Range | None:
    """Take the form that nearly all records have the short way; None for a faulty one."""
    try:
        start = datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return (start, start + _SECOND) if start.microsecond == 0 and start < LAST - _SECOND else None


def _end_after(last: datetime) -> datetime:
    """Return the first whole millisecond after the last microsecond."""
    floor = last.replace(microsecond=last.microsecond // 1000 * 1000)
    return floor + _MILLISECOND if floor < LAST else LAST


def range_of(value: Any, kind: str) -> Range | None:
    """Return the range of a date, a Period or a Timing; None for anything else, or one that says nothing."""
    if isinstance(value, str):
        return date_range(value) if kind in _TEXTS else None
    if not isinstance(value, Mapping):
        return None
    if kind == "Period":
        return _period(value)
    return _timing(value) if kind == "Timing" else None


def _period(period: Mapping[str, Any]) -> Range | None:
    start, end = period.get("start"), period.get("end")
    if start is None and end is None:
        return None
    low = date_range(start)[0] if start is not None else FIRST
    high = date_range(end)[1] if end is not None else LAST
    return low, max(low + _MILLISECOND, high) if low < LAST else LAST


def _timing(timing: Mapping[str, Any]) -> Range | None:
    ranges = [date_range(event) for event in timing.get("event", ()) if isinstance(event, str)]
    bounds = timing.get("repeat", {}).get("boundsPeriod")
    outer = _period(bounds) if bounds else None
    if outer is not None:
        ranges.append(outer)
    if not ranges:
        return None
    return min(low for low, _ in ranges), max(high for _, high in ranges)


def _widened(low: datetime, high: datetime, now: datetime) -> Range:
    distance = max(low - now, now - high, timedelta())
    margin = timedelta(milliseconds=distance // timedelta(milliseconds=10))
    earliest = low - margin if low - FIRST > margin else FIRST
    return earliest, high + margin if LAST - high > margin else LAST


def _instant_bounds(bounds: Bounds) -> Bounds:
    """Return bounds on [s, e) as bounds on ``updated``, whose end is one millisecond after its start."""
    return Bounds(tuple(map(_on_instant, bounds.every)), tuple(map(_on_instant, bounds.some)))


def _on_instant(one: Comparison) -> Comparison:
    value = one.value - _MILLISECOND if one.field == "e" and one.value > FIRST else one.value
    return Comparison("updated", one.operator, value)
