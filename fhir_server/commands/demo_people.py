"""The demo's people and services: accounts and clients to try the rules with, on this machine alone.

Everybody is invented. The password is public: it is set only where nobody else can reach the server.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from fhir_server.accounts.account import Account, Situation
from fhir_server.app import Composition
from fhir_server.commands.client import DEFAULT_SCOPES
from fhir_server.settings import Settings
from fhir_server.smart.clients import Client

PASSWORD = "essayons-ensemble"
_NUMBER = "urn:oid:1.2.250.1.71.4.2.1"
_STRUCTURE = "urn:oid:1.2.250.1.71.4.2.2"
CLIENTS = (
    Client(
        "demo-app", "Demo app", "public", "none", DEFAULT_SCOPES["public"], redirect_uris=("http://127.0.0.1/callback",)
    ),
    # Without a key nobody can prove to be them: their tokens come from the command line of this machine alone.
    Client(
        "demo-backend",
        "Demo migration service",
        "backend",
        "private_key_jwt",
        "system/*.cruds",
        jwks={"keys": []},
        roles=("trusted",),
    ),
    Client(
        "demo-hospital",
        "Demo hospital",
        "backend",
        "private_key_jwt",
        "system/*.cruds",
        jwks={"keys": []},
        organization="Organization/demo-hopital",
        organization_identifiers=(f"{_STRUCTURE}|1510000029",),
    ),
)


def is_local(settings: Settings) -> bool:
    """Say whether nobody but this machine can reach the server."""
    return settings.host in ("127.0.0.1", "::1", "localhost")


def add_clients(composition: Composition) -> None:
    """Add the demo's apps and backends unless they are there."""
    for client in CLIENTS:
        composition.smart().clients.add(client)


def add_accounts(composition: Composition) -> None:
    """Add the demo's accounts unless they are there."""
    accounts = composition.accounts()
    for account in _accounts(accounts.clock()):
        assert account.login is not None
        if accounts.directory.find_by_login(account.login) is None:
            password = accounts.passwords.hash(PASSWORD)
            accounts.directory.add(replace(account, id=accounts.directory.new_id(), password=password))


def _accounts(now: datetime) -> Iterator[Account]:
    yield Account("", "patient", "active", "", now, "dominique", "Patient/p-279035121518989")
    yield Account("", "patient", "active", "", now, "lea", "Patient/p-lea")
    yield _professional("camille", "Dr Camille DOC-UN", "demo-medecin", "899700218896", "10", "demo-cabinet", now)
    yield _professional("noa", "Noa INFIRM-UN", "demo-infirmier", "899700000039", "60", "demo-hopital", now)
    yield Account("", "operator", "active", "Operator", now, "operator", roles=("auditor",))


def _professional(
    login: str, name: str, practitioner: str, number: str, profession: str, organization: str, now: datetime
) -> Account:
    role = f"PractitionerRole/{practitioner}-{organization.removeprefix('demo-')}"
    situation = Situation("demo", profession, practitioner_role=role, organization=f"Organization/{organization}")
    return Account(
        "",
        "professional",
        "active",
        name,
        now,
        login,
        f"Practitioner/{practitioner}",
        identifiers=(f"{_NUMBER}|{number}",),
        situations=(situation,),
    )
