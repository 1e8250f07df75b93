"""Seals over the audit: a hash chain per day that makes every later change evident.

An event carries nothing that may change. A second after events have come they are sealed, in the order of their ids: a
seal lists each with the digest of its reference and content, and its own hash covers that list and the hash of the seal
before it, across days. The hashes that a day has come to are also kept in a file outside the database (``heads``):
who rewrites the whole chain does not meet them any more. ``verification`` recomputes it all.
"""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

from fhir_server.audit.sealed_spans import SealedSpans
from fhir_server.fhir.datatypes import format_instant

START = "0" * 64
"""What the first seal of all follows."""

SETTLE = timedelta(seconds=1)
OVERLAP = timedelta(seconds=180)
"""A commit may take as long as a request (60 s); whose event comes so late is looked for once more."""

_LOOK_BACK = timedelta(seconds=30)
_HEAD_EVERY = timedelta(minutes=1)
_MOST_EVENTS = 1_000
_ENTRY = 48
_PREFIX = "AuditEvent/"
_EVENT_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Sealed(Protocol):
    """A document of the audit: an event, or a pack of events."""

    @property
    def document(self) -> Mapping[str, Any]:
        """The document as it is stored."""

    @property
    def content(self) -> bytes:
        """What a seal covers."""

    @property
    def frame(self) -> bytes | None:
        """The key of the frame of a pack."""

    @property
    def events(self) -> int:
        """How many events it holds."""


