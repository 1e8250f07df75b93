"""One sign-in at an identity provider: sent there with a state, a nonce and a PKCE challenge; verified on return.

A request is kept under its state's digest, bound to the browser that began it, and taken once.
Spec: https://openid.net/specs/openid-connect-core-1_0.html#CodeFlowAuth, https://www.rfc-editor.org/rfc/rfc7636,
https://www.rfc-editor.org/rfc/rfc9207
"""

import json
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from hmac import compare_digest
from typing import Any
from urllib.parse import urlencode

from authlib.oauth2 import OAuth2Client, OAuth2Error

from fhir_server.accounts.federated import Subject
from fhir_server.egress import Answer, Fetcher, FetchRefused
from fhir_server.smart.login.federation.encryption import EncryptionKeys
from fhir_server.smart.login.federation.providers import Directory, Metadata, Provider, ProviderUnavailable
from fhir_server.smart.login.federation.tokens import Unverified, Verifier
from fhir_server.storage.records import Records

COLLECTION = "sign_ins"
LIFETIME = timedelta(minutes=10)
_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class Vouched:
    """Somebody whom a provider has vouched for by its ``id_token``, with all that it has said of them."""

    subject: Subject
    claims: Mapping[str, Any]
    acr: str
    auth_time: datetime
    next: str
    id_token: str


