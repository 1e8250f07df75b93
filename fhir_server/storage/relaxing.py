"""A filter on whole events as one on what the audit stores, which packs several of them into one document. Pure.

A pack has the type and the moments of its events, and what they refer to (``x``); what else is asked of an event is
found out when it is unpacked. So the filter is relaxed: it finds every document that may hold an event sought.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from fhir_server.storage.documents import pack_of

SAME = frozenset({"type", "updated", "ds", "de"})
"""Fields that a pack has as all its events have them."""
_LOCAL = re.compile(r"([A-Z][A-Za-z]+/[A-Za-z0-9.-]{1,64})(?:/_history/.*)?")
_LONGEST_LOCAL = 200
_Filter = dict[str, Any]


class Relaxed(NamedTuple):
    """``filter`` finds all that may match; ``exact``: nothing else; ``naming``: what every match refers to one of."""

    filter: _Filter
    exact: bool
    naming: frozenset[str] | None = None


_ANYTHING = Relaxed({}, exact=False)


def relax(filter: Mapping[str, Any]) -> Relaxed:
    """Return the filter for the audit's documents of one for events."""
    return _all([_of_one(name, value) for name, value in filter.items()])


def fields_in(filter: Mapping[str, Any]) -> frozenset[str] | None:
    """Return the fields that a filter looks at; None if that cannot be told."""
    found: set[str] = set()
    for name, value in filter.items():
        if name in ("$and", "$or", "$nor"):
            for part in value:
                inner = fields_in(part)
                if inner is None:
                    return None
                found |= inner
        elif name.startswith("$"):
            return None
        else:
            found.add(name.partition(".")[0])
    return frozenset(found)


def _all(parts: Sequence[Relaxed]) -> Relaxed:
    conditions = [one.filter for one in parts if one.filter]
    named = [one.naming for one in parts if one.naming is not None]
    together = conditions[0] if len(conditions) == 1 else {"$and": conditions} if conditions else {}
    return Relaxed(together, all(one.exact for one in parts), min(named, key=len, default=None))


def _any(parts: Sequence[Relaxed]) -> Relaxed:
    if not all(one.filter for one in parts):
        return Relaxed({}, any(not one.filter and one.exact for one in parts))
    named = [one.naming for one in parts if one.naming is not None]
    naming = frozenset().union(*named) if len(named) == len(parts) else None
    return Relaxed({"$or": [one.filter for one in parts]}, all(one.exact for one in parts), naming)


def _of_one(name: str, value: Any) -> Relaxed:
    if name == "$and":
        return _all([relax(one) for one in value])
    if name == "$or":
        return _any([relax(one) for one in value])
    if name in SAME:
        return Relaxed({name: value}, exact=True)
    if name == "_id":
        return _of_ids(value)
    target = _TARGETS.get(name)
    return _ANYTHING if target is None else _of_targets(value, target)


def _of_ids(condition: Any) -> Relaxed:
    wanted = texts_equal_to(condition)
    if wanted is not None:
        return Relaxed({"_id": {"$in": sorted({*wanted, *map(pack_of, wanted)})}}, exact=False)
    if not isinstance(condition, dict) or not all(isinstance(one, str) for one in condition.values()):
        return _ANYTHING
    bounds = {name: one for name, one in condition.items() if name in ("$lt", "$lte")}
    lowest = max((one for name, one in condition.items() if name in ("$gt", "$gte")), default=None)
    if lowest is not None:  # the pack of an event comes before it, or is at its place
        bounds["$gte"] = pack_of(lowest)
    return Relaxed({"_id": bounds}, exact=False) if bounds else _ANYTHING


def _of_targets(condition: Any, target: Callable[[str], str | None]) -> Relaxed:
    wanted = texts_equal_to(condition)
    targets = None if wanted is None else [target(one) for one in wanted]
    if targets is None or None in targets:
        return _ANYTHING
    named = frozenset(one for one in targets if one is not None)
    return Relaxed({"x": next(iter(named)) if len(named) == 1 else {"$in": sorted(named)}}, exact=False, naming=named)


def texts_equal_to(condition: Any) -> Iterable[str] | None:
    """Return the texts of which a condition wants one; None if it is another condition."""
    if isinstance(condition, str):
        return (condition,)
    if isinstance(condition, dict) and len(condition) == 1:
        texts = condition.get("$in", (condition.get("$eq"),))
        if all(isinstance(one, str) for one in texts):
            return tuple(texts)
    return None


def _itself(reference: str) -> str:
    return reference


def _target_of_key(key: str) -> str | None:
    """Return what a key of ``r`` (``AuditEvent.entity>Patient/42``) points to, if that is in ``x``."""
    found = _LOCAL.fullmatch(key.partition(">")[2]) if len(key) <= _LONGEST_LOCAL else None
    return None if found is None else found[1]


_TARGETS: Mapping[str, Callable[[str], str | None]] = {
    "pt": _itself,
    "c": _itself,
    "x": _itself,
    "r": _target_of_key,
}
