"""An OpenID provider on loopback, as Pro Santé Connect and FranceConnect are, that can be told to misbehave.

It is a real HTTP server: what is tested is what goes over the wire. It shares the test's clock.
"""

import json
import secrets
import threading
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

from joserfc import jwe, jwt
from joserfc.jwk import ECKey, OctKey, RSAKey
from joserfc.jws import JWSRegistry

CLIENT_ID = "our-client"
SECRET = "a secret that both sides know, long enough"

Forge = Callable[["Provider", dict[str, Any], dict[str, Any]], str]


@dataclass
class Provider:
    """What the provider says and does; tests change it as they like."""

    clock: Callable[[], datetime]
    configuration: str
    algorithm: str
    person: dict[str, Any] = field(default_factory=dict)
    signed_userinfo: bool = False
    address: str = ""
    key: Any = field(default_factory=lambda: ECKey.generate_key("P-256", {"kid": "k1", "use": "sig"}))
    published: list[dict[str, Any]] | None = None
    announced: dict[str, Any] = field(default_factory=dict)
    claims: dict[str, Any] = field(default_factory=dict)
    """Claims of the id token in place of the right ones; None leaves one out."""
    userinfo: dict[str, Any] = field(default_factory=dict)
    forge: Forge | None = None
    """Makes the id token instead."""
    answer: dict[str, Any] = field(default_factory=dict)
    """Members of the token answer in place of the right ones."""
    encrypted_for: Any = None
    """A public key that userinfo is encrypted for, with the algorithm that it names; None: it is signed alone."""
    signs_userinfo_with: Any = None
    """A key that is not the provider's."""
    given: list[str] = field(default_factory=list)
    """The id tokens that it has given."""
    encryption: dict[str, str] = field(default_factory=dict)
    """Headers of the encryption in place of the right ones."""
    names_itself: bool = True
    statuses: dict[str, int] = field(default_factory=dict)
    bodies: dict[str, bytes] = field(default_factory=dict)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)

    @property
    def issuer(self) -> str:
        """The issuer, with a path as the real ones have."""
        return f"{self.address}/realm"

    def authorize(self, url: str) -> dict[str, str]:
        """Return what the browser is sent back with, once the person has agreed."""
        asked = dict(parse_qsl(urlsplit(url).query))
        assert asked["response_type"] == "code"
        assert asked["client_id"] == CLIENT_ID
        code = secrets.token_urlsafe(16)
        self.codes[code] = asked
        answer = {"code": code, "state": asked["state"]}
        return {**answer, "iss": self.issuer} if self.names_itself else answer

    def metadata(self) -> dict[str, Any]:
        """Return the discovery document."""
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "jwks_uri": f"{self.issuer}/jwks",
            "id_token_signing_alg_values_supported": [self.algorithm],
            "userinfo_signing_alg_values_supported": [self.algorithm],
            "token_endpoint_auth_methods_supported": ["client_secret_basic"],
            "authorization_response_iss_parameter_supported": self.names_itself,
            "end_session_endpoint": f"{self.issuer}/session/end",
            "userinfo_encryption_alg_values_supported": ["ECDH-ES", "RSA-OAEP-256"],
            "userinfo_encryption_enc_values_supported": ["A256GCM"],
            **self.announced,
        }

    def jwks(self) -> dict[str, Any]:
        """Return the key set."""
        own = [] if isinstance(self.key, OctKey) else [self.key.as_dict(private=False)]
        return {"keys": own if self.published is None else self.published}

    def token(self, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """Exchange a code: once, for the client and the redirect uri that it was given to, with its PKCE verifier."""
        asked = self.codes.pop(form.get("code", ""), None)
        if asked is None or form.get("redirect_uri") != asked["redirect_uri"]:
            return 400, {"error": "invalid_grant"}
        challenge = urlsafe_b64encode(sha256(form["code_verifier"].encode()).digest()).rstrip(b"=").decode()
        if asked["code_challenge_method"] != "S256" or asked["code_challenge"] != challenge:
            return 400, {"error": "invalid_grant"}
        self.given.append(self.id_token(asked))
        answer = {"access_token": "at", "token_type": "Bearer", "id_token": self.given[-1], **self.answer}
        return 200, {name: value for name, value in answer.items() if value is not None}

    def id_token(self, asked: dict[str, str]) -> str:
        """Return the id token for what has been asked for."""
        moment = int(self.clock().timestamp())
        claims = {
            "iss": self.issuer,
            "sub": "subject-1",
            "aud": CLIENT_ID,
            "exp": moment + 300,
            "iat": moment,
            "auth_time": moment - 60,
            "nonce": asked["nonce"],
            "acr": "eidas1",
            **self.claims,
        }
        claims = {name: value for name, value in claims.items() if value is not None}
        header = {"alg": self.algorithm}
        if not isinstance(self.key, OctKey):
            header["kid"] = self.key.kid
        if self.forge is not None:
            return self.forge(self, header, claims)
        return jwt.encode(header, claims, self.key, algorithms=[self.algorithm])

    def signed(self, told: dict[str, Any]) -> str:
        """Return userinfo as it is signed."""
        key = self.signs_userinfo_with or self.key
        algorithm = "RS256" if isinstance(key, RSAKey) else self.algorithm
        return jwt.encode({"alg": algorithm, "kid": self.key.kid}, told, key, algorithms=[algorithm])

    def encrypted(self, signed: str) -> str:
        """Return what is sent of signed userinfo."""
        if self.encrypted_for is None:
            return signed
        key = self.encrypted_for
        header = {"alg": key.alg, "enc": "A256GCM", "kid": key.kid, "cty": "JWT", **self.encryption}
        registry = jwe.JWERegistry(algorithms=[header["alg"], header["enc"], header.get("zip", "DEF")])
        registry.strict_check_header = False
        return jwe.encrypt_compact(header, signed.encode(), key, registry=registry)

    def told(self) -> dict[str, Any]:
        """Return the claims of the person."""
        told = {"sub": "subject-1", **self.person, **self.userinfo}
        return {name: value for name, value in told.items() if value is not None}


class _Handler(BaseHTTPRequestHandler):
    provider: Provider

    def do_GET(self) -> None:
        path = self.path.removeprefix("/realm")
        self.provider.requests.append(("GET", path, dict(self.headers)))
        if path == f"/.well-known/{self.provider.configuration}":
            self._json(self.provider.metadata(), "metadata")
        elif path == "/jwks":
            self._json(self.provider.jwks(), "jwks")
        elif path == "/userinfo" and self.headers["Authorization"] == "Bearer at":
            self._userinfo()
        else:
            self._send(404, b"", "text/plain")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        form = {name: values[0] for name, values in parse_qs(body).items()}
        self.provider.requests.append(("POST", self.path.removeprefix("/realm"), form))
        given = f"{form.get('client_id')}:{form.get('client_secret')}"
        if self.headers["Authorization"]:
            given = b64decode(self.headers["Authorization"].removeprefix("Basic ")).decode()
        if given != f"{CLIENT_ID}:{SECRET}":
            self._json({"error": "invalid_client"}, "token", 401)
            return
        status, value = self.provider.token(form)
        self._json(value, "token", status)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def _userinfo(self) -> None:
        told = self.provider.told()
        if self.provider.signed_userinfo:
            sent = self.provider.bodies.get("userinfo") or self.provider.encrypted(self.provider.signed(told)).encode()
            self._send(self.provider.statuses.get("userinfo", 200), sent, "application/jwt; charset=utf-8")
        else:
            self._json(told, "userinfo")

    def _json(self, value: Any, name: str, status: int = 200) -> None:
        body = self.provider.bodies.get(name, json.dumps(value).encode())
        self._send(self.provider.statuses.get(name, status), body, "application/json")

    def _send(self, status: int, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def running(provider: Provider) -> Iterator[Provider]:
    """Run a provider on a free port until the block ends."""
    handler = type("Handler", (_Handler,), {"provider": provider})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        provider.address = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield provider
        finally:
            server.shutdown()
            thread.join()


def unsigned(provider: Provider, header: dict[str, Any], claims: dict[str, Any]) -> str:
    """Forge: no signature, ``alg`` none."""
    return f"{_part({**header, 'alg': 'none'})}.{_part(claims)}."


def signed_with(key: Any, algorithm: str, **header: Any) -> Forge:
    """Return a forge that signs with another key or algorithm."""

    def forge(provider: Provider, usual: dict[str, Any], claims: dict[str, Any]) -> str:
        made = {**usual, "alg": algorithm, **header}
        start = f"{_part({name: value for name, value in made.items() if value is not None})}.{_part(claims)}"
        # A library that keeps to the rules refuses to write what is to be tested here.
        signature = JWSRegistry.algorithms[algorithm].sign(start.encode(), key)
        return f"{start}.{urlsafe_b64encode(signature).rstrip(b'=').decode()}"

    return forge


def answer_query(answer: dict[str, str]) -> str:
    """Return the query of the way back."""
    return urlencode(answer)


def new_rsa(kid: str = "k1", bits: int = 2048) -> RSAKey:
    """Return a new RSA key."""
    return RSAKey.generate_key(bits, {"kid": kid, "use": "sig"})


def _part(value: dict[str, Any]) -> str:
    return urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()
