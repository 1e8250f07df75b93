"""``fhir-server token``: an access token for somebody, given by whoever runs the machine.

It comes through the same issue as every other, in the name of a client of its own, so that audit and the person's list
of apps show it. Whoever may run this may read the database anyway; it saves nothing but a browser.
"""

from dataclasses import dataclass

from fhir_server.access.scopes import parse_scopes
from fhir_server.app import Composition
from fhir_server.audit.security_events import COMMAND_LINE, SecurityEvent
from fhir_server.commands.database import shared_composition
from fhir_server.commands.terminal import CommandFailed, say
from fhir_server.errors import Text
from fhir_server.settings import Settings
from fhir_server.smart.authority import Authority
from fhir_server.smart.clients import Client
from fhir_server.smart.consents import Consent
from fhir_server.smart.keys import UnusableKeys
from fhir_server.smart.login.blueprint import encryption_keys
from fhir_server.smart.login.federation.providers import providers_of
from fhir_server.smart.people import Account
from fhir_server.smart.telling import tell_issued

COMMAND_CLIENT = "fhir-server-token"
_EITHER = Text(
    "Say for whom: --account or --client.",
    "Dites pour qui : --account ou --client.",
)
_NO_ACCOUNT = Text("There is no such account, or it is locked.", "Ce compte n’existe pas, ou il est verrouillé.")
_NO_BACKEND = Text("There is no such backend.", "Ce service n’existe pas.")
_NOT_THEIRS = Text("The account may not open that record.", "Le compte ne peut pas ouvrir ce dossier.")
_NO_SCOPE = Text("The scope means nothing for this caller.", "La portée ne signifie rien pour cet appelant.")


@dataclass(frozen=True, slots=True)
class WantedToken:
    """What ``token`` was told."""

    account: str | None = None
    client: str | None = None
    patient: str | None = None
    scope: str = ""


def issue(settings: Settings, wanted: WantedToken) -> str:
    """Return a new access token; raises ``CommandFailed``."""
    with shared_composition(settings) as composition:
        return issue_token(composition, wanted)


def issue_token(composition: Composition, wanted: WantedToken) -> str:
    """Return a new access token of the server that these parts make up; raises ``CommandFailed``."""
    if (wanted.account is None) == (wanted.client is None):
        raise CommandFailed(_EITHER)
    authority = _for_client(composition, wanted) if wanted.account is None else _for_account(composition, wanted)
    scope = wanted.scope or _widest(authority)
    understood = parse_scopes(scope)
    contexts = {"system"} if authority.account is None else {"patient", "user"}
    if understood.refused or not scope or any(one.context not in contexts for one in understood.scopes):
        raise CommandFailed(_NO_SCOPE)
    parts = composition.smart()
    if authority.consent is not None:
        parts.consents.insert(authority.consent)
    access = parts.ground.secret()
    parts.tokens.issue(authority, access, scope, None, "")
    tell_issued(parts.log, authority, scope, "command line", "")
    return access


def rotate(settings: Settings) -> None:
    """Sign by new keys, and have others encrypted for; raises ``CommandFailed`` when the file cannot be used."""
    with shared_composition(settings) as composition:
        try:
            composition.smart().keys.rotate()
            if providers_of(settings):
                encryption_keys(settings).rotate()
        except UnusableKeys as error:
            raise CommandFailed(Text(f"{error}.", f"Clés inutilisables : {error}.")) from None
        composition.security_log().tell(SecurityEvent("server-rotated", COMMAND_LINE))
    say(Text("New keys sign from now on.", "De nouvelles clés signent désormais."))


def _for_client(composition: Composition, wanted: WantedToken) -> Authority:
    found = composition.smart().clients.find(wanted.client or "")
    if found is None or found.kind != "backend":
        raise CommandFailed(_NO_BACKEND)
    return Authority(found)


def _for_account(composition: Composition, wanted: WantedToken) -> Authority:
    parts = composition.smart()
    account = _account(composition, wanted.account or "")
    professional = account.professional
    now = parts.ground.now()
    consent = Consent(
        id=parts.ground.identifier(),
        client=COMMAND_CLIENT,
        account=account.id,
        scope=wanted.scope or _scope_of(account),
        created=now,
        auth_time=now,
        role=professional.practitioner_role if professional is not None else None,
        patient=_patient(account, wanted.patient),
    )
    authority = Authority(_command_client(composition), consent, account)
    if not authority.holds:
        raise CommandFailed(_NOT_THEIRS)
    return authority


def _account(composition: Composition, name: str) -> Account:
    """Return what is true now of an account, by its id or login name; a professional in their first situation."""
    people = composition.smart().people
    account = people.find_account(name, None)
    if account is not None:
        return account
    directory = composition.accounts().directory
    found = directory.find(name) or directory.find_by_login(name.casefold())
    if found is not None:
        role = found.situations[0].practitioner_role if found.situations else None
        account = people.find_account(found.id, role)
    if account is not None:
        return account
    raise CommandFailed(_NO_ACCOUNT)


def _patient(account: Account, wanted: str | None) -> str | None:
    own = account.persons[0].patient if account.persons else None
    return wanted or own


def _widest(authority: Authority) -> str:
    return authority.client.scope if authority.account is None else _scope_of(authority.account)


def _scope_of(account: Account) -> str:
    return "patient/*.cruds" if account.kind == "patient" else "user/*.cruds"


def _command_client(composition: Composition) -> Client:
    """Return the client in whose name the command acts; it has no address, so that no app can use it."""
    clients = composition.smart().clients
    client = Client(COMMAND_CLIENT, "fhir-server token", "public", "none", "patient/*.cruds user/*.cruds")
    clients.add(client)
    return client
