"""The search tree as a MongoDB filter, and a search as one query: filter, order, bounds, hint.

Order: by default the primary date (``ds``) descending, then ``_id`` descending; documents without the date come last
in either direction. Pages are keysets: a range on the first sort key and a residual for the rest, never a skip.
Values reach MongoDB as values only: no text becomes an operator, a field name or a regular expression.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any

from fhir_server.search import combined, sorting
from fhir_server.search.ast import (
    And,
    AnyType,
    Chain,
    CombinedIs,
    DateIs,
    DatePresent,
    EntryPresent,
    Everything,
    ExactString,
    GroupIs,
    Has,
    HasLabel,
    InValueSet,
    KeyBetween,
    ListMember,
    NearTo,
    Node,
    Not,
    Nothing,
    NumberIs,
    Or,
    PrimaryDateIs,
    QuantityIs,
    ReferenceIs,
    RefersTo,
    Subsumed,
    TextEnds,
    TextHolds,
    TokenIn,
    TypeIs,
    UpdatedIs,
    WordIn,
)
from fhir_server.search.building import build_and
from fhir_server.search.includes import fields_for
from fhir_server.search.measures import count_keys
from fhir_server.search.param_types import (
    composite,
    date,
    near,
    number,
    presence,
    quantity,
    reference,
    special,
    string,
    text,
    token,
)
from fhir_server.search.param_types.date import FIRST
from fhir_server.search.parser import Search
from fhir_server.search.ranges import merge_conditions, to_conditions
from fhir_server.search.sorting import SortKey
from fhir_server.search.stretches import part_by_date, split_long

SortKeys = tuple[tuple[str, int], ...]
Frequency = Callable[[str], int | None]
"""How many documents hold a token key, if known: the rarest goes first and may be hinted at."""

TOKEN, REFERENCE, PATIENT_TOKEN, TYPE_DATE = "token", "reference", "patient_token", "type_date"
"""Names of indexes that ``storage.indexes`` creates; (t, ds, _id), (r, ds, _id), (pt, t, ds, _id), (type, ds, _id)."""

_REMEMBERED_KEYS = 50
_NOTHING: Mapping[str, Any] = {"_id": {"$in": []}}


@dataclass(frozen=True, slots=True)
class Keyset:
    """The sort values of the entry that a page starts after; ``backward``: the page that ends before it."""

    values: tuple[Any, ...]
    backward: bool = False
    inclusive: bool = False
    """The entry itself belongs to the page: a link back from a page on which nothing was left."""
    tied: bool | None = None
    """Whether the next entry was equal in the first key, if that is known: what is equal is then asked for by itself,
    however many there are; where nothing is, the first key says all, and the index alone answers."""


@dataclass(frozen=True, slots=True)
class Query:
    """What to ask of the store. ``limit`` is one more than the page, to tell whether there is another.

    ``then``, if given, continues the order when this query leaves the page short: ask it for what is missing.
    """

    filter: Mapping[str, Any]
    sort: SortKeys
    limit: int
    hint: str | None = None
    then: "Query | None" = None
    computed: Mapping[str, Any] = field(default_factory=dict)
    """Expressions of fields to set on every candidate, for ``sort`` and ``beyond`` to use; () where an index sorts."""
    beyond: Mapping[str, Any] | None = None


def to_filter(tree: Node) -> dict[str, Any]:
    """Return the tree as a MongoDB filter on current documents; ``{}`` for Everything only, said on purpose."""
    if isinstance(tree, special.Own):
        return special.to_filter(tree)
    match tree:
        case Everything():
            return {}
        case Nothing():
            return dict(_NOTHING)
        case And():
            joined = combined.combine(tree)
            children = joined.children if isinstance(joined, And) else (joined,)
            return merge_conditions(_to_conjuncts(children))
        case Or(children):
            return {"$or": [to_filter(child) for child in children]}
        case Not(child):
            return {"$nor": [to_filter(child)]}
        case TokenIn():
            return token.to_filter(tree)
        case RefersTo():
            return reference.to_filter(tree)
        case ExactString() | TextEnds():
            return string.to_filter(tree)
        case KeyBetween() | DatePresent() | EntryPresent():
            return presence.to_filter(tree)
        case DateIs() | PrimaryDateIs() | UpdatedIs():
            return date.to_filter(tree)
        case CombinedIs():
            return combined.to_filter(tree)
        case NumberIs():
            return number.to_filter(tree)
        case QuantityIs():
            return quantity.to_filter(tree)
        case GroupIs():
            return composite.to_filter(tree)
        case NearTo():
            return near.to_filter(tree)
        case WordIn() | TextHolds():
            return text.to_filter(tree)
        case Chain() | Has() | ListMember() | InValueSet() | Subsumed():
            raise AssertionError(f"a join that nobody planned: {tree.name}")


def to_query(
    search: Search, after: Keyset | None, count: int, tree: Node | None = None, frequency: Frequency | None = None
) -> Query:
    """Return the query for a page of ``count``; ``tree`` replaces the search's own, narrowed by a policy.

    With ``after.backward`` the answer comes in reverse order: turn it round.
    """
    tree = search.tree if tree is None else tree
    if not sorting.has_index(search.sort):
        return _to_sorted(search, after, count, tree)
    if after is None and frequency is None and count_keys(tree) <= _REMEMBERED_KEYS:
        return _to_first_page(tree, search.sort, count)
    return _to_ordered(tree, search.sort, after, count, frequency)


@lru_cache(maxsize=500)
def _to_first_page(tree: Node, keys: tuple[SortKey, ...], count: int) -> Query:
    """Return the query of a small tree: the same search under the same policy is compiled once."""
    return _to_ordered(tree, keys, None, count, None)


def _to_ordered(
    tree: Node, keys: tuple[SortKey, ...], after: Keyset | None, count: int, frequency: Frequency | None
) -> Query:
    """Return the query of an order that an index has."""
    narrowed = _ordered(combined.combine(tree), frequency)
    joined = combined.combined_index(narrowed)
    stretches = [([narrowed], *one) for one in _segments(keys, after)] if joined else _stretches(narrowed, keys, after)
    query: Query | None = None
    for branches, constraint, sort in reversed(stretches):
        filters = [merge_conditions([to_filter(branch), constraint]) for branch in branches]
        hint = joined or _hint(branches[0], sort, frequency)
        query = Query(filters[0] if len(filters) == 1 else {"$or": filters}, sort, count + 1, hint, query)
    assert query is not None
    return query


def _stretches(
    tree: Node, keys: tuple[SortKey, ...], after: Keyset | None
) -> list[tuple[Sequence[Node], Mapping[str, Any], SortKeys]]:
    """Return the stretches of the order in which to read, each with its branches and what bounds them.

    Newest first, what the index alone answers comes before what has to be looked at.
    """
    segments = _segments(keys, after)
    newest_first = keys[0].field == "ds" and keys[0].direction < 0 and not (after is not None and after.backward)
    parted = part_by_date(tree) if newest_first else None
    if parted is None or (after is not None and not _is_from(after.values[0], parted.at)):
        branches = [_with_type_token(branch) for branch in split_long(tree)]
        return [(branches, *one) for one in segments]
    early = [_with_type_token(branch) for branch in split_long(parted.early)]
    return [*((parted.late, *one) for one in segments), (early, {}, segments[-1][1])]


def _is_from(value: Any, start: datetime) -> bool:
    return isinstance(value, datetime) and value >= start


def _to_sorted(search: Search, after: Keyset | None, count: int, tree: Node) -> Query:
    """Return the query of an order that no index has: every candidate's keys are computed."""
    backward = after is not None and after.backward
    return Query(
        to_filter(tree),
        sorting.order(search.sort, backward=backward),
        count + 1,
        computed=sorting.computed_fields(search.sort),
        beyond=None
        if after is None
        else sorting.beyond(search.sort, after.values, backward=backward, inclusive=after.inclusive),
    )


