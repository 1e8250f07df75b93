"""``python -m benchmarks --data DIRECTORY [--url BASE]``: loads, asks, creates, and prints a table."""

import os
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from subprocess import PIPE, Popen
from sys import executable

import click
from rich.console import Console
from rich.table import Table

from benchmarks.clients import Measured, measure
from benchmarks.ingest import Loaded, load
from benchmarks.limits import DatabaseLimits, empty_route, measure_database
from benchmarks.processes import Processes
from benchmarks.work import Server, Work, build_work
from fhir_server.settings import Settings
from fhir_server.storage.embedded import EmbeddedMongod

Empty = Callable[[float], Measured]
"""Measures the empty route for some seconds."""

_PORT = 8398
_RATIOS = ("of empty route", "HAPI", "multiple", "to reach")
_HAPI_INGEST, _INGEST_MULTIPLE = 211, 4


@click.command()
@click.option("--data", envvar="BENCHMARK_DATA", type=click.Path(exists=True, file_okay=False, path_type=Path),
              help="Folder of Synthea bundles (.json, .json.gz, .json.bz2); also BENCHMARK_DATA.")  # fmt: skip
@click.option("--url", help="Base of a running server, of whatever make; without it this one is started.")
@click.option("--skip-load", is_flag=True, help="The records are there already.")
@click.option("--seconds", default=5.0, show_default=True, help="How long each line is measured.")
@click.option("--workers", default=2, show_default=True, help="Worker processes of the server started here.")
def main(data: Path | None, url: str | None, skip_load: bool, seconds: float, workers: int) -> None:
    """Measure a FHIR server on this machine, beside the machine's own limits and HAPI FHIR's figures."""
    console = Console(width=None if os.isatty(1) else 170)
    if data is None and not skip_load:
        raise click.UsageError("give --data: a folder of Synthea transaction bundles (https://synthea.mitre.org)")
    with tempfile.TemporaryDirectory(prefix="fhir-bench-") as directory:
        settings = Settings.from_environment(
            {}, data_directory=Path(directory), workers=workers, port=_PORT, auth="open"
        )
        with empty_route(workers, settings.threads) as empty:
            if url is not None:
                _report(console, url, data, skip_load, seconds, empty, None, None)
                return
            with EmbeddedMongod(settings.data_directory, cache_size=settings.embedded_cache_size) as mongod:
                settings = replace(settings, mongodb_uri=mongod.uri)
                with running_server(settings) as server:
                    processes = Processes(server, mongod.pid or 0)
                    _report(console, settings.base_url, data, skip_load, seconds, empty, settings, processes)


def _report(
    console: Console,
    base: str,
    data: Path | None,
    skip_load: bool,
    seconds: float,
    empty: Empty,
    settings: Settings | None,
    processes: Processes | None,
) -> None:
    """Do the work and print; ``settings`` and ``processes`` are those of our own server, which shows more of itself."""
    loaded = None if skip_load or data is None else load(base, data, 4)
    memory = processes.memory() if processes is not None else []
    server = Server(base)
    table = _table(("work", "per second", "p50 ms", "p99 ms", "errors", *_RATIOS, "CPU µs server", "CPU µs database"))
    if loaded is not None:
        table.add_row(*_ingest_row(loaded))
    for work in build_work(server):
        table.add_row(*_work_row(server, work, seconds, empty, processes))
    console.print(table)
    limits = None
    if settings is not None and settings.mongodb_uri is not None:
        limits = measure_database(settings.mongodb_uri, settings.database, seconds)
    after = processes.memory() if processes is not None else []
    console.print(_limits_table(empty(seconds), limits, loaded, memory, after))


def _work_row(server: Server, work: Work, seconds: float, empty: Empty, processes: Processes | None) -> tuple[str, ...]:
    hapi = (f"{work.hapi:,.0f}", f"{work.multiple:g} ×") if work.hapi else ("", "")
    path = work.requests[0].path.removeprefix(f"{server.path}/")
    status, _ = server.get(path) if work.requests[0].method == "GET" else (200, {})
    if status != 200:
        return (work.name, f"answers {status}", "", "", "", "", hapi[0], "", hapi[1])
    # Right before, for a busy machine is not the same a minute later.
    nothing = empty(max(1.0, seconds / 3))
    before = processes.used() if processes is not None else None
    measured = measure(server.root, work.requests, work.connections, seconds)
    after = processes.used() if processes is not None else None
    row = (
        work.name,
        f"{measured.rate:,.0f}",
        f"{measured.p50:.2f}",
        f"{measured.p99:.2f}",
        f"{measured.errors}",
        f"{measured.rate / nothing.rate:.2f}",
        hapi[0],
        f"{measured.rate / work.hapi:.1f} ×" if work.hapi else "",
        hapi[1],
    )
    if before is None or after is None:
        return row
    each = 1e6 / max(1.0, measured.rate * seconds)
    cpu = (after.server - before.server, after.database - before.database)
    return (*row, *(f"{used * each:,.0f}" for used in cpu))


def _ingest_row(loaded: Loaded) -> tuple[str, ...]:
    return (
        f"ingest, {loaded.resources:,} resources, 4 connections",
        f"{loaded.rate:,.0f}",
        f"{loaded.p50:,.0f}",
        f"{loaded.p99:,.0f}",
        f"{loaded.failed}",
        "",
        f"{_HAPI_INGEST}",
        f"{loaded.rate / _HAPI_INGEST:.1f} ×",
        f"{_INGEST_MULTIPLE} ×",
    )


def _limits_table(
    empty: Measured, limits: DatabaseLimits | None, loaded: Loaded | None, memory: list[int], after: list[int]
) -> Table:
    table = _table(("this machine's limits", "per second", "remark"))
    table.add_row("empty Flask route", f"{empty.rate:,.0f}", "read at least 0.45 of it, page of 50 at least 0.25")
    if limits is not None:
        table.add_row("pymongo, read by id", f"{limits.reads:,.0f}", "one process, 8 threads")
        table.add_row("pymongo, page of 50 by code", f"{limits.pages:,.0f}", "one process, 8 threads")
        share = f"; ingest is {loaded.rate / limits.inserts:.2f} of it, 0.17 to reach" if loaded else ""
        table.add_row("insert_many of the stored documents", f"{limits.inserts:,.0f}", f"same indexes{share}")
    for when, sizes in (("the load", memory), ("all this work", after)):
        if sizes:
            shown = ", ".join(f"{each:,}" for each in sizes)
            table.add_row(f"resident memory after {when}, MB", shown, "per worker, under 300 each")
    return table


def _table(columns: tuple[str, ...]) -> Table:
    table = Table(box=None, pad_edge=False)
    for number, name in enumerate(columns):
        table.add_column(name, justify="right" if number and name != "remark" else "left")
    return table


@contextmanager
def running_server(settings: Settings) -> Iterator[int]:
    """Start our own server with these settings, wait until it is ready, give its process, and stop it at the end."""
    environ = {**os.environ, **settings.to_environment()}
    command = [executable, "-m", "fhir_server.cli", "serve"]
    with tempfile.TemporaryFile() as log, Popen(command, env=environ, stdout=log, stderr=PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "Ctrl-C" in line:
                break
        try:
            with suppress(OSError), urllib.request.urlopen(f"{settings.base_url}/metadata", timeout=30):
                pass
            yield process.pid
        finally:
            process.terminate()
            process.wait()


if __name__ == "__main__":
    main()
