"""The search tree as a filter on past versions, which keep few index fields: what a policy asks about.

Kept are the type, the patient, the compartments, the labels, the owner, the mark of a closed record, and of the tokens
those of ``category`` and ``type``. What a tree says of anything else is unknown: taken for false where it would let a
version through, for true where it would hold one back. A version is judged twice, by what it was (its own fields) and
by what the resource is now (``now``, present only where that differs): a label put on today hides yesterday's versions
too, and a document corrected from one patient to another never shows the first one's content to the second.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from fhir_server.search.ast import (
    And,
    AnyType,
    Everything,
    HasLabel,
    InCompartment,
    InOpenRecord,
    Node,
    Not,
    Nothing,
    OfNoPatient,
    Or,
    OwnedBy,
    PatientIs,
    ReferenceIs,
    TokenIn,
    TypeIs,
)
from fhir_server.search.closed import CLOSED
from fhir_server.search.param_types import special, token

POLICY_FIELDS = ("pt", "c", "l", "o", CLOSED, "t")
"""Index fields that history keeps, of ``t`` a part."""
NOW = "now"
"""Field with the policy fields of the current version, where they are no longer those of this one."""

_KEPT = (".category|", ".type|")
_NONE: dict[str, Any] = {"_id": {"$in": []}}


def is_kept(key: str) -> bool:
    """Say whether history keeps this key of the field ``t``: a type's name, a category or a type."""
    return ("|" not in key and "." not in key and ":" not in key) or any(part in key for part in _KEPT)


def to_policy_fields(index: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of an index that history keeps."""
    kept = {name: index[name] for name in POLICY_FIELDS if name in index and name != "t"}
    tokens = [key for key in index.get("t", ()) if is_kept(key)]
    return {**kept, "t": tokens} if tokens else kept


def to_history_filter(tree: Node) -> dict[str, Any]:
    """Return a filter on versions that lets through no more than the tree does; ``{}`` for Everything only."""
    if isinstance(tree, Everything):
        return {}
    then = _bound(tree, lower=True)
    return {"$and": [then, {"$or": [{NOW: {"$exists": False}}, _prefixed(then)]}]}


def _bound(tree: Node, *, lower: bool) -> dict[str, Any]:
    """Return what surely matches (``lower``), or what may match."""
    match tree:
        case Everything():
            return {}
        case Nothing():
            return _NONE
        case And(children):
            return {"$and": [_bound(child, lower=lower) for child in children]}
        case Or(children):
            return {"$or": [_bound(child, lower=lower) for child in children]}
        case Not(child):
            return {"$nor": [_bound(child, lower=not lower)]}
        case ReferenceIs(references):
            return {"ref": {"$in": list(references)}}
        case AnyType() | TypeIs() | InCompartment() | HasLabel() | PatientIs() | OfNoPatient():
            return special.to_filter(tree)
        case OwnedBy() | InOpenRecord():
            return special.to_filter(tree)
        case TokenIn(keys):
            return _token(keys, lower=lower)
        case _:
            return _NONE if lower else {}


def _token(keys: Iterable[str], *, lower: bool) -> dict[str, Any]:
    known = tuple(key for key in keys if is_kept(key))
    if known == tuple(keys):
        return token.to_filter(TokenIn(known))
    if not lower:
        return {}
    return token.to_filter(TokenIn(known)) if known else _NONE


def _prefixed(filter: Any) -> Any:
    """Return the filter on what the resource is now."""
    if isinstance(filter, list):
        return [_prefixed(each) for each in filter]
    if not isinstance(filter, Mapping):
        return filter
    return {
        f"{NOW}.{name}" if name in POLICY_FIELDS else name: _prefixed(value) if name.startswith("$") else value
        for name, value in filter.items()
    }