class SealLog(Protocol):
    """What sealing needs of ``storage.audit_log``."""

    def references(self, after: str, before: str, limit: int = 0) -> list[str]:
        """Return the references between two others, in order."""

    def count(self, after: str, before: str) -> int:
        """Return how many there are between two references."""

    def contents(self, after: str, before: str, limit: int) -> list[tuple[str, bytes]]:
        """Return the references between two others with what a seal covers, in order."""

    def read(self, references: Sequence[str]) -> Mapping[str, Sealed]:
        """Return what there is, by reference."""

    def bodies(self, references: Sequence[str]) -> list[bytes]:
        """Return the events in what there is of these references, as they are served."""

    def frames(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the texts of the frames that there are, by key."""

    def append_seal(self, seal: Mapping[str, Any]) -> bool:
        """Append a seal; False when its number is taken."""

    def last_seal(self) -> dict[str, Any] | None:
        """Return the newest seal."""

    def seals(self, first: str = "", last: str = "~") -> Iterator[dict[str, Any]]:
        """Yield the seals, oldest first."""

    def latest_seals(self) -> Iterator[dict[str, Any]]:
        """Yield the seals, newest first."""


def reference_at(moment: datetime) -> str:
    """Return what lies before every reference of an event of that moment or later, and after all earlier ones."""
    text = f"{round(moment.timestamp() * 1000):012x}"
    return f"{_PREFIX}{text[:8]}-{text[8:]}"


def digest_of(reference: str, content: bytes) -> bytes:
    """Return the digest of one document: 32 bytes."""
    return hashlib.sha256(b"%s\n%s" % (reference.encode(), content)).digest()


def to_entry(reference: str, content: bytes) -> bytes:
    """Return how a seal lists an event that has an id of this server's (``is_event_id``): the id and the digest.

    A pack is listed by the id of its first event.
    """
    return bytes.fromhex(reference.removeprefix(_PREFIX).replace("-", "")) + digest_of(reference, content)


def entries_of(seal: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
    """Yield the references and digests that a seal lists."""
    listed: bytes = seal["events"]
    for start in range(0, len(listed), _ENTRY):
        entry = listed[start : start + _ENTRY]
        yield f"{_PREFIX}{UUID(bytes=entry[:16])}", entry[16:]


def build_seal(previous: Mapping[str, Any] | None, now: datetime, entries: Sequence[bytes]) -> dict[str, Any]:
    """Return the seal that follows ``previous``: the next number of its day, or the first of a new one."""
    day = now.astimezone(UTC).date().isoformat()
    if previous is not None:
        day = max(day, previous["day"])  # a clock that jumped back opens no day a second time
    number = previous["number"] + 1 if previous is not None and previous["day"] == day else 1
    seal = {
        "_id": f"{day}/{number:08d}",
        "day": day,
        "number": number,
        "at": now,
        "previous": previous["hash"] if previous is not None else START,
        "count": len(entries),
        "events": b"".join(entries),
    }
    return {**seal, "hash": hash_of(seal)}


def hash_of(seal: Mapping[str, Any]) -> str:
    """Return the hash that a seal should have."""
    head = f"{seal['_id']}\n{format_instant(seal['at'])}\n{seal['previous']}\n{seal['count']}\n"
    return hashlib.sha256(head.encode() + seal["events"]).hexdigest()


@dataclass(slots=True)
class Sealer:
    """Seals what has come. Any number may run: a seal's number is taken once. ``heads`` is the file of hashes."""

    log: SealLog
    heads: Path
    _last: dict[str, Any] | None = None
    _upto: str = ""
    _spans: SealedSpans = field(default_factory=SealedSpans)
    _looked_back: datetime = datetime(1, 1, 1, tzinfo=UTC)
    _head_told: datetime = datetime(1, 1, 1, tzinfo=UTC)
    _loaded: bool = False

    def seal(self, now: datetime, settle: timedelta = SETTLE) -> int:
        """Seal what had come by ``now`` less ``settle`` and return how many events that was.

        Raises ``StoreUnavailable``; the same may be done again.
        """
        if not self._loaded:
            self._load(now)
        sealed = 0
        if now - self._looked_back >= _LOOK_BACK:
            self._looked_back = now
            sealed += self._look_back(now)
        until = reference_at(now - settle)
        while self._loaded and until > self._upto:
            batch = self.log.contents(self._upto, until, _MOST_EVENTS)
            if not batch or not self._seal_all(batch, now):
                break
            sealed += len(batch)
            self._spans.add(self._upto, batch[-1][0], len(batch))
            self._upto = batch[-1][0]
        self._tell_head(now)
        return sealed

    def seal_late(self, now: datetime, references: Sequence[str]) -> None:
        """Seal events that a killed process had left behind, whatever their time."""
        if not self._loaded:
            self._load(now)
        self._seal_missing(references, now)

    def finish(self, now: datetime) -> None:
        """Seal the rest before the process ends, and write down the head."""
        self.seal(now + timedelta(milliseconds=1), timedelta(0))
        self._head_told = datetime(1, 1, 1, tzinfo=UTC)
        self._tell_head(now)

    def _load(self, now: datetime) -> None:
        """Read how far the chain has come, and how many events its latest part lists."""
        self._last = self.log.last_seal()
        self._upto, self._spans = _PREFIX, SealedSpans()
        since, count = reference_at(now - OVERLAP), 0
        for seal in self.log.latest_seals():
            for reference, _ in entries_of(seal):
                self._upto = max(self._upto, reference)
                count += reference > since
            if seal["at"] < now - 2 * OVERLAP:
                break
        if self._upto > since:
            self._spans.add(since, self._upto, count)
        self._loaded = True

    def _look_back(self, now: datetime) -> int:
        """Seal what has been committed among events that were sealed already; return how many those are."""
        self._spans.forget(reference_at(now - OVERLAP))
        sealed = 0
        for span in self._spans.changed(self.log):
            present = self.log.references(span.after, span.before)
            sealed += self._seal_missing(present, now)
            if not self._loaded:
                break
            span.count = len(present)
        return sealed

    def _seal_missing(self, references: Sequence[str], now: datetime) -> int:
        """Seal those of some events that no seal lists, in their order, and return how many they are."""
        missing, oldest = dict.fromkeys(references), min(references, default="")
        for seal in self.log.latest_seals():
            if not missing or reference_at(seal["at"] + OVERLAP) < oldest:
                break
            for reference, _ in entries_of(seal):
                missing.pop(reference, None)
        found = self.log.read(list(missing))
        events = [(one, found[one].content) for one in missing if one in found]
        for start in range(0, len(events), _MOST_EVENTS):
            if not self._seal_all(events[start : start + _MOST_EVENTS], now):
                return start
        return len(events)

    def _seal_all(self, events: Sequence[tuple[str, bytes]], now: datetime) -> bool:
        """Seal events; say whether that was done: else another sealer was faster."""
        entries = [to_entry(reference, content) for reference, content in events if is_event_id(reference)]
        if not entries:
            return True
        seal = build_seal(self._last, now, entries)
        if self._last is not None and seal["day"] != self._last["day"]:
            self._write_head()
        if not self.log.append_seal(seal):
            self._loaded = False  # look anew at the next turn
            return False
        self._last = seal
        return True

    def _tell_head(self, now: datetime) -> None:
        if now - self._head_told >= _HEAD_EVERY and self._last is not None:
            self._head_told = now
            self._write_head()

    def _write_head(self) -> None:
        """Append the newest seal's id and hash to the file, on disk when this returns."""
        assert self._last is not None
        line = f"{self._last['_id']} {self._last['hash']}\n"
        if self.heads.exists() and self.heads.read_text(encoding="ascii").endswith(line):
            return
        self.heads.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(os.open(self.heads, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "a", encoding="ascii") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())


def is_event_id(reference: str) -> bool:
    """Say whether the reference is one that this server gives to events."""
    return _EVENT_ID.fullmatch(reference.removeprefix(_PREFIX)) is not None
