"""A secured server with people, apps and their browsers around it."""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from threading import Thread
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.test import TestResponse

from fhir_server.access.caller import Caller
from fhir_server.app import Composition, build_app
from fhir_server.interactions.dispatch import dispatch
from fhir_server.interactions.request import FhirRequest
from fhir_server.smart.clients import Client
from fhir_server.smart.ground import digest
from tests.rest.smart_apps import REDIRECT, WIDE, App, Backend, new_key
from tests.rest.smart_people import DOCTOR, MARIE, OPERATOR, PIERRE, Account, People


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

    def put(self, *resources: dict[str, Any]) -> None:
        """Store resources under their own ids, unhindered."""
        ctx = self.composition.open_local_context("test", "en")
        for one in resources:
            dispatch(ctx, FhirRequest("PUT", (one["resourceType"], one["id"]), resource=one))

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
