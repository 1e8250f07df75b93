"""``fhir-server reindex``: index what is there anew, with a bar; beside a running server or without one.

It enqueues a job and does it, or watches it when another process was faster.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from fhir_server.app import Composition
from fhir_server.commands.database import shared_composition
from fhir_server.commands.terminal import CommandFailed, in_terminal_language
from fhir_server.context import current_time
from fhir_server.errors import Text
from fhir_server.fhir.definitions import is_resource_type, resource_types
from fhir_server.jobs import Job, Jobs, build_job
from fhir_server.repository.reindexing import Progress as Done
from fhir_server.repository.stored_parameters import REINDEX
from fhir_server.search.custom import bases_of
from fhir_server.settings import Settings
from fhir_server.worker import Worker

_PAUSE = 0.2


def reindex(settings: Settings, types: Sequence[str], parameter: str | None, console: Console) -> None:
    """Index resources of the types (all if none is named) anew; raises ``CommandFailed`` for what could not be."""
    unknown = sorted(set(types) - resource_types())
    if unknown:
        listed = ", ".join(unknown)
        raise CommandFailed(Text(f"No resource types: {listed}.", f"Ce ne sont pas des types : {listed}."))
    with shared_composition(settings) as composition:
        job = _work(composition, _input(composition, types, parameter), console)
    done = Done.of(job)
    console.print(in_terminal_language(_summary(done)))
    if job.state != "finished":
        listed = ", ".join(done.failures) or job.problem
        raise CommandFailed(Text(f"Not all could be indexed: {listed}.", f"Tout n’a pu être indexé : {listed}."))


def _input(composition: Composition, types: Sequence[str], parameter: str | None) -> dict[str, object]:
    if parameter is None:
        return {"types": sorted(types) if types else sorted(filter(is_resource_type, composition.store().counts()))}
    definition = composition.registry().refresh().definitions.get(parameter)
    if definition is None:
        raise CommandFailed(
            Text(
                "No search parameter of this url is stored and active.",
                "Aucun paramètre de recherche de cette url n’est enregistré et actif.",
            )
        )
    kinds = set(bases_of(definition)).intersection(types or resource_types())
    whole = {"parameter": f"SearchParameter/{definition['id']}"} if not types else {}
    return {"types": sorted(kinds), **whole}


def _work(composition: Composition, given: dict[str, object], console: Console) -> Job:
    """Enqueue a job and return it when it has ended, whoever did it."""
    jobs = Jobs(composition.store().records)
    id = jobs.enqueue(build_job(REINDEX, given, current_time()))
    worker = Worker(composition)
    with _bar(console) as advance:
        while True:
            job = jobs.get(id)
            assert job is not None
            advance(Done.of(job))
            if job.state in ("finished", "failed"):
                return job
            if not worker.run_due(advance, only=id):
                time.sleep(_PAUSE)


@contextmanager
def _bar(console: Console) -> Iterator["_Advance"]:
    columns = (
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=console) as progress:
        yield _Advance(progress, progress.add_task("", total=1))


class _Advance:
    """Moves the bar."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def __call__(self, done: Done) -> None:
        self._progress.update(self._task, total=max(done.total, done.done, 1), completed=done.done)


def _summary(done: Done) -> Text:
    return Text(
        f"{done.done:,} resources looked at, {done.changed:,} indexed anew, {done.failed:,} failures.",
        f"{done.done:,} ressources examinées, {done.changed:,} réindexées, {done.failed:,} échecs.",
    )
