"""The way in: a password, then a second factor, then a session. Whatever is wrong, the answer is the same.

Unknown name, wrong password, locked account, a professional who may not use one: all cost the same work and give the
same refusal. Spec: https://pages.nist.gov/800-63-4/sp800-63b.html
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from fhir_server.accounts.account import Account, normalise_login, to_actor
from fhir_server.accounts.directory import AccountDirectory
from fhir_server.accounts.one_time_codes import OneTimeCodes
from fhir_server.accounts.passwords import Passwords
from fhir_server.accounts.security_keys import SecurityKeys
from fhir_server.accounts.sessions import Proofs, Session, Sessions, Step
from fhir_server.accounts.throttle import Throttle
from fhir_server.audit.security_events import Actor, SecurityEvent
from fhir_server.audit.security_log import SecurityLog
from fhir_server.errors import FhirError
from fhir_server.settings import SecondFactor

ONE_FACTOR = ("pwd",)
TWO_FACTORS = "mfa"


@dataclass(frozen=True, slots=True)
class Attempt:
    """What became of an attempt: a new session's ``token`` and ``step``, or neither; ``wait`` seconds if too many."""

    token: str = ""
    step: Step | None = None
    wait: int = 0


@dataclass(frozen=True, slots=True)
class Throttles:
    """What is counted: attempts on a name, from an address, and on the second factor of an account."""

    name: Throttle
    address: Throttle
    factor: Throttle


@dataclass(frozen=True, slots=True)
class SignIn:
    """Signs people in, and tells the audit. ``professional_passwords``: whether a professional's one opens anything."""

    directory: AccountDirectory
    sessions: Sessions
    passwords: Passwords
    codes: OneTimeCodes
    keys: SecurityKeys
    throttles: Throttles
    second_factor: SecondFactor
    professional_passwords: bool
    log: SecurityLog
    clock: Callable[[], datetime] = field(kw_only=True)

    def with_password(self, login: str, password: str, subscriber: str, agent: str, address: str = "") -> Attempt:
        """Examine a login name and a password; attempts are counted by the ``subscriber`` of the network address."""
        now = self.clock()
        name = _normalised(login)
        # An address that has to wait is not counted against the name: it could keep the name's owner out.
        wait = self.throttles.address.admit(subscriber, now) or self.throttles.name.admit(name, now)
        if wait:
            self.tell_refused("throttled", subscriber, Actor("unknown", address=address))
            return Attempt(wait=wait)
        known = self.directory.find_by_login(name) if name else None
        account = self._recognise(known, password)
        if account is None:
            by = to_actor(known, address) if known is not None else Actor("unknown", address=address)
            locked = known is not None and known.state == "locked"
            self.tell_refused("locked" if locked else "refused", self.throttles.name.key(name), by)
            return Attempt()
        self.throttles.name.forgive(name)
        self.throttles.address.take_back(subscriber)
        return self._open(account, Proofs(now, ONE_FACTOR, agent=agent, address=address))

    def with_code(self, session: Session, account: Account, code: str, address: str = "") -> Attempt:
        """Examine a one-time or recovery code as the second factor of a session that waits for it."""
        return self._second(session, account, "otp", address, lambda: self.codes.check(account, code, self.clock()))

    def with_key(self, session: Session, account: Account, answer: Mapping[str, Any], address: str = "") -> Attempt:
        """Examine what an authenticator has answered as the second factor of a session that waits for it."""
        return self._second(session, account, "hwk", address, lambda: self.keys.check(session, account, answer))

    def federated(self, account: Account, proofs: Proofs) -> Attempt:
        """Open a session for somebody whom an identity provider has vouched for; its own second factor counts."""
        return self._session(account, self.after_factors(account), proofs)

    def advance(
        self,
        session: Session,
        account: Account,
        step: Step,
        *,
        amr: tuple[str, ...] = (),
        situation: str = "",
        address: str = "",
    ) -> Attempt:
        """Open the session that follows a step, with what it has added to the proofs."""
        proofs = Proofs(
            session.auth_time,
            tuple(dict.fromkeys((*session.amr, *amr))),
            session.acr,
            situation or session.situation,
            session.agent,
            address,
            session.provider,
            session.id_token,
        )
        return self._session(account, step, proofs, session)

    def sign_out(self, session: Session, account: Account, by: Actor) -> None:
        """End a session of an account."""
        self.sessions.end(session.id)
        if session.step == "complete":
            about = None if by.id == account.id else to_actor(account)
            self.log.tell(SecurityEvent("sign-out", by, about=about))

    def tell_refused(self, problem: str, subject: str, by: Actor) -> None:
        """Tell the audit that a sign-in was refused; repeats of one ``subject`` together."""
        self.log.tell_refused(SecurityEvent("sign-in", by, problem=problem), f"{problem} {subject}")

    def after_factors(self, account: Account) -> Step:
        """Return what is left to do when all proofs are given: a professional says in which situation they act."""
        return "situation" if account.kind == "professional" else "complete"

    def _recognise(self, account: Account | None, password: str) -> Account | None:
        """Return the account if the password opens it; for none the work is the same."""
        usable = account is not None and (account.kind != "professional" or self.professional_passwords)
        kept = account.password if account is not None and usable else None
        right = self.passwords.verify(kept, password)
        if account is None or kept is None or not right or not account.active:
            return None
        if self.passwords.is_outdated(kept):
            self.directory.renew_hash(account, self.passwords.hash(password))
        return account

    def _open(self, account: Account, proofs: Proofs) -> Attempt:
        if account.second_factor:
            return self._session(account, "second-factor", proofs)
        if self.second_factor == "required":
            return self._session(account, "enrolment", proofs)
        return self._session(account, self.after_factors(account), proofs)

    def _second(
        self, session: Session, account: Account, method: str, address: str, check: Callable[[], bool]
    ) -> Attempt:
        wait = self.throttles.factor.admit(account.id, self.clock())
        if wait or not check():
            self.tell_refused("throttled" if wait else "refused", account.id, to_actor(account, address))
            return Attempt(wait=wait)
        self.throttles.factor.forgive(account.id)
        return self.advance(session, account, self.after_factors(account), amr=(method, TWO_FACTORS), address=address)

    def _session(self, account: Account, step: Step, proofs: Proofs, former: Session | None = None) -> Attempt:
        replaces = former.id if former is not None else None
        token = self.sessions.open(account.id, step, proofs, self.clock(), replaces)
        if step == "complete" and (former is None or former.step != "complete"):
            self._tell_signed_in(account, proofs)
        return Attempt(token, step)

    def _tell_signed_in(self, account: Account, proofs: Proofs) -> None:
        details = (("amr", " ".join(proofs.amr)), ("acr", proofs.acr))
        self.log.tell(SecurityEvent("sign-in", to_actor(account, proofs.address), details=details))


def _normalised(login: str) -> str:
    """Return the name to look for and to count; what can be no name is counted too, and found never."""
    try:
        return normalise_login(login[:300])
    except FhirError:
        return ""
