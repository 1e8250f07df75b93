"""People, apps and their browsers, for tests of the authorization server."""

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from http.cookies import SimpleCookie
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

from flask import Flask
from flask.testing import FlaskClient
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey
from lxml import html
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.test import TestResponse

from fhir_server.access.caller import Caller
from fhir_server.app import Composition, build_app
from fhir_server.smart.clients import Client
from fhir_server.smart.ground import digest

BASE = "http://localhost/fhir"
ISSUER = "http://localhost"
REDIRECT = "https://app.example/callback"
WIDE = (
    "openid fhirUser profile launch launch/patient offline_access online_access ITI-67 ITI-68 "
    "patient/*.cruds user/*.cruds"
)
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass(frozen=True)
class Person:
    """Somebody whose record an account may open."""

    patient: str
    name: str
    related_person: str | None = None


@dataclass(frozen=True)
class Professional:
    """What a login has established of a professional."""

    identifiers: tuple[str, ...] = ("urn:oid:1.2.250.1.71.4.2.1|899700218896",)
    practitioner_role: str | None = "PractitionerRole/role-1"
    organization: str | None = "Organization/clinic"
    organization_name: str = "Clinic"
    organization_identifiers: tuple[str, ...] = ("urn:oid:1.2.250.1.71.4.2.2|1750803447",)
    profession: str = "10"
    specialty: str = "SM54"
    sector: str = "SA07"
    regulation: bool = False


@dataclass(frozen=True)
class Account:
    """A person who can log in."""

    id: str
    kind: Any
    fhir_user: str | None
    user_name: str
    persons: tuple[Person, ...] = ()
    professional: Professional | None = None
    roles: tuple[str, ...] = ()


@dataclass(frozen=True)
class Session:
    """A login."""

    id: str
    account: Account
    auth_time: datetime
    acr: str = "eidas1"
    amr: tuple[str, ...] = ("pwd", "otp")


MARIE = Account(
    "marie",
    "patient",
    "Patient/marie",
    "Marie Curie",
    (Person("marie", "Marie"), Person("irene", "Irène", "RelatedPerson/m")),
)
PIERRE = Account("pierre", "patient", "Patient/pierre", "Pierre Curie", (Person("pierre", "Pierre"),))
DOCTOR = Account("doctor", "professional", "Practitioner/doctor", "Dr. House", (), Professional())
OPERATOR = Account("operator", "operator", None, "Olga Operator", roles=("auditor",))


class People:
    """The people's side as the authorization server sees it, kept in the test's database."""

    def __init__(self) -> None:
        self.composition: Composition | None = None

    @property
    def _records(self) -> Any:
        assert self.composition is not None
        return self.composition.store().records

    def add(self, account: Account) -> None:
        """Let somebody log in from now on, or change what is true of them."""
        self._records.delete("test_accounts", {"_id": account.id})
        self._records.insert("test_accounts", {"_id": account.id, "account": json.dumps(asdict(account))})

    def lock(self, account: str) -> None:
        """Let them log in no more."""
        self._records.delete("test_accounts", {"_id": account})

    def sign_in(self, account: Account, auth_time: datetime | None = None) -> str:
        """Return the cookie of a new session."""
        self.add(account)
        cookie = secrets.token_hex(16)
        at = auth_time or datetime.now(UTC)
        self._records.insert("test_sessions", {"_id": cookie, "account": account.id, "at": at})
        return cookie

    def current_session(self, environ: Mapping[str, Any]) -> Session | None:
        """Return the session of the cookie."""
        morsel = SimpleCookie(environ.get("HTTP_COOKIE", "")).get("session")
        found = self._records.find("test_sessions", {"_id": morsel.value}) if morsel is not None else []
        account = self.find_account(found[0]["account"], None) if found else None
        if account is None:
            return None
        return Session(digest(found[0]["_id"]), account, found[0]["at"].replace(tzinfo=UTC))

    def find_account(self, account: str, practitioner_role: str | None) -> Account | None:
        """Return what is true of an account now."""
        found = self._records.find("test_accounts", {"_id": account})
        if not found:
            return None
        read = json.loads(found[0]["account"])
        known = Account(**{**read, "persons": tuple(Person(**one) for one in read["persons"])})
        if read["professional"] is None:
            return known
        facts = {name: tuple(v) if isinstance(v, list) else v for name, v in read["professional"].items()}
        if practitioner_role is not None and practitioner_role != facts["practitioner_role"]:
            return None
        return replace(known, professional=Professional(**facts))


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
            if one.get("type") == "checkbox":
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


