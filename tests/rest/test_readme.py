"""The README's requests work as pasted, against the demo record."""

import os
import shlex
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from scripts import count_searches
from tests.rest.server import Server, running_server
from tests.rest.test_server import run

BASE = "http://127.0.0.1:8000"


def requests_of(readme: str, data: Path) -> list[list[str]]:
    """Return the words of each curl line, the shell's variables and the token put in."""
    block = readme.partition("curl -s ")[0].rpartition("\nF=")[2]
    variables = dict(word.split("=", 1) for word in shlex.split(f"F={block}"))
    command = variables["A"].partition("$(fhir-server ")[2].removesuffix(")")
    token = run(*command.split(), "--data", data).stdout.strip()
    variables["A"] = f"Authorization: Bearer {token}"
    lines = [line for line in readme.splitlines() if line.startswith("curl -s ")]
    for name, value in variables.items():
        lines = [line.replace(f"${name}", value) for line in lines]
    return [shlex.split(line)[2:] for line in lines]


def send(words: list[str], address: str) -> tuple[int, bytes]:
    """Do what curl would do with ``-X``, ``-H`` and ``-d``."""
    method, headers, body, url = "GET", {}, None, ""
    rest = iter(words)
    for word in rest:
        if word == "-X":
            method = next(rest)
        elif word == "-H":
            name, _, value = next(rest).partition(": ")
            headers[name] = value
        elif word == "-d":
            body = next(rest).encode()
        else:
            url = word.replace(BASE, address)
    request = urllib.request.Request(url, body, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


@dataclass(frozen=True)
class Secured:
    """A server as ``make serve`` starts it, and the token of the demo's backend."""

    server: Server
    token: str


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    data = tmp_path_factory.mktemp("secured")
    with running_server(data, "--demo", FHIR_SERVER_AUTH="smart") as running:
        yield Secured(running, run("token", "--client", "demo-backend", "--data", data).stdout.strip())


def test_the_ten_requests_of_the_readme_work_as_pasted(secured: Secured) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    requests = requests_of(readme, secured.server.data)
    assert len(requests) == 10
    assert send(requests[0][2:], secured.server.address)[0] == 401, "without the token"
    *good, wrong = [send(words, secured.server.address) for words in requests]
    assert [status // 100 for status, _ in good] == [2] * 9
    for _, content in good[:4]:
        assert b"279035121518989" in content
    status, content = wrong
    assert status == 400
    assert content.decode().count('"severity":"error"') == 2
    assert "paramètre" in content.decode()


def test_the_searches_of_the_readme_work_as_pasted_and_each_is_counted(server: Server, secured: Secured) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    lines = [shlex.split(line, comments=True) for line in readme.splitlines() if line.startswith("get '")]
    assert len(lines) > 15
    for _, search in lines:
        with_token = ["-H", f"Authorization: Bearer {secured.token}", f"{BASE}/fhir/{search}"]
        assert send(with_token, secured.server.address)[0] == (403 if "__explain" in search else 200), search
        assert send([f"{BASE}/fhir/{search}"], server.address)[0] == 200, search
    nothing: dict[str, list[Any]] = {
        kind: [] for kind in ("Patient", "Observation", "Condition", "Encounter", "Procedure")
    }
    assert set(count_searches.searches(readme)) == set(count_searches.expected(nothing))


def test_the_counts_of_the_searches_are_compared_as_the_readme_says(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    words = [sys.executable, "scripts/count_searches.py", root / "fhir_server" / "commands" / "demo.json", "--url"]
    with running_server(tmp_path, "--demo", FHIR_SERVER_AUTH="smart") as server:
        token = run("token", "--client", "demo-backend", "--data", tmp_path).stdout.strip()
        environ, address = {**os.environ, "FHIR_TOKEN": token}, f"{server.address}/fhir"
        done = subprocess.run([*words, address], cwd=root, env=environ, capture_output=True, text=True, check=False)
    assert "NOT" not in done.stdout
    assert done.returncode == 0, done.stderr


def test_files_are_loaded_over_http_as_the_readme_says(secured: Secured, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"resourceType":"Basic","id":"loaded","code":{"text":"x"}}', encoding="utf-8")
    address = f"{secured.server.address}/fhir"
    assert run("load", tmp_path, "--url", address).returncode == 1, "without the token"
    for _ in range(2):
        done = run("load", tmp_path, "--url", address, FHIR_TOKEN=secured.token)
        assert done.returncode == 0, done.stderr
