"""Large bodies: files in GridFS (collections ``bodies.files`` and ``bodies.chunks``), one for each version.

A file is complete before the transaction that names it begins, so no version ever points nowhere; a file whose
transaction did not happen is an orphan and is swept once it is older than any transaction can be.
Spec: https://www.mongodb.com/docs/manual/core/gridfs/
"""

import secrets
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any

from gridfs import GridFSBucket

from fhir_server.storage.connection import MAJORITY, READ_CONCERN, Connection, translated
from fhir_server.storage.documents import to_version_key
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
                self._connection.database[f"{BUCKET}.files"].delete_many({"_id": {"$in": gone}})
                self._connection.database[f"{BUCKET}.chunks"].delete_many({"files_id": {"$in": gone}})

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
        """Remove the files uploaded before ``older_than`` that no version names; returns how many."""
        swept = 0
        with translated():
            for files in self._older(older_than):
                versions = [file.rpartition("/")[0] for file in files]
                named = self._connection.database["history"].find({"_id": {"$in": versions}}, {"file": 1})
                orphans = set(files) - {version.get("file") for version in named}
                self.drop(orphans)
                swept += len(orphans)
        return swept

    def _older(self, older_than: datetime) -> Iterator[Sequence[str]]:
        batch: list[str] = []
        for file in self._connection.database[f"{BUCKET}.files"].find({"uploadDate": {"$lt": older_than}}, {"_id": 1}):
            batch.append(file["_id"])
            if len(batch) == _SWEEP_BATCH:
                yield batch
                batch = []
        if batch:
            yield batch

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
