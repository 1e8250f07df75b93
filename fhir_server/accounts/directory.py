"""The accounts that there are: found, made, changed and ended. Nobody else writes the collection."""

from base64 import b32encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fhir_server.accounts.account import (
    Account,
    SecurityKey,
    Situation,
    State,
    from_document,
    to_actor,
    to_document,
)
from fhir_server.accounts.sealing import Sealer
from fhir_server.accounts.sessions import Sessions
from fhir_server.audit.security_events import THE_SERVER, Actor, SecurityCode, SecurityEvent
from fhir_server.audit.security_log import SecurityLog
from fhir_server.errors import Conflict, NotFound, Text
from fhir_server.storage.records import Records

COLLECTION = "accounts"
TAKEN = Text(
    "There is an account with this login name, person or alias already.",
    "Un compte a déjà cet identifiant, cette personne ou cet alias.",
)
UNKNOWN = Text("There is no such account.", "Ce compte n’existe pas.")
_ID_BYTES = 15

EndTokens = Callable[[str], None]
"""Ends whatever was issued in the name of an account, given its id."""


@dataclass(frozen=True, slots=True)
class AccountDirectory:
    """The accounts of one deployment. Who changes one is told to the audit, ``by`` whom: else by the server itself."""

    records: Records
    sessions: Sessions
    sealer: Sealer
    random: Callable[[int], bytes]
    end_tokens: EndTokens
    log: SecurityLog

    def new_id(self) -> str:
        """Return an id that no account has."""
        return b32encode(self.random(_ID_BYTES)).decode().lower()

    def add(self, account: Account, by: Actor = THE_SERVER) -> None:
        """Add an account. Raises ``Conflict`` when its login name or person already has one that is not removed."""
        if not self.records.insert(COLLECTION, to_document(account)):
            raise Conflict(TAKEN)
        self._told("account-added", by, account)

    def find(self, id: str) -> Account | None:
        """Return the account of an id."""
        return self._find({"_id": id})

    def get(self, id: str) -> Account:
        """Return the account of an id, or raise ``NotFound``."""
        account = self.find(id)
        if account is None:
            raise NotFound(UNKNOWN)
        return account

    def find_by_login(self, login: str) -> Account | None:
        """Return the account with this normalised login name."""
        return self._find({"login": login})

    def find_by_alias(self, issuer: str, subject: str) -> Account | None:
        """Return the account that an identity provider's subject is linked to."""
        return self._find({"aliases": self.alias(issuer, subject)})

    def find_by_fhir_user(self, reference: str) -> Account | None:
        """Return the account of a Patient or Practitioner."""
        return self._find({"fhir_user": reference})

    def all(self) -> list[Account]:
        """Return every account that is not removed, in order of their making."""
        found = self.records.find(COLLECTION, {"state": {"$ne": "removed"}}, (("created", 1), ("_id", 1)))
        return [from_document(each) for each in found]

    def alias(self, issuer: str, subject: str) -> str:
        """Return what is kept of an identity provider's subject: a digest that begins with one of the issuer."""
        subject_of = "\0".join((issuer, subject))
        return f"{self.sealer.digest('issuer', issuer)[:16]}:{self.sealer.digest('alias', subject_of)}"

    def link(self, account: Account, issuer: str, subject: str) -> bool:
        """Link a subject to an account; False when the account has another subject of this issuer already."""
        alias = self.alias(issuer, subject)
        prefix = alias.partition(":")[0]
        if any(each.startswith(f"{prefix}:") and each != alias for each in account.aliases):
            return False
        added = {"aliases": {"$setUnion": [{"$ifNull": ["$aliases", []]}, [alias]]}}
        linked = self._change({"_id": account.id, "state": "active"}, added)
        return self._told("account-linked", THE_SERVER, linked)

    def set_password(self, id: str, password: str, now: datetime, by: Actor = THE_SERVER) -> None:
        """Keep another password hash; every session ends, for somebody may have known the old password."""
        changed = self._change({"_id": id}, {"password": {"$literal": password}, "changed": now})
        self.end_everything(id)
        self._told("password-changed", by, changed)

    def renew_hash(self, account: Account, password: str) -> None:
        """Keep another hash of the same password, unless the password has been changed meanwhile."""
        self._change({"_id": account.id, "password": account.password}, {"password": {"$literal": password}})

    def set_situations(self, id: str, situations: Sequence[Situation], name: str) -> None:
        """Keep the situations and the name that the identity provider has told at this login."""
        kept = to_document_list(situations)
        self._change({"_id": id}, {"situations": {"$literal": kept}, "name": {"$literal": name}})

    def set_situation(self, id: str, situation: Situation) -> None:
        """Keep what has been learnt of one situation."""
        other = {"$filter": {"input": "$situations", "as": "one", "cond": {"$ne": ["$$one.id", situation.id]}}}
        kept = {"$concatArrays": [other, [{"$literal": to_document_list([situation])[0]}]]}
        self._change({"_id": id}, {"situations": kept})

    def enrol_totp(
        self, id: str, sealed: bytes, step: int, recovery_codes: Sequence[str], by: Actor = THE_SERVER
    ) -> bool:
        """Keep a one-time password's secret that has been proved at time step ``step``; False when there is one."""
        enrolled = {"totp": sealed, "totp_step": step, "recovery_codes": list(recovery_codes)}
        changed = self._change({"_id": id, "totp": {"$exists": False}}, enrolled)
        return self._told("second-factor-added", by, changed)

    def use_totp_step(self, id: str, step: int) -> bool:
        """Note that the code of a time step has been used; False when that one or a later one already was."""
        return self._change({"_id": id, "totp_step": {"$lt": step}}, {"totp_step": step}) is not None

    def use_recovery_code(self, id: str, digest: str) -> bool:
        """Strike a recovery code off; False when it is none, or used."""
        left = {"$setDifference": ["$recovery_codes", [digest]]}
        return self._change({"_id": id, "recovery_codes": digest}, {"recovery_codes": left}) is not None

    def set_recovery_codes(self, id: str, digests: Sequence[str], by: Actor = THE_SERVER) -> None:
        """Keep other recovery codes in place of all former ones."""
        changed = self._change({"_id": id}, {"recovery_codes": {"$literal": list(digests)}})
        self._told("recovery-codes-renewed", by, changed)

    def add_security_key(self, id: str, key: SecurityKey, by: Actor = THE_SERVER) -> bool:
        """Register an authenticator; False when some account has it already."""
        added = {"$concatArrays": [{"$ifNull": ["$security_keys", []]}, [{"$literal": to_document_list([key])[0]}]]}
        changed = self._change({"_id": id, "security_keys.id": {"$ne": key.id}}, {"security_keys": added})
        return self._told("security-key-added", by, changed)

    def use_security_key(self, id: str, key: str, seen: int, sign_count: int) -> bool:
        """Note an authenticator's new counter; False when it no longer is ``seen``: somebody was faster, or a clone."""
        held = {"_id": id, "security_keys": {"$elemMatch": {"id": key, "sign_count": seen}}}
        counted = {"$mergeObjects": ["$$key", {"sign_count": sign_count}]}
        each = {"$cond": [{"$eq": ["$$key.id", key]}, counted, "$$key"]}
        used = {"security_keys": {"$map": {"input": "$security_keys", "as": "key", "in": each}}}
        return self._change(held, used) is not None

    def remove_security_key(self, id: str, key: str, by: Actor = THE_SERVER, *, leaves_a_factor: bool) -> bool:
        """Forget an authenticator; False when the account has no such one.

        ``leaves_a_factor``: neither does it go when the account would then rest on its password alone. Recovery codes
        go with the last factor that they stand in for.
        """
        left = {"$filter": {"input": "$security_keys", "as": "key", "cond": {"$ne": ["$$key.id", key]}}}
        none_left = {"$eq": [{"$size": left}, 0]}
        alone = {"$and": [none_left, {"$eq": [{"$type": "$totp"}, "missing"]}]}
        others = {"$or": [{"totp": {"$exists": True}}, {"security_keys.1": {"$exists": True}}]}
        held = {"_id": id, "security_keys.id": key, **(others if leaves_a_factor else {})}
        kept = {
            "security_keys": {"$cond": [none_left, "$$REMOVE", left]},
            "recovery_codes": {"$cond": [alone, "$$REMOVE", "$recovery_codes"]},
        }
        return self._told("security-key-removed", by, self._change(held, kept))

    def remove_second_factors(self, id: str, by: Actor = THE_SERVER) -> None:
        """Forget all second factors: their owner has lost them and proved who they are by other means."""
        gone: dict[str, Any] = dict.fromkeys(("totp", "totp_step", "recovery_codes", "security_keys"), "$$REMOVE")
        changed = self._change({"_id": id}, gone)
        self.end_everything(id)
        self._told("second-factors-removed", by, changed)

    def lock(self, id: str, by: Actor = THE_SERVER) -> None:
        """Lock an account: nobody signs in with it, its sessions and tokens end. Raises ``NotFound``."""
        self._told("account-locked", by, self._set_state(id, "locked", {}))

    def unlock(self, id: str, by: Actor = THE_SERVER) -> None:
        """Open a locked account again. Raises ``NotFound``."""
        if not self._told("account-unlocked", by, self._change({"_id": id, "state": "locked"}, {"state": "active"})):
            raise NotFound(UNKNOWN)

    def remove(self, id: str, by: Actor = THE_SERVER) -> None:
        """Remove an account for good; its id is never used again, its login name and aliases are free.

        Raises ``NotFound``.
        """
        forgotten = (
            "login",
            "password",
            "totp",
            "totp_step",
            "recovery_codes",
            "security_keys",
            "aliases",
            "fhir_user",
        )
        removed = self._set_state(id, "removed", dict.fromkeys(forgotten, "$$REMOVE"))
        self._told("account-removed", by, removed)

    def end_everything(self, id: str) -> None:
        """End the sessions of an account and all that was issued in its name."""
        self.sessions.end_all(id)
        self.end_tokens(id)

    def _set_state(self, id: str, state: State, more: Mapping[str, Any]) -> Account:
        # First the state, then what depends on it: whatever is opened in between is found to be of no use.
        changed = self._change({"_id": id, "state": {"$ne": "removed"}}, {"state": state, **more})
        if changed is None:
            raise NotFound(UNKNOWN)
        self.end_everything(id)
        return changed

    def _find(self, filter: Mapping[str, Any]) -> Account | None:
        found = self.records.find(COLLECTION, filter, limit=1)
        return from_document(found[0]) if found else None

    def _change(self, filter: Mapping[str, Any], fields: Mapping[str, Any]) -> Account | None:
        changed = self.records.change(COLLECTION, filter, [{"$set": fields}])
        return None if changed is None else from_document(changed)

    def _told(self, code: SecurityCode, by: Actor, changed: Account | None) -> bool:
        """Tell the audit what has been changed, and return whether anything has."""
        if changed is not None:
            about = None if by.id == changed.id else to_actor(changed)
            self.log.tell(SecurityEvent(code, by, about=about))
        return changed is not None


def to_document_list(values: Sequence[Any]) -> list[dict[str, Any]]:
    """Return dataclasses without nested ones as they are stored within an account."""
    return [{name: getattr(value, name) for name in value.__slots__} for value in values]
