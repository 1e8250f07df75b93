"""Sessions: who is signed in with which browser, since when and by which proofs.

The browser holds a random token, the database its digest. A session ends by inactivity, by age, by signing out, and
with its account. Every step of signing in makes a new one: a token that somebody has planted before is worth nothing.
Spec: https://pages.nist.gov/800-63-4/sp800-63b.html#sec5
"""

from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Literal

from fhir_server.accounts.account import to_utc
from fhir_server.storage.records import Records

COLLECTION = "sessions"
PENDING_LIFETIME = timedelta(minutes=10)
"""How long one may take from the password to the second factor, or to choose a situation."""

Step = Literal["second-factor", "enrolment", "situation", "complete"]
"""What is still to be done: ``complete`` is the only one that counts as signed in."""

_TOKEN_BYTES = 32
_SEEN_EVERY = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Session:
    """One session; ``id`` is its token's digest. ``amr`` names the proofs given (RFC 8176), ``acr`` their worth."""

    id: str
    account: str
    step: Step
    created: datetime
    seen: datetime
    expires: datetime
    auth_time: datetime
    acr: str = ""
    amr: tuple[str, ...] = ()
    situation: str = ""
    enrolment: bytes | None = None
    """The sealed secret of a one-time password that is being set up."""
    enrolled: bool = False
    """Whether a security key has been registered in it: who waits to set up a second step has done so."""
    agent: str = ""
    """Browser and system in a few words, for the list that its owner sees."""
    provider: str = ""
    """The identity provider that has vouched for its owner, and its sealed id token: to sign out there too."""
    id_token: bytes | None = None


@dataclass(frozen=True, slots=True)
class Proofs:
    """What a person has shown so far on the way in; where they have come from is told to the audit, not kept."""

    auth_time: datetime
    amr: tuple[str, ...]
    acr: str = ""
    situation: str = ""
    agent: str = ""
    address: str = ""
    provider: str = ""
    id_token: bytes | None = None


@dataclass(frozen=True, slots=True)
class Sessions:
    """The sessions of one deployment. ``idle`` and ``lifetime`` end complete ones."""

    records: Records
    random: Callable[[int], bytes]
    idle: timedelta
    lifetime: timedelta

    def open(self, account: str, step: Step, proofs: Proofs, now: datetime, replaces: str | None = None) -> str:
        """Begin a session and return its token; the session ``replaces`` (an id) ends."""
        if replaces is not None:
            self.end(replaces)
        token = urlsafe_b64encode(self.random(_TOKEN_BYTES)).rstrip(b"=").decode()
        lifetime = self.lifetime if step == "complete" else PENDING_LIFETIME
        self.records.insert(
            COLLECTION,
            {
                "_id": to_id(token),
                "account": account,
                "step": step,
                "created": now,
                "seen": now,
                "expires": now + lifetime,
                "auth_time": proofs.auth_time,
                "acr": proofs.acr,
                "amr": list(proofs.amr),
                "situation": proofs.situation,
                "agent": proofs.agent,
                "provider": proofs.provider,
                "id_token": proofs.id_token,
            },
        )
        return token

    def find(self, token: str, now: datetime) -> Session | None:
        """Return the session of a token if it still lasts, and note that it is in use."""
        found = self.records.find(COLLECTION, {"_id": to_id(token)})
        session = _session(found[0]) if found else None
        if session is None or not self._lasts(session, now):
            return None
        if now - session.seen >= _SEEN_EVERY:
            self.records.change(COLLECTION, {"_id": session.id}, [{"$set": {"seen": now}}])
        return session

    def of_account(self, account: str, now: datetime) -> list[Session]:
        """Return the complete sessions of an account that last, the newest first."""
        found = self.records.find(COLLECTION, {"account": account, "step": "complete"}, (("created", -1),))
        return [session for session in map(_session, found) if self._lasts(session, now)]

    def keep_enrolment(self, session: Session, sealed: bytes) -> None:
        """Keep the sealed secret of a one-time password until a code proves that it has been taken over."""
        self.records.change(COLLECTION, {"_id": session.id}, [{"$set": {"enrolment": {"$literal": sealed}}}])

    def note_enrolled(self, session: Session) -> None:
        """Note that a security key has been registered in this session."""
        self.records.change(COLLECTION, {"_id": session.id}, [{"$set": {"enrolled": True}}])

    def challenge(self, session: Session, challenge: Mapping[str, Any]) -> None:
        """Keep what a ceremony in this session must answer; the one before is forgotten."""
        self.records.change(COLLECTION, {"_id": session.id}, [{"$set": {"challenge": {"$literal": dict(challenge)}}}])

    def take_challenge(self, session: Session) -> Mapping[str, Any] | None:
        """Return the challenge kept, once: it is gone afterwards, whoever asks at the same time."""
        held = {"_id": session.id, "challenge": {"$exists": True}}
        taken = {"taken": "$challenge", "challenge": "$$REMOVE"}
        changed = self.records.change(COLLECTION, held, [{"$set": taken}])
        return None if changed is None else dict(changed["taken"])

    def end(self, id: str, account: str | None = None) -> bool:
        """End a session by its id, if ``account`` is given only one of that account; return whether it was there."""
        owned = {} if account is None else {"account": account}
        return self.records.delete(COLLECTION, {"_id": id, **owned}) > 0

    def end_all(self, account: str, but: str | None = None) -> None:
        """End all sessions of an account, ``but`` one of them."""
        self.records.delete(COLLECTION, {"account": account, "_id": {"$ne": but}})

    def _lasts(self, session: Session, now: datetime) -> bool:
        return now < session.expires and now - session.seen < self.idle


def to_id(token: str) -> str:
    """Return the id of a token's session: the token is as random as a key, so a plain digest keeps it secret."""
    return sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _session(found: Mapping[str, Any]) -> Session:
    return Session(
        id=found["_id"],
        account=found["account"],
        step=found["step"],
        created=to_utc(found["created"]),
        seen=to_utc(found["seen"]),
        expires=to_utc(found["expires"]),
        auth_time=to_utc(found["auth_time"]),
        acr=found["acr"],
        amr=tuple(found["amr"]),
        situation=found["situation"],
        enrolment=found.get("enrolment"),
        enrolled=found.get("enrolled", False),
        agent=found["agent"],
        provider=found.get("provider", ""),
        id_token=found.get("id_token"),
    )
