"""Runs due jobs and seals the audit; nothing else loops.

``fhir-server serve`` runs it in a thread of the process that keeps the database, which answers no request: a reindex
takes no time from the workers. Any number may run: a job is done by whoever claims it first.
"""

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from fhir_server.app import Composition
from fhir_server.audit.export import AUDIT_EXPORT, AuditExport, enqueue_export, open_destination
from fhir_server.audit.seals import Sealer
from fhir_server.context import current_time
from fhir_server.jobs import Job, Jobs
from fhir_server.repository.closing import CLOSING, Realignment
from fhir_server.repository.reindexing import Progress, Reindex, index_arrived
from fhir_server.repository.stored_parameters import REINDEX
from fhir_server.settings import Settings
from fhir_server.storage.index_writer import LeaseLost
from fhir_server.storage.store import StoreUnavailable

KINDS = (REINDEX, AUDIT_EXPORT, CLOSING)
_PAUSE = 1.0


class AuditKeeper:
    """Seals the audit every second, in a thread of its own: no job may keep it waiting."""

    def __init__(self, composition: Composition) -> None:
        self._composition = composition
        self._stopping = threading.Event()

    def run(self) -> None:
        """Seal until ``stop``, then what is left; trouble never ends it."""
        sealer: Sealer | None = None
        while not self._stopping.wait(_PAUSE):
            sealer = self._try(sealer)
        if sealer is not None:
            self._finish(sealer)

    def stop(self) -> None:
        """End ``run`` after a last sealing."""
        self._stopping.set()

    def _try(self, sealer: Sealer | None) -> Sealer | None:
        try:
            if sealer is None:
                sealer = Sealer(self._composition.store().audit_log, audit_heads(self._composition.settings))
            self._composition.store().audit_log.recover(partial(self._take_in, sealer))
            sealer.seal(current_time())
            self._export()
        except StoreUnavailable:
            return sealer
        except Exception as error:
            self._composition.log.failure("audit", error)
        return sealer

    def _take_in(self, sealer: Sealer, references: list[str]) -> None:
        """Seal and index what a killed process has left behind."""
        sealer.seal_late(current_time(), references)
        composition = self._composition
        index_arrived(composition.store(), composition.registry(), composition.settings.base_url, references)

    def _export(self) -> None:
        """Have what is newly sealed sent on, if there is somewhere to send it."""
        if self._composition.settings.audit_repository is not None:
            store = self._composition.store()
            enqueue_export(store.audit_log, Jobs(store.records), current_time())

    def _finish(self, sealer: Sealer) -> None:
        try:
            self._composition.store().audit_log.recover(partial(self._take_in, sealer), older_than=0)
            sealer.finish(current_time())
        except Exception as error:
            # What is left is sealed at the next start.
            self._composition.log.failure("audit", error)


def audit_heads(settings: Settings) -> Path:
    """Return the file with the hashes of the audit's chain, outside the database."""
    return settings.data_directory / "audit-heads.log"


class Worker:
    """Claims and does jobs on the database of a composition; ``lease`` as in ``Jobs``."""

    def __init__(self, composition: Composition, *, lease: float = 15.0) -> None:
        self._composition = composition
        self._lease = lease
        self._stopping = threading.Event()

    def run(self) -> None:
        """Do whatever becomes due until ``stop``; trouble with the database or a job never ends it."""
        while not self._stopping.is_set():
            if not self._try():
                self._stopping.wait(_PAUSE)

    def stop(self) -> None:
        """End ``run`` after the batch that it is at; what is not done is claimed again."""
        self._stopping.set()

    def run_due(self, tell: Callable[[Progress], None] = lambda progress: None, only: str | None = None) -> int:
        """Do the jobs that are due, ``only`` one of them if it is named, and return how many were claimed."""
        count = 0
        jobs = Jobs(self._composition.store().records, self._lease)
        while not self._stopping.is_set() and (job := jobs.claim(KINDS, only)) is not None:
            self._do(job, jobs, tell)
            count += 1
        return count

    def _try(self) -> bool:
        try:
            return self.run_due() > 0
        except StoreUnavailable:
            return False
        except Exception as error:
            # What cannot be done now is tried again at the next turn; a loop that ends would be noticed by nobody.
            self._composition.log.failure("jobs", error)
            return False

    def _do(self, job: Job, jobs: Jobs, tell: Callable[[Progress], None]) -> None:
        try:
            if not self._runner(job, jobs, tell).run(job):
                jobs.release(job)
        except LeaseLost:
            return
        except StoreUnavailable:
            raise
        except Exception as error:
            self._composition.log.failure(job.id, error)
            jobs.fail(job, type(error).__name__)

    def _runner(self, job: Job, jobs: Jobs, tell: Callable[[Progress], None]) -> Reindex | AuditExport | Realignment:
        composition, settings = self._composition, self._composition.settings
        store, stopping = composition.store(), self._stopping.is_set
        if job.kind == AUDIT_EXPORT:
            source = urlsplit(settings.base_url).hostname or "-"
            destination = open_destination(settings.audit_repository or "", settings.audit_repository_ca, source)
            return AuditExport(store.audit_log, jobs, destination, stopping)
        if job.kind == CLOSING:
            return Realignment(store, jobs)
        return Reindex(store, jobs, composition.registry(), settings.base_url, tell, stopping)
