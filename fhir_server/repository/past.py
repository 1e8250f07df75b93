"""Past versions as one caller is shown them: those that tell them nothing take no place on a page and in no count.

Spec: http://hl7.org/fhir/R4/http.html#history
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from fhir_server.access.listings import SOLE
from fhir_server.repository.sight import Sight
from fhir_server.storage.store import Document, HistoryQuery, Store

_BATCH = 500


def find_versions(store: Store, sight: Sight, query: HistoryQuery) -> list[Document]:
    """Return the versions that a restricted query asks for, as they are shown. One round trip, seldom more."""
    found: list[Document] = []
    more = True
    while more and len(found) < query.limit:
        part = replace(query, limit=query.limit - len(found))
        versions = store.history(part)
        more = len(versions) == part.limit
        found += sight.shown(versions)
        if more:
            query = replace(query, after=_place_of(versions[-1]))
    return found


def count_versions(store: Store, sight: Sight, query: HistoryQuery) -> int:
    """Return how many versions ``find_versions`` lists over all pages; lists are looked into for it."""
    count = store.count_history(query)
    if sight.is_whole:
        return count
    kinds = [kind for kind in sorted(SOLE) if query.resource_type in (None, kind)]
    return count - sum(_hidden(store, sight, replace(query, resource_type=kind)) for kind in kinds)


def _hidden(store: Store, sight: Sight, query: HistoryQuery) -> int:
    return sum(len(batch) - len(sight.shown(batch)) for batch in _batches(store, query))


def _batches(store: Store, query: HistoryQuery) -> Iterator[list[Document]]:
    query = replace(query, limit=_BATCH)
    while versions := store.history(query):
        yield versions
        query = replace(query, after=_place_of(versions[-1]))


def _place_of(version: Document) -> tuple[datetime, str, int]:
    return version.updated, version.reference, version.version
