"""Versions that this process has read before, so that they need not be fetched again.

A version never changes: its body, its patient, compartments, labels and owner are the same for ever. What is kept here
is served in two cases. For a page, where the database, asked in the same request, has just named this very version as a
hit: by its moment, which identifies a version better than its number does, because it never comes back, even if a
resource is purged and another one gets its id. For a read, where the stamp under which the version was read still
stands (``stamps``). What the caller may see is never decided here.
"""

from datetime import datetime
from typing import NamedTuple

from fhir_server.storage.store import Document

_OVERHEAD = 1_000
"""Bytes that a document takes beside its body: the objects of its identity fields, and its places in here."""
_LARGEST_SHARE = 16


class Entry(NamedTuple):
    """A version by its moment (UTC, naive); ``stamp``: what says, while it stands, that this version is current."""

    updated: datetime
    document: Document
    stamp: int | None


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
            if entry.updated == updated:
                self._keep(reference, entry)
        return entry.document if entry.updated == updated else None

    def current(self, reference: str, stamp: int) -> Document | None:
        """Return the version that was current under the stamp, if it is here."""
        entry = self._new.get(reference)
        if entry is None:
            entry = self._old.get(reference)
            if entry is None:
                return None
            if entry.stamp == stamp:
                self._keep(reference, entry)
        return entry.document if entry.stamp == stamp else None

    def put(self, document: Document, stamp: int | None = None) -> None:
        """Keep a version unless it is too large; it takes the place of another version of the resource.

        ``stamp`` was taken before the version was read; without one, what is known of the same version holds on.
        """
        if len(document.body or b"") + _OVERHEAD > self.limit // _LARGEST_SHARE:
            return
        reference, updated = document.reference, document.updated.replace(tzinfo=None)
        if stamp is None:
            known = self._new.get(reference) or self._old.get(reference)
            stamp = known.stamp if known is not None and known.updated == updated else None
        self._keep(reference, Entry(updated, document, stamp))

    def __len__(self) -> int:
        return len(self._new.keys() | self._old.keys())

    def _keep(self, reference: str, entry: Entry) -> None:
        size = len(entry.document.body or b"") + _OVERHEAD
        if self._size + size > self.limit // 2:
            self._old, self._new, self._size = self._new, {}, 0
        if reference not in self._new:
            self._size += size
        self._new[reference] = entry
