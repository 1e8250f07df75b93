"""Current versions by reference: from memory while nobody has changed them since, from the database otherwise.

The stamps (``stamps``) tell the difference without a question to the database; where there are none, on a database that
others write to from elsewhere, every read is a question.
"""

from collections.abc import Callable, Sequence
from typing import Any

from fhir_server.storage import documents
from fhir_server.storage.body_cache import BodyCache
from fhir_server.storage.combining import CombiningReader
from fhir_server.storage.pages import KEPT_FIELDS
from fhir_server.storage.stamps import Stamps
from fhir_server.storage.store import Document

Row = dict[str, Any]


class CurrentReader:
    """``read`` fetches what there is of some references in one query; ``fill`` puts in bodies that are kept apart.

    ``fields``: index fields to keep besides whose it is; one that is no part of the version only where nobody else puts
    anything into ``cache``.
    """

    def __init__(
        self,
        cache: BodyCache,
        stamps: Stamps,
        read: Callable[[Sequence[str]], list[Row]],
        fill: Callable[[Sequence[Row]], None],
        fields: Sequence[str] = KEPT_FIELDS,
    ) -> None:
        self._cache = cache
        self._stamps = stamps
        self._reads = CombiningReader(read)
        self._fill = fill
        self._fields = fields

    def get(self, reference: str) -> Document | None:
        """Return the current version, deleted ones included, or None. One round trip at most."""
        stamp = self._stamps.stamp(reference)
        if stamp is not None:
            known = self._cache.current(reference, stamp)
            if known is not None:
                return known
        row = self._reads.get(reference)
        return None if row is None else self._keep(row, stamp)

    def get_many(self, references: Sequence[str]) -> dict[str, Document]:
        """Return the current versions that exist (deleted ones included) by reference. One round trip at most."""
        stamps = {reference: self._stamps.stamp(reference) for reference in references}
        found: dict[str, Document] = {}
        for reference, stamp in stamps.items():
            known = None if stamp is None else self._cache.current(reference, stamp)
            if known is not None:
                found[reference] = known
        missing = [reference for reference in stamps if reference not in found]
        if missing:
            found |= {row["_id"]: self._keep(row, stamps[row["_id"]]) for row in self._reads.get_many(missing)}
        return found

    def _keep(self, row: Row, stamp: int | None) -> Document:
        if "file" in row:
            row = dict(row)  # two callers may have been given the same one
            self._fill((row,))
            return documents.from_current(row, names=self._fields)
        document = documents.from_current(row, names=self._fields)
        if stamp is not None:
            self._cache.put(document, stamp)
        return document
