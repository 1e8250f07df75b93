"""Large bodies: files in GridFS (collections ``bodies.files`` and ``bodies.chunks``), one for each version.

A file is complete before the transaction that names it begins, so no version ever points nowhere; a file whose
transaction did not happen is an orphan and is swept once it is older than any transaction can be.
Spec: https://www.mongodb.com/docs/manual/core/gridfs/
"""

import secrets
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import groupby, islice
from typing import Any

from bson import ObjectId
from gridfs import GridFSBucket
from pymongo.collection import Collection

from fhir_server.storage.connection import READ_CONCERN, Connection, translated
from fhir_server.storage.documents import to_version_key
from fhir_server.storage.driver_transaction import MAJORITY
from fhir_server.storage.store import Change

BUCKET = "bodies"
_SWEEP_BATCH = 500


class Binaries:
    """The files of bodies that are too large for a document."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def put(self, change: Change) -> str:
        """Keep the change's body as a new file and return its id; majority and journaled."""
        assert change.body is not None
        file = f"{to_version_key(change.reference, change.version)}/{secrets.token_hex(8)}"
        with translated():
            self._bucket().upload_from_stream_with_id(file, file, change.body)
        return file

    def drop(self, files: Iterable[str]) -> None:
        """Remove files that no version names."""
        gone = list(files)
        if gone:
            with translated():
                self._files.delete_many({"_id": {"$in": gone}})
                self._chunks.delete_many({"files_id": {"$in": gone}})

    def fill(self, found: Iterable[dict[str, Any]]) -> None:
        """Put the bodies into the stored documents that name a file (changes them); one round trip for all."""
        outside = {document["file"]: document for document in found if "file" in document}
        if not outside:
            return
        with translated():
            chunks = self._connection.reader.documents(_chunks_of(list(outside)))
        for file, parts in groupby(chunks, key=lambda chunk: chunk["files_id"]):
            outside[file]["body"] = b"".join(part["data"] for part in parts)
        for file, document in outside.items():
            if len(document["body"] or b"") != document.get("size", len(document["body"] or b"")):
                raise RuntimeError(f"the body {file} is not whole")

    def sweep_orphans(self, older_than: datetime) -> int:
        """Remove what was uploaded before ``older_than`` and no version names; returns how many files, whole or not."""
        with translated():
            return self._sweep_files(older_than) + self._sweep_pieces(older_than)

    def _sweep_files(self, older_than: datetime) -> int:
        found = self._files.find({"uploadDate": {"$lt": older_than}}, {"_id": 1})
        swept = 0
        for files in _batches(file["_id"] for file in found):
            versions = [file.rpartition("/")[0] for file in files]
            named = self._connection.database["history"].find({"_id": {"$in": versions}}, {"file": 1})
            orphans = set(files) - {version.get("file") for version in named}
            self.drop(orphans)
            swept += len(orphans)
        return swept

    def _sweep_pieces(self, older_than: datetime) -> int:
        """Remove the chunks of uploads that never came to their end: such a file was never registered."""
        first = self._chunks.find({"n": 0}, {"_id": 0, "files_id": 1}).hint([("files_id", 1), ("n", 1)])
        swept = 0
        for files in _batches(chunk["files_id"] for chunk in first):
            whole = {file["_id"] for file in self._files.find({"_id": {"$in": files}}, {"_id": 1})}
            pieces = self._chunks.find(
                {
                    "files_id": {"$in": [file for file in files if file not in whole]},
                    "n": 0,
                    "_id": {"$lt": ObjectId.from_datetime(older_than)},
                },
                {"files_id": 1},
            )
            orphans = [chunk["files_id"] for chunk in pieces]
            self.drop(orphans)
            swept += len(orphans)
        return swept

    @property
    def _files(self) -> Collection[dict[str, Any]]:
        return self._connection.database[f"{BUCKET}.files"]

    @property
    def _chunks(self) -> Collection[dict[str, Any]]:
        return self._connection.database[f"{BUCKET}.chunks"]

    def _bucket(self) -> GridFSBucket:
        return GridFSBucket(self._connection.database, BUCKET, write_concern=MAJORITY)


def _chunks_of(files: list[str]) -> dict[str, Any]:
    return {
        "find": f"{BUCKET}.chunks",
        "filter": {"files_id": {"$in": files}},
        "sort": {"files_id": 1, "n": 1},
        "projection": {"_id": 0, "files_id": 1, "data": 1},
        "readConcern": READ_CONCERN,
    }


def _batches(names: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(names)
    while batch := list(islice(rest, _SWEEP_BATCH)):
        yield batch
