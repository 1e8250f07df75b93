"""Authorization codes: good once, for a minute, for the client, address and challenge that they were asked with.

Spec: https://www.rfc-editor.org/rfc/rfc6749#section-4.1.2, https://www.rfc-editor.org/rfc/rfc9700#section-2.1.1
"""

from dataclasses import dataclass
from datetime import timedelta

from authlib.oidc.core import AuthorizationCodeMixin

from fhir_server.smart.consents import Consent, Consents
from fhir_server.smart.endings import CODES, end_grant
from fhir_server.smart.ground import Ground, digest
from fhir_server.smart.reuse import Reused

SECONDS = 60


@dataclass(frozen=True)
class Code(AuthorizationCodeMixin):  # type: ignore[misc,unused-ignore]
    """A code that has just been used up, with the consent that it stands for."""

    consent: Consent
    redirect_uri: str
    code_challenge: str
    nonce: str | None
    code_challenge_method: str = "S256"

    def get_redirect_uri(self) -> str:
        """Return the address it was sent to."""
        return self.redirect_uri

    def get_scope(self) -> str:
        """Return what was agreed to."""
        return self.consent.scope

    def get_nonce(self) -> str | None:
        """Return the nonce of the request."""
        return self.nonce

    def get_auth_time(self) -> int:
        """Return when the person had logged in."""
        return int(self.consent.auth_time.timestamp())

    def get_acr(self) -> str:
        """Return how sure the login was."""
        return self.consent.acr

    def get_amr(self) -> list[str]:
        """Return by which means they had logged in."""
        return list(self.consent.amr)


@dataclass(frozen=True, slots=True)
class Codes:
    """The codes of one deployment."""

    ground: Ground
    consents: Consents

    def insert(self, code: str, consent: Consent, redirect_uri: str, challenge: str, nonce: str | None) -> None:
        """Keep a new code."""
        document = {
            "_id": digest(code),
            "grant": consent.id,
            "client": consent.client,
            "account": consent.account,
            "redirect_uri": redirect_uri,
            "challenge": challenge,
            "nonce": nonce,
            "expires": self.ground.now() + timedelta(seconds=SECONDS),
            "used": None,
        }
        self.ground.records.insert(CODES, document)

    def use_up(self, code: str, client: str) -> Code | None:
        """Return a client's code, which is good no more; None for any other.

        One that was used before ends what it gave and raises ``Reused``: somebody has stolen it, before or now.
        """
        key = digest(code)
        unused = {"_id": key, "client": client, "used": None, "expires": {"$gt": self.ground.now()}}
        found = self.ground.records.change(CODES, unused, [{"$set": {"used": "$$NOW"}}])
        if found is None:
            replayed = self.ground.find_one(CODES, {"_id": key, "used": {"$ne": None}})
            if replayed is not None:
                end_grant(self.ground, replayed["grant"])
                owner = (replayed["grant"], replayed["client"], replayed["account"])
                raise Reused("Invalid 'code' in request.", "code", *owner)
            return None
        consent = self.consents.find(found["grant"])
        if consent is None:
            return None
        return Code(consent, found["redirect_uri"], found["challenge"], found["nonce"])
