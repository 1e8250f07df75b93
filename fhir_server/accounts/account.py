"""One account: a person who can sign in, and what stands behind them."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from fhir_server.audit.security_events import Actor
from fhir_server.errors import Text, Value

Kind = Literal["patient", "professional", "operator"]
State = Literal["active", "locked", "removed"]

KINDS: tuple[Kind, ...] = ("patient", "professional", "operator")
LOGIN_NAME = Text(
    "A login name has 3 to 254 letters, digits and . _ @ + - and no blanks.",
    "Un identifiant compte 3 à 254 lettres, chiffres et . _ @ + - sans espace.",
)
_LOGIN = re.compile(r"[\w.@+\-]{3,254}\Z")


@dataclass(frozen=True, slots=True)
class Situation:
    """One situation in which a professional practises: what they are there, and for which structure.

    ``profession`` is a code of TRE_G15-ProfessionSante, ``specialty`` of TRE_R38, ``sector`` of TRE_R02;
    ``organization_identifiers`` are ``system|value``; ``regulation`` marks a SAMU regulating doctor.
    """

    id: str
    profession: str
    specialty: str = ""
    sector: str = ""
    organization_name: str = ""
    organization_identifiers: tuple[str, ...] = ()
    regulation: bool = False
    practitioner_role: str | None = None
    """``PractitionerRole/id`` that stands for the situation, once it has been chosen."""
    organization: str | None = None
    """``Organization/id`` of the structure."""


@dataclass(frozen=True, slots=True)
class SecurityKey:
    """A registered WebAuthn authenticator; ``id`` is its credential id in base64url."""

    id: str
    public_key: bytes
    sign_count: int
    name: str
    created: datetime


@dataclass(frozen=True, slots=True)
class Account:
    """One account as stored. ``fhir_user`` is ``Type/id``; operators have none.

    ``identifiers`` are the person's own, ``system|value``. ``totp`` is the sealed secret of an enrolled one-time
    password. ``roles`` are further rights that an operator has given (``auditor``).
    """

    id: str
    kind: Kind
    state: State
    name: str
    created: datetime
    login: str | None = None
    fhir_user: str | None = None
    password: str | None = None
    totp: bytes | None = None
    recovery_codes: tuple[str, ...] = ()
    security_keys: tuple[SecurityKey, ...] = ()
    aliases: tuple[str, ...] = ()
    identifiers: tuple[str, ...] = ()
    situations: tuple[Situation, ...] = ()
    roles: tuple[str, ...] = ()

    @property
    def active(self) -> bool:
        """Whether the account can be used."""
        return self.state == "active"

    @property
    def second_factor(self) -> bool:
        """Whether a password alone does not open the account."""
        return self.totp is not None or bool(self.security_keys)

    def situation(self, id: str) -> Situation | None:
        """Return the situation of that id, if the account still has it."""
        return next((each for each in self.situations if each.id == id), None)


def to_actor(account: Account, address: str = "") -> Actor:
    """Return the account as the audit names it: never its login name, person or aliases."""
    return Actor("account", account.id, role=account.kind, address=address)


def normalise_login(login: str) -> str:
    """Return the form in which login names are compared: NFKC, without case. Raises ``Value`` for what is none."""
    normalised = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", login.strip()).casefold())
    if not _LOGIN.match(normalised):
        raise Value(LOGIN_NAME)
    return normalised


def to_document(account: Account) -> dict[str, Any]:
    """Return the account as it is stored; fields that hold nothing are left out, so that sparse indexes work."""
    fields = asdict(account)
    fields["_id"] = fields.pop("id")
    return {name: value for name, value in fields.items() if value not in (None, (), [])}


def from_document(found: Mapping[str, Any]) -> Account:
    """Return the account that ``to_document`` made this of."""
    return Account(
        id=found["_id"],
        kind=found["kind"],
        state=found["state"],
        name=found["name"],
        created=to_utc(found["created"]),
        login=found.get("login"),
        fhir_user=found.get("fhir_user"),
        password=found.get("password"),
        totp=found.get("totp"),
        recovery_codes=tuple(found.get("recovery_codes", ())),
        security_keys=tuple(_key(each) for each in found.get("security_keys", ())),
        aliases=tuple(found.get("aliases", ())),
        identifiers=tuple(found.get("identifiers", ())),
        situations=tuple(_situation(each) for each in found.get("situations", ())),
        roles=tuple(found.get("roles", ())),
    )


def to_utc(moment: datetime) -> datetime:
    """Return an instant out of the database with its time zone, which some readers leave out."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _key(found: Mapping[str, Any]) -> SecurityKey:
    return SecurityKey(**{**found, "created": to_utc(found["created"])})


def _situation(found: Mapping[str, Any]) -> Situation:
    return Situation(**{**found, "organization_identifiers": tuple(found["organization_identifiers"])})
