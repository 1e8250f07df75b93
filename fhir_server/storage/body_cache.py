"""Bodies that this process has read before, by resource and moment, so that a page need not fetch them again.

A version never changes: its body, its patient, compartments, labels and owner are the same for ever. What is kept here
is served only where the database, asked in the same request, has just named this very version as a hit: what is
current, and what the caller may see, the database alone decides. The moment identifies a version better than its number
does: it never comes back, even if a resource is purged and another one gets its id.
"""

from datetime import datetime

from fhir_server.storage.store import Document

_OVERHEAD = 1_000
"""Bytes that a document takes beside its body: the objects of its identity fields, and its places in here."""
_LARGEST_SHARE = 16

Entry = tuple[datetime, Document]


class BodyCache:
    """At most ``limit`` bytes of documents; 0 keeps none. Safe for threads, without a lock.

    Two generations: what is found in the old one moves to the new one; when the new one has filled half of the limit,
    the old one is forgotten. Threads that meet there at worst forget an entry too early.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._new: dict[str, Entry] = {}
        self._old: dict[str, Entry] = {}
        self._size = 0

    def get(self, reference: str, updated: datetime) -> Document | None:
        """Return the version of that moment (UTC, naive) if it is here."""
        entry = self._new.get(reference)
        if entry is None:
            entry = self._old.get(reference)
            if entry is None:
                return None
            if entry[0] == updated:
                self._keep(reference, entry)
        return entry[1] if entry[0] == updated else None

    def put(self, document: Document) -> None:
        """Keep a version unless it is too large; it takes the place of another version of the resource."""
        if document.body is not None and len(document.body) + _OVERHEAD <= self.limit // _LARGEST_SHARE:
            self._keep(document.reference, (document.updated.replace(tzinfo=None), document))

    def __len__(self) -> int:
        return len(self._new.keys() | self._old.keys())

    def _keep(self, reference: str, entry: Entry) -> None:
        size = len(entry[1].body or b"") + _OVERHEAD
        if self._size + size > self.limit // 2:
            self._old, self._new, self._size = self._new, {}, 0
        if reference not in self._new:
            self._size += size
        self._new[reference] = entry
