"""What a filter asks of events, by what it takes to answer: their frame alone, a comparison, or the database. Pure.

Thousands of events share a frame, and most of what is asked of events (who, by which app, which interaction, with which
outcome) lies in it: so it is asked of one event of each frame. What is equal to texts is compared here.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from fhir_server.storage.relaxing import SAME, fields_in, texts_equal_to

_OF_FRAMES = frozenset({"t", "s", "e", "f", "l"})
"""Index fields that all events of a frame have alike, but for the tokens of ``_OWN``."""
_OWN = "AuditEvent.entity:identifier"
"""Begins the tokens of the request's id, which is each event's own."""
_POINTERS = frozenset({"_id", "r", "x", "c", "pt"})
_EQUALITIES = frozenset({"$in", "$eq", "$ne", "$nin", "$not", "$exists"})

_Filter = dict[str, Any]


class Judgement(NamedTuple):
    """A filter in parts that must all hold.

    ``by_frame`` is the same for all events of a frame; ``equal``: fields with texts of which each has one, or is one;
    ``hard`` is for the database.
    """

    by_frame: _Filter
    equal: tuple[tuple[str, frozenset[str]], ...]
    hard: _Filter

    @property
    def whole(self) -> bool:
        """Whether it takes more of an event than what it refers to."""
        return bool(self.hard) or any(name not in _POINTERS for name, _ in self.equal)

    def holds(self, event: Mapping[str, Any]) -> bool:
        """Say whether the fields of an event have the texts."""
        return all(_has(event.get(name), texts) for name, texts in self.equal)


def judge(filter: Mapping[str, Any], *, frames_tell: bool = True) -> Judgement:
    """Return the filter in parts, without what the audit's documents have been found by as it is.

    ``frames_tell``: events of a frame are indexed alike, which own search parameters may change.
    """
    by_frame: list[_Filter] = []
    hard: list[_Filter] = []
    equal: list[tuple[str, frozenset[str]]] = []
    for name, value in _conjuncts(filter):
        texts = None if name.startswith("$") else texts_equal_to(value)
        if name in SAME:
            continue
        if frames_tell and _is_of_frames(name, value):
            by_frame.append({name: value})
        elif texts is not None and "." not in name:
            equal.append((name, frozenset(texts)))
        else:
            hard.append({name: value})
    return Judgement(_all(by_frame), tuple(equal), _all(hard))


def _conjuncts(filter: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in filter.items():
        if name == "$and":
            for part in value:
                yield from _conjuncts(part)
        else:
            yield name, value


def _all(parts: list[_Filter]) -> _Filter:
    return parts[0] if len(parts) == 1 else {"$and": parts} if parts else {}


def _is_of_frames(name: str, value: Any) -> bool:
    """Say whether a condition is on fields alone that all events of a frame have alike."""
    fields = fields_in({name: value})
    if fields is None or not fields <= _OF_FRAMES:
        return False
    return "t" not in fields or all(_asks_for_shared_tokens(one) for one in _of_tokens(name, value))


def _of_tokens(name: str, value: Any) -> Iterator[Any]:
    """Yield the conditions on tokens."""
    if name.startswith("$"):
        for part in value:
            for inner, condition in part.items():
                yield from _of_tokens(inner, condition)
    elif name == "t":
        yield value


def _asks_for_shared_tokens(condition: Any) -> bool:
    if isinstance(condition, str):
        return not condition.startswith(_OWN)
    if isinstance(condition, list):
        return all(map(_asks_for_shared_tokens, condition))
    if isinstance(condition, dict):
        return condition.keys() <= _EQUALITIES and all(map(_asks_for_shared_tokens, condition.values()))
    return condition is None or isinstance(condition, bool)


def _has(value: Any, texts: frozenset[str]) -> bool:
    return not texts.isdisjoint(value) if isinstance(value, list) else value in texts
