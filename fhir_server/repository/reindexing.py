"""The reindex job: walk every resource of some types and write its index anew; bodies and history are never touched.

It may be killed at any moment: how far it is stands in its record, written in the transaction of each batch. It is
right beside writers: the fence (``storage.index_writer``) keeps out what was indexed under older parameters, and a
resource that has moved on since it was read has been indexed by its writer.

AuditEvents are indexed anew as well. A seal covers their content, which is never written here; nor is what a policy
finds them by, which the audit's verification holds against the content. No fence keeps out the event of a read, for the
answer has left. So the latest are looked at once more in the end, when those that were built before their process had
seen the parameter are in the database; and what a killed process has left behind is indexed as it arrives.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from fhir_server.audit.seals import OVERLAP, reference_at
from fhir_server.errors import FhirError
from fhir_server.fhir.json import parse_json
from fhir_server.jobs import COLLECTION, Job, Jobs
from fhir_server.repository.closing import align, find_unaligned
from fhir_server.repository.stored_parameters import ParameterRegistry
from fhir_server.search.apart import APART_TYPES
from fhir_server.search.closed import CLOSED
from fhir_server.search.indexer import to_index
from fhir_server.search.stored import stored_parameters_of
from fhir_server.storage.documents import collection_of
from fhir_server.storage.index_writer import Rewrite
from fhir_server.storage.store import Document, Query, Store

BATCH = 100
ARRIVED = timedelta(seconds=2)
"""Whoever builds an event sees a new parameter after half a second, and has it in the database after another tenth."""
_KEPT: Mapping[str, frozenset[str]] = {
    "Provenance": frozenset({"o", "pt", "c"}),
    "AuditEvent": frozenset({"o", "pt", "c", "l"}),
}
"""Fields that stay as they are: who put it here is in no body (``o``), and whose data a Provenance tells of neither.

The mark of a closed record stays as well, and is set right for the whole record where it is not (``closing``).
"""
_LISTED_FAILURES = 20
_PAUSE = 0.05


class IndexWriter(Protocol):
    """What a reindex needs of ``storage.index_writer``."""

    def fence(self, generation: int) -> None:
        """Return once nothing indexed under a lower generation can be committed."""

    def rewrite(
        self,
        rewrites: Sequence[Rewrite],
        collection: str,
        lease: Mapping[str, Any],
        changes: Sequence[Mapping[str, Any]],
    ) -> None:
        """Write the indexes together with a change of the record that ``lease`` finds; raises ``LeaseLost``."""

    def write(self, rewrites: Sequence[Rewrite]) -> None:
        """Write the indexes."""


class IndexStore(Store, Protocol):
    """A store whose indexes can be rewritten."""

    @property
    def index_writer(self) -> IndexWriter:
        """The writer of indexes."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a reindex is: ``after`` is the last resource looked at; ``failures`` are some that cannot be indexed."""

    after: str = ""
    done: int = 0
    total: int = 0
    changed: int = 0
    failed: int = 0
    failures: tuple[str, ...] = ()

    @classmethod
    def of(cls, job: Job) -> "Progress":
        """Return what the job's record says."""
        known = {name: job.progress[name] for name in cls.__slots__ if name in job.progress}
        return cls(**{**known, "failures": tuple(known.get("failures", ()))})

    def to_record(self) -> dict[str, Any]:
        """Return what the job's record shall say."""
        return {name: getattr(self, name) for name in self.__slots__ if name != "failures"} | {
            "failures": list(self.failures)
        }


