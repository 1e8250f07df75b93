"""A server killed at any moment has answered nobody whose access is not in the audit."""

import json
import os
import re
import signal
import subprocess
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from fhir_server.storage.embedded import EmbeddedMongod
from fhir_server.storage.mongo import MongoStore
from tests.rest.server import COMMAND, running_server


def ask(address: str, method: str, path: str, request_id: str, body: dict[str, Any] | None = None) -> bool:
    """Send one request; say whether it was answered."""
    headers = {"X-Request-Id": request_id, "Content-Type": "application/fhir+json"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{address}/fhir/{path}", data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            answer.read()
            return True
    except OSError:
        return False


def started(data: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Start a server in a group of its own; return it with its address."""
    words = [*COMMAND, "serve", "--port", "0", "--data", str(data)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
    assert process.stderr is not None
    address = ""
    for line in process.stderr:
        found = re.search(rb"http://127\.0\.0\.1:\d+", line)
        address = address or (found[0].decode() if found else "")
        if b"Ctrl-C" in line:
            break
    return process, address


def workers(process: subprocess.Popen[bytes]) -> list[int]:
    """Return the processes that the server has started, the database's aside."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(one) for one in children if b"mongod" not in Path(f"/proc/{one}/cmdline").read_bytes()]


def told(address: str) -> set[str]:
    """Return the ids of all requests that the audit tells of."""
    found: set[str] = set()
    url: str | None = f"{address}/fhir/AuditEvent?_count=1000"
    while url:
        with urllib.request.urlopen(url, timeout=60) as answer:
            bundle = json.loads(answer.read())
        for entry in bundle.get("entry", ()):
            found |= {
                entity["what"]["identifier"]["value"]
                for entity in entry["resource"]["entity"]
                if "identifier" in entity.get("what", {})
            }
        url = next((link["url"] for link in bundle["link"] if link["relation"] == "next"), None)
    return found


def test_no_answer_without_its_event_whenever_the_server_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FHIR_SERVER_AUTH", "open")
    monkeypatch.setenv("FHIR_SERVER_AUDIT", "on")
    process, address = started(tmp_path)
    patient = {"resourceType": "Patient", "id": "p", "name": [{"family": "Curie"}]}
    if not ask(address, "PUT", "Patient/p", "first", patient):
        process.terminate()
        pytest.fail("the server answers nothing")
    answered: list[str] = ["first"]
    stop = threading.Event()

    def work(part: int) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            request_id = f"part{part}-{number}"
            read = part % 2 == 0
            body = None if read else {**patient, "id": f"p{part}", "birthDate": f"19{10 + number % 80}-01-01"}
            path = "Patient/p" if read else f"Patient/p{part}"
            if ask(address, "GET" if read else "PUT", path, request_id, body):
                answered.append(request_id)

    threads = [threading.Thread(target=work, args=(part,), daemon=True) for part in range(6)]
    for thread in threads:
        thread.start()
    while len(answered) < 200:
        time.sleep(0.01)
    for pid in [*workers(process), process.pid]:
        os.kill(pid, signal.SIGKILL)
    stop.set()
    process.wait(10)
    assert process.stderr is not None
    process.stderr.close()
    for thread in threads:
        thread.join(30)
    with running_server(tmp_path) as server:
        until = time.monotonic() + 40
        while (missing := set(answered) - told(server.address)) and time.monotonic() < until:
            time.sleep(1)
        assert missing == set()
    verified = verify(tmp_path)
    assert verified.returncode == 0, verified.stderr
    assert re.search(r"[1-9][0-9,]* seals over [1-9][0-9,]* events verified, 0 events", verified.stdout)
    with EmbeddedMongod(tmp_path) as mongod:
        store = MongoStore(mongod.uri)
        gone = store.connection.database["audit"].find_one_and_delete({})
        store.close()
    tampered = verify(tmp_path)
    assert tampered.returncode == 1
    assert f"{gone['_id']} was sealed and is gone" in tampered.stderr


def verify(data: Path) -> subprocess.CompletedProcess[str]:
    """Run the command as an operator does."""
    words = [*COMMAND, "--language", "en", "audit", "verify", "--data", str(data)]
    return subprocess.run(words, capture_output=True, text=True)
