"""What an identity provider has signed, verified: id tokens and signed userinfo.

Spec: https://openid.net/specs/openid-connect-core-1_0.html#IDTokenValidation, https://www.rfc-editor.org/rfc/rfc8725
"""

from base64 import urlsafe_b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from authlib.oidc.core import CodeIDToken
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OctKey, RSAKey

from fhir_server.smart.login.federation.encryption import EncryptionKeys, Unreadable
from fhir_server.smart.login.federation.providers import Directory, Metadata, Provider

SKEW = 30
"""Seconds by which the provider's clock may differ from ours."""

OLDEST = 600
"""Seconds that may lie between the making of a token and its use."""

_SMALLEST_RSA = 2048
_PARTS_OF_JWE = 5
_KINDS: Mapping[str, tuple[str, type[RSAKey] | type[ECKey]]] = {"RS256": ("RSA", RSAKey), "ES256": ("EC", ECKey)}


class Unverified(Exception):
    """A token is not what it must be; the message says in which respect, without any of its content."""


@dataclass(frozen=True, slots=True)
class Verifier:
    """Verifies the tokens of one provider."""

    provider: Provider
    metadata: Metadata
    directory: Directory
    keys: EncryptionKeys

    def id_token(self, token: str, nonce: str, access_token: str, now: datetime) -> dict[str, Any]:
        """Return the claims of an id token made for this very sign-in, or raise ``Unverified``."""
        verified = self._verified(token, self.metadata.id_token_algorithms)
        params = {"nonce": nonce, "client_id": self.provider.client_id, "access_token": access_token}
        expected = {
            "iss": {"essential": True, "value": self.provider.issuer},
            "aud": {"essential": True, "value": self.provider.client_id},
        }
        moment = int(now.timestamp())
        try:
            CodeIDToken(verified.claims, verified.header, expected, params).validate(moment, SKEW)
        except (JoseError, TypeError, ValueError) as problem:
            raise Unverified(f"id token: {type(problem).__name__}") from None
        if moment - int(verified.claims["iat"]) > OLDEST:
            raise Unverified("id token: too old")
        return dict(verified.claims)

    def userinfo(self, token: str) -> dict[str, Any]:
        """Return the claims of signed userinfo meant for us, encrypted or not, or raise ``Unverified``."""
        signed = self._opened(token) if token.count(".") == _PARTS_OF_JWE - 1 else token
        claims = dict(self._verified(signed, self.metadata.userinfo_algorithms).claims)
        if claims.get("iss", self.provider.issuer) != self.provider.issuer:
            raise Unverified("userinfo: another issuer")
        audience = claims.get("aud", self.provider.client_id)
        if self.provider.client_id not in (audience if isinstance(audience, list) else [audience]):
            raise Unverified("userinfo: another audience")
        return claims

    def _opened(self, token: str) -> str:
        """Return the signed token within an encrypted one: what only we could read is still to be verified."""
        try:
            return self.keys.open(token, self.metadata.encryption_algorithms, self.metadata.encryption_encodings)
        except Unreadable as problem:
            raise Unverified(f"userinfo: {problem}") from None

    def _verified(self, token: str, allowed: frozenset[str]) -> jwt.Token:
        try:
            header = jws.extract_compact(token.encode()).headers()
            algorithm = header.get("alg")
            if algorithm not in allowed or "crit" in header:
                raise Unverified("signed by an algorithm that is not agreed on")
            return jwt.decode(token, self._key(algorithm, header.get("kid")), algorithms=[algorithm])
        except (JoseError, ValueError, TypeError, RecursionError) as problem:
            raise Unverified(f"signature: {type(problem).__name__}") from None

    def _key(self, algorithm: str, kid: Any) -> RSAKey | ECKey | OctKey:
        """Return the one key that can have signed: our shared secret, or a public key of that kind with that id."""
        if algorithm == "HS256":
            return OctKey.import_key(self.provider.secret())
        kind, key_type = _KINDS[algorithm]
        wanted = kid if isinstance(kid, str) else None
        published = self.directory.keys(self.metadata, wanted)
        fitting = [key for key in published if wanted in (None, key.get("kid")) and _may_sign(key, kind, algorithm)]
        if len(fitting) != 1:
            raise Unverified("no key, or more than one, can have signed")
        return key_type.import_key(dict(fitting[0]))


def _may_sign(key: Mapping[str, Any], kind: str, algorithm: str) -> bool:
    strong = key.get("crv") == "P-256" if kind == "EC" else _bits(key.get("n")) >= _SMALLEST_RSA
    use = key.get("use", "sig") == "sig" and key.get("alg", algorithm) == algorithm
    return key.get("kty") == kind and strong and use


def _bits(modulus: Any) -> int:
    """Return the size of an RSA key by its modulus in base64url."""
    if not isinstance(modulus, str):
        return 0
    return int.from_bytes(urlsafe_b64decode(modulus + "=" * (-len(modulus) % 4))).bit_length()
