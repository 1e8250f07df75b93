"""Small documents that are not FHIR (jobs and the like), in collections of their own.

Filters and changes are MongoDB's, written by the module that owns the collection, never by a caller of the server.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from fhir_server.storage.combining import CombiningReader
from fhir_server.storage.connection import READ_CONCERN, Connection, translated
from fhir_server.storage.store import SortKeys


class Records:
    """The records of one database. Every method may raise ``StoreUnavailable``."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._readers: dict[str, CombiningReader] = {}

    def get(self, collection: str, id: str) -> dict[str, Any] | None:
        """Return the document of this id, or None. Look-ups that wait at the same time are one round trip."""
        reader = self._readers.get(collection)
        if reader is None:
            reader = self._readers.setdefault(collection, CombiningReader(partial(self._read, collection)))
        return reader.get(id)

    def insert(self, collection: str, document: Mapping[str, Any]) -> bool:
        """Insert a document; return False when its id, or what must be unique, is already there."""
        try:
            with translated():
                self._connection.database[collection].insert_one(dict(document))
        except DuplicateKeyError:
            return False
        return True

    def find(
        self, collection: str, filter: Mapping[str, Any], sort: SortKeys = (("_id", 1),), limit: int = 0
    ) -> list[dict[str, Any]]:
        """Return the documents in order, datetimes as the driver gives them. One round trip."""
        command = {"find": collection, "filter": dict(filter), "sort": dict(sort), "batchSize": 1_000}
        if limit:
            command["limit"] = limit
        with translated():
            return self._connection.reader.documents({**command, "readConcern": READ_CONCERN})

    def _read(self, collection: str, ids: Sequence[str]) -> list[dict[str, Any]]:
        key = ids[0] if len(ids) == 1 else {"$in": list(ids)}
        command = {"find": collection, "filter": {"_id": key}, "batchSize": len(ids) + 1, "readConcern": READ_CONCERN}
        with translated():
            return self._connection.reader.documents(command)

    def change(
        self,
        collection: str,
        filter: Mapping[str, Any],
        changes: Sequence[Mapping[str, Any]],
        sort: SortKeys = (),
    ) -> dict[str, Any] | None:
        """Change the first document that the filter finds, by a pipeline, and return it as it then is.

        None when nothing is found, or when another document has what must be unique: then nothing is changed.
        """
        try:
            with translated():
                found: dict[str, Any] | None = self._connection.database[collection].find_one_and_update(
                    dict(filter),
                    [dict(stage) for stage in changes],
                    sort=list(sort) or None,
                    return_document=ReturnDocument.AFTER,
                )
        except DuplicateKeyError:
            return None
        return found

    def change_many(self, collection: str, filter: Mapping[str, Any], changes: Sequence[Mapping[str, Any]]) -> int:
        """Change all documents that the filter finds, by a pipeline, and return how many there were."""
        with translated():
            found = self._connection.database[collection].update_many(dict(filter), [dict(stage) for stage in changes])
        return found.matched_count

    def delete(self, collection: str, filter: Mapping[str, Any]) -> int:
        """Delete all documents that the filter finds and return how many there were."""
        with translated():
            return self._connection.database[collection].delete_many(dict(filter)).deleted_count
