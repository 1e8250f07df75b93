"""Parameters that are asked together all day, answered by one index entry where an index has one array to bound.

Each of several conditions may leave much to look at though all of them leave little: a patient's current documents,
their discharge letters, those of that spring. Where two conditions concern the same array, or two arrays, an index
bounds one of them. So some resources have further entries whose keys join the keys of several parameters, and a tree
that asks for those parameters is rewritten to ask for the joined key. Both say the same of every document.

    d  ``DocumentReference.period␀Patient/42␀…status||current␀…type||11488-4``: patient, status, type and period
    s  ``Patient.given+family:3mar|dupont``: the beginning of a given name, and a family name
    s  ``Patient.birthdate+family:1979-03-28|dupont``: a day of birth, and a name

Spec: none; http://hl7.org/fhir/R4/search.html#combining is what it must come to.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import product
from math import prod
from typing import Any

from fhir_server.search.ast import (
    And,
    CombinedIs,
    DateIs,
    KeyBetween,
    Node,
    PrimaryDateIs,
    RefersTo,
    TokenIn,
)
from fhir_server.search.building import build_and
from fhir_server.search.entries import Entries
from fhir_server.search.ranges import Bounds, Comparison, merge_conditions, passes, to_conditions

SHORTEST_GIVEN, LONGEST_GIVEN = 3, 6
"""Characters of a given name that are joined with the family name: shorter ones tell little, more tell no more."""

MOST_KEYS = 100
"""Joined keys that one search may ask for: each value of one parameter with each of the others."""

_JOINED = (DateIs, PrimaryDateIs, KeyBetween)
"""One of these is among the conditions of every joined key."""

_JOINT = "\0"
_END = "\U0010ffff"
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class _Dated:
    """A date of at most one value, joined with the patient and with these token parameters."""

    date: str
    tokens: tuple[str, ...]


_DATED: Mapping[str, _Dated] = {"DocumentReference": _Dated("period", ("status", "type"))}
_NAMED: Mapping[str, tuple[str, ...]] = {"Patient": ("family", "given", "name")}
"""Types whose primary date is a day of birth, and the strings that are joined with it."""
_WITH_GIVEN = ("Patient", "Practitioner")


def add_entries(resource_type: str, patient: str | None, entries: Entries) -> None:
    """Add the joined entries of a resource, when all others are there; ``patient`` is its ``pt``."""
    dated = _DATED.get(resource_type)
    if dated is not None and patient is not None:
        _add_dated(resource_type, dated, patient, entries)
    if resource_type in _WITH_GIVEN:
        _add_given(resource_type, entries)
    if resource_type in _NAMED:
        _add_born(resource_type, entries)


def combine(tree: Node) -> Node:
    """Return the tree with joined keys in place of the conditions of an And that they answer; it says the same."""
    if not isinstance(tree, And) or not any(isinstance(one, _JOINED) for one in tree.children):
        return tree
    children = list(tree.children)
    for rewrite in (_with_dated, _with_born, _with_given):
        children = rewrite(children)
    return build_and(children)


def combined_index(tree: Node) -> str | None:
    """Return the name of the index that has the joined key which the tree asks for, None if it asks for none."""
    for one in tree.children if isinstance(tree, And) else (tree,):
        if isinstance(one, CombinedIs):
            return "date"
        if isinstance(one, KeyBetween) and one.field == "s" and "+" in one.low.partition(":")[0]:
            return "string"
    return None


def to_filter(leaf: CombinedIs) -> dict[str, Any]:
    """Return the leaf as a MongoDB filter."""
    keys = leaf.keys[0] if len(leaf.keys) == 1 else {"$in": list(leaf.keys)}
    every = _narrowest(one for bounds in leaf.bounds for one in bounds.every)
    conditions = [to_conditions(Bounds(every))] if every else []
    conditions += [to_conditions(Bounds(some=bounds.some)) for bounds in leaf.bounds if bounds.some]
    return {"d": {"$elemMatch": merge_conditions([{"p": keys}, *conditions])}}


def matches(leaf: CombinedIs, document: Mapping[str, Any]) -> bool:
    """Say whether the index document has such an entry."""
    return any(
        entry["p"] in leaf.keys and all(passes(bounds, entry) for bounds in leaf.bounds)
        for entry in document.get("d", ())
    )


def _add_dated(resource_type: str, dated: _Dated, patient: str, entries: Entries) -> None:
    date = f"{resource_type}.{dated.date}"
    held = [_starting(f"{resource_type}.{code}|", entries.t) for code in dated.tokens]
    for key, start, end in list(entries.d):
        if key == date:
            for tokens in product(*held):
                entries.d[_joined(date, patient, tokens), start, end] = None


def _add_given(resource_type: str, entries: Entries) -> None:
    families = _texts(resource_type, "family", entries)
    beginnings = {
        given[:length]
        for given in _texts(resource_type, "given", entries)
        for length in range(SHORTEST_GIVEN, min(len(given), LONGEST_GIVEN) + 1)
    }
    for beginning, family in product(sorted(beginnings), families):
        entries.s[f"{_given_key(resource_type, beginning)}{family}"] = None


def _add_born(resource_type: str, entries: Entries) -> None:
    if entries.primary is None or entries.primary[1] - entries.primary[0] != _DAY:
        return
    for code in _NAMED[resource_type]:
        for text in _texts(resource_type, code, entries):
            entries.s[f"{_born_key(resource_type, code, entries.primary[0])}{text}"] = None


def _with_dated(children: list[Node]) -> list[Node]:
    patient = next((one for one in children if isinstance(one, RefersTo) and one.patients), None)
    dated = _DATED.get(patient.resource_type) if patient is not None else None
    if patient is None or dated is None:
        return children
    key = f"{patient.resource_type}.{dated.date}"
    dates = [one for one in children if isinstance(one, DateIs) and one.key == key]
    tokens = [_of_parameter(children, f"{patient.resource_type}.{code}|") for code in dated.tokens]
    asked = [one.keys for one in tokens if one is not None]
    if not dates or len(asked) < len(tokens) or prod(map(len, (patient.patients, *asked))) > MOST_KEYS:
        return children
    keys = [_joined(key, first, others) for first, *others in product(patient.patients, *asked)]
    answered = [patient, *dates, *tokens]
    joined = CombinedIs(tuple(keys), tuple(one.bounds for one in dates))
    return [*(one for one in children if one not in answered), joined]


def _with_given(children: list[Node]) -> list[Node]:
    for resource_type in _WITH_GIVEN:
        given, family = _beginning(children, resource_type, "given"), _beginning(children, resource_type, "family")
        if given is None or family is None or len(given[1]) < SHORTEST_GIVEN:
            continue
        start = _given_key(resource_type, given[1][:LONGEST_GIVEN]) + family[1]
        answered = [family[0]] if len(given[1]) > LONGEST_GIVEN else [family[0], given[0]]
        return [*(one for one in children if one not in answered), KeyBetween("s", start, start + _END)]
    return children


def _with_born(children: list[Node]) -> list[Node]:
    for resource_type, codes in _NAMED.items():
        born = next((one for one in children if _is_day(one, resource_type)), None)
        texts = [(code, found) for code in codes if (found := _beginning(children, resource_type, code)) is not None]
        if isinstance(born, PrimaryDateIs) and texts:
            code, (answered, text) = max(texts, key=lambda one: len(one[1][1]))  # the longest tells most
            start = _born_key(resource_type, code, born.bounds.every[0].value) + text
            return [*(one for one in children if one not in (born, answered)), KeyBetween("s", start, start + _END)]
    return children


def _of_parameter(children: Sequence[Node], start: str) -> TokenIn | None:
    """Return the first condition whose tokens are all of the parameter that the start names."""
    return next(
        (one for one in children if isinstance(one, TokenIn) and all(key.startswith(start) for key in one.keys)), None
    )


def _beginning(children: Sequence[Node], resource_type: str, code: str) -> tuple[KeyBetween, str] | None:
    """Return the first condition that a string begins with a text, and the text."""
    start = f"{resource_type}.{code}:"
    for one in children:
        asked = isinstance(one, KeyBetween) and one.field == "s" and one.low.startswith(start)
        if isinstance(one, KeyBetween) and asked and one.high == one.low + _END:
            return one, one.low[len(start) :]
    return None


def _is_day(node: Node, resource_type: str) -> bool:
    """Say whether the node asks for dates within one day (``eq``)."""
    if not isinstance(node, PrimaryDateIs) or node.resource_type != resource_type or len(node.bounds.every) != 3:
        return False
    low, high = (one.value for one in node.bounds.every[:2])
    return high - low == _DAY and node.bounds == _within(low, high)


def _within(low: datetime, high: datetime) -> Bounds:
    return Bounds((Comparison("ds", "$gte", low), Comparison("ds", "$lt", high), Comparison("de", "$lte", high)))


def _narrowest(comparisons: Iterable[Comparison]) -> tuple[Comparison, ...]:
    """Return of those that differ in their value only the one that bounds most."""
    kept: dict[tuple[str, str], Comparison] = {}
    for one in comparisons:
        held = kept.get((one.field, one.operator))
        above = one.operator in ("$gt", "$gte")
        if held is None or (one.value > held.value if above else one.value < held.value):
            kept[one.field, one.operator] = one
    return tuple(kept.values())


def _texts(resource_type: str, code: str, entries: Entries) -> list[str]:
    start = f"{resource_type}.{code}:"
    return [key[len(start) :] for key in _starting(start, entries.s)]


def _starting(start: str, keys: Iterable[str]) -> list[str]:
    return [key for key in keys if key.startswith(start)]


def _joined(date: str, patient: str, tokens: Sequence[str]) -> str:
    return _JOINT.join((date, patient, *tokens))


def _given_key(resource_type: str, beginning: str) -> str:
    """Return what the entries begin with; the length keeps those of other lengths apart."""
    return f"{resource_type}.given+family:{len(beginning)}{beginning}|"


def _born_key(resource_type: str, code: str, day: datetime) -> str:
    return f"{resource_type}.birthdate+{code}:{day.date().isoformat()}|"
