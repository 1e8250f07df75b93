"""Which search parameters are in force: the stored ones, as every worker sees them.

A counter in the database, the generation, grows with every change of a published SearchParameter, in the transaction
that makes the change. A worker believes what it has read for ``FRESH`` seconds and then reads the counter again, one
small read for all its requests; only when it has moved are the definitions read. Who publishes is answered ``FRESH``
seconds after the commit: by then every worker has had to look again, so whoever has the answer finds the parameter on
every worker. What was indexed under an older generation cannot be committed once a reindex has begun
(``storage.index_writer``), so that no index is missing anything.
"""

import threading
import time
from collections.abc import Mapping
from typing import Any

from fhir_server.errors import Text
from fhir_server.fhir.json import parse_json
from fhir_server.jobs import Job, Jobs
from fhir_server.search.custom import build_stored_parameters, is_published
from fhir_server.search.stored import StoredParameters, use_stored_parameters
from fhir_server.storage.store import Query, Store

GENERATION = "search-parameters"
"""The key of the guard that counts generations."""
FRESH = 0.5
REINDEX = "reindex"
"""The kind of the jobs that rewrite indexes."""

_ACTIVE = {"t": "SearchParameter.status||active"}


class ParameterRegistry:
    """The stored parameters as one process sees them, shared by its threads."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._jobs = Jobs(store.records)
        self._lock = threading.Lock()
        self._snapshot = StoredParameters()
        self._definitions: tuple[Mapping[str, Any], ...] = ()
        self._pending: Mapping[str, Text] = {}
        self._indexing = False
        self._until = float("-inf")

    def use(self) -> None:
        """Put what is in force now into force for what this thread does next."""
        with self._lock:
            if time.monotonic() >= self._until:
                self._read()
            snapshot = self._snapshot
        use_stored_parameters(snapshot)

    def refresh(self) -> StoredParameters:
        """Read what is in force in the database, put it into force for this thread and return it."""
        with self._lock:
            self._read()
            snapshot = self._snapshot
        use_stored_parameters(snapshot)
        return snapshot

    def _read(self) -> None:
        began = time.monotonic()
        generation = self._store.guards([GENERATION]).get(GENERATION, 0)
        changed = generation != self._snapshot.generation
        if changed:
            # The counter was read first: definitions newer than it are read again at the next look.
            self._definitions = tuple(self._published())
        if changed or self._pending:
            pending = self._read_pending()
            if changed or pending != self._pending:
                self._snapshot = build_stored_parameters(generation, self._definitions, pending)
            self._pending = pending
        # While an index is being made every request looks, so that it serves from the moment it is complete.
        self._until = began if self._indexing else began + FRESH

    def _published(self) -> list[Mapping[str, Any]]:
        found = self._store.find(Query(_ACTIVE, (("_id", 1),)))
        resources = [parse_json(document.body) for document in found if document.body]
        return [resource for resource in resources if is_published(resource)]

    def _read_pending(self) -> dict[str, Text]:
        """Return why a parameter cannot be used yet: its last job is not finished, or there is none."""
        jobs = {job.input["parameter"]: job for job in self._jobs.list(REINDEX) if job.input.get("parameter")}
        pending: dict[str, Text] = {}
        self._indexing = any(job.state in ("queued", "running") for job in jobs.values())
        for definition in self._definitions:
            reference = f"SearchParameter/{definition['id']}"
            job = jobs.get(reference)
            if job is None or job.state != "finished":
                pending[reference] = to_reason(job)
        return pending


def to_reason(job: Job | None) -> Text:
    """Return what is said to who searches by a parameter whose index is not complete."""
    if job is None or job.state == "failed":
        return Text(
            "its index could not be completed; correct the definition, or run `fhir-server reindex`",
            "son index n’a pu être achevé ; corrigez la définition, ou lancez `fhir-server reindex`",
        )
    done, total = job.progress.get("done", 0), job.progress.get("total", 0)
    percent = min(99, 100 * done // total) if total else 0
    return Text(
        f"the resources that were there before it are still being indexed ({percent} % done); try again later",
        f"les ressources antérieures sont en cours d’indexation ({percent} % faits) ; réessayez plus tard",
    )
