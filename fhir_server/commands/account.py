"""``fhir-server account``: accounts made and looked after by whoever runs the server.

A password is typed or piped in, never an argument: arguments are seen by everybody on the machine.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import click
from rich.console import Console

from fhir_server.accounts.account import Account, Kind, Situation, normalise_login
from fhir_server.accounts.accounts import Accounts
from fhir_server.accounts.passwords import check_password
from fhir_server.accounts.professions import PROFESSIONS
from fhir_server.accounts.reading import find_resource, identifiers, to_name
from fhir_server.accounts.registering import register_situation
from fhir_server.app import Composition
from fhir_server.audit.security_events import COMMAND_LINE
from fhir_server.commands.database import shared_composition
from fhir_server.commands.table import print_table
from fhir_server.commands.terminal import CommandFailed, in_terminal_language, say, terminal_language
from fhir_server.errors import FhirError, Text
from fhir_server.settings import Settings

_ONE_PERSON = Text(
    "Say whose account it is: one of --patient, --practitioner and --operator.",
    "Dites à qui est le compte : l’une des options --patient, --practitioner et --operator.",
)
_PROFESSION = Text(
    "A practitioner’s account needs --profession, a code of TRE_G15-ProfessionSante such as 10 (doctor).",
    "Le compte d’un professionnel exige --profession, un code de TRE_G15-ProfessionSante comme 10 (médecin).",
)
_NO_PERSON = Text("The server has no such resource: {}.", "Le serveur n’a pas cette ressource : {}.")
_NO_ACCOUNT = Text("There is no such account.", "Ce compte n’existe pas.")
_KEY_STAYS = Text(
    "The account has no such key, or it is the only second step; then reset it with --second-factor.",
    "Le compte n’a pas cette clé, ou c’est sa seule deuxième étape ; réinitialisez-la alors avec --second-factor.",
)
_NOTHING_TO_RESET = Text(
    "Say what to reset: --password, --second-factor or both.",
    "Dites quoi réinitialiser : --password, --second-factor ou les deux.",
)
_KEY_HEADINGS = (Text("key", "clé"), Text("name", "nom"), Text("made", "créée"))
_HEADINGS = (
    Text("id", "id"),
    Text("login name", "identifiant"),
    Text("kind", "type"),
    Text("state", "état"),
    Text("person", "personne"),
    Text("second step", "deuxième étape"),
    Text("made", "créé"),
)


@dataclass(frozen=True, slots=True)
class NewAccount:
    """What ``account add`` was told; ids are without their type."""

    login: str
    patient: str | None = None
    practitioner: str | None = None
    operator: bool = False
    name: str | None = None
    profession: str | None = None
    specialty: str = ""
    sector: str = ""
    organization: str | None = None
    regulation: bool = False
    roles: tuple[str, ...] = ()
    totp: bool = False


def add(settings: Settings, wanted: NewAccount) -> None:
    """Add an account and print its id, and once the uri of its one-time password if that is wanted."""
    kind = _kind(wanted)
    with _opened(settings) as composition:
        accounts = composition.accounts()
        login = normalise_login(wanted.login)
        account = _described(composition, wanted, kind, login)
        password = read_password()
        check_password(password, login)
        hashed = accounts.passwords.hash(password)
        accounts.directory.add(replace(account, password=hashed), COMMAND_LINE)
        _settle(composition, account)
        say(Text(f"Account {account.id} is there.", f"Le compte {account.id} est créé."))
        if wanted.totp:
            _print_enrolment(accounts, account)


def show(settings: Settings, console: Console) -> None:
    """Print the accounts."""
    with _opened(settings) as composition:
        found = composition.accounts().directory.all()
    print_table(console, _HEADINGS, map(_row, found))


def lock(settings: Settings, name: str) -> None:
    """Lock an account; its sessions and tokens end."""
    with _opened(settings) as composition:
        directory = composition.accounts().directory
        directory.lock(_found(composition.accounts(), name).id, COMMAND_LINE)
    say(Text("Locked; all sessions and tokens have ended.", "Verrouillé ; sessions et jetons sont terminés."))


def unlock(settings: Settings, name: str) -> None:
    """Open a locked account again."""
    with _opened(settings) as composition:
        directory = composition.accounts().directory
        directory.unlock(_found(composition.accounts(), name).id, COMMAND_LINE)
    say(Text("Unlocked.", "Déverrouillé."))


def remove(settings: Settings, name: str) -> None:
    """Remove an account for good."""
    with _opened(settings) as composition:
        directory = composition.accounts().directory
        directory.remove(_found(composition.accounts(), name).id, COMMAND_LINE)
    say(Text("Removed; all sessions and tokens have ended.", "Supprimé ; sessions et jetons sont terminés."))


def reset(settings: Settings, name: str, *, password: bool, second_factor: bool, totp: bool) -> None:
    """Give an account another password, take its second factors away, or both."""
    if not password and not second_factor:
        raise CommandFailed(_NOTHING_TO_RESET)
    with _opened(settings) as composition:
        accounts = composition.accounts()
        account = _found(accounts, name)
        if password:
            given = read_password()
            check_password(given, account.login or "")
            hashed = accounts.passwords.hash(given)
            accounts.directory.set_password(account.id, hashed, accounts.clock(), COMMAND_LINE)
        if second_factor:
            accounts.directory.remove_second_factors(account.id, COMMAND_LINE)
        say(Text("Reset; all sessions and tokens have ended.", "Réinitialisé ; sessions et jetons sont terminés."))
        if totp:
            _print_enrolment(accounts, account)


def show_keys(settings: Settings, name: str, console: Console) -> None:
    """Print the security keys of an account."""
    with _opened(settings) as composition:
        found = _found(composition.accounts(), name).security_keys
    print_table(console, _KEY_HEADINGS, ((key.id, key.name, key.created.strftime("%Y-%m-%d")) for key in found))


def remove_key(settings: Settings, name: str, key: str) -> None:
    """Forget one security key of an account; its sessions end. Raises ``CommandFailed`` when it has to stay."""
    with _opened(settings) as composition:
        accounts = composition.accounts()
        if not accounts.remove_security_key(_found(accounts, name), key, COMMAND_LINE):
            raise CommandFailed(_KEY_STAYS)
    say(Text("Removed; all sessions have ended.", "Supprimée ; toutes les sessions sont terminées."))


def read_password() -> str:
    """Return a password typed twice at the terminal, or the first line of what is piped in."""
    if sys.stdin.isatty():
        text = in_terminal_language(Text("Password", "Mot de passe"))
        return str(click.prompt(text, hide_input=True, confirmation_prompt=True))
    return sys.stdin.readline().rstrip("\r\n")


@contextmanager
def _opened(settings: Settings) -> Iterator[Composition]:
    """Give the server's parts; what goes wrong within is said as a failed command."""
    with shared_composition(settings) as composition:
        try:
            yield composition
        except FhirError as error:
            raise CommandFailed(error.issues[0].text) from None