def sort_fields(search: Search) -> tuple[str, ...]:
    """Return the fields of a document that its keyset is made of, besides ``_id``."""
    if not sorting.has_index(search.sort):
        return tuple(name for name, _ in sorting.order(search.sort) if name != "_id")
    return tuple(key.field for key in search.sort if key.field != "_id")


def page_fields(search: Search) -> tuple[str, ...]:
    """Return the fields that a page's keysets and includes are made of."""
    return (*sort_fields(search), *fields_for(search.includes, search.types))


def keyset_of(
    search: Search, reference: str, updated: datetime, index: Mapping[str, Any], backward: bool = False
) -> Keyset:
    """Return where a found document stands in the search's order; ``index`` holds at least ``sort_fields``."""
    document = {**index, "_id": reference, "updated": updated}
    names: list[str] = [key.field for key in search.sort]
    if not sorting.has_index(search.sort):
        names = [name for name, _ in sorting.order(search.sort)]
    return Keyset(tuple(document.get(name) for name in names), backward)


def _to_conjuncts(children: Sequence[Node]) -> list[dict[str, Any]]:
    """Return the conditions of an And without those on the type that another one implies: its keys begin with it.

    Besides being one condition less, the type is in no index of keys: asking for it has the document looked at.
    """
    implied = {name for child in children for name in _implied_types(child)}
    conjuncts = []
    for child in children:
        if isinstance(child, PrimaryDateIs) and implied == {child.resource_type}:
            conjuncts.append(to_conditions(child.bounds))
        elif not implied or not _says_no_more(child, implied):
            conjuncts.append(to_filter(child))
    return conjuncts


def _says_no_more(node: Node, types: set[str]) -> bool:
    return isinstance(node, AnyType) or (isinstance(node, TypeIs) and types <= {*node.names})


def _implied_types(node: Node) -> set[str]:
    match node:
        case TokenIn(keys):
            return {key.partition(".")[0].partition(":")[0] for key in keys}
        case RefersTo(keys, _, patients) if not patients:
            return {key.partition(".")[0] for key in keys}
        case ReferenceIs(references):
            return {one.partition("/")[0] for one in references}
        case _:
            return set()


