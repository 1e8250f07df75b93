"""The command line: clients, tokens and keys, beside a running server and without one."""

import json
import re
from pathlib import Path

import pytest
from rich.console import Console

from fhir_server.commands.client import NewClient, build_client, rotate, show
from fhir_server.commands.terminal import CommandFailed
from fhir_server.commands.token import COMMAND_CLIENT, WantedToken, issue_token
from fhir_server.commands.token import rotate as rotate_signing_keys
from fhir_server.smart.ground import digest
from tests.rest.server import Server, running_server
from tests.rest.smart import Smart
from tests.rest.smart_apps import REDIRECT, App, Backend, new_key
from tests.rest.smart_people import DOCTOR, MARIE
from tests.rest.test_server import run


def test_clients_come_and_go_beside_a_running_server(tmp_path: Path) -> None:
    """A backend is added, gets a token over HTTP, and is gone at the next request after its removal."""
    with running_server(tmp_path, FHIR_SERVER_AUTH="smart") as server:
        assert "Authorization" in server.announcement
        key = new_key("ES384")
        jwks = tmp_path / "jwks.json"
        jwks.write_text(json.dumps({"keys": [key.as_dict(private=False)]}))
        data = ("--data", tmp_path)
        added = run("client", "add", "Hospital", "--id", "hospital", "--backend", "--jwks", jwks, *data)
        assert added.returncode == 0, added.stderr
        assert added.stdout == "client_id      hospital\n"
        assert run("client", "add", "Hospital", "--id", "hospital", "--backend", "--jwks", jwks, *data).returncode == 1
        listed = run("client", "list", *data).stdout
        assert re.search(r"hospital +Hospital +backend +private_key_jwt", listed)
        token = run("token", "--client", "hospital", *data).stdout.strip()
        assert status(server, token) == 200
        assert run("client", "remove", "hospital", *data).returncode == 0
        assert status(server, token) == 401
        assert run("client", "remove", "hospital", *data).returncode == 1
        before = server.get("/auth/jwks")[1]
        assert run("rotate-keys", *data).returncode == 0
        after = json.loads(server.get("/auth/jwks")[1])["keys"]
        assert len(after) == 4
        assert {key["kid"] for key in json.loads(before)["keys"]} < {key["kid"] for key in after}


def test_accounts_come_and_go_beside_a_running_server(tmp_path: Path) -> None:
    """An operator is added, gets a token, and is refused at the next request after being locked."""
    with running_server(tmp_path, FHIR_SERVER_AUTH="smart") as server:
        data = ("--data", tmp_path)
        added = run("account", "add", "keeper", "--operator", *data, given="a long enough phrase\n")
        assert added.returncode == 0, added.stderr
        assert re.search(r"keeper +operator +active", run("account", "list", *data).stdout)
        token = run("token", "--account", "keeper", *data).stdout.strip()
        assert status(server, token) == 200
        assert run("account", "lock", "keeper", *data).returncode == 0
        assert status(server, token) == 401


