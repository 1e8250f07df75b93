"""What is true of an account at this moment: its person, whom they may act for, in which situation they practise.

The shapes are those that ``smart.people`` asks for. Nothing here is remembered: every call looks again.
"""

from dataclasses import dataclass
from datetime import datetime

from fhir_server.accounts.account import Account, Kind, Situation
from fhir_server.accounts.reading import find_resource
from fhir_server.accounts.representations import Person, find_persons
from fhir_server.storage.store import Store


@dataclass(frozen=True, slots=True)
class Practice:
    """A professional in the one situation that they have chosen; identifiers are ``system|value``."""

    identifiers: tuple[str, ...]
    practitioner_role: str | None
    organization: str | None
    organization_name: str
    organization_identifiers: tuple[str, ...]
    profession: str
    specialty: str
    sector: str
    regulation: bool


@dataclass(frozen=True, slots=True)
class Holder:
    """Somebody who can sign in. ``persons`` is empty for professionals and operators, ``professional`` for others."""

    id: str
    kind: Kind
    fhir_user: str | None
    user_name: str
    persons: tuple[Person, ...] = ()
    professional: Practice | None = None
    roles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Presence:
    """A session that is good, with its holder: what forms and tokens are bound to."""

    id: str
    account: Holder
    auth_time: datetime
    acr: str
    amr: tuple[str, ...]


def find_holder(store: Store, account: Account, situation: Situation | None, now: datetime) -> Holder | None:
    """Return what is true of an active account; None when its person is gone or nobody it may act for is left.

    A professional needs the situation they act in.
    """
    if not account.active:
        return None
    if account.kind == "operator":
        return Holder(account.id, account.kind, None, account.name, roles=account.roles)
    if account.fhir_user is None:
        return None
    if account.kind == "patient":
        persons = find_persons(store, account.fhir_user, now)
        name = persons[0].name if persons else ""
        return Holder(account.id, account.kind, account.fhir_user, name or account.name, persons) if persons else None
    if situation is None or find_resource(store, account.fhir_user) is None:
        return None
    practice = _practice(account, situation)
    return Holder(account.id, account.kind, account.fhir_user, account.name, (), practice, account.roles)


def _practice(account: Account, situation: Situation) -> Practice:
    return Practice(
        account.identifiers,
        situation.practitioner_role,
        situation.organization,
        situation.organization_name,
        situation.organization_identifiers,
        situation.profession,
        situation.specialty,
        situation.sector,
        situation.regulation,
    )