@dataclass
class Smart:
    """A secured server with everybody around it."""

    composition: Composition
    people: People
    flask: Flask

    @classmethod
    def build(cls, make_composition: Any, **given: Any) -> "Smart":
        """Return a server with these settings."""
        people = People()
        composition = make_composition(**{"auth": "smart", "people": people, **given})
        people.composition = composition
        smart = cls(composition, people, build_app(composition))
        for account in (MARIE, PIERRE, DOCTOR, OPERATOR):
            people.add(account)
        return smart

    @property
    def client(self) -> FlaskClient:
        """A program's client, without cookies."""
        return self.flask.test_client(use_cookies=False)

    def browser(self, account: Account | None = None, auth_time: datetime | None = None) -> FlaskClient:
        """A browser, signed in if an account is given."""
        browser = self.flask.test_client()
        if account is not None:
            browser.set_cookie("session", self.people.sign_in(account, auth_time))
        return browser

    def app(self, id: str = "app", secret: str = "", **values: Any) -> App:
        """Register an app: public, or with a secret, or as the values say."""
        method = "client_secret_basic" if secret else "none"
        kind = "confidential" if secret else "public"
        given = {
            "name": f"The app {id}",
            "kind": kind,
            "auth_method": method,
            "scope": WIDE,
            "redirect_uris": (REDIRECT,),
            "secret": digest(secret) if secret else "",
            **values,
        }
        client = Client(id=id, **given)
        assert self.composition.smart().clients.add(client)
        return App(self, client, secret, client.redirect_uris[0] if client.redirect_uris else REDIRECT)

    def backend(self, id: str = "backend", alg: str = "ES384", **values: Any) -> Backend:
        """Register a backend with a new key."""
        key = new_key(alg)
        given = {
            "name": f"The backend {id}",
            "kind": "backend",
            "auth_method": "private_key_jwt",
            "scope": "system/*.cruds ITI-65 ITI-67",
            "jwks": {"keys": [key.as_dict(private=False)]},
            **values,
        }
        client = Client(id=id, **given)
        assert self.composition.smart().clients.add(client)
        return Backend(self, client, key, alg)

    def fhir(self, path: str, token: str | None = None, method: str = "GET", **more: Any) -> TestResponse:
        """Send a request to FHIR."""
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        return self.client.open(f"/fhir/{path}", method=method, headers=headers, **more)

    def caller(self, token: str) -> Caller:
        """Return who the server takes the bearer of a token for."""
        found = self.composition.smart().tokens.find(token)
        assert found is not None
        return found.to_caller()

    def works(self, token: str) -> bool:
        """Say whether FHIR takes the token."""
        return self.fhir("Patient?_summary=count", token).status_code in (200, 403)  # 403: known, but not for this

    def introspect(self, token: str, by: App) -> dict[str, Any]:
        """Return what the server says of a token to an app with a secret."""
        word = base64.b64encode(f"{by.client.id}:{by.secret}".encode()).decode()
        answer = self.client.post("/auth/introspect", data={"token": token}, headers={"Authorization": f"Basic {word}"})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.get_json()
        return found


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


@contextmanager
def over_http(smart: Smart) -> Iterator[str]:
    """Serve on a free port of the loopback, for clients that speak HTTP alone, and give the FHIR base."""
    server = make_server("127.0.0.1", 0, smart.flask, threaded=True, request_handler=_Silent)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/fhir"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Silent(WSGIRequestHandler):
    """Logs nothing."""

    def log(self, type: str, message: str, *args: Any) -> None:
        """Say nothing."""
