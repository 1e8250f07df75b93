"""Trees with a primary date taken apart along the order of ``ds``, so that an index bounds or answers each part.

What begins somewhere is in the index; what ends somewhere is not. So a condition on the end is turned into one on the
start where that says the same, and what is left over is looked for apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from fhir_server.search.ast import And, AnyType, Node, PrimaryDateIs, RefersTo, TokenIn, TypeIs
from fhir_server.search.building import build_and
from fhir_server.search.param_types.date import FIRST, LAST, LONG
from fhir_server.search.ranges import Bounds, Comparison

_ABOVE = ("$gt", "$gte")


@dataclass(frozen=True, slots=True)
class Parted:
    """A tree in two: ``late`` is what begins at ``at`` or later, in parts without overlap, ``early`` all the rest."""

    late: tuple[Node, ...]
    early: Node
    at: datetime


def split_long(tree: Node) -> list[Node]:
    """Return two trees in place of one with an open lower end of the primary date, so that ``ds`` is bounded below.

    The end of a date is above X: either its start is above X less ``LONG``, or it lasts longer than that, and such
    documents are few and marked (``Encounter:long``). MongoDB merges the two in the order of the index.
    """
    children = tree.children if isinstance(tree, And) else (tree,)
    for child in children:
        if not isinstance(child, PrimaryDateIs):
            continue
        ends = [one.value for one in child.bounds.every if one.field == "de" and one.operator in ("$gt", "$gte")]
        if ends and not any(one.field == "ds" and one.operator == "$gte" for one in child.bounds.every):
            start = Comparison("ds", "$gte", _before(max(ends)))
            short = replace(child, bounds=Bounds((*child.bounds.every, start), child.bounds.some))
            others = [one for one in children if one is not child]
            bounding = (
                [] if any(isinstance(one, TokenIn | RefersTo) for one in others) else [TokenIn((child.resource_type,))]
            )
            return [
                build_and([*bounding, *others, short]),
                build_and([TokenIn((f"{child.resource_type}:long",)), *others, child, _starts_earlier(child, start)]),
            ]
    return [tree]


def _starts_earlier(child: PrimaryDateIs, start: Comparison) -> Node:
    """Keep the two branches apart: what the first finds by its start, the second leaves out."""
    return PrimaryDateIs(child.resource_type, Bounds((replace(start, operator="$lt"),)))


def _before(moment: datetime) -> datetime:
    return moment - LONG if moment - FIRST > LONG else FIRST


def part_by_date(tree: Node) -> Parted | None:
    """Return a tree with a lower bound on the primary date as what begins late enough to need no look at its end, and
    the rest, which all comes before it; None where the index of one token would not answer the first.

    Since 2010 is: begun in 2010 or later, whatever its end; or begun earlier and still lasting then, which is rare.
    """
    children = tree.children if isinstance(tree, And) else (tree,)
    dates = [one for one in children if isinstance(one, PrimaryDateIs)]
    others = [one for one in children if not isinstance(one, PrimaryDateIs)]
    tokens = [one for one in others if isinstance(one, TokenIn)]
    if len(tokens) > 1 or not all(isinstance(one, TokenIn | TypeIs | AnyType) for one in others):
        return None
    starts = [start for one in dates if (start := _settling_start(one.bounds)) is not None]
    if not starts or max(starts) >= LAST:
        return None
    at, kind = max(starts), dates[0].resource_type
    late = _late_parts([_settled(one, at) for one in dates])
    if late is None:
        return None
    bounding = tokens or [TokenIn((kind,))]
    before = PrimaryDateIs(kind, Bounds((Comparison("ds", "$lt", at),)))
    return Parted(tuple(build_and([*bounding, *others, *part]) for part in late), build_and([*children, before]), at)


def _settling_start(bounds: Bounds) -> datetime | None:
    """Return the start from which on the end is late enough, whatever it is: an end comes after its start."""
    ends = [one.value for one in bounds.every if one.field == "de" and one.operator in _ABOVE]
    if not ends:
        return None
    if bounds.some:
        choices = [one.value for one in bounds.some if (one.field, one.operator) in _IMPLIED]
        if not choices:
            return None
        ends.append(min(choices))
    start: datetime = max(ends)
    return start


_IMPLIED = frozenset({("de", "$gt"), ("de", "$gte"), ("ds", "$gte")})
"""What a start not before the value says as well."""


def _settled(date: PrimaryDateIs, at: datetime) -> PrimaryDateIs:
    """Return the condition without what a start at ``at`` or later settles."""
    settling = _settling_start(date.bounds)
    if settling is None:
        return date
    kept = [one for one in date.bounds.every if one.field != "de" or one.operator not in _ABOVE]
    return replace(date, bounds=Bounds((*kept, Comparison("ds", "$gte", at))))


def _late_parts(dates: Sequence[PrimaryDateIs]) -> list[list[PrimaryDateIs]] | None:
    """Return the conditions as parts of which all but the last, a short one, ask for no end; None where they all do."""
    asking = [one for one in dates if _asks_for_end(one.bounds)]
    if not asking:
        return [list(dates)]
    below = _below(asking[0].bounds)
    if len(asking) > 1 or below is None:
        return None
    others = [one for one in dates if one is not asking[0]]
    every = asking[0].bounds.every
    within = (*every, replace(below[0], operator="$gte"), below[1])
    return [[*others, replace(asking[0], bounds=Bounds(bounds))] for bounds in ((*every, below[0]), within)]


def _asks_for_end(bounds: Bounds) -> bool:
    return any(one.field == "de" for one in (*bounds.every, *bounds.some))


def _below(bounds: Bounds) -> tuple[Comparison, Comparison] | None:
    """Return what ``le`` says: it begins before the day given, or ends with it; None for any other condition."""
    if any(one.field == "de" for one in bounds.every) or len(bounds.some) != 2:
        return None
    start, end = sorted(bounds.some, key=lambda one: one.field, reverse=True)
    if (start.field, start.operator, end.field, end.operator) != ("ds", "$lt", "de", "$lte"):
        return None
    return start, end
