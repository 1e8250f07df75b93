"""What the audit costs a read and a search: CPU of the server's and of the database's process, in one run.

Requests go through the whole WSGI application in 8 threads of this process; other load on the machine changes rates,
but hardly CPU seconds.

    python -m benchmarks.audit [--requests 4000]
"""

import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from fhir_server.access.caller import LOCAL_CALLER, Caller
from fhir_server.access.policy import Policy
from fhir_server.app import Composition, build_app
from fhir_server.context import RequestContext, current_time
from fhir_server.fhir.json import to_json
from fhir_server.rest.gateway import FhirGateway
from fhir_server.search.indexer import to_index
from fhir_server.settings import Settings
from fhir_server.storage.embedded import EmbeddedMongod
from fhir_server.storage.store import Change, Plan

PATIENTS, OBSERVATIONS, THREADS = 50, 200, 8
CODES = ("29463-7", "8302-2", "8480-6", "718-7")
DOCTOR = Caller("d", "professional", client_id="lps", client_name="LPS", user="Practitioner/d", user_name="Dr D")
MODES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("no audit", {"audit": "off"}),
    ("spooled", {"audit": "on"}),
    ("on the database’s disk", {"audit": "on", "audit_spool": False}),
)
WORK: tuple[tuple[str, Callable[[random.Random], tuple[str, str]]], ...] = (
    ("read by id", lambda chance: (f"/fhir/Observation/{_patient(chance)}-{chance.randrange(OBSERVATIONS)}", "")),
    (
        "by patient and code, page of 20",
        lambda chance: ("/fhir/Observation", f"patient={_patient(chance)}&code={chance.choice(CODES)}"),
    ),
    ("by patient, page of 50", lambda chance: ("/fhir/Observation", f"patient={_patient(chance)}&_count=50")),
)


@dataclass(frozen=True)
class Cost:
    """Microseconds of CPU of one request."""

    server: float
    database: float
    wall: float

    @property
    def total(self) -> float:
        """Of both processes."""
        return self.server + self.database


def _patient(chance: random.Random) -> str:
    return f"p{chance.randrange(PATIENTS)}"


def resources() -> Iterator[dict[str, Any]]:
    """Yield the record that is asked for."""
    for number in range(PATIENTS):
        yield {"resourceType": "Patient", "id": f"p{number}", "name": [{"family": f"Family{number}"}]}
        for one in range(OBSERVATIONS):
            yield {
                "resourceType": "Observation",
                "id": f"p{number}-{one}",
                "status": "final",
                "code": {"coding": [{"system": "http://loinc.org", "code": CODES[one % len(CODES)]}]},
                "subject": {"reference": f"Patient/p{number}"},
                "effectiveDateTime": f"20{10 + one % 15}-0{1 + one % 9}-15",
                "valueQuantity": {"value": one, "unit": "kg", "system": "http://unitsofmeasure.org", "code": "kg"},
            }


def load(composition: Composition) -> None:
    """Put the record in."""
    changes = [
        Change(f"{one['resourceType']}/{one['id']}", 0, 1, "PUT", current_time(), to_json(one), to_index(one))
        for one in resources()
    ]
    for start in range(0, len(changes), 2_000):
        composition.store().commit(Plan(tuple(changes[start : start + 2_000])))


def cpu_of(pid: int) -> float:
    """Return the CPU seconds of another process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def unrestricted(composition: Composition) -> Callable[..., RequestContext]:
    """Return what opens contexts in which the policy lets everybody through: what it costs is not in question here."""

    def open_context(*given: Any) -> RequestContext:
        ctx = composition.open_context(*given)
        return replace(ctx, repository=replace(ctx.repository, policy=Policy(LOCAL_CALLER)))

    return open_context


def measure(application: Any, make: Callable[[random.Random], tuple[str, str]], count: int, database: int) -> Cost:
    """Return what one request costs on average."""

    def run(part: int) -> None:
        chance = random.Random(part)
        for _ in range(count // THREADS):
            path, query = make(chance)
            environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "QUERY_STRING": query, "REMOTE_ADDR": "192.0.2.1"}
            told: list[str] = []
            b"".join(application(environ, lambda status, headers, told=told: told.append(status)))
            assert told[0].startswith("200"), told

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(run, range(THREADS)))  # once for caches
        started = (time.process_time(), cpu_of(database), time.perf_counter())
        list(pool.map(run, range(THREADS)))
        ended = (time.process_time(), cpu_of(database), time.perf_counter())
    server, data, wall = (1e6 * (after - before) / count for before, after in zip(started, ended, strict=True))
    return Cost(server, data, wall)


@click.command(help=__doc__)
@click.option("--requests", default=4_000, show_default=True)
def main(requests: int) -> None:
    """Measure each work without and with the audit."""
    console = Console(width=140)
    table = Table("work", "audit", "server µs", "database µs", "together µs", "more than none", "rate kept")
    log = os.open(os.devnull, os.O_WRONLY)
    with tempfile.TemporaryDirectory() as scratch, EmbeddedMongod(Path(scratch), cache_size=2**30) as mongod:
        assert mongod.pid is not None
        settings = Settings.from_environment({}, mongodb_uri=mongod.uri, data_directory=Path(scratch))
        load(Composition(settings))
        costs: dict[tuple[str, str], Cost] = {}
        for mode, given in MODES:
            composition = Composition(
                Settings.from_environment({}, mongodb_uri=mongod.uri, data_directory=Path(scratch), **given)
            )
            composition.log = type(composition.log)("error", "json", log)
            gateway = build_app(composition).wsgi_app
            assert isinstance(gateway, FhirGateway)
            gateway._authenticate = lambda environ: DOCTOR
            gateway._open_context = unrestricted(composition)
            for name, make in WORK:
                costs[name, mode] = measure(gateway, make, requests, mongod.pid)
            composition.close()
        for (name, mode), cost in sorted(costs.items(), key=lambda pair: [name for name, _ in WORK].index(pair[0][0])):
            none = costs[name, "no audit"]
            table.add_row(
                name,
                mode,
                f"{cost.server:.0f}",
                f"{cost.database:.0f}",
                f"{cost.total:.0f}",
                f"{cost.total - none.total:+.0f}",
                f"{none.total / cost.total:.2f}",
            )
    console.print(table)
    os.close(log)


if __name__ == "__main__":
    main()
