"""What authentication, policy and audit cost: the same requests to two servers on one database, one of them open.

Both run at once and are asked in turn, so that whatever else the machine does falls on both alike.

    python -m benchmarks.secured --data DIRECTORY [--rounds 3] [--seconds 4] [--written-to]

Without more it is always the same few pages, of what nobody changes: the open server has them in memory. With
``--written-to`` they are hundreds, and an Observation changes every hundredth of a second: nearly each page is asked of
the database, as on a server that is in use.
"""

import http.client
import json
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

import click
from rich.console import Console
from rich.table import Table

from benchmarks.__main__ import running_server
from benchmarks.clients import Request, measure
from benchmarks.ingest import load
from benchmarks.processes import Processes
from benchmarks.work import Resource, Server
from fhir_server.accounts.account import Account
from fhir_server.app import Composition
from fhir_server.commands.token import WantedToken, issue_token
from fhir_server.settings import Settings
from fhir_server.smart.clients import Client
from fhir_server.storage.embedded import EmbeddedMongod

_PORTS = (8396, 8397)
_BETWEEN_CHANGES = 0.01
_SERVICE = Client(
    "bench", "bench", "backend", "private_key_jwt", "system/*.cruds", jwks={"keys": []}, roles=("trusted",)
)


@click.command()
@click.option(
    "--data",
    envvar="BENCHMARK_DATA",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of Synthea bundles.",
)
@click.option("--rounds", default=3, show_default=True, help="How often each line is measured on either server.")
@click.option("--seconds", default=4.0, show_default=True, help="How long each measurement takes.")
@click.option("--written-to", is_flag=True, help="Many pages, while an Observation keeps changing.")
def main(data: Path, rounds: int, seconds: float, written_to: bool) -> None:
    """Measure the secured server beside the open one and print the ratios."""
    with tempfile.TemporaryDirectory(prefix="fhir-bench-") as directory, ExitStack() as stack:
        settings = Settings.from_environment({}, data_directory=Path(directory), workers=2, port=_PORTS[0], auth="open")
        mongod = stack.enter_context(EmbeddedMongod(settings.data_directory, cache_size=settings.embedded_cache_size))
        opened = replace(settings, mongodb_uri=mongod.uri)
        secured = replace(opened, auth="smart", port=_PORTS[1], base_url=f"http://127.0.0.1:{_PORTS[1]}/fhir")
        processes = [Processes(stack.enter_context(running_server(one)), mongod.pid or 0) for one in (opened, secured)]
        load(opened.base_url, data, 4)
        server = Server(opened.base_url)
        observations = server.sample("Observation")
        table = Table(box=None, pad_edge=False)
        for name in (
            "work",
            "open/s",
            "secured/s",
            "rate kept",
            "CPU µs open",
            "(database)",
            "CPU µs secured",
            "(database)",
            "kept",
        ):
            table.add_column(name, justify="left" if name == "work" else "right")
        composition = Composition(secured)
        work = _changing_work(composition, observations) if written_to else _work(composition, observations)
        if written_to:
            stack.enter_context(_changes(opened.base_url, observations[-1]))
        for name, paths, token in work:
            table.add_row(name, *_row((opened, secured), processes, paths, token, rounds, seconds))
        Console(width=170).print(table)


def _work(composition: Composition, observations: Sequence[Resource]) -> list[tuple[str, list[str], str]]:
    composition.smart().clients.add(_SERVICE)
    service = issue_token(composition, WantedToken(client="bench"))
    subject = observations[0]["subject"]["reference"]
    own = [one for one in observations if one["subject"]["reference"] == subject]
    patient = _patient_token(composition, subject)
    codes = list(dict.fromkeys(one["code"]["coding"][0]["code"] for one in observations))[:5]
    mine = list(dict.fromkeys(one["code"]["coding"][0]["code"] for one in own))[:5]
    return [
        ("read, by a service", [f"Observation/{one['id']}" for one in observations[:500]], service),
        ("read, by the patient", [f"Observation/{one['id']}" for one in own], patient),
        ("by code, page of 50, by a service", [f"Observation?code={code}&_count=50" for code in codes], service),
        ("by patient and code, page of 50, by the patient",
         [f"Observation?patient={subject}&code={code}&_count=50" for code in mine], patient),
        ("by patient, newest first, page of 50, by the patient",
         [f"Observation?patient={subject}&_sort=-date&_count=50"], patient),
    ]  # fmt: skip


