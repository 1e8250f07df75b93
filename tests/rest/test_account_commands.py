"""``fhir-server account``: made and looked after from the command line, passwords never as arguments."""

from collections.abc import Callable
from typing import Any

import pyotp
import pytest
from click.testing import CliRunner, Result

from fhir_server.accounts.account import SecurityKey
from fhir_server.accounts.accounts import Accounts
from fhir_server.app import Composition
from fhir_server.cli import main
from tests.rest.fhir import Fhir
from tests.rest.signing_in import PASSWORD

Run = Callable[..., Result]


@pytest.fixture
def composition_of_commands(make_composition: Callable[..., Composition]) -> Composition:
    """The server on whose database commands work."""
    return make_composition()


@pytest.fixture
def run(composition_of_commands: Composition, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs ``fhir-server account``."""
    settings = composition_of_commands.settings
    for name, value in settings.to_environment().items():
        monkeypatch.setenv(name, value)
    composition_of_commands.store()

    def run(*words: str, password: str = PASSWORD) -> Result:
        return CliRunner().invoke(main, ["--language", "en", "account", *words], input=f"{password}\n")

    return run


@pytest.fixture
def accounts(composition_of_commands: Composition) -> Accounts:
    """The accounts that commands work on."""
    return composition_of_commands.accounts()


@pytest.fixture
def fhir(composition_of_commands: Composition) -> Fhir:
    """A FHIR client of the same server."""
    from fhir_server.app import build_app

    return Fhir(build_app(composition_of_commands))


def opens(accounts: Accounts, login: str, password: str = PASSWORD) -> bool:
    """Whether a login name and password are accepted."""
    return bool(accounts.sign_in.with_password(login, password, login, "").token)


def test_a_patients_account_is_made(run: Run, accounts: Accounts, fhir: Fhir) -> None:
    fhir.put("Patient/p1", {"resourceType": "Patient", "id": "p1", "name": [{"family": "Dupont", "given": ["Léa"]}]})
    result = run("add", "Lea", "--patient", "p1")
    assert (result.exit_code, result.output.strip().startswith("Account ")) == (0, True), result.output
    assert PASSWORD not in result.output
    (account,) = accounts.directory.all()
    assert (account.login, account.kind, account.fhir_user, account.name) == (
        "lea",
        "patient",
        "Patient/p1",
        "Léa Dupont",
    )
    assert opens(accounts, "lea")


def test_a_doctors_account_is_made_with_the_situation(run: Run, accounts: Accounts, fhir: Fhir) -> None:
    number = {"system": "urn:oid:1.2.250.1.71.4.2.1", "value": "899700218896"}
    fhir.put("Practitioner/d", {"resourceType": "Practitioner", "id": "d", "identifier": [number]})
    fhir.put("Organization/o", {"resourceType": "Organization", "id": "o", "name": "Cabinet", "identifier": [number]})
    words = (
        "--practitioner",
        "d",
        "--profession",
        "10",
        "--specialty",
        "SM54",
        "--organization",
        "o",
        "--name",
        "Dr D",
    )
    result = run("add", "doctor", *words, "--name", "Dr D", "--regulation", "--role", "auditor")
    assert result.exit_code == 0, result.output
    (account,) = accounts.directory.all()
    (situation,) = account.situations
    assert (situation.profession, situation.specialty, situation.regulation) == ("10", "SM54", True)
    assert situation.organization == "Organization/o"
    found = accounts.find_account(account.id, situation.practitioner_role)
    assert found is not None
    assert found.professional is not None
    assert found.professional.organization_name == "Cabinet"
    assert found.professional.identifiers == ("urn:oid:1.2.250.1.71.4.2.1|899700218896",)
    assert (found.user_name, found.roles) == ("Dr D", ("auditor",))


def test_an_operators_one_time_password_is_shown_once(run: Run, accounts: Accounts) -> None:
    result = run("add", "admin", "--operator", "--totp")
    uri = result.output.strip().splitlines()[-1]
    assert isinstance(pyotp.parse_uri(uri), pyotp.TOTP)
    listed = run("list").output
    assert "admin" in listed
    assert "totp" in listed
    assert "secret" not in listed


@pytest.mark.parametrize(
    ("words", "password", "message"),
    [
        (("x y", "--operator"), PASSWORD, "A login name has"),
        (("admin",), PASSWORD, "one of --patient"),
        (("admin", "--operator", "--patient", "p"), PASSWORD, "one of --patient"),
        (("admin", "--patient", "missing"), PASSWORD, "no such resource: Patient/missing"),
        (("admin", "--practitioner", "missing"), PASSWORD, "needs --profession"),
        (("admin", "--practitioner", "missing", "--profession", "99"), PASSWORD, "needs --profession"),
        (("admin", "--practitioner", "missing", "--profession", "10"), PASSWORD, "Practitioner/missing"),
        (("admin", "--operator"), "short", "12 to 256"),
        (("admin", "--operator"), "", "12 to 256"),
    ],
)
def test_what_cannot_be_an_account_is_refused_by_name(
    run: Run, accounts: Accounts, words: tuple[str, ...], password: str, message: str
) -> None:
    result = run("add", *words, password=password)
    assert result.exit_code == 1
    assert message in result.output
    assert accounts.directory.all() == []


def test_a_name_is_given_once(run: Run) -> None:
    assert run("add", "admin", "--operator").exit_code == 0
    result = run("add", "ADMIN", "--operator")
    assert result.exit_code == 1
    assert "There is an account with this login name" in result.output


def test_locking_unlocking_and_removing(run: Run, accounts: Accounts) -> None:
    run("add", "admin", "--operator")
    (account,) = accounts.directory.all()
    assert run("lock", "Admin").exit_code == 0
    assert not opens(accounts, "admin")
    assert "locked" in run("list").output
    assert run("unlock", account.id).exit_code == 0
    assert run("unlock", account.id).exit_code == 1
    accounts.sign_in.throttles.name.forgive("admin")
    assert opens(accounts, "admin")
    assert run("remove", "admin").exit_code == 0
    assert "admin" not in run("list").output
    assert run("lock", account.id).exit_code == 1
    assert run("add", "admin", "--operator").exit_code == 0


def test_a_password_is_reset_and_second_factors_are_forgotten(run: Run, accounts: Accounts) -> None:
    run("add", "admin", "--operator", "--totp")
    assert run("reset", "admin").exit_code == 1
    assert run("reset", "admin", "--password", password="another long password").exit_code == 0
    (account,) = accounts.directory.all()
    assert account.totp is not None
    assert opens(accounts, "admin", "another long password")
    assert run("reset", "admin", "--second-factor").exit_code == 0
    assert accounts.directory.get(account.id).totp is None
    result = run("reset", "admin", "--second-factor", "--totp")
    assert "otpauth://totp/" in result.output
    assert accounts.directory.get(account.id).totp is not None
    assert run("reset", "nobody", "--second-factor").exit_code == 1


def test_a_lost_key_is_removed_by_its_id(run: Run, accounts: Accounts) -> None:
    run("add", "olga", "--operator")
    account = accounts.directory.find_by_login("olga")
    assert account is not None
    for name in ("lost", "kept"):
        accounts.directory.add_security_key(account.id, SecurityKey(f"id-{name}", b"k", 0, name, accounts.clock()))
    listed = run("keys", "olga").output
    assert "id-lost" in listed
    assert "kept" in listed
    assert run("remove-key", "olga", "id-lost").exit_code == 0
    assert [key.id for key in accounts.directory.get(account.id).security_keys] == ["id-kept"]
    for key in ("id-lost", "id-kept"):
        refused = run("remove-key", "olga", key)
        assert refused.exit_code == 1
        assert "no such key, or it is the only second step" in refused.output
    assert run("keys", "nobody").exit_code == 1


def test_a_password_at_the_terminal_is_typed_twice_and_not_shown(
    run: Run, accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fhir_server.commands import account as commands

    class Terminal:
        """A terminal."""

        def isatty(self) -> bool:
            return True

    asked: list[dict[str, Any]] = []

    def prompt(text: str, **how: Any) -> str:
        asked.append({"text": text, **how})
        return PASSWORD

    monkeypatch.setattr(commands.sys, "stdin", Terminal())
    monkeypatch.setattr(commands.click, "prompt", prompt)
    assert commands.read_password() == PASSWORD
    assert asked == [{"text": "Password", "hide_input": True, "confirmation_prompt": True}]


@pytest.mark.parametrize("command", ["add", "list", "lock", "unlock", "remove", "reset", "keys", "remove-key"])
def test_every_command_says_what_it_does(command: str) -> None:
    result = CliRunner().invoke(main, ["account", command, "--help"])
    assert result.exit_code == 0
    assert "password" not in result.output.partition("Options:")[2].replace("--password", "").lower() or command in (
        "add",
        "reset",
    )