@dataclass(frozen=True, slots=True)
class Exchange:
    """The code flow with one provider, and the way out of it.

    ``redirect_uri`` is where it sends people back to who have signed in, ``leaving_uri`` who have signed out.
    """

    provider: Provider
    directory: Directory
    fetcher: Fetcher
    records: Records
    random: Callable[[int], bytes]
    redirect_uri: str
    leaving_uri: str
    keys: EncryptionKeys

    def begin(self, visit: str, next: str, now: datetime, *, fresh: bool = False) -> str:
        """Return where to send the browser; ``fresh``: who is signed in there is asked again.

        Raises ``ProviderUnavailable``.
        """
        metadata = self.directory.metadata(self.provider)
        state, nonce, verifier = (self._secret() for _ in range(3))
        self.records.insert(
            COLLECTION,
            {
                "_id": _digest(state),
                "provider": self.provider.name,
                "visit": _digest(visit),
                "nonce": nonce,
                "verifier": verifier,
                "next": next,
                "expires": now + LIFETIME,
            },
        )
        url, _ = self._client(metadata).create_authorization_url(
            metadata.authorization_endpoint,
            state=state,
            code_verifier=verifier,
            nonce=nonce,
            acr_values=self.provider.acr_values,
            **({"prompt": "login"} if fresh else {}),
        )
        return str(url)

    def finish(self, answer: Mapping[str, str], visit: str, now: datetime) -> Vouched:
        """Return who has come back. Raises ``Unverified`` or ``ProviderUnavailable``."""
        kept = self._take(answer.get("state", ""), visit, now)
        metadata = self.directory.metadata(self.provider)
        issuer = answer.get("iss")
        if issuer is None and metadata.names_itself:
            raise Unverified("the answer does not say whose it is")
        if issuer not in (None, self.provider.issuer):
            raise Unverified("the answer is another provider's")
        if "error" in answer or not answer.get("code"):
            raise Unverified("the provider has refused")
        token = self._exchange(metadata, answer["code"], kept["verifier"])
        return self._vouched(metadata, token, kept, now)

    def leave(self, id_token: str, visit: str, now: datetime) -> str | None:
        """Return where to send the browser to end the session with the provider too; None if it ends none.

        Spec: https://openid.net/specs/openid-connect-rpinitiated-1_0.html. Raises ``ProviderUnavailable``.
        """
        endpoint = self.directory.metadata(self.provider).end_session_endpoint
        if not endpoint:
            return None
        state = self._secret()
        kept = {"_id": _digest(f"leaving {state}"), "provider": self.provider.name, "visit": _digest(visit)}
        self.records.insert(COLLECTION, {**kept, "expires": now + LIFETIME})
        asked = {
            "id_token_hint": id_token,
            "state": state,
            "post_logout_redirect_uri": self.leaving_uri,
            "client_id": self.provider.client_id,
        }
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(asked)}"

    def has_left(self, state: str, visit: str, now: datetime) -> bool:
        """Say whether this browser was sent away with that state; once."""
        try:
            self._take(f"leaving {state}", visit, now)
        except Unverified:
            return False
        return True

    def _vouched(self, metadata: Metadata, token: Mapping[str, Any], kept: Mapping[str, Any], now: datetime) -> Vouched:
        verifier = Verifier(self.provider, metadata, self.directory, self.keys)
        access_token, id_token = str(token["access_token"]), str(token.get("id_token", ""))
        claims = verifier.id_token(id_token, kept["nonce"], access_token, now)
        told = self._userinfo(verifier, metadata, access_token)
        if not isinstance(claims["sub"], str) or not claims["sub"] or told.get("sub") != claims["sub"]:
            raise Unverified("userinfo: another subject")
        auth_time = claims.get("auth_time")
        moment = datetime.fromtimestamp(auth_time, UTC) if isinstance(auth_time, int) else now
        acr = claims.get("acr")
        return Vouched(
            Subject(self.provider.issuer, claims["sub"]),
            {**claims, **told},
            acr if isinstance(acr, str) else "",
            min(moment, now),
            kept["next"],
            id_token,
        )

    def _take(self, state: str, visit: str, now: datetime) -> Mapping[str, Any]:
        """Return what was kept under the state: once, for the browser that began, while it is not too old."""
        key = _digest(state)
        found = self.records.find(COLLECTION, {"_id": key, "provider": self.provider.name, "expires": {"$gt": now}})
        if not found or not compare_digest(found[0]["visit"], _digest(visit)):
            raise Unverified("nobody has begun this sign-in here")
        if not self.records.delete(COLLECTION, {"_id": key}):
            raise Unverified("this sign-in has been finished already")
        return found[0]

    def _exchange(self, metadata: Metadata, code: str, verifier: str) -> Mapping[str, Any]:
        try:
            token = self._client(metadata).fetch_token(
                metadata.token_endpoint, grant_type="authorization_code", code=code, code_verifier=verifier
            )
        except FetchRefused as refused:
            raise ProviderUnavailable(str(refused)) from None
        except (OAuth2Error, ValueError) as problem:
            raise Unverified(f"code: {type(problem).__name__}") from None
        if not isinstance(token.get("access_token"), str) or str(token.get("token_type", "")).lower() != "bearer":
            raise Unverified("code: no bearer token")
        return dict(token)

    def _userinfo(self, verifier: Verifier, metadata: Metadata, access_token: str) -> Mapping[str, Any]:
        headers = {"Authorization": f"Bearer {access_token}", "Accept": "application/jwt, application/json"}
        try:
            answer = self.fetcher.send("GET", metadata.userinfo_endpoint, headers)
        except FetchRefused as refused:
            raise ProviderUnavailable(str(refused)) from None
        if answer.status != 200:
            raise Unverified("userinfo: refused")
        if answer.content_type.partition(";")[0].strip().lower() == "application/jwt":
            return verifier.userinfo(answer.body.decode("ascii", "replace").strip())
        if self.provider.signed_userinfo:
            raise Unverified("userinfo: not signed")
        return _to_object(answer.body)

    def _client(self, metadata: Metadata) -> OAuth2Client:
        return OAuth2Client(
            _TokenSession(self.fetcher),
            client_id=self.provider.client_id,
            client_secret=self.provider.secret(),
            token_endpoint_auth_method=metadata.auth_method,
            scope=self.provider.scope,
            redirect_uri=self.redirect_uri,
            code_challenge_method="S256",
        )

    def _secret(self) -> str:
        return urlsafe_b64encode(self.random(_SECRET_BYTES)).rstrip(b"=").decode()


@dataclass(frozen=True, slots=True)
class _TokenAnswer:
    """The answer of a token endpoint, as Authlib reads it."""

    answer: Answer

    @property
    def status_code(self) -> int:
        return self.answer.status

    def json(self) -> Any:
        return json.loads(self.answer.body)

    def raise_for_status(self) -> None:
        if self.answer.status >= 400:
            raise ValueError("the token endpoint refuses")


@dataclass(frozen=True, slots=True)
class _TokenSession:
    """What Authlib sends a token request with: our one way out."""

    fetcher: Fetcher

    def post(self, url: str, data: Mapping[str, str], headers: Mapping[str, str], auth: Any) -> _TokenAnswer:
        where, sent, body = auth.prepare("POST", url, dict(headers), urlencode(data))
        return _TokenAnswer(self.fetcher.send("POST", where, sent, body.encode()))


def _digest(secret: str) -> str:
    return sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _to_object(body: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise Unverified("userinfo: no JSON") from None
    if not isinstance(value, dict):
        raise Unverified("userinfo: no object")
    return value
