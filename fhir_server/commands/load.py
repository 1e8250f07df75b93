"""``fhir-server load``: files in, a table of what went in and every failure out."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from fhir_server.commands.database import running_database
from fhir_server.commands.loading.hands import Hands, Manner, direct_hands, http_hands
from fhir_server.commands.loading.loader import load_files
from fhir_server.commands.loading.report import Failure, Outcome
from fhir_server.commands.loading.sources import find_files, total_size
from fhir_server.commands.terminal import CommandFailed, in_terminal_language, terminal_language
from fhir_server.errors import Text
from fhir_server.settings import Settings

_SHOWN = 1_000
_NOTHING = Text("There is nothing to load.", "Il n’y a rien à charger.")
_ADDRESS = Text("--url must be an http or https address.", "--url doit être une adresse http ou https.")


@dataclass(frozen=True, slots=True)
class Destination:
    """Where to load to: a server's base ``url``, or this machine's store when it is ``None``."""

    url: str | None
    token: str | None
    connections: int


def load(settings: Settings, paths: Sequence[Path], destination: Destination, *, as_is: bool, console: Console) -> None:
    """Load files and folders and print what became of them; raises ``CommandFailed`` when anything failed."""
    files, problems = find_files(paths)
    if not files and not problems:
        raise CommandFailed(_NOTHING)
    language = terminal_language()
    total = Outcome(failures=[Failure(each.origin, each.text.in_language(language)) for each in problems])
    manner = Manner(as_is, language)
    with _hands(settings, destination, manner) as hands, _bar(total_size(files), console) as advance:
        total.add(load_files(files, hands, advance))
    _show(total, console)
    if total.failures:
        count = len(total.failures)
        raise CommandFailed(Text(f"{count} could not be loaded.", f"{count} n’ont pas pu être chargés."))


@contextmanager
def _hands(settings: Settings, destination: Destination, manner: Manner) -> Iterator[Hands]:
    if destination.url is None:
        with (
            running_database(settings) as connected,
            direct_hands(connected, min(destination.connections, settings.workers), manner) as hands,
        ):
            yield hands
        return
    try:
        opened = http_hands(destination.url, destination.token, destination.connections, manner)
        with opened as hands:
            yield hands
    except ValueError:
        raise CommandFailed(_ADDRESS) from None


@contextmanager
def _bar(size: int, console: Console) -> Iterator["_Advance"]:
    columns = (
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[resources]:,} {task.fields[noun]}, {task.fields[rate]:,.0f}/s"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=console) as progress:
        noun = in_terminal_language(Text("resources", "ressources"))
        task = progress.add_task("", total=max(size, 1), resources=0, rate=0.0, noun=noun)
        yield _Advance(progress, task)


class _Advance:
    """Moves the bar by bytes and counts resources."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task
        self._resources = 0

    def __call__(self, size: int, outcome: Outcome) -> None:
        self._resources += outcome.resources
        elapsed = self._progress.tasks[0].elapsed or 0.0
        rate = self._resources / elapsed if elapsed else 0.0
        self._progress.update(self._task, advance=size, resources=self._resources, rate=rate)


def _show(total: Outcome, console: Console) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column(in_terminal_language(Text("Type", "Type")))
    for heading in (Text("created", "créées"), Text("already there or updated", "déjà là ou mises à jour")):
        table.add_column(in_terminal_language(heading), justify="right")
    for kind in sorted(total.created | total.present):
        table.add_row(kind, f"{total.created[kind]:,}", f"{total.present[kind]:,}")
    sums = (f"{total.created.total():,}", f"{total.present.total():,}")
    table.add_row(in_terminal_language(Text("Total", "Total")), *sums, style="bold")
    console.print(table)
    for failure in total.failures[:_SHOWN]:
        console.print(f"[red]{escape(failure.place)}[/red] {escape(failure.reason)}", soft_wrap=True, highlight=False)
    if len(total.failures) > _SHOWN:
        more = len(total.failures) - _SHOWN
        console.print(in_terminal_language(Text(f"and {more:,} more failures", f"et {more:,} autres échecs")))
