"""The README's requests work as pasted, against the demo record."""

import shlex
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

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


def test_the_ten_requests_of_the_readme_work_as_pasted(tmp_path: Path) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    with running_server(tmp_path, "--demo", FHIR_SERVER_AUTH="smart") as server:
        requests = requests_of(readme, tmp_path)
        assert len(requests) == 10
        assert send(requests[0][2:], server.address)[0] == 401, "without the token"
        *good, wrong = [send(words, server.address) for words in requests]
    assert [status // 100 for status, _ in good] == [2] * 9
    for _, content in good[:4]:
        assert b"279035121518989" in content
    status, content = wrong
    assert status == 400
    assert content.decode().count('"severity":"error"') == 2
    assert "paramètre" in content.decode()


def test_the_searches_of_the_readme_work_as_pasted_and_each_is_counted(server: Server) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    lines = [shlex.split(line, comments=True) for line in readme.splitlines() if line.startswith("get '")]
    assert len(lines) > 15
    for _, search in lines:
        assert send([f"{server.address}/fhir/{search}"], server.address)[0] == 200, search
    nothing: dict[str, list[Any]] = {
        kind: [] for kind in ("Patient", "Observation", "Condition", "Encounter", "Procedure")
    }
    assert set(count_searches.searches(readme)) == set(count_searches.expected(nothing))
