"""The second factor that one touches: WebAuthn authenticators, as registered and as asked.

Origin and relying party id are the server's own, never the request's. A challenge is kept with the session and taken
once. Spec: https://www.w3.org/TR/webauthn-3/#sctn-rp-operations
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import webauthn
from webauthn.helpers import base64url_to_bytes, bytes_to_base64url
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import PublicKeyCredentialDescriptor, UserVerificationRequirement

from fhir_server.accounts.account import Account, SecurityKey, to_actor
from fhir_server.accounts.directory import AccountDirectory
from fhir_server.accounts.sessions import Session, Sessions

_CHALLENGE_BYTES = 32
_LONGEST_NAME = 60


@dataclass(frozen=True, slots=True)
class SecurityKeys:
    """The WebAuthn ceremonies of one server, whose pages are at ``origin`` (``https://health.example.org``)."""

    directory: AccountDirectory
    sessions: Sessions
    random: Callable[[int], bytes]
    rp_id: str
    rp_name: str
    origin: str

    def begin_registration(self, session: Session, account: Account) -> dict[str, Any]:
        """Return the options that the browser needs to make a credential."""
        challenge = self._challenge(session, "registration")
        options = webauthn.generate_registration_options(
            rp_id=self.rp_id,
            rp_name=self.rp_name,
            user_name=account.login or account.name,
            user_id=account.id.encode(),
            user_display_name=account.name,
            challenge=challenge,
            exclude_credentials=_descriptors(account),
        )
        return _to_json(options)

    def register(
        self,
        session: Session,
        account: Account,
        answer: Mapping[str, Any],
        name: str,
        now: datetime,
        address: str = "",
    ) -> bool:
        """Keep the credential that a browser has made; False when it does not answer this session's challenge."""
        challenge = self._taken(session, "registration")
        if challenge is None:
            return False
        try:
            made = webauthn.verify_registration_response(
                credential=dict(answer),
                expected_challenge=challenge,
                expected_rp_id=self.rp_id,
                expected_origin=self.origin,
            )
        except (WebAuthnException, ValueError, KeyError, TypeError):
            return False
        id, label = bytes_to_base64url(made.credential_id), name.strip()[:_LONGEST_NAME]
        key = SecurityKey(id, made.credential_public_key, made.sign_count, label, now)
        if not self.directory.add_security_key(account.id, key, to_actor(account, address)):
            return False
        self.sessions.note_enrolled(session)
        return True

    def begin_authentication(self, session: Session, account: Account) -> dict[str, Any]:
        """Return the options that the browser needs to ask one of the account's authenticators."""
        challenge = self._challenge(session, "authentication")
        options = webauthn.generate_authentication_options(
            rp_id=self.rp_id,
            challenge=challenge,
            allow_credentials=_descriptors(account),
            user_verification=UserVerificationRequirement.PREFERRED,
        )
        return _to_json(options)

    def check(self, session: Session, account: Account, answer: Mapping[str, Any]) -> bool:
        """Return whether one of the account's authenticators has answered this session's challenge, here and now."""
        challenge = self._taken(session, "authentication")
        key = next((each for each in account.security_keys if each.id == answer.get("id")), None)
        if challenge is None or key is None:
            return False
        try:
            verified = webauthn.verify_authentication_response(
                credential=dict(answer),
                expected_challenge=challenge,
                expected_rp_id=self.rp_id,
                expected_origin=self.origin,
                credential_public_key=key.public_key,
                credential_current_sign_count=key.sign_count,
            )
        except (WebAuthnException, ValueError, KeyError, TypeError):
            return False
        return self.directory.use_security_key(account.id, key.id, key.sign_count, verified.new_sign_count)

    def _challenge(self, session: Session, ceremony: str) -> bytes:
        challenge = self.random(_CHALLENGE_BYTES)
        self.sessions.challenge(session, {"ceremony": ceremony, "value": challenge})
        return challenge

    def _taken(self, session: Session, ceremony: str) -> bytes | None:
        kept = self.sessions.take_challenge(session)
        return bytes(kept["value"]) if kept is not None and kept["ceremony"] == ceremony else None


def _descriptors(account: Account) -> list[PublicKeyCredentialDescriptor]:
    return [PublicKeyCredentialDescriptor(id=base64url_to_bytes(key.id)) for key in account.security_keys]


def _to_json(options: Any) -> dict[str, Any]:
    return dict(json.loads(webauthn.options_to_json(options)))
