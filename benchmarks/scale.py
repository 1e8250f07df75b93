"""What a page costs as the record grows: Synthea's Observations, multiplied to a million, in one process.

Each search is timed through ``dispatch`` (parsing, policy, planning, compiling, reading, building the Bundle), beside
the same page asked of MongoDB by plain pymongo, at 10,000, 100,000 and 1,000,000 Observations. It is asked in three
ways, each kept apart, as more of a small record than of a large one is in memory by chance:

- again: the page was asked for just before, and nothing has changed since;
- changed: it was, but an Observation has changed since: which versions are on it is asked of the database;
- first: by a server that has nothing in memory: versions and bodies are asked of the database.

    python -m benchmarks.scale --data FOLDER [--observations 1000000]
"""

import bz2
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import click
from rich.console import Console
from rich.table import Table

from fhir_server.access.caller import OPEN_CALLER
from fhir_server.app import Composition
from fhir_server.context import RequestContext, current_time
from fhir_server.fhir.json import parse_json
from fhir_server.interactions.dispatch import dispatch
from fhir_server.interactions.request import FhirRequest
from fhir_server.repository.versions import build_body
from fhir_server.search.indexer import to_index
from fhir_server.settings import Settings
from fhir_server.storage.embedded import EmbeddedMongod
from fhir_server.storage.mongo import MongoStore
from fhir_server.storage.store import Change, Plan

BASE = "http://127.0.0.1:8000/fhir"
LOINC = "http://loinc.org"
CALLS = 400
PAGE = 50
_SMALLEST = 10_000
BATCH = 500

Way = Literal["again", "changed", "first"]
_WAYS: tuple[Way, ...] = ("again", "changed", "first")

Resource = dict[str, Any]
Parameters = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Case:
    """A search with what varies from call to call, and how plain pymongo would ask for the same page."""

    name: str
    parameters: Callable[[random.Random], Parameters]


def read_records(folder: Path) -> tuple[list[Resource], list[Resource]]:
    """Return the Patients and Observations of the bundles in a folder."""
    patients: list[Resource] = []
    observations: list[Resource] = []
    for path in sorted(folder.glob("*.json*")):
        content = path.read_bytes()
        bundle = parse_json(bz2.decompress(content) if path.suffix == ".bz2" else content)
        for entry in bundle["entry"]:
            resource = entry["resource"]
            if resource["resourceType"] == "Patient":
                patients.append(resource)
            elif resource["resourceType"] == "Observation":
                observations.append({name: value for name, value in resource.items() if name != "encounter"})
    return patients, observations


def copies(patients: list[Resource], observations: list[Resource], start: int, stop: int) -> Iterator[Resource]:
    """Yield the Observations numbered from ``start`` to ``stop`` of the endless record, each copy's patients first."""
    size = len(observations)
    for number in range(start, stop):
        copy, place = divmod(number, size)
        if place == 0:
            yield from (
                {
                    **one,
                    "id": f"{one['id']}-{copy}",
                    "identifier": [{**each, "value": f"{each['value']}-{copy}"} for each in one["identifier"]],
                }
                for one in patients
            )
        one = observations[place]
        subject = one["subject"]["reference"].removeprefix("urn:uuid:")
        yield {**one, "id": f"{one['id']}-{copy}", "subject": {"reference": f"Patient/{subject}-{copy}"}}


def load(uri: str, folder: Path, start: int, stop: int) -> int:
    """Store a range of the endless record and return how many resources that were."""
    store = MongoStore(uri, "scale")
    patients, observations = read_records(folder)
    batch: list[Change] = []
    count = 0
    for resource in copies(patients, observations, start, stop):
        now = current_time()
        meta = resource.get("meta", {})
        reference = f"{resource['resourceType']}/{resource['id']}"
        body = build_body(resource, resource["id"], 1, now, meta)
        batch.append(Change(reference, 0, 1, "PUT", now, body, to_index(resource, BASE)))
        count += 1
        if len(batch) == BATCH:
            store.commit(Plan(tuple(batch)))
            batch = []
    if batch:
        store.commit(Plan(tuple(batch)))
    store.close()
    return count


