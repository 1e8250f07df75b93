"""What the machine gives at best: an empty Flask route on the same server, raw queries, raw inserts."""

import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from bson.raw_bson import RawBSONDocument
from flask import Flask, Response
from pymongo import MongoClient, WriteConcern

from benchmarks.clients import Measured, Request, measure

_PORT = 8399
_DOCUMENTS = 30_000
_TOGETHER = 1_000

app = Flask(__name__)


@app.get("/empty")
def empty() -> Response:
    """Answer nothing, as fast as Flask can."""
    return Response(b"", 200)


@dataclass(frozen=True, slots=True)
class DatabaseLimits:
    """Per second: reads by id, pages of 50 by code, inserted documents."""

    reads: float
    pages: float
    inserts: float


@contextmanager
def empty_route(workers: int, threads: int) -> Iterator[Callable[[float], Measured]]:
    """Serve an empty Flask route under granian set up as the server is; give what measures it for some seconds."""
    command = [sys.executable, "-m", "granian", "--interface", "wsgi", "--workers", str(workers), "--no-log", "--no-ws"]
    command += ["--http", "1", "--blocking-threads", str(threads), "--port", str(_PORT), "benchmarks.limits:app"]
    with _process(command):
        base = f"http://127.0.0.1:{_PORT}"
        _await(f"{base}/empty")
        yield lambda seconds: measure(base, [Request("/empty")], 8, seconds)


def measure_database(uri: str, database: str, seconds: float) -> DatabaseLimits:
    """Return what pymongo gives for the same reads and writes without a server between."""
    client: MongoClient[Any] = MongoClient(uri, document_class=RawBSONDocument)
    try:
        resources = client[database]["resources"]
        sample = [each["_id"] for each in resources.find({"type": "Observation"}, {"_id": 1}).limit(500)]
        token = _frequent_token(resources)
        fields = {"body": 1, "version": 1, "updated": 1}
        reads = _rate(lambda n: resources.find_one({"_id": sample[n % len(sample)]}, fields), seconds)
        pages = _rate(lambda n: list(resources.find({"t": token}, fields).sort([("_id", 1)]).limit(50)), seconds)
        return DatabaseLimits(reads, pages, _insert_rate(client, resources))
    finally:
        client.close()


def _frequent_token(resources: Any) -> str:
    """Return a token of a code that many Observations have."""
    counts: dict[str, int] = {}
    for document in resources.find({"type": "Observation"}, {"t": 1}).limit(500):
        for token in document.get("t", []):
            if isinstance(token, str) and ".code|" in token and "||" not in token:
                counts[token] = counts.get(token, 0) + 1
    return max(counts, key=lambda each: counts[each], default="")


def _insert_rate(client: Any, resources: Any) -> float:
    """Return documents per second into an empty collection with the same indexes, majority and journaled."""
    name = "benchmark_limits"
    target = client[name].get_collection("resources", write_concern=WriteConcern("majority", j=True))
    try:
        for index, definition in resources.index_information().items():
            options = {key: value for key, value in definition.items() if key not in ("v", "key", "ns")}
            if index != "_id_":
                target.create_index(
                    list(definition["key"].items() if hasattr(definition["key"], "items") else definition["key"]),
                    name=index,
                    **options,
                )
        documents = list(resources.find().limit(_DOCUMENTS))
        started = time.perf_counter()
        for start in range(0, len(documents), _TOGETHER):
            target.insert_many(documents[start : start + _TOGETHER], ordered=False)
        return len(documents) / (time.perf_counter() - started)
    finally:
        client.drop_database(name)


def _rate(work: Callable[[int], object], seconds: float) -> float:
    """Return calls per second of 8 threads."""

    def repeat(first: int) -> int:
        count = 0
        while time.perf_counter() < until:
            work(first + count)
            count += 1
        return count

    with ThreadPoolExecutor(8) as executor:
        until = time.perf_counter() + seconds
        return sum(executor.map(repeat, range(0, 800, 100))) / seconds


@contextmanager
def _process(command: list[str]) -> Iterator[None]:
    process = subprocess.Popen(command)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def _await(url: str) -> None:
    for _ in range(200):
        with suppress(OSError), urllib.request.urlopen(url, timeout=2):
            return
        time.sleep(0.05)
    raise TimeoutError(url)
