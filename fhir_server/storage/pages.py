"""Pages of current versions with their bodies, the bodies from memory where this process has them.

The database says which versions are hits, in which order, under the caller's policy; what it said of the same page is
taken again only while nothing has changed that it was said of (``page_memory``). Asked for no more than identity and
moment it takes half the time, from the index alone where that holds all that the filter needs. What is not in memory
costs one more round trip; so a process asks in this way only while most of what it lists is there, and for everything
at once otherwise.
"""

from collections.abc import Callable, Sequence
from typing import Any

from fhir_server.storage import documents
from fhir_server.storage.body_cache import BodyCache
from fhir_server.storage.page_memory import PageMemory, Rows
from fhir_server.storage.store import Document, Query

KEPT_FIELDS = ("ds",)
"""Index fields that a page's keyset is made of and that belong to the version: they are kept with it."""
_SERVED = frozenset({*KEPT_FIELDS, "updated", *documents.IDENTITY_FIELDS})
_WORTH_IT = 0.5
"""The share of bodies in memory from which on asking for moments first costs less, the second round trip included."""

_WEIGHT = 0.2
_MOMENTS = {"updated": 1}

Row = dict[str, Any]


class PageReader:
    """Answers queries that want bodies and no more than ``ds`` of the index.

    ``find`` runs a query with a projection, ``read`` fetches documents by reference with a projection.
    """

    def __init__(
        self,
        cache: BodyCache,
        memory: PageMemory,
        find: Callable[[Query, dict[str, int]], list[Row]],
        read: Callable[[Sequence[str], dict[str, int]], list[Row]],
    ) -> None:
        self._cache = cache
        self._memory = memory
        self._find = find
        self._read = read
        self._share = 0.0

    def serves(self, query: Query) -> bool:
        """Whether the documents of this query may come from memory."""
        return (
            query.collection == "resources"
            and query.with_body
            and not query.with_index
            and not query.computed
            and self._cache.limit > 0
            and _SERVED.issuperset(query.index_fields)
        )

    def find(self, query: Query) -> list[Document]:
        """Return the documents in order. One round trip at most, or two when some are not in memory; see ``serves``."""
        question = self._memory.question(query)
        rows = None if question is None else self._memory.get(question)
        if rows is not None:
            return self._with_bodies(rows, query)
        if self._share < _WORTH_IT:
            found = self._find_whole(query)
            rows = [(one.reference, one.updated.replace(tzinfo=None)) for one in found]
        else:
            rows = [(row["_id"], row["updated"]) for row in self._find(query, _MOMENTS)]
            found = self._with_bodies(rows, query)
        if question is not None:
            self._memory.put(question, rows)
        return found

    def _with_bodies(self, rows: Rows, query: Query) -> list[Document]:
        """Return the versions named, from memory as far as they are there; what the query finds if one is gone."""
        get = self._cache.get
        found = [get(reference, updated) for reference, updated in rows]
        missing = [row for row, document in zip(rows, found, strict=True) if document is None]
        if not missing:
            return found  # type: ignore[return-value]  # none is None
        self._learn(len(rows) - len(missing), len(rows))
        fetched = self._fetch(missing)
        if fetched is None:
            return self._find_whole(query)
        return [document or fetched[reference] for (reference, _), document in zip(rows, found, strict=True)]

    def _fetch(self, rows: Rows) -> dict[str, Document] | None:
        """Return the versions that the rows name, ``None`` when one of them has been replaced in the meantime."""
        found = {row["_id"]: row for row in self._read([reference for reference, _ in rows], kept_projection())}
        if any(reference not in found or found[reference]["updated"] != updated for reference, updated in rows):
            return None
        return {reference: self._keep(row) for reference, row in found.items()}

    def _find_whole(self, query: Query) -> list[Document]:
        rows = self._find(query, kept_projection())
        known = sum(self._cache.get(row["_id"], row["updated"]) is not None for row in rows)
        if rows:
            self._learn(known, len(rows))
        return [self._keep(row) for row in rows]

    def _keep(self, row: Row) -> Document:
        document = documents.from_current(row, names=KEPT_FIELDS)
        if "file" not in row:
            self._cache.put(document)
        return document

    def _learn(self, known: int, asked: int) -> None:
        self._share += _WEIGHT * (known / asked - self._share)


def kept_projection() -> dict[str, int]:
    """Return the projection of what is kept in memory of a version."""
    return documents.to_projection(True, False, KEPT_FIELDS)
