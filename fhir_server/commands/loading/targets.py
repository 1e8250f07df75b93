"""Where shipments go: a server's base over HTTP, or the store of this machine, through the same interactions.

Spec: http://hl7.org/fhir/R4/http.html#transaction
"""

import http.client
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from fhir_server.app import Composition
from fhir_server.errors import FhirError, Text, Transient
from fhir_server.fhir.json import parse_json, to_json
from fhir_server.fhir.outcome import to_outcome
from fhir_server.interactions.dispatch import dispatch
from fhir_server.interactions.request import FhirRequest

Resource = dict[str, Any]

_TIMEOUT = 300.0
_ATTEMPTS = 6
_TRY_AGAIN = (429, 502, 503, 504)
_NOT_AN_ADDRESS = Text("--url must be an http or https address", "--url doit être une adresse http ou https")


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back: the response Bundle, or the OperationOutcome of a refusal as a whole."""

    status: int
    resource: Resource


class Target(Protocol):
    """Something that takes bundles; used by several threads at once."""

    def send(self, bundle: Resource) -> Reply:
        """Return the reply to one transaction or batch. Raises ``OSError`` when nobody answers."""


class HttpTarget:
    """A FHIR server's base URL; each thread keeps a connection of its own."""

    def __init__(self, url: str, token: str | None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(_NOT_AN_ADDRESS.en)
        self._open = _opener(parts.scheme, parts.hostname, parts.port)
        self._path = parts.path.rstrip("/") or "/"
        self._local = threading.local()
        self._headers = {
            "Content-Type": "application/fhir+json",
            "Accept": "application/fhir+json",
            "Prefer": "return=minimal",
        }
        if token:
            self._headers["Authorization"] = f"Bearer {token}"

    def send(self, bundle: Resource) -> Reply:
        """Return the reply; what may be repeated is, when the server is busy or the connection breaks."""
        body = to_json(bundle)
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                status, content, wait = self._post(body)
            except (OSError, http.client.HTTPException) as error:
                self._local.connection = None
                if attempt == _ATTEMPTS:
                    raise OSError(type(error).__name__) from error
                wait = 0.0
            else:
                if status not in _TRY_AGAIN or attempt == _ATTEMPTS:
                    return Reply(status, _read(content))
            time.sleep(min(max(wait, 0.1 * 2**attempt), 10.0))
        raise AssertionError("the last attempt returns or raises")

    def _post(self, body: bytes) -> tuple[int, bytes, float]:
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._open()
        connection.request("POST", self._path, body, self._headers)
        response = connection.getresponse()
        wait = response.getheader("Retry-After") or ""
        return response.status, response.read(), float(wait) if wait.isdigit() else 0.0


class DirectTarget:
    """The store itself, through the same interactions that HTTP requests go through."""

    def __init__(self, composition: Composition, language: str) -> None:
        self._composition = composition
        self._language = language

    def send(self, bundle: Resource) -> Reply:
        """Return the reply; the errors of interactions become outcomes."""
        ctx = self._composition.open_local_context("load", self._language)
        request = FhirRequest("POST", (), resource=bundle, prefer_return="minimal")
        try:
            response = dispatch(ctx, request)
        except FhirError as error:
            if isinstance(error, Transient):
                raise OSError(type(error).__name__) from error
            return Reply(error.status, to_outcome(error.issues, self._language))
        body = response.body
        return Reply(response.status, body if isinstance(body, dict) else _read(body or b""))


def _opener(scheme: str, host: str, port: int | None) -> Callable[[], http.client.HTTPConnection]:
    if scheme == "http":
        return lambda: http.client.HTTPConnection(host, port, timeout=_TIMEOUT)
    context = ssl.create_default_context()
    return lambda: http.client.HTTPSConnection(host, port, timeout=_TIMEOUT, context=context)


def _read(content: bytes) -> Resource:
    """Return the resource in an answer; something that is none says nothing."""
    try:
        resource = parse_json(content)
    except FhirError:
        return {}
    return resource if isinstance(resource, dict) else {}
