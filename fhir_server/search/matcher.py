"""The search tree as a yes or no about one index document: policies, subscriptions, conditional references ask it.

It agrees with ``compiler`` on every tree and document: both take each leaf to the same module of ``param_types``.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from itertools import repeat
from operator import call
from typing import Any

from fhir_server.search import combined
from fhir_server.search.ast import (
    And,
    Chain,
    CombinedIs,
    DateIs,
    DatePresent,
    EntryPresent,
    Everything,
    ExactString,
    GroupIs,
    Has,
    InValueSet,
    Join,
    KeyBetween,
    Leaf,
    ListMember,
    NearTo,
    Node,
    Not,
    Nothing,
    NumberIs,
    Or,
    PrimaryDateIs,
    QuantityIs,
    RefersTo,
    Subsumed,
    Terminology,
    TextEnds,
    TextHolds,
    TokenIn,
    UpdatedIs,
    WordIn,
)
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

Test = Callable[[Mapping[str, Any]], bool]
"""Says of a document, as ``index_document`` builds it, whether it is one that a tree describes."""


def matches(tree: Node, document: Mapping[str, Any]) -> bool:
    """Say whether the document, as ``index_document`` builds it, is one that the tree describes."""
    return to_test(tree)(document)


def to_test(tree: Node) -> Test:
    """Return ``matches`` for one tree: for who asks it of many documents, a fraction of the cost."""
    match tree:
        case Everything():
            return lambda document: True
        case Nothing():
            return lambda document: False
        case And(children):
            return _all(tuple(map(to_test, children)))
        case Or(children):
            return _any(tuple(map(to_test, children)))
        case Not(child):
            test = to_test(child)
            return lambda document: not test(document)
        case _:
            return _leaf(tree)


def _all(tests: tuple[Test, ...]) -> Test:
    if len(tests) == 2:
        first, second = tests
        return lambda document: first(document) and second(document)
    return lambda document: all(map(call, tests, repeat(document)))


def _any(tests: tuple[Test, ...]) -> Test:
    if len(tests) == 2:
        first, second = tests
        return lambda document: first(document) or second(document)
    return lambda document: any(map(call, tests, repeat(document)))


def _leaf(tree: Leaf | Join | Terminology) -> Test:
    if isinstance(tree, special.Own):
        return special.to_test(tree)
    match tree:
        case TokenIn():
            return partial(token.matches, tree)
        case RefersTo():
            return partial(reference.matches, tree)
        case ExactString() | TextEnds():
            return partial(string.matches, tree)
        case KeyBetween() | DatePresent() | EntryPresent():
            return partial(presence.matches, tree)
        case DateIs() | PrimaryDateIs() | UpdatedIs():
            return partial(date.matches, tree)
        case CombinedIs():
            return partial(combined.matches, tree)
        case NumberIs():
            return partial(number.matches, tree)
        case QuantityIs():
            return partial(quantity.matches, tree)
        case GroupIs():
            return partial(composite.matches, tree)
        case NearTo():
            return partial(near.matches, tree)
        case WordIn() | TextHolds():
            return partial(text.matches, tree)
        case Chain() | Has() | ListMember() | InValueSet() | Subsumed():
            return partial(_unplanned, tree)


def _unplanned(join: Join | Terminology, document: Mapping[str, Any]) -> bool:
    raise AssertionError(f"a join that nobody planned: {join.name}")


def index_document(reference: str, updated: datetime, index: Mapping[str, Any]) -> dict[str, Any]:
    """Return what ``matches`` looks at: the index fields of ``to_index`` with the resource's own identity.

    For a document read with its index: ``index_document(found.reference, found.updated, found.index)``.
    """
    return {**index, "_id": reference, "type": reference.partition("/")[0], "updated": updated}