def status(server: Server, token: str) -> int:
    import urllib.error
    import urllib.request

    request = urllib.request.Request(f"{server.address}/fhir/Patient", headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def test_a_secret_is_shown_once_and_can_be_renewed(tmp_path: Path) -> None:
    data = ("--data", tmp_path)
    added = run("client", "add", "Portal", "--id", "portal", "--confidential", "--redirect-uri", REDIRECT, *data)
    secret = re.search(r"client_secret  (\S{43})", added.stdout)
    assert secret, added.stderr
    assert "this once" in added.stdout
    assert secret[1] not in run("client", "list", *data).stdout
    again = run("client", "rotate", "portal", *data, LC_ALL="fr_FR.UTF-8").stdout
    assert re.search(r"client_secret  (\S{43})", again)
    assert secret[1] not in again
    assert "cette fois" in again
    assert run("client", "rotate", "unknown", *data).returncode == 1


def test_it_refuses_to_be_open_to_the_network(tmp_path: Path) -> None:
    for host in ("0.0.0.0", "::", "192.168.1.1", "health.example.org"):
        done = run("serve", "--host", host, "--data", tmp_path, FHIR_SERVER_AUTH="open")
        assert done.returncode == 1
        assert "FHIR_SERVER_AUTH=open gives every record to everybody" in done.stderr


def test_an_open_server_says_so_loudly(server: Server) -> None:
    assert (
        "*** OPEN: FHIR_SERVER_AUTH=open lets everybody on this machine read and change every record"
        in server.announcement
    )


def test_a_token_for_a_person_is_one_like_all_others(smart: Smart) -> None:
    composition = smart.composition
    caller = smart.caller(issue_token(composition, WantedToken(account="marie")))
    assert (caller.kind, caller.patient, caller.client_id) == ("patient", "marie", COMMAND_CLIENT)
    assert caller.client_name == "fhir-server token"
    child = smart.caller(issue_token(composition, WantedToken(account="marie", patient="irene", scope="patient/*.rs")))
    assert (child.kind, child.patient, child.user) == ("representative", "irene", "RelatedPerson/m")
    doctor = smart.caller(issue_token(composition, WantedToken(account=DOCTOR.id)))
    assert (doctor.kind, doctor.profession, doctor.patient) == ("professional", "10", None)
    assert [consent.client for consent in composition.smart().consents.of_account("marie")] == [COMMAND_CLIENT] * 2
    client = composition.smart().clients.find(COMMAND_CLIENT)
    assert client is not None
    assert App(smart, client).authorize(smart.browser(MARIE), "patient/*.rs").status_code == 400


@pytest.mark.parametrize(
    "wanted",
    [
        WantedToken(),
        WantedToken(account="marie", client="backend"),
        WantedToken(account="nobody"),
        WantedToken(client="nobody"),
        WantedToken(client="app"),
        WantedToken(account="marie", patient="pierre"),
        WantedToken(account="marie", scope="system/*.rs"),
        WantedToken(account="marie", scope="nonsense"),
        WantedToken(client="backend", scope="user/*.rs"),
    ],
    ids=str,
)
def test_a_token_for_nobody_is_refused(smart: Smart, wanted: WantedToken) -> None:
    smart.app()
    smart.backend()
    with pytest.raises(CommandFailed):
        issue_token(smart.composition, wanted)


def test_what_proves_a_client_can_be_renewed_as_far_as_there_is_any(smart: Smart, tmp_path: Path) -> None:
    key = new_key("ES384")
    jwks = tmp_path / "jwks.json"
    jwks.write_text(json.dumps({"keys": [key.as_dict(private=False)]}))
    smart.app(registered_itself=True)
    confidential, backend = smart.app("confidential", secret="s"), smart.backend()
    settings = smart.composition.settings
    for id, path in (("app", None), ("app", jwks), ("backend", None)):
        with pytest.raises(CommandFailed):
            rotate(settings, id, path, "")
    old = backend.key
    rotate(settings, "backend", jwks, "")
    assert backend.ask().get_json()["error"] == "invalid_client"
    assert Backend(smart, backend.client, key).ask().status_code == 200
    assert old.kid != key.kid
    rotate(settings, "confidential", None, "https://app.example/jwks")
    changed = smart.composition.smart().clients.find("confidential")
    assert changed is not None
    assert (changed.auth_method, changed.secret, changed.jwks_uri) == (
        "private_key_jwt",
        "",
        "https://app.example/jwks",
    )
    assert confidential.exchange("x").get_json()["error"] == "invalid_client"
    console = Console(width=200, record=True)
    show(settings, console)
    assert "The app app *" in console.export_text()


@pytest.mark.parametrize("width", [20, 80, 120])
@pytest.mark.parametrize("terminal", [False, True])
def test_an_id_is_listed_whole_however_narrow_the_terminal(smart: Smart, width: int, terminal: bool) -> None:
    id = "f47ac10b-58cc-4372-a567-0e02b2c3d479"
    smart.app(id)
    console = Console(width=width, force_terminal=terminal, record=True)
    show(smart.composition.settings, console)
    lines = console.export_text().splitlines()
    assert [line.split(" ")[0] for line in lines if line[0] != " "] == ["id", id]
    assert terminal or len(lines) == 2, "one line each where something else reads it"


def test_keys_that_cannot_be_read_are_not_renewed(smart: Smart) -> None:
    (smart.composition.settings.data_directory / "signing-keys.json").write_text("{}")
    with pytest.raises(CommandFailed, match="signing-keys"):
        rotate_signing_keys(smart.composition.settings)


def test_a_client_is_made_as_told(smart: Smart, tmp_path: Path) -> None:
    composition = smart.composition
    key = new_key("RS384")
    jwks = tmp_path / "jwks.json"
    jwks.write_text(json.dumps({"keys": [key.as_dict(private=False)]}))
    organization = {
        "resourceType": "Organization",
        "id": "h",
        "identifier": [{"system": "urn:a", "value": "1"}, {"value": "2"}],
    }
    token = smart.backend("loader", roles=("trusted",)).token("system/*.cruds")
    written = smart.fhir("Organization/h", token, "PUT", json=organization, content_type="application/fhir+json")
    assert written.status_code == 201
    wanted = NewClient("H", kind="backend", jwks=jwks, organization="h", roles=("trusted",), scope="system/*.rs ITI-67")
    client = build_client(composition, wanted, "h")
    assert client.organization == "Organization/h"
    assert client.organization_identifiers == ("urn:a|1",)
    composition.smart().clients.add(client)
    assert Backend(smart, client, key, "RS384").ask("system/*.rs").status_code == 200
    by_url = build_client(composition, NewClient("H", kind="backend", jwks_url="https://h.example/jwks"), "u")
    assert (by_url.jwks, by_url.jwks_uri) == (None, "https://h.example/jwks")
    opened = NewClient("A", kind="public", redirect_uris=(REDIRECT,), launch_url="https://a.example/launch")
    public = build_client(composition, opened, "a")
    assert (public.auth_method, public.secret) == ("none", "")
    assert public.initiate_login_uri == "https://a.example/launch"
    assert digest("") != public.secret


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"kind": "backend"},
        {"kind": "backend", "jwks_url": "http://h.example/jwks"},
        {"kind": "backend", "jwks_url": "https://h.example/jwks", "scope": "user/*.rs"},
        {"kind": "backend", "jwks_url": "https://h.example/jwks", "scope": "nonsense"},
        {"kind": "backend", "jwks_url": "https://h.example/jwks", "organization": "unknown"},
        {"kind": "public"},
        {"kind": "public", "redirect_uris": ("http://a.example/",)},
        {"kind": "public", "redirect_uris": (REDIRECT,), "jwks_url": "https://h.example/jwks"},
        {"kind": "public", "redirect_uris": (REDIRECT,), "purposes": ("bris_de_glace",)},
        {"kind": "confidential", "redirect_uris": (REDIRECT,), "secret_connections": True},
        {"kind": "public", "redirect_uris": (REDIRECT,), "launch_url": "http://a.example/launch"},
        {"kind": "public", "redirect_uris": (REDIRECT,), "launch_url": "com.example.app:/launch"},
        {"kind": "backend", "jwks_url": "https://h.example/jwks", "launch_url": "https://h.example/launch"},
        {"kind": "public", "redirect_uris": (REDIRECT,), "scope": "openid system/*.rs"},
        {"kind": "public", "redirect_uris": (REDIRECT,), "scope": "patient/Observation.rs?patient.name=x"},
    ],
    ids=str,
)
def test_a_client_that_would_not_work_is_not_made(smart: Smart, given: dict[str, object]) -> None:
    with pytest.raises(CommandFailed):
        build_client(smart.composition, NewClient("A", **given), "a")  # type: ignore[arg-type]


@pytest.mark.parametrize("content", ["", "[]", '{"keys": []}', '{"keys": [{"kty": "oct", "k": "AA"}]}'])
def test_keys_that_prove_nothing_are_refused(smart: Smart, tmp_path: Path, content: str) -> None:
    path = tmp_path / "jwks.json"
    path.write_text(content)
    for given in ({"jwks": path}, {"jwks": path, "jwks_url": "https://h.example/jwks"}):
        with pytest.raises(CommandFailed):
            build_client(smart.composition, NewClient("A", kind="backend", **given), "a")  # type: ignore[arg-type]
