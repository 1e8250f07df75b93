"""Durable background work: enqueued as a record, claimed under a lease, done by one worker, resumed by another.

A job is a document of the collection ``jobs``. Whoever claims it holds it until its lease ends, and renews the lease
with every step; if that worker is killed, the lease runs out and the next claim continues where ``progress`` says. All
times are the database's, so that clocks of workers do not matter. Jobs of a kind run one at a time, oldest first.

    queued ──claim──> running ──finish──> finished
       ^                 ├─fail, tried fewer than 5 times──> queued (later)
       └─────────────────┴─fail for good──> failed
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

JobState = Literal["queued", "running", "finished", "failed"]
Change = Mapping[str, Any]

COLLECTION = "jobs"
MOST_ATTEMPTS = 5
_NOW = "$$NOW"
_BACKOFF_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Job:
    """One job as it was read; ``token`` is that of the lease, empty when nobody has claimed it."""

    id: str
    kind: str
    state: JobState
    input: Mapping[str, Any]
    progress: Mapping[str, Any]
    token: str = ""
    attempts: int = 0
    problem: str = ""


class RecordStore(Protocol):
    """What jobs need of ``storage.records``."""

    def insert(self, collection: str, document: Mapping[str, Any]) -> bool:
        """Insert a document; False when it is already there."""

    def find(
        self, collection: str, filter: Mapping[str, Any], sort: tuple[tuple[str, int], ...] = ..., limit: int = 0
    ) -> list[dict[str, Any]]:
        """Return the documents in order."""

    def change(
        self,
        collection: str,
        filter: Mapping[str, Any],
        changes: Sequence[Change],
        sort: tuple[tuple[str, int], ...] = ...,
    ) -> dict[str, Any] | None:
        """Change the first document found, by a pipeline."""


@dataclass(frozen=True, slots=True)
class Jobs:
    """The jobs of one deployment. ``lease`` is how many seconds a worker may be silent."""

    records: RecordStore
    lease: float = 15.0

    def enqueue(self, document: Mapping[str, Any]) -> str:
        """Insert what ``build_job`` has made and return its id."""
        self.records.insert(COLLECTION, document)
        return str(document["_id"])

    def claim(self, kinds: Sequence[str], only: str | None = None) -> Job | None:
        """Return the oldest job that is due, now running and ours; None when there is none or one is running."""
        due = [
            {"state": "queued", "$expr": {"$lte": ["$after", _NOW]}},
            {"state": "running", "$expr": {"$lt": ["$until", _NOW]}},
        ]
        filter: dict[str, Any] = {"kind": {"$in": list(kinds)}, "$or": due}
        if only is not None:
            filter["_id"] = only
        change = {
            "state": "running",
            "token": os.urandom(12).hex(),
            "attempts": {"$add": ["$attempts", 1]},
            "until": self._until(),
        }
        found = self.records.change(COLLECTION, filter, [{"$set": change}], (("created", 1),))
        return None if found is None else _job(found)

    def held_by(self, job: Job) -> dict[str, Any]:
        """Return the filter that finds the job's record as long as the lease is this claim's."""
        return {"_id": job.id, "token": job.token, "state": "running"}

    def step(self, progress: Mapping[str, Any]) -> list[Change]:
        """Return the change that notes how far the job is and renews its lease; a step forgets earlier failures."""
        return [{"$set": {"progress": {"$literal": dict(progress)}, "until": self._until(), "attempts": 1}}]

    def finish(self, job: Job, progress: Mapping[str, Any]) -> bool:
        """Note that all is done; return False when the lease had been lost."""
        change = {"state": "finished", "progress": {"$literal": dict(progress)}, "ended": _NOW}
        return self.records.change(COLLECTION, self.held_by(job), [{"$set": change}]) is not None

    def fail(self, job: Job, problem: str, *, final: bool = False) -> None:
        """Note a failure: the job is tried again later, ever later, but no more than five times in a row."""
        if final or job.attempts >= MOST_ATTEMPTS:
            change: dict[str, Any] = {"state": "failed", "problem": problem, "ended": _NOW}
        else:
            pause = int(_BACKOFF_SECONDS * 1000 * 2 ** (job.attempts - 1))
            change = {"state": "queued", "problem": problem, "after": {"$add": [_NOW, pause]}}
        self.records.change(COLLECTION, self.held_by(job), [{"$set": change}])

    def release(self, job: Job) -> None:
        """Give a job back undone; the next claim goes on where it is."""
        change = {"state": "queued", "after": _NOW, "attempts": {"$subtract": ["$attempts", 1]}}
        self.records.change(COLLECTION, self.held_by(job), [{"$set": change}])

    def get(self, id: str) -> Job | None:
        """Return a job, or None."""
        found = self.records.find(COLLECTION, {"_id": id})
        return _job(found[0]) if found else None

    def list(self, kind: str, *, unfinished: bool = False) -> "list[Job]":
        """Return the jobs of a kind, oldest first."""
        filter: dict[str, Any] = {"kind": kind}
        if unfinished:
            filter["state"] = {"$in": ["queued", "running"]}
        return [_job(found) for found in self.records.find(COLLECTION, filter, (("kind", 1), ("created", 1)))]

    def _until(self) -> dict[str, Any]:
        return {"$add": [_NOW, int(self.lease * 1000)]}


def build_job(kind: str, input: Mapping[str, Any], now: Any) -> dict[str, Any]:
    """Return the record of a new job, due at once; it may be inserted together with what causes it."""
    return {
        "_id": f"{kind}-{os.urandom(9).hex()}",
        "kind": kind,
        "exclusive": kind,
        "state": "queued",
        "input": dict(input),
        "progress": {},
        "attempts": 0,
        "created": now,
        "after": now,
    }


def _job(found: Mapping[str, Any]) -> Job:
    return Job(
        found["_id"],
        found["kind"],
        found["state"],
        found["input"],
        found["progress"],
        found.get("token", ""),
        found["attempts"],
        found.get("problem", ""),
    )