@dataclass(frozen=True, slots=True)
class Reindex:
    """Does reindex jobs. ``base_url`` is the server's own; ``tell`` hears of progress, ``stopping`` ends it."""

    store: IndexStore
    jobs: Jobs
    registry: ParameterRegistry
    base_url: str
    tell: Callable[[Progress], None] = lambda progress: None
    stopping: Callable[[], bool] = lambda: False
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    def run(self, job: Job) -> bool:
        """Do a claimed job from where it is; return False when it was told to stop, to be claimed again.

        Raises ``LeaseLost`` when another worker has it, ``StoreUnavailable``, or the driver's error when the fence is
        not allowed.
        """
        began, generation = self.clock(), self.registry.refresh().generation
        if generation:
            self.store.index_writer.fence(generation)
        progress = Progress.of(job)
        if not progress.total:
            counts = self.store.counts()
            progress = replace(progress, total=sum(counts.get(kind, 0) for kind in job.input["types"]))
        for batch in self._batches(sorted(job.input["types"]), progress.after):
            if self.stopping():
                return False
            progress = self._rewrite(batch, job, progress)
            self.tell(progress)
        if not APART_TYPES.isdisjoint(job.input["types"]):
            if not self._wait_until(began + ARRIVED):
                return False
            progress = self._look_again(job, progress)
        if progress.failed:
            self.jobs.fail(job, f"{progress.failed} resources cannot be indexed", final=True)
            return True
        self.jobs.finish(job, replace(progress, total=max(progress.total, progress.done)).to_record())
        return True

    def _batches(self, types: Sequence[str], after: str) -> Iterator[list[Document]]:
        for kind in types:
            if after > f"{kind}0":  # 0 follows /
                continue
            last = max(after, f"{kind}/")
            yield from self._of_type(kind, last)

    def _of_type(self, kind: str, last: str) -> Iterator[list[Document]]:
        """Yield the resources of a type that follow a reference, in order."""
        collection = collection_of(kind)
        hint = "type_id" if collection == "resources" else None
        while True:
            filter = {"type": kind, "_id": {"$gt": last}}
            query = Query(filter, (("_id", 1),), BATCH, hint, with_index=True, collection=collection)
            found = self.store.find(query)
            if not found:
                return
            yield found
            last = found[-1].reference

    def _wait_until(self, moment: datetime) -> bool:
        """Return True when the moment has come, False when told to stop before."""
        while not self.stopping():
            if self.clock() >= moment:
                return True
            time.sleep(_PAUSE)
        return False

    def _look_again(self, job: Job, progress: Progress) -> Progress:
        """Index the latest events once more: some may have come behind the walk."""
        for batch in self._of_type("AuditEvent", reference_at(self.clock() - OVERLAP)):
            rewrites, _ = self._indexed(batch)
            progress = replace(progress, changed=progress.changed + len(rewrites))
            self._write(rewrites, job, progress)
        return progress

    def _indexed(self, batch: Sequence[Document]) -> tuple[list[Rewrite], list[str]]:
        """Return what is to be rewritten of a batch, and what cannot be indexed."""
        # Whoever writes now indexes by what is in force now; so must this batch, or it would undo theirs.
        self.registry.use()
        return to_rewrites(batch, self.base_url)

    def _write(self, rewrites: Sequence[Rewrite], job: Job, progress: Progress) -> None:
        changes = self.jobs.step(progress.to_record())
        self.store.index_writer.rewrite(rewrites, COLLECTION, self.jobs.held_by(job), changes)

    def _rewrite(self, batch: Sequence[Document], job: Job, progress: Progress) -> Progress:
        rewrites, failures = self._indexed(batch)
        progress = replace(
            progress,
            after=batch[-1].reference,
            done=progress.done + len(batch),
            changed=progress.changed + len(rewrites),
            failed=progress.failed + len(failures),
            failures=(*progress.failures, *failures)[:_LISTED_FAILURES],
        )
        if batch[0].resource_type not in APART_TYPES:
            for patient in find_unaligned(self.store, batch):
                align(self.store, patient)
        self._write(rewrites, job, progress)
        return progress


def index_arrived(store: IndexStore, registry: ParameterRegistry, base_url: str, references: Sequence[str]) -> None:
    """Index events that have come late by the parameters in force. Raises ``StoreUnavailable``."""
    registry.use()
    for start in range(0, len(references), BATCH) if stored_parameters_of("AuditEvent") else ():
        part = references[start : start + BATCH]
        found = store.get_many(part, index_fields=("*",))
        store.index_writer.write(to_rewrites(tuple(found.values()), base_url)[0])


def to_rewrites(documents: Sequence[Document], base_url: str) -> tuple[list[Rewrite], list[str]]:
    """Return the rewrites of those documents that need one, and the references of those that cannot be indexed."""
    rewrites: list[Rewrite] = []
    failures: list[str] = []
    for document in documents:
        try:
            rewrite = to_rewrite(document, base_url)
        except FhirError:
            failures.append(document.reference)
            continue
        if rewrite is not None:
            rewrites.append(rewrite)
    return rewrites, failures


def to_rewrite(document: Document, base_url: str) -> Rewrite | None:
    """Return the index that a living resource should have, None when it has it. Raises what ``to_index`` does."""
    assert document.body is not None  # what is deleted has no type to be found by
    kept = _KEPT.get(document.resource_type, frozenset("o")) | {CLOSED}
    index = to_index(parse_json(document.body), base_url)
    present = document.index
    changed = {name: value for name, value in index.items() if name not in kept and present.get(name) != value}
    dropped = tuple(sorted(present.keys() - index.keys() - kept))
    if not changed and not dropped:
        return None
    return Rewrite(document.reference, document.version, changed, dropped)