def _changing_work(composition: Composition, observations: Sequence[Resource]) -> list[tuple[str, list[str], str]]:
    """Return the searches, each for hundreds of different pages."""
    composition.smart().clients.add(_SERVICE)
    service = issue_token(composition, WantedToken(client="bench"))
    subject = observations[0]["subject"]["reference"]
    patient = _patient_token(composition, subject)
    own = [one for one in observations if one["subject"]["reference"] == subject]
    codes, mine = (
        list(dict.fromkeys(one["code"]["coding"][0]["code"] for one in each)) for each in (observations, own)
    )
    years = [f"date=lt{year}-{month:02}-01&_count=50" for year in range(2000, 2022) for month in range(1, 13)]
    return [
        ("by code, page of 50, by a service",
         [f"Observation?code={code}&{year}" for year in years for code in codes[:9]], service),
        ("by patient and code, page of 50, by the patient",
         [f"Observation?patient={subject}&code={code}&{year}" for year in years for code in mine[:9]], patient),
        ("by patient, newest first, page of 50, by the patient",
         [f"Observation?patient={subject}&_sort=-date&{year}" for year in years], patient),
    ]  # fmt: skip


@contextmanager
def _changes(base: str, observation: Resource) -> Iterator[None]:
    """Change an Observation every hundredth of a second for as long as the block lasts."""
    done = threading.Event()
    thread = threading.Thread(target=_keep_changing, args=(base, observation, done))
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _keep_changing(base: str, observation: Resource, done: threading.Event) -> None:
    parts = urlsplit(base)
    connection = http.client.HTTPConnection(parts.netloc, timeout=60)
    number = 0
    while not done.wait(_BETWEEN_CHANGES):
        number += 1
        content = json.dumps({**observation, "note": [{"text": str(number)}]})
        path = f"{parts.path}/Observation/{observation['id']}"
        connection.request("PUT", path, content.encode(), {"Content-Type": "application/fhir+json"})
        connection.getresponse().read()
    connection.close()


def _patient_token(composition: Composition, subject: str) -> str:
    accounts = composition.accounts()
    account = Account(accounts.directory.new_id(), "patient", "active", "", accounts.clock(), "bench", subject)
    accounts.directory.add(account)
    return issue_token(composition, WantedToken(account=account.id))


def _row(
    servers: Sequence[Settings],
    processes: Sequence[Processes],
    paths: Sequence[str],
    token: str,
    rounds: int,
    seconds: float,
) -> tuple[str, ...]:
    rates: list[list[float]] = [[], []]
    costs: list[list[float]] = [[], []]
    databases: list[list[float]] = [[], []]
    for _ in range(rounds):
        for number, settings in enumerate(servers):
            requests = [Request(f"/fhir/{path}", token=token if number else "") for path in paths]
            before = processes[number].used()
            measured = measure(settings.base_url.removesuffix("/fhir"), requests, 8, seconds)
            after = processes[number].used()
            if measured.errors:
                raise click.ClickException(
                    f"{measured.errors} answers of {settings.base_url} to {paths[0]} were errors"
                )
            used = after.server - before.server + after.database - before.database
            rates[number].append(measured.rate)
            each = 1e6 / max(1.0, measured.rate * seconds)
            costs[number].append(used * each)
            databases[number].append((after.database - before.database) * each)
    opened, secured = map(median, rates)
    cheap, dear = map(median, costs)
    shares = [f"{median(one):,.0f}" for one in databases]
    return (
        f"{opened:,.0f}", f"{secured:,.0f}", f"{secured / opened:.2f}",
        f"{cheap:,.0f}", shares[0], f"{dear:,.0f}", shares[1], f"{cheap / dear:.2f}",
    )  # fmt: skip


if __name__ == "__main__":
    main()
