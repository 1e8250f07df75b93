"""What all of the authorization server stands on: its records, the time, and randomness."""

import base64
import hashlib
import hmac
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

SECRET_BYTES = 32
BELIEVED = 0.5
"""Seconds for which a worker believes that a token which it has looked up is good; who ends tokens waits so long."""
_MARGIN = 0.05


class RecordStore(Protocol):
    """What the authorization server needs of ``storage.records``."""

    def insert(self, collection: str, document: Mapping[str, Any]) -> bool:
        """Insert a document; False when it is already there."""
        ...

    def get(self, collection: str, id: str) -> dict[str, Any] | None:
        """Return the document of this id, or None."""
        ...

    def find(
        self, collection: str, filter: Mapping[str, Any], sort: tuple[tuple[str, int], ...] = ..., limit: int = 0
    ) -> list[dict[str, Any]]:
        """Return the documents in order."""
        ...

    def change(
        self, collection: str, filter: Mapping[str, Any], changes: Sequence[Mapping[str, Any]]
    ) -> dict[str, Any] | None:
        """Change the first document found, by a pipeline, and return it."""
        ...

    def change_many(self, collection: str, filter: Mapping[str, Any], changes: Sequence[Mapping[str, Any]]) -> int:
        """Change all documents found."""
        ...

    def delete(self, collection: str, filter: Mapping[str, Any]) -> int:
        """Delete all documents found."""
        ...


@dataclass(frozen=True, slots=True)
class Ground:
    """The records, opened at the first use, with the clock and the source of secrets."""

    open_records: Callable[[], RecordStore]
    clock: Callable[[], datetime]
    random_bytes: Callable[[int], bytes]
    pause: Callable[[float], None] = time.sleep

    @property
    def records(self) -> RecordStore:
        """The records."""
        return self.open_records()

    def now(self) -> datetime:
        """Return the time in UTC."""
        return self.clock()

    def secret(self) -> str:
        """Return a new secret of 256 bits, fit for a URL."""
        return base64.urlsafe_b64encode(self.random_bytes(SECRET_BYTES)).rstrip(b"=").decode()

    def identifier(self) -> str:
        """Return a new identifier that is not secret."""
        return self.random_bytes(12).hex()

    def settle(self) -> None:
        """Return once every worker has looked up anew what it believed before: then an end holds everywhere."""
        self.pause(BELIEVED + _MARGIN)

    def get(self, collection: str, id: str) -> dict[str, Any] | None:
        """Return the document of this id, or None."""
        return self.records.get(collection, id)

    def find_one(self, collection: str, filter: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the document that the filter finds, or None."""
        found = self.records.find(collection, filter, limit=1)
        return found[0] if found else None


def digest(secret: str) -> str:
    """Return what is stored in place of a secret of 256 bits; nobody guesses such a one from its hash."""
    return hashlib.sha256(secret.encode()).hexdigest()


def is_same(secret: str, stored: str) -> bool:
    """Say whether the secret is the one whose digest is stored, in a time that tells nothing."""
    return hmac.compare_digest(digest(secret), stored)


def aware(moment: datetime) -> datetime:
    """Return a moment of the database as one in UTC: readers get it without a zone."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
