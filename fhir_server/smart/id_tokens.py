"""Identity tokens: who has logged in, signed with the server's present key.

Spec: https://hl7.org/fhir/smart-app-launch/scopes-and-launch-context.html#scopes-for-requesting-identity-data,
https://openid.net/specs/openid-connect-core-1_0.html#IDToken
"""

from typing import Any

from authlib.oidc.core.grants import OpenIDCode

from fhir_server.smart.authority import Authority
from fhir_server.smart.clients import Client
from fhir_server.smart.parts import Parts
from fhir_server.smart.requests import SmartRequest

SECONDS = 600


class IdToken(OpenIDCode):
    """Adds an ``id_token`` to the response of a code that was asked with ``openid``."""

    def __init__(self, parts: Parts) -> None:
        super().__init__(require_nonce=False)
        self._parts = parts

    def exists_nonce(self, nonce: str, request: SmartRequest) -> bool:
        """Say no: a nonce protects the client, which compares it; codes are single-use here."""
        return False

    def get_encode_header(self, client: Client) -> dict[str, Any]:
        """Return the header with the id of the present key."""
        alg = client.id_token_alg
        return {"alg": alg, "kid": self._parts.keys.current(alg).kid, "typ": "JWT"}

    def resolve_client_private_key(self, client: Client) -> Any:
        """Return the present key of the client's algorithm."""
        return self._parts.keys.current(client.id_token_alg)

    def get_compatible_claims(self, request: SmartRequest) -> dict[str, Any]:
        """Return who says so, to whom, until when, and what the scopes open of the person."""
        now = int(self._parts.ground.now().timestamp())
        authority: Authority = request.authority
        claims = {"iss": request.issuer, "aud": request.client.id, "iat": now, "exp": now + SECONDS}
        return {**claims, **_person(authority, request)}

    def generate_user_info(self, user: Authority, scope: str) -> dict[str, Any]:
        """Return the subject."""
        return {"sub": user.subject}


def _person(authority: Authority, request: SmartRequest) -> dict[str, Any]:
    consent, account = authority.consent, authority.account
    words = consent.scope.split(" ") if consent is not None else []
    found: dict[str, Any] = {}
    if authority.fhir_user is not None and ("fhirUser" in words or "profile" in words):
        found["fhirUser"] = f"{request.base_url}/{authority.fhir_user}"
    if "profile" in words and account is not None and account.user_name:
        found["name"] = account.user_name
    return found
