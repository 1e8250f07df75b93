"""The second factor that one types: time-based one-time passwords and recovery codes.

Spec: https://www.rfc-editor.org/rfc/rfc6238, https://pages.nist.gov/800-63-4/sp800-63b.html#singlefactorOTP
"""

import re
from base64 import b32encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from hmac import compare_digest

import pyotp

from fhir_server.accounts.account import Account, to_actor
from fhir_server.accounts.directory import AccountDirectory
from fhir_server.accounts.sealing import Sealer
from fhir_server.accounts.sessions import Session, Sessions
from fhir_server.audit.security_events import THE_SERVER, Actor
from fhir_server.errors import Conflict, Text

HAS_CODES = Text(
    "The account has an authenticator app already; reset it first.",
    "Le compte a déjà une application d’authentification ; réinitialisez-la d’abord.",
)
_SECRET_BYTES = 20
_STEP_SECONDS = 30
_WINDOW = (0, -1, 1)
"""Steps around now that are accepted: clocks differ, and people need time to type."""

_RECOVERY_CODES = 10
_RECOVERY_BYTES = 10
_DIGITS = re.compile(r"[0-9]{6}\Z")


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A secret that is to be put into an authenticator app; ``uri`` is what a QR code of it says."""

    secret: str
    uri: str


@dataclass(frozen=True, slots=True)
class OneTimeCodes:
    """Enrols and checks what is typed as a second factor. ``issuer`` names this server in the app."""

    directory: AccountDirectory
    sessions: Sessions
    sealer: Sealer
    random: Callable[[int], bytes]
    issuer: str

    def begin(self, session: Session, account: Account) -> Enrolment:
        """Return a new secret, the same within one session; it counts for nothing before a code has proved it."""
        if session.enrolment is not None:
            secret = self.sealer.open(session.enrolment, session.id).decode()
        else:
            secret = b32encode(self.random(_SECRET_BYTES)).decode()
            self.sessions.keep_enrolment(session, self.sealer.seal(secret.encode(), session.id))
        return self._described(account, secret)

    def provision(self, account: Account, by: Actor = THE_SERVER) -> Enrolment:
        """Give an account a one-time password, to be handed over in person. Raises ``Conflict`` if it has one."""
        secret = b32encode(self.random(_SECRET_BYTES)).decode()
        if not self.directory.enrol_totp(account.id, self.sealer.seal(secret.encode(), account.id), 0, (), by):
            raise Conflict(HAS_CODES)
        return self._described(account, secret)

    def enrol(
        self, session: Session, account: Account, code: str, now: datetime, address: str = ""
    ) -> tuple[str, ...] | None:
        """Keep the session's secret if ``code`` proves it, and return new recovery codes.

        None when it does not, when the session has none, or when the account has one already.
        """
        if session.enrolment is None:
            return None
        secret = self.sealer.open(session.enrolment, session.id)
        step = matching_step(secret.decode(), code, now)
        if step is None:
            return None
        codes = self._new_recovery_codes()
        digests = [self._recovery_digest(account.id, each) for each in codes]
        sealed = self.sealer.seal(secret, account.id)
        by = to_actor(account, address)
        return codes if self.directory.enrol_totp(account.id, sealed, step, digests, by) else None

    def check(self, account: Account, code: str, now: datetime) -> bool:
        """Return whether the code is right and has not been used; a right one is used up by this."""
        typed = normalise_code(code)
        if _DIGITS.match(typed):
            return account.totp is not None and self._check_totp(account, account.totp, typed, now)
        return self.directory.use_recovery_code(account.id, self._recovery_digest(account.id, typed))

    def renew_recovery_codes(self, account: Account, address: str = "") -> tuple[str, ...]:
        """Return new recovery codes; the former ones are worth nothing from now on."""
        codes = self._new_recovery_codes()
        digests = [self._recovery_digest(account.id, each) for each in codes]
        self.directory.set_recovery_codes(account.id, digests, to_actor(account, address))
        return codes

    def _described(self, account: Account, secret: str) -> Enrolment:
        name = account.login or account.name
        return Enrolment(secret, pyotp.TOTP(secret).provisioning_uri(name=name, issuer_name=self.issuer))

    def _check_totp(self, account: Account, sealed: bytes, code: str, now: datetime) -> bool:
        step = matching_step(self.sealer.open(sealed, account.id).decode(), code, now)
        return step is not None and self.directory.use_totp_step(account.id, step)

    def _new_recovery_codes(self) -> tuple[str, ...]:
        texts = (b32encode(self.random(_RECOVERY_BYTES)).decode() for _ in range(_RECOVERY_CODES))
        return tuple("-".join(text[start : start + 4] for start in range(0, 16, 4)) for text in texts)

    def _recovery_digest(self, account: str, code: str) -> str:
        return self.sealer.digest("recovery code", f"{account}\0{normalise_code(code)}")


def normalise_code(code: str) -> str:
    """Return what was typed without blanks and dashes, in capitals."""
    return re.sub(r"[\s\-]", "", code[:64]).upper()


def matching_step(secret: str, code: str, now: datetime) -> int | None:
    """Return the time step of which this is the code, if it is one around now."""
    typed = normalise_code(code)
    current = int(now.timestamp()) // _STEP_SECONDS
    otp = pyotp.TOTP(secret)
    steps = [current + offset for offset in _WINDOW if compare_digest(otp.generate_otp(current + offset), typed)]
    return steps[0] if steps else None