def _kind(wanted: NewAccount) -> Kind:
    chosen: list[Kind] = []
    chosen += ["patient"] if wanted.patient else []
    chosen += ["professional"] if wanted.practitioner else []
    chosen += ["operator"] if wanted.operator else []
    if len(chosen) != 1:
        raise CommandFailed(_ONE_PERSON)
    if chosen == ["professional"] and wanted.profession not in PROFESSIONS:
        raise CommandFailed(_PROFESSION)
    return chosen[0]


def _described(composition: Composition, wanted: NewAccount, kind: Kind, login: str) -> Account:
    accounts = composition.accounts()
    person: str | None = None
    numbers: tuple[str, ...] = ()
    name = wanted.name or login
    if kind != "operator":
        person = f"Patient/{wanted.patient}" if kind == "patient" else f"Practitioner/{wanted.practitioner}"
        resource = _resource(composition, person)
        numbers = identifiers(resource) if kind == "professional" else ()
        name = wanted.name or to_name(resource, "usual", "official") or login
    return Account(
        accounts.directory.new_id(),
        kind,
        "active",
        name,
        accounts.clock(),
        login=login,
        fhir_user=person,
        identifiers=numbers,
        situations=(_situation(composition, wanted),) if kind == "professional" else (),
        roles=wanted.roles,
    )


def _situation(composition: Composition, wanted: NewAccount) -> Situation:
    organization = f"Organization/{wanted.organization}" if wanted.organization else None
    structure = _resource(composition, organization) if organization is not None else {}
    return Situation(
        "console",
        str(wanted.profession),
        wanted.specialty,
        wanted.sector,
        str(structure.get("name", "")),
        identifiers(structure),
        wanted.regulation,
        organization=organization,
    )


def _settle(composition: Composition, account: Account) -> None:
    """Write the PractitionerRole that stands for a professional's situation."""
    if account.fhir_user is None or not account.situations:
        return
    ctx = composition.open_local_context("account", terminal_language())
    settled = register_situation(ctx, account.fhir_user, account.situations[0])
    composition.accounts().directory.set_situation(account.id, settled)


def _resource(composition: Composition, reference: str) -> dict[str, object]:
    resource = find_resource(composition.store(), reference)
    if resource is None:
        raise CommandFailed(Text(_NO_PERSON.en.format(reference), _NO_PERSON.fr.format(reference)))
    return resource


def _found(accounts: Accounts, name: str) -> Account:
    """Return the account with this login name or id that is not removed."""
    account = accounts.directory.find(name) or accounts.directory.find_by_login(normalise_login(name))
    if account is None or account.state == "removed":
        raise CommandFailed(_NO_ACCOUNT)
    return account


def _print_enrolment(accounts: Accounts, account: Account) -> None:
    say(
        Text(
            "Put this into an authenticator app; it is not shown again:",
            "À ajouter dans une application d’authentification ; ne sera plus affiché :",
        )
    )
    click.echo(accounts.codes.provision(account, COMMAND_LINE).uri)


def _row(account: Account) -> tuple[str, ...]:
    made = account.created.strftime("%Y-%m-%d")
    person = account.fhir_user or ""
    return account.id, account.login or "", account.kind, account.state, person, _factors(account), made


def _factors(account: Account) -> str:
    found: Sequence[str] = [
        *(["totp"] if account.totp else []),
        *([f"webauthn × {len(account.security_keys)}"] if account.security_keys else []),
    ]
    return ", ".join(found)