def _ordered(tree: Node, frequency: Frequency | None) -> Node:
    """Put the rarest tokens first: of several on one array only the first bounds the index."""
    if frequency is None or not isinstance(tree, And):
        return tree

    def rank(node: Node) -> float:
        if not isinstance(node, TokenIn):
            return float("-inf")
        known = [frequency(key) for key in node.keys]
        return float("inf") if None in known else float(sum(one or 0 for one in known))

    return And(tuple(sorted(tree.children, key=rank)))


def _with_type_token(tree: Node) -> Node:
    """Give a patient's resources of a type the token of the type, which the index of patient and token begins with."""
    children = tree.children if isinstance(tree, And) else (tree,)
    patient = next((one for one in children if isinstance(one, RefersTo) and one.patients), None)
    if patient is None or any(isinstance(one, TokenIn) for one in children):
        return tree
    return build_and([*children, TokenIn((patient.resource_type,))])


def _hint(tree: Node, sort: SortKeys, frequency: Frequency | None) -> str | None:
    """Name the index where there is nothing to weigh: one equality that bounds, and the order that the index has."""
    if sort[0][0] != "ds":
        return None
    children = tree.children if isinstance(tree, And) else (tree,)
    if not all(
        isinstance(one, TypeIs | AnyType | TokenIn | RefersTo | PrimaryDateIs | HasLabel | Not) for one in children
    ):
        return None
    tokens = [one for one in children if isinstance(one, TokenIn)]
    references = [one for one in children if isinstance(one, RefersTo) and not one.patients]
    patients = [one for one in children if isinstance(one, RefersTo) and one.patients]
    decided = len(tokens) == 1 or (len(tokens) > 1 and frequency is not None)
    if any(len(one.keys) > 1 for one in (*references, *patients)):
        return None  # a join's many keys: whether they or the order serve better is for the database to try
    if patients and not references:
        return PATIENT_TOKEN if decided else None
    if references or patients:
        return REFERENCE if len(references) == 1 and not tokens and not patients else None
    if tokens:
        return TOKEN if decided else None
    return TYPE_DATE if any(isinstance(one, TypeIs) and len(one.names) == 1 for one in children) else None


def _segments(keys: tuple[SortKey, ...], after: Keyset | None) -> list[tuple[Mapping[str, Any], SortKeys]]:
    """Return the stretches of the order in which to read, each with what bounds it.

    MongoDB takes an absent value for the least. That is right where values come down; where they go up, the documents
    that have a date come first, then those that have none (and the other way round when read backward).
    """
    backward = after is not None and after.backward
    sort: SortKeys = tuple((key.field, -key.direction if backward else key.direction) for key in keys)
    if keys[0].field != "ds":
        return [({}, sort)] if after is None else _after(sort, after)
    present: tuple[Mapping[str, Any], SortKeys] = ({"ds": {"$gte": FIRST}}, sort)
    if after is None:
        return [({}, sort)] if keys[0].direction < 0 else [present, ({"ds": None}, sort)]
    if after.values[0] is None:
        tie, direction = sort[1]
        absent = ({"ds": None, tie: {_operator(direction, or_equal=after.inclusive): after.values[1]}}, sort)
        return [absent, present] if backward else [absent]
    *equal, (beyond, _) = _after(sort, after)
    if backward:
        return [*equal, (beyond, sort)]
    if keys[0].direction < 0:
        # "Not above" takes the documents without a date along, which follow.
        above = {"$gte" if equal or _stands_alone(after) else "$gt": after.values[0]}
        return [*equal, ({**beyond, "ds": {"$not": above}}, sort)]
    return [*equal, (beyond, sort), ({"ds": None}, sort)]


def _after(sort: SortKeys, after: Keyset) -> list[tuple[Mapping[str, Any], SortKeys]]:
    """Return the stretches that follow the keyset: with a tie, what is equal in the first key before what is beyond."""
    (name, direction), *_ = sort
    if _stands_alone(after):
        return [({name: {_operator(direction, or_equal=False): after.values[0]}}, sort)]
    if not after.tied or len(sort) == 1:
        return [(_beyond(sort, after), sort)]
    _, (tie, tie_direction) = sort
    equal = {name: after.values[0], tie: {_operator(tie_direction, or_equal=after.inclusive): after.values[1]}}
    return [(equal, sort), ({name: {_operator(direction, or_equal=False): after.values[0]}}, sort)]


def _stands_alone(after: Keyset) -> bool:
    return after.tied is False and not after.inclusive


def _beyond(sort: SortKeys, after: Keyset) -> dict[str, Any]:
    """Return the range that follows the keyset: a bound on the first key, a residual where the first key is equal."""
    (name, direction), first = sort[0], after.values[0]
    if len(sort) == 1:
        return {name: {_operator(direction, or_equal=after.inclusive): first}}
    tie, tie_direction = sort[1]
    passed = {name: first, tie: {_operator(-tie_direction, or_equal=not after.inclusive): after.values[1]}}
    return {name: {_operator(direction, or_equal=True): first}, "$nor": [passed]}


def _operator(direction: int, *, or_equal: bool) -> str:
    return ("$gt" if direction > 0 else "$lt") + ("e" if or_equal else "")
