"""Apps, backends and the page of consent in a browser, for tests of the authorization server."""

import base64
import hashlib
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

from flask.testing import FlaskClient
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey
from lxml import html
from werkzeug.test import TestResponse

from fhir_server.smart.clients import Client
from tests.rest.smart_people import Account

if TYPE_CHECKING:
    from tests.rest.smart import Smart

BASE = "http://localhost/fhir"
ISSUER = "http://localhost"
REDIRECT = "https://app.example/callback"
WIDE = (
    "openid fhirUser profile launch launch/patient launch/encounter offline_access online_access ITI-67 ITI-68 "
    "patient/*.cruds user/*.cruds"
)
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass
class App:
    """An app of somebody else: it knows the server's address, its own id and what it has been told so far."""

    smart: "Smart"
    client: Client
    secret: str = ""
    redirect_uri: str = REDIRECT
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))
    state: str = field(default_factory=lambda: secrets.token_urlsafe(12))

    def parameters(self, scope: str, **more: str | None) -> dict[str, str]:
        """Return a good authorization request, with some parameters changed, or left out (None)."""
        challenge = base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).rstrip(b"=").decode()
        given: dict[str, str | None] = {
            "response_type": "code",
            "client_id": self.client.id,
            "redirect_uri": self.redirect_uri,
            "scope": scope,
            "state": self.state,
            "aud": BASE,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            **more,
        }
        return {name: value for name, value in given.items() if value is not None}

    def authorize(self, browser: FlaskClient, scope: str, **more: str | None) -> TestResponse:
        """Send a browser to the authorization endpoint."""
        return browser.get("/auth/authorize", query_string=self.parameters(scope, **more))

    def ask(self, browser: FlaskClient, scope: str, **more: str | None) -> "Page":
        """Send a browser there and return the page of consent."""
        answer = self.authorize(browser, scope, **more)
        assert answer.status_code == 303, (answer.status_code, answer.location, answer.text)
        return Page.at(browser, answer.location)

    def code(self, browser: FlaskClient, scope: str, form: Mapping[str, Any] | None = None, **more: str | None) -> str:
        """Return a code, after everything asked was allowed."""
        answer = self.ask(browser, scope, **more).allow(**(form or {}))
        query = dict(parse_qsl(urlsplit(answer.location).query))
        assert answer.location.startswith(self.redirect_uri), answer.text
        assert query["state"] == self.state
        return query["code"]

    def token(self, **form: str | None) -> TestResponse:
        """Send a token request, as this client proves itself."""
        headers = {}
        given: dict[str, str | None] = {}
        if self.secret:
            word = base64.b64encode(f"{self.client.id}:{self.secret}".encode()).decode()
            headers["Authorization"] = f"Basic {word}"
        else:
            given["client_id"] = self.client.id
        given |= form
        data = {name: value for name, value in given.items() if value is not None}
        return self.smart.client.post("/auth/token", data=data, headers=headers)

    def exchange(self, code: str, **form: str | None) -> TestResponse:
        """Change a code for tokens."""
        given = {"code_verifier": self.verifier, "redirect_uri": self.redirect_uri, **form}
        return self.token(grant_type="authorization_code", code=code, **given)

    def run(
        self, account: Account, scope: str, form: Mapping[str, Any] | None = None, **more: str | None
    ) -> dict[str, Any]:
        """Return the token response after the whole flow."""
        answer = self.exchange(self.code(self.smart.browser(account), scope, form, **more))
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.get_json()
        return found

    def refresh(self, token: str, **form: str | None) -> TestResponse:
        """Use a refresh token."""
        return self.token(grant_type="refresh_token", refresh_token=token, **form)


@dataclass
class Page:
    """A page of consent in a browser."""

    browser: FlaskClient
    path: str
    response: TestResponse

    @classmethod
    def at(cls, browser: FlaskClient, path: str, **headers: str) -> "Page":
        """Open the page."""
        return cls(browser, path, browser.get(path, headers=headers))

    @property
    def form(self) -> dict[str, Any]:
        """What the form would send as it is."""
        assert self.response.status_code == 200, (self.response.status_code, self.response.location, self.response.text)
        fields = html.fromstring(self.response.text).forms[0].inputs
        sent: dict[str, Any] = {}
        for one in fields:
            name = one.get("name")
            if one.get("type") == "checkbox" or name == "scope":
                sent.setdefault(name, []).append(one.get("value"))
            elif one.get("type") != "radio" or one.get("checked") is not None:
                sent[name] = one.get("value") or ""
        return sent

    def allow(self, **changed: Any) -> TestResponse:
        """Press the button that allows, with some fields changed."""
        return self.browser.post(self.path, data={**self.form, "decision": "allow", **changed})

    def deny(self) -> TestResponse:
        """Press the button that refuses."""
        return self.browser.post(self.path, data={**self.form, "decision": "deny"})


@dataclass
class Backend:
    """A backend with a key of its own."""

    smart: "Smart"
    client: Client
    key: Any
    alg: str = "ES384"

    def assertion(self, header: Mapping[str, Any] | None = None, key: Any = None, **claims: Any) -> str:
        """Return a good assertion, with some headers or claims changed, or left out (None)."""
        now = int(time.time())
        given = {
            "iss": self.client.id,
            "sub": self.client.id,
            "aud": f"{ISSUER}/auth/token",
            "exp": now + 240,
            "jti": secrets.token_hex(16),
            **claims,
        }
        head = {"alg": self.alg, "kid": self.key.kid, "typ": "JWT", **(header or {})}
        left = {name: value for name, value in given.items() if value is not None}
        head = {name: value for name, value in head.items() if value is not None}
        return jwt.encode(head, left, key or self.key, algorithms=[head["alg"]])

    def ask(self, scope: str = "system/*.rs", assertion: str | None = None, **form: str) -> TestResponse:
        """Ask for a token."""
        given = {
            "grant_type": "client_credentials",
            "scope": scope,
            "client_assertion_type": ASSERTION,
            "client_assertion": assertion or self.assertion(),
            **form,
        }
        return self.smart.client.post("/auth/token", data=given)

    def token(self, scope: str = "system/*.rs", **form: str) -> str:
        """Return an access token."""
        answer = self.ask(scope, **form)
        assert answer.status_code == 200, answer.text
        return str(answer.get_json()["access_token"])


def new_key(alg: str) -> Any:
    """Return a new private key for an algorithm."""
    parameters = {"use": "sig", "alg": alg}
    key: Any
    if alg.startswith("ES"):
        key = ECKey.generate_key({"ES256": "P-256", "ES384": "P-384"}[alg], parameters, private=True)
    else:
        key = RSAKey.generate_key(2048, parameters, private=True)
    key.ensure_kid()
    return key


def query_of(location: str) -> dict[str, str]:
    """Return the parameters of an address."""
    return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}


def with_query(path: str, **parameters: str) -> str:
    """Return a path with a query."""
    return f"{path}?{urlencode(parameters)}"
