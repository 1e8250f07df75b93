"""Trees of which some leaves cannot be left to the database: which parameters a leaf asks, and what it finds at most.

Who is not shown all of a resource must not find it by what they are not shown. The database knows the whole only; so
it is asked for what may match, and the rest is settled on what the caller is shown.
"""

import re
from collections.abc import Callable, Iterator

from fhir_server.search.ast import (
    And,
    CombinedIs,
    DateIs,
    EntryPresent,
    ExactString,
    GroupIs,
    KeyBetween,
    Node,
    Not,
    Nothing,
    NumberIs,
    Or,
    QuantityIs,
    RefersTo,
    TextEnds,
    TextHolds,
    TokenIn,
    WordIn,
)
from fhir_server.search.building import build_and, build_not, build_or

Parameter = tuple[str, str]
"""A resource type, empty where the entry is of any, and the code of its parameter."""
Uncertain = Callable[[Parameter], bool]

_OF_TYPE = re.compile(r"([A-Za-z]+)\.([A-Za-z0-9_-]+)")
_WORD = re.compile(r"([A-Za-z]+)[+*]")
_OF_ANY = re.compile(r"([A-Za-z0-9_-]+):")


def is_uncertain(tree: Node, uncertain: Uncertain) -> bool:
    """Say whether any leaf asks for one of the parameters; joins are looked into when they are resolved."""
    match tree:
        case And(children) | Or(children):
            return any(is_uncertain(child, uncertain) for child in children)
        case Not(child):
            return is_uncertain(child, uncertain)
        case _:
            return any(uncertain(one) for one in parameters_of(tree))


def to_upper_bound(tree: Node, uncertain: Uncertain) -> Node:
    """Return a tree that matches no less, whichever entries of these parameters a resource turns out to be without."""
    return _bound(tree, uncertain, upper=True)


def parameters_of(leaf: Node) -> Iterator[Parameter]:
    """Yield the parameters whose entries a leaf looks at."""
    for key in _keys(leaf):
        if found := _OF_TYPE.match(key):
            yield found[1], found[2]
        elif found := _WORD.match(key):
            yield found[1], "_content"
        elif found := _OF_ANY.match(key):
            yield "", found[1]


def _bound(tree: Node, uncertain: Uncertain, *, upper: bool) -> Node:
    match tree:
        case And(children):
            return build_and(_bound(child, uncertain, upper=upper) for child in children)
        case Or(children):
            return build_or(_bound(child, uncertain, upper=upper) for child in children)
        case Not(child):
            return build_not(_bound(child, uncertain, upper=not upper))
        case _:
            # An entry that is not shown is one less: what asks for one is found by the whole resource in any case.
            return tree if upper or not is_uncertain(tree, uncertain) else Nothing()


def _keys(leaf: Node) -> tuple[str, ...]:
    match leaf:
        case TokenIn(keys) | RefersTo(keys) | WordIn(keys) | CombinedIs(keys):
            return keys
        case TextHolds(_, start) | TextEnds(start):
            return (start,)
        case ExactString(normalised):
            return (normalised,)
        case EntryPresent(_, key) | KeyBetween(_, key) | DateIs(key) | NumberIs(key) | QuantityIs(key) | GroupIs(key):
            return (key,)
        case _:
            return ()
