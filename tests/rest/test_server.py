"""The server as its operator meets it: a process of its own, started, called, stopped."""

import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest

from tests.rest.server import COMMAND, OPEN, Server, running_server


def run(*arguments: object, given: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if name not in ("LANG", "LC_ALL", "LC_MESSAGES")}
    words = [*COMMAND, *map(str, arguments)]
    environ = {**clean, **environ}
    return subprocess.run(words, input=given, capture_output=True, text=True, timeout=120, env=environ, check=False)


def test_it_says_where_everything_is(server: Server) -> None:
    for part in ("/fhir\n", "/fhir/metadata\n", str(server.data), "/metrics"):
        assert part in server.announcement
    assert server.get("/health/ready")[0] == 200


def test_the_demo_record_is_there(server: Server) -> None:
    _, body = server.get("/fhir/Patient/p-279035121518989")
    assert json.loads(body)["identifier"][0]["system"] == "urn:oid:1.2.250.1.213.1.4.10"
    assert server.get("/fhir/Binary/demo-courrier")[1].startswith(b"Courrier")


def test_the_definitions_of_its_own_operations_are_there(server: Server) -> None:
    bundle = json.loads(server.get("/fhir/OperationDefinition?system=true&_elements=code")[1])
    assert {one["resource"]["code"] for one in bundle["entry"]} == {"explain-access", "habilitation-matrix"}


def test_metrics_are_those_of_all_workers(server: Server) -> None:
    for _ in range(40):
        server.get("/fhir/Patient/p-279035121518989")
    metrics = [server.get("/metrics")[1].decode() for _ in range(6)]
    pattern = r'fhir_requests_total\{method="GET",route="/\{type\}/\{id\}",status="200"\} (\d+)'
    counts = {re.findall(pattern, each)[0] for each in metrics}
    assert len(counts) == 1
    assert int(counts.pop()) >= 40


def exchange(server: Server, *pieces: bytes) -> bytes:
    """Send bytes as they are and return what comes back until the server closes or pauses."""
    host, _, port = server.address.removeprefix("http://").rpartition(":")
    received = b""
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        for piece in pieces:
            connection.sendall(piece)
        connection.settimeout(1)
        with suppress(TimeoutError, ConnectionError):
            while piece := connection.recv(65_536):
                received += piece
    return received


HEAD = b"POST /fhir/Patient HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/fhir+json\r\n"
PATIENT = b'{"resourceType":"Patient"}'


def test_a_body_that_is_announced_too_long_is_refused_before_it_comes(server: Server) -> None:
    answer = exchange(server, HEAD + b"Content-Length: 900000000000\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_a_chunked_body_is_taken(server: Server) -> None:
    chunk = b"%x\r\n%s\r\n0\r\n\r\n" % (len(PATIENT), PATIENT)
    answer = exchange(server, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", chunk)
    assert answer.startswith(b"HTTP/1.1 201 ")


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"Transfer-Encoding: chunked, identity\r\n\r\n",
        b"Content-Length: +5\r\n\r\n",
    ],
)
def test_no_second_request_hides_in_a_body(server: Server, head: bytes) -> None:
    answer = exchange(server, HEAD + head + b"0\r\n\r\n" + b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b'"live"' not in answer
    assert b" 201 " not in answer


def test_a_load_over_http_goes_in_and_goes_in_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"resourceType":"Patient","id":"loaded"}')
    for created in ("1", "0"):
        done = run("load", "--url", f"{server.address}/fhir", tmp_path)
        assert done.returncode == 0, done.stderr
        assert re.search(rf"Patient +{created} +{1 - int(created)}\n", done.stdout)
    assert server.get("/fhir/Patient/loaded")[0] == 200


def test_a_second_server_on_the_same_data_or_port_is_refused(server: Server, tmp_path: Path) -> None:
    same_data = run("serve", "--port", "0", "--data", server.data)
    assert same_data.returncode == 1
    assert "already uses the data directory" in same_data.stderr
    port = server.address.rpartition(":")[2]
    same_port = run("serve", "--port", port, "--data", tmp_path)
    assert same_port.returncode == 1
    assert f"port {port}" in same_port.stderr


