"""People who can log in, as the authorization server sees them."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from http.cookies import SimpleCookie
from typing import Any

from fhir_server.app import Composition
from fhir_server.smart.ground import digest


@dataclass(frozen=True)
class Person:
    """Somebody whose record an account may open."""

    patient: str
    name: str
    related_person: str | None = None


@dataclass(frozen=True)
class Professional:
    """What a login has established of a professional."""

    identifiers: tuple[str, ...] = ("urn:oid:1.2.250.1.71.4.2.1|899700218896",)
    practitioner_role: str | None = "PractitionerRole/role-1"
    organization: str | None = "Organization/clinic"
    organization_name: str = "Clinic"
    organization_identifiers: tuple[str, ...] = ("urn:oid:1.2.250.1.71.4.2.2|1750803447",)
    profession: str = "10"
    specialty: str = "SM54"
    sector: str = "SA07"
    regulation: bool = False


@dataclass(frozen=True)
class Account:
    """A person who can log in."""

    id: str
    kind: Any
    fhir_user: str | None
    user_name: str
    persons: tuple[Person, ...] = ()
    professional: Professional | None = None
    roles: tuple[str, ...] = ()


@dataclass(frozen=True)
class Session:
    """A login."""

    id: str
    account: Account
    auth_time: datetime
    acr: str = "eidas1"
    amr: tuple[str, ...] = ("pwd", "otp")


MARIE = Account(
    "marie",
    "patient",
    "Patient/marie",
    "Marie Curie",
    (Person("marie", "Marie"), Person("irene", "Irène", "RelatedPerson/m")),
)

PIERRE = Account("pierre", "patient", "Patient/pierre", "Pierre Curie", (Person("pierre", "Pierre"),))

DOCTOR = Account("doctor", "professional", "Practitioner/doctor", "Dr. House", (), Professional())

OPERATOR = Account("operator", "operator", None, "Olga Operator", roles=("auditor",))


class People:
    """The people's side as the authorization server sees it, kept in the test's database."""

    def __init__(self) -> None:
        self.composition: Composition | None = None

    @property
    def _records(self) -> Any:
        assert self.composition is not None
        return self.composition.store().records

    def add(self, account: Account) -> None:
        """Let somebody log in from now on, or change what is true of them."""
        self._records.delete("test_accounts", {"_id": account.id})
        self._records.insert("test_accounts", {"_id": account.id, "account": json.dumps(asdict(account))})

    def lock(self, account: str) -> None:
        """Let them log in no more."""
        self._records.delete("test_accounts", {"_id": account})

    def sign_in(self, account: Account, auth_time: datetime | None = None) -> str:
        """Return the cookie of a new session."""
        self.add(account)
        cookie = secrets.token_hex(16)
        at = auth_time or datetime.now(UTC)
        self._records.insert("test_sessions", {"_id": cookie, "account": account.id, "at": at})
        return cookie

    def current_session(self, environ: Mapping[str, Any]) -> Session | None:
        """Return the session of the cookie."""
        morsel = SimpleCookie(environ.get("HTTP_COOKIE", "")).get("session")
        found = self._records.find("test_sessions", {"_id": morsel.value}) if morsel is not None else []
        account = self.find_account(found[0]["account"], None) if found else None
        if account is None:
            return None
        return Session(digest(found[0]["_id"]), account, found[0]["at"].replace(tzinfo=UTC))

    def find_account(self, account: str, practitioner_role: str | None) -> Account | None:
        """Return what is true of an account now."""
        found = self._records.find("test_accounts", {"_id": account})
        if not found:
            return None
        read = json.loads(found[0]["account"])
        known = Account(**{**read, "persons": tuple(Person(**one) for one in read["persons"])})
        if read["professional"] is None:
            return known
        facts = {name: tuple(v) if isinstance(v, list) else v for name, v in read["professional"].items()}
        if practitioner_role is not None and practitioner_role != facts["practitioner_role"]:
            return None
        return replace(known, professional=Professional(**facts))
