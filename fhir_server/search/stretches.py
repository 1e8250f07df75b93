"""Trees with a primary date taken apart along the order of ``ds``, so that an index bounds or answers each part.

What begins somewhere is in the index; what ends somewhere is not. So a condition on the end is turned into one on the
start where that says the same, and what is left over is looked for apart.
"""

from dataclasses import replace
from datetime import datetime

from fhir_server.search.ast import And, Node, PrimaryDateIs, RefersTo, TokenIn
from fhir_server.search.building import build_and
from fhir_server.search.param_types.date import FIRST, LONG
from fhir_server.search.ranges import Bounds, Comparison


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