def test_a_stop_finishes_what_is_running(tmp_path: Path) -> None:
    words = [*COMMAND, "serve", "--port", "0", "--workers", "1", "--data", str(tmp_path)]
    environ = {**os.environ, **OPEN}
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environ)
    assert process.stderr is not None
    lines = iter(process.stderr.readline, "")
    address = next(found[0] for line in lines if (found := re.search(r"http://127\.0\.0\.1:\d+", line)))
    entries = [
        {"resource": {"resourceType": "Patient", "id": f"p{n}"}, "request": {"method": "PUT", "url": f"Patient/p{n}"}}
        for n in range(3_000)
    ]
    body = json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": entries}).encode()
    statuses: list[int] = []

    def post() -> None:
        request = urllib.request.Request(f"{address}/fhir", body, {"Content-Type": "application/fhir+json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            statuses.append(answer.status)

    for _ in iter(lambda: "Ctrl-C" in next(lines), True):
        pass
    sender = threading.Thread(target=post)
    sender.start()
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    sender.join(60)
    assert statuses == [200]
    assert process.wait(60) == 0
    process.stderr.close()
    checked = run("check", "--data", tmp_path)
    assert checked.returncode == 0, checked.stderr
    assert re.search(r"Patient +3,000", checked.stdout)


def started_in_a_group(data: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Start a server as a shell does, in a process group of its own, and return it once it answers on all workers."""
    words = [*COMMAND, "serve", "--port", "0", "--data", str(data)]
    process = subprocess.Popen(
        words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True, env={**os.environ, **OPEN}
    )
    assert process.stderr is not None
    lines = iter(process.stderr.readline, b"")
    address = next(found[0].decode() for line in lines if (found := re.search(rb"http://127\.0\.0\.1:\d+", line)))
    for _ in iter(lambda: b"Ctrl-C" in next(lines), True):
        pass
    for _ in range(20):
        urllib.request.urlopen(f"{address}/health/ready", timeout=30).close()
    process.stderr.close()
    return process, address


def answers(address: str) -> bool:
    try:
        urllib.request.urlopen(f"{address}/health/live", timeout=5).close()
    except OSError:
        return False
    return True


def test_ctrl_c_stops_every_process_at_once(tmp_path: Path) -> None:
    process, _ = started_in_a_group(tmp_path)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(15) == 0


def test_workers_end_with_a_server_that_is_killed(tmp_path: Path) -> None:
    process, address = started_in_a_group(tmp_path)
    process.kill()
    process.wait(10)
    until = time.monotonic() + 15
    while answers(address) and time.monotonic() < until:
        time.sleep(0.1)
    assert not answers(address)
    with running_server(tmp_path) as server:
        assert server.get("/health/ready")[0] == 200


def test_check_tells_versions_and_counts(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_text('{"resourceType":"Patient","id":"a"}\n{"resourceType":"Patient","id":"b"}\n')
    loaded = run("load", "--data", tmp_path / "data", tmp_path / "a.ndjson", LANG="fr_FR.UTF-8")
    assert loaded.returncode == 0, loaded.stderr
    assert "créées" in loaded.stdout
    checked = run("check", "--data", tmp_path / "data")
    assert checked.returncode == 0
    assert "MongoDB" in checked.stdout
    assert re.search(r"Patient +2", checked.stdout)


def test_a_load_that_fails_says_what_and_ends_with_1(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"resourceType":"Patient","gender":"odd"}')
    done = run("load", "--data", tmp_path / "data", tmp_path / "a.json", tmp_path / "missing.json", LANG="fr")
    assert done.returncode == 1
    assert str(tmp_path / "a.json") in done.stdout.replace("\n", "")
    assert "n’existe pas" in done.stdout
    assert "Erreur" in done.stderr
    assert run("load", tmp_path / "missing.json", "--url", "ftp://x").returncode == 1
    assert run("load", "--data", tmp_path / "data", tmp_path / "data").returncode == 1


def test_nobody_at_the_address_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fhir_server.commands.loading import targets

    monkeypatch.setattr(targets, "_ATTEMPTS", 1)
    with pytest.raises(OSError, match="ConnectionRefusedError"):
        targets.HttpTarget("http://127.0.0.1:9/fhir", "token").send({"resourceType": "Bundle"})


def test_settings_that_make_no_sense_are_named() -> None:
    done = run("check", FHIR_SERVER_PORT="many", FHIR_SERVER_WORKER="2")
    assert done.returncode == 1
    assert "FHIR_SERVER_PORT" in done.stderr
    assert "did you mean FHIR_SERVER_WORKERS?" in done.stderr


def test_conformance_is_written_and_found_stale(tmp_path: Path) -> None:
    assert run("conformance", "--output", tmp_path, "--check").returncode == 1
    written = run("conformance", "--output", tmp_path)
    assert written.returncode == 0
    assert written.stdout.split()
    assert run("conformance", "--output", tmp_path, "--check").returncode == 0


def test_help_names_every_command() -> None:
    for words in (["--help"], ["serve", "--help"], ["load", "--help"], ["check", "-h"], ["conformance", "-h"]):
        done = run(*words)
        assert done.returncode == 0
        assert "Usage" in done.stdout