def cases(patients: list[Resource], observations: list[Resource]) -> list[Case]:
    """Return the searches; each call asks for another patient, code or period.

    All are chosen among those whose page is as large with the first 10,000 Observations as with all: what grows then
    is the record, not the page.
    """
    first = observations[:_SMALLEST]
    dates: dict[str, list[str]] = {}
    for one in first:
        dates.setdefault(_code_of(one), []).append(one["effectiveDateTime"])
    full = sorted(code for code, found in dates.items() if len(found) > PAGE)
    periods = [
        (code, begin, begin + 10)
        for code in full
        for begin in range(1980, 2015)
        if sum(str(begin) <= date < str(begin + 10) for date in dates[code]) > PAGE
    ]
    # The last one's Observations may go on behind the first 10,000.
    subjects = list(dict.fromkeys(map(_subject_of, first)))[:-1]
    own = sorted({(_subject_of(one), _code_of(one)) for one in first if _subject_of(one) in subjects})
    identifiers = [one["identifier"][0]["value"] for one in patients if one["id"] in subjects]

    def code_in_period(chance: random.Random) -> Parameters:
        code, begin, end = chance.choice(periods)
        return (("code", f"{LOINC}|{code}"), ("date", f"ge{begin}-01-01"), ("date", f"lt{end}-01-01"))

    def of_patient(chance: random.Random) -> Parameters:
        subject, code = chance.choice(own)
        return (("patient", f"{subject}-0"), ("code", f"{LOINC}|{code}"))

    def code(chance: random.Random) -> tuple[str, str]:
        return ("code", f"{LOINC}|{chance.choice(full)}")

    return [
        Case("by code", lambda chance: (code(chance),)),
        Case("by patient + code", of_patient),
        Case("by code + date range", code_in_period),
        Case("by code, newest first", lambda chance: (code(chance), ("_sort", "-date"))),
        Case("by patient.identifier", lambda chance: (("patient.identifier", f"{chance.choice(identifiers)}-0"),)),
    ]


def _code_of(observation: Resource) -> str:
    return str(observation["code"]["coding"][0]["code"])


def _subject_of(observation: Resource) -> str:
    return str(observation["subject"]["reference"].removeprefix("urn:uuid:"))


class Recorder(MongoStore):
    """A store that remembers the queries it was asked, so that plain pymongo can be asked the same."""

    asked: list[Any]

    def find(self, query: Any) -> Any:
        """Remember and find."""
        self.asked.append(query)
        return super().find(query)


@dataclass(frozen=True)
class Measured:
    """Seconds of each call through the server and of its queries through plain pymongo, and the entries."""

    ours: list[float]
    plain: list[float]
    entries: list[int]


def measure(ctx: Callable[[], RequestContext], store: Recorder, case: Case, way: Way) -> Measured:
    """Time a search that is asked in this way."""
    measured = Measured([], [], [])
    chance = random.Random(42)
    for call in range(CALLS + 20):
        request = FhirRequest("GET", ("Observation",), (*case.parameters(chance), ("_count", str(PAGE))))
        if way != "first":
            dispatch(ctx(), request)
        if way == "changed":
            stamps = store.connection.stamps
            stamps.end(stamps.begin(["Observation/elsewhere"]))
        store.asked = []
        context = ctx()
        started = time.perf_counter()
        answer = dispatch(context, request)
        ours = time.perf_counter() - started
        assert answer.status == 200
        plain = _ask_plainly(store)
        if call >= 20:
            measured.ours.append(ours)
            measured.plain.append(plain)
            measured.entries.append(_entries_of(answer.body))
    return measured


def _ask_plainly(store: Recorder) -> float:
    """Return the seconds that plain pymongo takes for what the store was asked."""
    collection = store.connection.database["resources"]
    started = time.perf_counter()
    for query in store.asked:
        found = collection.find(dict(query.filter), {"body": 1}, limit=query.limit)
        if query.sort:
            found = found.sort(list(query.sort))
        if query.hint:
            found = found.hint(query.hint)
        list(found)
    return time.perf_counter() - started


