"""Clients that prove themselves by a signed assertion (``private_key_jwt``).

Spec: https://hl7.org/fhir/smart-app-launch/client-confidential-asymmetric.html, https://www.rfc-editor.org/rfc/rfc7523
"""

import hashlib
import re
from datetime import UTC, datetime, timedelta
from typing import Any

from authlib.oauth2.rfc6749 import InvalidClientError
from authlib.oauth2.rfc7523 import JWTBearerClientAssertion
from joserfc import jwt
from joserfc.errors import JoseError

from fhir_server.smart.clients import Client
from fhir_server.smart.ground import Ground
from fhir_server.smart.key_sets import SIGNING_ALGORITHMS, KeySets, KeysRefused, candidates, parse_key_set
from fhir_server.smart.requests import SmartRequest

ASSERTIONS = "smart_assertions"
MOST_SECONDS = 300
"""How far ahead an assertion may expire."""
_LEEWAY = 5
_HALF = re.compile("[\ud800-\udfff]")
_HEADERS = frozenset({"alg", "kid", "typ", "jku"})


class PrivateKeyJwt(JWTBearerClientAssertion):  # type: ignore[misc,unused-ignore]
    """The client authentication method ``private_key_jwt``, for RS384 and ES384."""

    CLIENT_AUTH_METHOD = "private_key_jwt"

    def __init__(self, ground: Ground, key_sets: KeySets) -> None:
        super().__init__(leeway=_LEEWAY)
        self._ground = ground
        self._key_sets = key_sets

    def __call__(self, query_client: Any, request: SmartRequest) -> Client | None:
        """Return the client behind a good assertion, None when there is none; raises ``InvalidClientError``."""
        assertion = request.form.get("client_assertion")
        if assertion is None or request.form.get("client_assertion_type") != self.CLIENT_ASSERTION_TYPE:
            return None
        header, claims = self._read(assertion)
        client: Client | None = query_client(_text(claims.get("sub")))
        if client is None:
            raise InvalidClientError(description="The client does not exist on this server.")
        self.authenticate_client(client)
        given = request.form.get("client_id")
        if given is not None and given != client.id:
            raise InvalidClientError(description="client_id and the assertion name different clients.")
        self._check_claims(self._verified(assertion, header, client), request)
        return client

    def _read(self, assertion: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return header and claims, not verified yet; raises ``InvalidClientError`` for what is no JWT."""
        try:
            header, claims = self.extract_assertion(assertion)
        except RecursionError:  # JSON nested so deeply that Python gives up
            raise InvalidClientError(description="The assertion cannot be read.") from None
        return header, claims

    def _verified(self, assertion: str, header: dict[str, Any], client: Client) -> dict[str, Any]:
        """Return the claims after one of the client's own keys has verified them."""
        kid, alg = _text(header.get("kid")), _text(header.get("alg"))
        # What a header brings along to be verified by (jwk, x5c, crit) is never looked at; a set is as registered.
        if header.keys() - _HEADERS or str(header.get("typ", "JWT")).upper() != "JWT":
            raise InvalidClientError(description="The assertion has a header that is not allowed.")
        if header.get("jku", client.jwks_uri) != client.jwks_uri or alg not in SIGNING_ALGORITHMS or not kid:
            raise InvalidClientError(description="The assertion needs a kid, and RS384 or ES384, and no other jku.")
        for key in candidates(self._keys(client, kid), kid, alg):
            try:
                return dict(jwt.decode(assertion, key, algorithms=[alg]).claims)
            except JoseError:
                continue
        raise InvalidClientError(description="No key of the client verifies the assertion.")

    def _keys(self, client: Client, kid: str) -> tuple[dict[str, Any], ...]:
        try:
            if client.jwks_uri:
                return self._key_sets.find(client.jwks_uri, kid)
            return parse_key_set(client.jwks)
        except KeysRefused as error:
            raise InvalidClientError(description=f"The keys of the client cannot be used: {error}") from None

    def _check_claims(self, claims: dict[str, Any], request: SmartRequest) -> None:
        now = self._ground.now().timestamp()
        audiences = {request.issuer, f"{request.issuer}/auth/token", request.uri}
        options: Any = {
            "iss": {"essential": True, "value": claims.get("sub")},
            "aud": {"essential": True, "values": sorted(audiences)},
            "exp": {"essential": True},
            "jti": {"essential": True},
        }
        try:
            jwt.JWTClaimsRegistry(now=int(now), leeway=_LEEWAY, **options).validate(claims)
        except JoseError as error:
            raise InvalidClientError(description=f"The assertion is refused: {error.error}.") from None
        if claims["exp"] > now + MOST_SECONDS + _LEEWAY:
            raise InvalidClientError(description="The assertion may live five minutes at most.")
        self._use_up(_text(claims["sub"]), _text(claims["jti"]), claims["exp"])

    def _use_up(self, client: str, jti: str, expires: float) -> None:
        key = hashlib.sha256(f"{client}\0{jti}".encode()).hexdigest()
        until = datetime.fromtimestamp(expires, UTC) + timedelta(seconds=2 * _LEEWAY)
        if not jti or not self._ground.records.insert(ASSERTIONS, {"_id": key, "expires": until}):
            raise InvalidClientError(description="The assertion has no jti, or one that was used before.")


def _text(value: Any) -> str:
    """Return a text, empty for what is none and for one with half a character (``\\ud800``): no name has one."""
    return value if isinstance(value, str) and not _HALF.search(value) else ""
