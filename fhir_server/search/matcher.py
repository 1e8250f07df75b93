"""The search tree as a yes or no about one index document: policies, subscriptions, conditional references ask it.

It agrees with ``compiler`` on every tree and document: both take each leaf to the same module of ``param_types``.
"""

from collections.abc import Mapping
from datetime import datetime
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
    RefersTo,
    Subsumed,
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


def matches(tree: Node, document: Mapping[str, Any]) -> bool:
    """Say whether the document, as ``index_document`` builds it, is one that the tree describes."""
    if isinstance(tree, special.Own):  # first: what policies are made of
        return special.matches(tree, document)
    match tree:
        case Everything():
            return True
        case Nothing():
            return False
        case And(children):
            return all(matches(child, document) for child in children)
        case Or(children):
            return any(matches(child, document) for child in children)
        case Not(child):
            return not matches(child, document)
        case TokenIn():
            return token.matches(tree, document)
        case RefersTo():
            return reference.matches(tree, document)
        case ExactString() | TextEnds():
            return string.matches(tree, document)
        case KeyBetween() | DatePresent() | EntryPresent():
            return presence.matches(tree, document)
        case DateIs() | PrimaryDateIs() | UpdatedIs():
            return date.matches(tree, document)
        case CombinedIs():
            return combined.matches(tree, document)
        case NumberIs():
            return number.matches(tree, document)
        case QuantityIs():
            return quantity.matches(tree, document)
        case GroupIs():
            return composite.matches(tree, document)
        case NearTo():
            return near.matches(tree, document)
        case WordIn() | TextHolds():
            return text.matches(tree, document)
        case Chain() | Has() | ListMember() | InValueSet() | Subsumed():
            raise AssertionError(f"a join that nobody planned: {tree.name}")


def index_document(reference: str, updated: datetime, index: Mapping[str, Any]) -> dict[str, Any]:
    """Return what ``matches`` looks at: the index fields of ``to_index`` with the resource's own identity.

    For a document read with its index: ``index_document(found.reference, found.updated, found.index)``.
    """
    return {**index, "_id": reference, "type": reference.partition("/")[0], "updated": updated}
