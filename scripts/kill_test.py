"""Kill the server and its database in the midst of writes, start them again, and look for what was lost.

Each run starts ``fhir-server serve`` on a data directory that all runs share, lets writers create, update and post
transactions for a moment, ends every process with SIGKILL, starts again, and checks: whatever was answered 2xx is
there word for word, every transaction is there whole or not at all, and no history has a gap.

    python scripts/kill_test.py --runs 50
"""

import argparse
import contextlib
import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FHIR = "application/fhir+json"
ENTRIES = 5
SYSTEM = "http://example.org/kill-test"


@dataclass
class Ledger:
    """What the server has promised, over all runs."""

    acknowledged: dict[str, dict[str, Any]] = field(default_factory=dict)
    transactions: dict[str, bool] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def promise(self, resource: dict[str, Any]) -> None:
        """Note a version that was answered 2xx."""
        key = f"{resource['resourceType']}/{resource['id']}/_history/{resource['meta']['versionId']}"
        with self.lock:
            self.acknowledged[key] = resource


class Server:
    """One ``fhir-server serve`` with its embedded database, in a session of its own."""

    def __init__(self, data: Path, port: int) -> None:
        self.port = port
        environment = {**os.environ, "FHIR_SERVER_DATA": str(data), "FHIR_SERVER_AUTH": "open"}
        command = [sys.executable, "-m", "fhir_server.cli", "serve", "--port", str(port), "--workers", "2"]
        self.log = (data.parent / "server.log").open("ab")
        self.process = subprocess.Popen(
            command, env=environment, stdout=self.log, stderr=self.log, start_new_session=True
        )

    def wait_ready(self, seconds: float = 60) -> float:
        """Return the seconds until ``/health/ready`` says yes; raise ``RuntimeError`` when it never does."""
        started = time.monotonic()
        while time.monotonic() - started < seconds:
            try:
                if call(self.port, "GET", "/health/ready")[0] == 200:
                    return time.monotonic() - started
            except (OSError, http.client.HTTPException):
                pass
            if self.process.poll() is not None:
                raise RuntimeError("the server ended by itself; see server.log")
            time.sleep(0.05)
        raise RuntimeError("the server did not become ready")

    def kill(self) -> None:
        """End the server, its workers and its database with SIGKILL, all at once."""
        for pid in descendants(self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self.log.close()


def descendants(pid: int) -> list[int]:
    """Return the process and all below it, parents first."""
    found = [pid]
    for parent in found:
        try:
            for task in Path(f"/proc/{parent}/task").iterdir():
                found.extend(int(child) for child in (task / "children").read_text().split())
        except FileNotFoundError:
            continue
    return found


def call(
    port: int, method: str, path: str, resource: object = None, headers: dict[str, str] | None = None
) -> tuple[int, Any]:
    """Return the status and the parsed body of one request over a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        body = None if resource is None else json.dumps(resource).encode()
        connection.request(method, path, body, {"Content-Type": FHIR, "Accept": FHIR, **(headers or {})})
        response = connection.getresponse()
        content = response.read()
        parsed = json.loads(content) if content and "json" in response.headers.get("Content-Type", "") else None
        return response.status, parsed
    finally:
        connection.close()


def write_for_a_while(port: int, ledger: Ledger, stop: threading.Event, name: str) -> None:
    """Create, update and post transactions until the server goes away or ``stop`` is set."""
    count = 0
    while not stop.is_set():
        count += 1
        try:
            resource = create(port, ledger, f"{name}-{count}")
            for _ in range(random.randint(0, 2)):
                resource = update(port, ledger, resource)
            transact(port, ledger, f"{name}-t{count}")
        except (OSError, http.client.HTTPException, json.JSONDecodeError):
            return


def create(port: int, ledger: Ledger, value: str) -> dict[str, Any]:
    """Return a created Patient, noted."""
    patient = {"resourceType": "Patient", "identifier": [{"system": SYSTEM, "value": value}]}
    status, resource = call(port, "POST", "/fhir/Patient", patient)
    if status != 201:
        raise http.client.HTTPException(f"create answered {status}")
    ledger.promise(resource)
    return dict(resource)


def update(port: int, ledger: Ledger, resource: dict[str, Any]) -> dict[str, Any]:
    """Return the resource's next version, noted."""
    changed = {**resource, "birthDate": f"19{random.randint(10, 99)}-01-01", "active": not resource.get("active")}
    status, answer = call(port, "PUT", f"/fhir/Patient/{resource['id']}", changed)
    if status != 200:
        raise http.client.HTTPException(f"update answered {status}")
    ledger.promise(answer)
    return dict(answer)


def transact(port: int, ledger: Ledger, value: str) -> None:
    """Post one transaction of several entries; note that it was tried, and whether it was answered 200."""
    with ledger.lock:
        ledger.transactions[value] = False
    entries = [
        {
            "fullUrl": f"urn:uuid:00000000-0000-4000-8000-00000000000{number}",
            "resource": {
                "resourceType": "Basic",
                "code": {"text": "x"},
                "identifier": [{"system": SYSTEM, "value": value}],
            },
            "request": {"method": "POST", "url": "Basic"},
        }
        for number in range(ENTRIES)
    ]
    status, _ = call(port, "POST", "/fhir", {"resourceType": "Bundle", "type": "transaction", "entry": entries})
    if status != 200:
        raise http.client.HTTPException(f"transaction answered {status}")
    with ledger.lock:
        ledger.transactions[value] = True


def find_losses(port: int, ledger: Ledger) -> list[str]:
    """Return one sentence for each broken promise."""
    losses = []
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    for address, promised in ledger.acknowledged.items():
        connection.request("GET", f"/fhir/{address}", headers={"Accept": FHIR})
        response = connection.getresponse()
        content = response.read()
        if response.status != 200:
            losses.append(f"{address} was acknowledged and answers {response.status}")
        elif json.loads(content) != promised:
            losses.append(f"{address} is not what was acknowledged")
    for value, answered in ledger.transactions.items():
        connection.request("GET", f"/fhir/Basic?identifier={SYSTEM}|{value}&_summary=count", headers={"Accept": FHIR})
        total = json.loads(connection.getresponse().read())["total"]
        if total not in ((ENTRIES,) if answered else (0, ENTRIES)):
            losses.append(f"transaction {value} (answered: {answered}) left {total} of {ENTRIES}")
    connection.close()
    return losses


def find_gaps(port: int, ledger: Ledger) -> list[str]:
    """Return one sentence for each resource whose history lacks a version."""
    gaps = []
    for address in {key.partition("/_history")[0] for key in ledger.acknowledged}:
        _, bundle = call(port, "GET", f"/fhir/{address}/_history?_count=100")
        versions = sorted(int(entry["resource"]["meta"]["versionId"]) for entry in bundle["entry"])
        if versions != list(range(1, len(versions) + 1)):
            gaps.append(f"{address} has the versions {versions}")
    return gaps


def run(data: Path, ledger: Ledger, number: int) -> list[str]:
    """Kill once, start again, check; return what is broken."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Server(data, port)
    server.wait_ready()
    fresh = Ledger(transactions={}, acknowledged={})
    stop = threading.Event()
    writers = [
        threading.Thread(target=write_for_a_while, args=(port, fresh, stop, f"{number}-{writer}"))
        for writer in range(6)
    ]
    for writer in writers:
        writer.start()
    time.sleep(random.uniform(0.3, 1.5))
    server.kill()
    stop.set()
    for writer in writers:
        writer.join()
    again = Server(data, port)
    seconds = again.wait_ready()
    ledger.acknowledged.update(fresh.acknowledged)
    broken = find_losses(port, fresh) + find_gaps(port, fresh)
    again.kill()
    promised = len(fresh.acknowledged) + sum(fresh.transactions.values())
    print(f"run {number}: {promised} promises, ready again after {seconds:.1f} s, broken: {len(broken)}", flush=True)
    return broken if promised else ["nothing was written before the kill"]


def main() -> int:
    """Run the kills, check everything once more at the end, and return the number of broken promises."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="kill-"))
    ledger = Ledger()
    broken: list[str] = []
    for number in range(1, arguments.runs + 1):
        broken += run(directory / "data", ledger, number)
    print(f"{arguments.runs} kills, {len(ledger.acknowledged)} versions acknowledged, {len(broken)} broken promises")
    for sentence in broken[:20]:
        print(f"  {sentence}")
    if not broken:
        shutil.rmtree(directory)
    return min(len(broken), 1)


if __name__ == "__main__":
    sys.exit(main())
