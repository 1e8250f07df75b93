"""The people's side in one piece: what pages, tokens and commands work with."""

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from argon2 import PasswordHasher

from fhir_server.accounts.account import Account, Situation
from fhir_server.accounts.directory import AccountDirectory, EndTokens
from fhir_server.accounts.federated import Recognition
from fhir_server.accounts.holders import Holder, Presence, find_holder
from fhir_server.accounts.one_time_codes import OneTimeCodes
from fhir_server.accounts.passwords import Passwords
from fhir_server.accounts.registering import register_situation
from fhir_server.accounts.sealing import Sealer
from fhir_server.accounts.security_keys import SecurityKeys
from fhir_server.accounts.sessions import Session, Sessions
from fhir_server.accounts.sign_in import SignIn, Throttles
from fhir_server.accounts.throttle import Throttle
from fhir_server.audit.security_events import Actor
from fhir_server.audit.security_log import SecurityLog
from fhir_server.context import RequestContext
from fhir_server.settings import Settings
from fhir_server.storage.records import Records
from fhir_server.storage.store import Store

_FREE_FOR_NAME = 5
_FREE_FOR_ADDRESS = 30
_FREE_FOR_FACTOR = 5
_FREE_FOR_REGISTRATION = 10


@dataclass(frozen=True, slots=True)
class Accounts:
    """The accounts of one deployment, and everything one does with them."""

    store: Store
    directory: AccountDirectory
    sessions: Sessions
    passwords: Passwords
    codes: OneTimeCodes
    keys: SecurityKeys
    sign_in: SignIn
    recognition: Recognition
    sealer: Sealer
    registrations: Throttle
    """How often apps register themselves from one address."""
    clock: Callable[[], datetime]

    def find_session(self, token: str) -> tuple[Session, Account] | None:
        """Return the session of a browser's token and its account, complete or not; None when either has ended."""
        session = self.sessions.find(token, self.clock()) if token else None
        account = self.directory.find(session.account) if session is not None else None
        return (session, account) if session is not None and account is not None and account.active else None

    def find_presence(self, token: str) -> Presence | None:
        """Return who is signed in with this token, None when nobody is."""
        found = self.find_session(token)
        if found is None or found[0].step != "complete":
            return None
        session, account = found
        holder = find_holder(self.store, account, account.situation(session.situation), self.clock())
        if holder is None:
            return None
        return Presence(session.id, holder, session.auth_time, session.acr, session.amr)

    def find_account(self, account: str, practitioner_role: str | None) -> Holder | None:
        """Return what is true of an account now, a professional's in that situation; None when there is nothing."""
        found = self.directory.find(account)
        if found is None:
            return None
        role = practitioner_role
        situation = next((each for each in found.situations if role and each.practitioner_role == role), None)
        return find_holder(self.store, found, situation, self.clock())

    def remove_security_key(self, account: Account, key: str, by: Actor, but: str | None = None) -> bool:
        """Forget one of an account's security keys and end its sessions, ``but`` one: who has the key may be in one.

        False, and nothing ends, when there is no such key, or it is the last second factor where one is required.
        """
        required = self.sign_in.second_factor == "required"
        if not self.directory.remove_security_key(account.id, key, by, leaves_a_factor=required):
            return False
        self.sessions.end_all(account.id, but)
        return True

    def choose_situation(self, ctx: RequestContext, account: Account, id: str) -> Situation | None:
        """Return a situation of the account with the resources that stand for it; None when it has no such one.

        Raises ``FhirError`` when the resources cannot be told apart.
        """
        situation = account.situation(id)
        if situation is None or account.fhir_user is None:
            return None
        if situation.practitioner_role is not None:
            return situation
        registered = register_situation(ctx, account.fhir_user, situation)
        self.directory.set_situation(account.id, registered)
        return registered


def build_accounts(
    settings: Settings,
    store: Store,
    records: Records,
    key: bytes,
    end_tokens: EndTokens,
    log: SecurityLog,
    clock: Callable[[], datetime],
    random: Callable[[int], bytes],
    hasher: PasswordHasher | None = None,
) -> Accounts:
    """Return the accounts that ``records`` keep; ``key`` (32 bytes) opens their secrets."""
    sealer = Sealer(key, random)
    idle, lifetime = (timedelta(seconds=each) for each in (settings.session_idle_timeout, settings.session_lifetime))
    sessions = Sessions(records, random, idle, lifetime)
    directory = AccountDirectory(records, sessions, sealer, random, end_tokens, log)
    passwords = Passwords(random, hasher)
    codes = OneTimeCodes(directory, sessions, sealer, random, settings.brand_name)
    origin, host = to_origin(settings.base_url)
    keys = SecurityKeys(directory, sessions, random, host, settings.brand_name, origin)
    throttles = Throttles(
        Throttle(records, sealer, "name", _FREE_FOR_NAME),
        Throttle(records, sealer, "address", _FREE_FOR_ADDRESS),
        Throttle(records, sealer, "factor", _FREE_FOR_FACTOR),
    )
    sign_in = SignIn(
        directory,
        sessions,
        passwords,
        codes,
        keys,
        throttles,
        settings.second_factor,
        settings.professional_passwords,
        log,
        clock=clock,
    )
    return Accounts(
        store,
        directory,
        sessions,
        passwords,
        codes,
        keys,
        sign_in,
        Recognition(directory, store),
        sealer,
        Throttle(records, sealer, "registration", _FREE_FOR_REGISTRATION),
        clock,
    )


def to_origin(base_url: str) -> tuple[str, str]:
    """Return the origin of the server's pages, as browsers write it, and its host name."""
    parts = urlsplit(base_url)
    return f"{parts.scheme}://{parts.netloc}".lower(), parts.hostname or ""


def knows_security_keys(base_url: str) -> bool:
    """Whether browsers offer WebAuthn at this address: on a domain over https, or on ``localhost``."""
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return parts.scheme == "https" or host == "localhost"
    return False
