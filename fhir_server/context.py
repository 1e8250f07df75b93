"""What every layer above the store is handed first: who asks, when, and through which door."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from fhir_server.access.caller import Caller
from fhir_server.audit.trail import Trail
from fhir_server.errors import Text
from fhir_server.repository.repository import Repository
from fhir_server.search.paging import PageSealer
from fhir_server.settings import Settings
from fhir_server.storage.records import Records


def current_time() -> datetime:
    """Return now in UTC, cut to the milliseconds that R4's instants and the database keep."""
    return datetime.fromtimestamp(time.time_ns() // 1_000_000 / 1_000, UTC)


def random_bytes(count: int) -> bytes:
    """Return ``count`` unpredictable bytes."""
    return os.urandom(count)


@dataclass(frozen=True, slots=True)
class RequestContext:
    """One request's surroundings; ``base_url`` has no trailing slash, ``language`` is ``en`` or ``fr``."""

    repository: Repository
    settings: Settings
    pages: PageSealer
    caller: Caller
    request_id: str
    now: datetime
    language: str
    base_url: str
    clock: Callable[[], datetime] = current_time

    @property
    def records(self) -> Records:
        """The records that are not FHIR; for the modules that own them."""
        return self.repository.records

    @property
    def trail(self) -> Trail:
        """What the request has touched so far."""
        return self.repository.trail

    def say(self, text: Text) -> str:
        """Return ``text`` in the caller's language."""
        return text.in_language(self.language)
