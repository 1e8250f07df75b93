"""Which versions were on the pages that this process has asked for, for as long as nothing of their types has changed.

What is searched most changes least: practitioners, organizations, value sets, and the record that somebody leafs
through. A page holds as long as the stamps (``stamps``) of all types that its filter can find; where there are no
stamps, nothing is kept. The filter is the whole of the question, the caller's policy included: who may see other things
asks another one.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import bson

from fhir_server.storage.documents import CODEC
from fhir_server.storage.stamps import Stamps
from fhir_server.storage.store import Query

Rows = Sequence[tuple[str, datetime]]
"""Versions in order: the reference and the moment (UTC, naive) of each."""

_MOST_ROWS = 25_000
_LONGEST_QUESTION = 4_096
"""Bytes; what is longer is asked too seldom to be asked again."""


class Question(NamedTuple):
    """A query, and the stamps that stood before it was put to the database."""

    key: bytes
    stamps: tuple[int, ...]


class PageMemory:
    """The rows of at most ``most_rows`` versions; with more, all are forgotten. Safe for threads, without a lock."""

    def __init__(self, stamps: Stamps, most_rows: int = _MOST_ROWS) -> None:
        self._stamps = stamps
        self._most_rows = most_rows
        self._known: dict[bytes, tuple[tuple[int, ...], Rows]] = {}
        self._size = 0

    def question(self, query: Query) -> Question | None:
        """Return what the rows of a query are kept by; None when it cannot be told how long they will hold."""
        stamps = [self._stamps.stamp(one) for one in query.types]
        if not stamps or None in stamps:
            return None
        key = _to_key(query)
        return Question(key, tuple(one for one in stamps if one is not None)) if len(key) < _LONGEST_QUESTION else None

    def get(self, question: Question) -> Rows | None:
        """Return the rows, if they are here and nothing has changed since."""
        known = self._known.get(question.key)
        return known[1] if known is not None and known[0] == question.stamps else None

    def put(self, question: Question, rows: Rows) -> None:
        """Keep the rows that the database has named after the question was made."""
        if self._size + len(rows) > self._most_rows:
            self._known, self._size = {}, 0
        if question.key not in self._known:
            self._size += len(rows) + 1
        self._known[question.key] = (question.stamps, rows)


def _to_key(query: Query) -> bytes:
    asked: dict[str, Any] = {"f": query.filter, "s": query.sort, "l": query.limit, "h": query.hint}
    return bson.encode(asked, codec_options=CODEC)