def _entries_of(body: bytes | dict[str, Any] | None) -> int:
    bundle = body if isinstance(body, dict) else parse_json(body or b"{}")
    return len(bundle.get("entry", ()))


def percentile(values: list[float], share: float) -> float:
    """Return a percentile in milliseconds."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] * 1000


@click.command(help=__doc__)
@click.option(
    "--data", required=True, type=click.Path(exists=True, file_okay=False, path_type=Path), envvar="BENCHMARK_DATA"
)
@click.option("--observations", default=1_000_000, show_default=True)
def main(data: Path, observations: int) -> None:
    """Load in steps and measure at each."""
    patients, samples = read_records(data)
    console = Console(width=140)
    names = ("asked", f"search, page of {PAGE}", "Observations", "entries", "p50 ms", "p99 ms")
    table = Table(*names, "of p50", "of pymongo", "of p50 at 10,000")
    first: dict[tuple[str, str], float] = {}
    with tempfile.TemporaryDirectory() as scratch, EmbeddedMongod(Path(scratch), cache_size=4 * 2**30) as mongod:
        settings = Settings.from_environment({}, mongodb_uri=mongod.uri, database="scale", data_directory=Path(scratch))
        servers = {way: _server(settings, mongod.uri, way) for way in _WAYS}
        loaded = 0
        for step in [step for step in (_SMALLEST, 100_000, 1_000_000) if step < observations] + [observations]:
            started = time.monotonic()
            middle = loaded + (step - loaded) // 2
            with ProcessPoolExecutor(2) as pool:
                parts = [pool.submit(load, mongod.uri, data, *part) for part in ((loaded, middle), (middle, step))]
                count = sum(part.result() for part in parts)
            seconds = time.monotonic() - started
            console.print(f"{count:,} resources more in {seconds:.0f} s: {count / seconds:,.0f}/s, without HTTP")
            loaded = step
            for way, (composition, store) in servers.items():
                context = partial(composition.open_context, OPEN_CALLER, "scale", "en", BASE)
                for case in cases(patients, samples):
                    measured = measure(context, store, case, way)
                    half = first.setdefault((way, case.name), percentile(measured.ours, 0.5))
                    table.add_row(way, case.name, f"{step:,}", *_row(measured, half))
        console.print(table)
        report_size(console, servers["first"][1])
        for composition, _ in servers.values():
            composition.close()


def _server(settings: Settings, uri: str, way: Way) -> tuple[Composition, Recorder]:
    """Return a server of its own, with or without a memory."""
    composition = Composition(settings)
    store = Recorder(uri, settings.database, body_cache=0 if way == "first" else settings.body_cache_size)
    store.asked = []
    store.prepare()
    composition._store = store
    return composition, store


def _row(measured: Measured, half_at_first: float) -> tuple[str, ...]:
    half, most = percentile(measured.ours, 0.5), percentile(measured.ours, 0.99)
    return (
        f"{statistics.mean(measured.entries):.0f}",
        f"{half:.2f}",
        f"{most:.2f}",
        f"{most / half:.1f} ×",
        f"{statistics.median(measured.ours) / statistics.median(measured.plain):.2f} ×",
        f"{half / half_at_first:.2f} ×",
    )


def report_size(console: Console, store: MongoStore) -> None:
    """Print what a million resources take."""
    stats = store.connection.database.command("collStats", "resources", scale=1_000_000)
    millions = stats["count"] / 1_000_000
    sizes = ", ".join(
        f"{name} {size / millions:,.0f}" for name, size in sorted(stats["indexSizes"].items(), key=lambda one: -one[1])
    )
    data, indexes = stats["storageSize"] / millions, stats["totalIndexSize"] / millions
    console.print(f"MB a million resources: data {data:,.0f}, indexes {indexes:,.0f}")
    console.print(f"  {sizes}")


if __name__ == "__main__":
    main()
