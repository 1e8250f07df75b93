"""``fhir-server check``: whether the database is there, suitable and whole, and what it holds."""

import platform
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from fhir_server import SOFTWARE_VERSION
from fhir_server.app import Composition
from fhir_server.commands.database import running_database
from fhir_server.commands.terminal import CommandFailed, in_terminal_language
from fhir_server.errors import Text
from fhir_server.settings import Settings
from fhir_server.storage.store import Store


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found; ``problems`` is empty when all is well."""

    rows: tuple[tuple[Text, str], ...]
    problems: tuple[str, ...]
    counts: dict[str, int]


def check(settings: Settings, console: Console) -> None:
    """Print versions, the state of the indexes and counts; raises ``CommandFailed`` when something is wrong."""
    with running_database(settings) as connected:
        composition = Composition(connected)
        try:
            finding = inspect(composition.store(), embedded=settings.mongodb_uri is None)
        finally:
            composition.close()
    _show(finding, console)
    if finding.problems:
        listed = "\n".join(f"- {problem}" for problem in finding.problems)
        raise CommandFailed(Text(f"Not all is well:\n{listed}", f"Tout ne va pas bien :\n{listed}"))


def inspect(store: Store, *, embedded: bool) -> Finding:
    """Return what the store says of itself."""
    status = store.status()
    kind = Text("embedded", "embarquée") if embedded else Text("FHIR_SERVER_MONGODB_URI", "FHIR_SERVER_MONGODB_URI")
    problems = [] if status.ready else [status.detail or "the database is not ready"]
    problems += store.check_indexes() if status.ready else []
    counts = store.counts() if status.ready else {}
    well = Text("all present", "tous présents") if not problems else Text("see below", "voir ci-dessous")
    rows = (
        (Text("fhir-server", "fhir-server"), SOFTWARE_VERSION),
        (Text("Python", "Python"), platform.python_version()),
        (Text("FHIR", "FHIR"), "R4 (4.0.1)"),
        (Text("Database", "Base de données"), f"MongoDB {status.version or '?'} ({in_terminal_language(kind)})"),
        (Text("Replica set", "Replica set"), status.replica_set or "-"),
        (Text("Indexes", "Index"), in_terminal_language(well)),
        (Text("Resources", "Ressources"), f"{sum(counts.values()):,}"),
    )
    return Finding(rows, tuple(problems), counts)


def _show(finding: Finding, console: Console) -> None:
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in finding.rows:
        table.add_row(in_terminal_language(name), value)
    console.print(table)
    if finding.counts:
        by_type = Table(box=None, pad_edge=False)
        by_type.add_column(in_terminal_language(Text("Type", "Type")))
        by_type.add_column(in_terminal_language(Text("Resources", "Ressources")), justify="right")
        for kind, count in sorted(finding.counts.items()):
            by_type.add_row(kind, f"{count:,}")
        console.print()
        console.print(by_type)
