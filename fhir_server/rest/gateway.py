"""The door of ``/fhir``: a WSGI application that takes every method and path below the base.

It stands in front of Flask's routing, not behind it: a read costs a fifth of what the same bytes cost through a Flask
view (measured, see the README's decisions), and nothing of Flask is needed here. Everything else is Flask's.
Spec: http://hl7.org/fhir/R4/http.html, https://peps.python.org/pep-3333/
"""

from collections.abc import Callable, Iterable
from time import perf_counter
from typing import Any, Protocol

from fhir_server.access.caller import Caller
from fhir_server.access.credentials import RefusedToken
from fhir_server.context import RequestContext
from fhir_server.interactions.auditing import write_refusal
from fhir_server.interactions.dispatch import dispatch_audited
from fhir_server.interactions.request import FhirResponse
from fhir_server.rest import metrics
from fhir_server.rest.authentication import Authenticate
from fhir_server.rest.cors import METHODS, Cors
from fhir_server.rest.headers import request_id
from fhir_server.rest.logs import Log
from fhir_server.rest.memory import LARGE_BODY, Room, give_back
from fhir_server.rest.negotiation import negotiate, negotiate_language
from fhir_server.rest.origin import Origin
from fhir_server.rest.problems import UNMATCHED, to_response
from fhir_server.rest.requests import Exchange, read_request, split_path
from fhir_server.rest.responses import STATUS_LINES, Answer, to_answer
from fhir_server.settings import Settings

Environ = dict[str, Any]
StartResponse = Callable[[str, list[tuple[str, str]]], Any]
WsgiApplication = Callable[[Environ, StartResponse], Iterable[bytes]]

BASE = "/fhir"
_DISCOVERY = "/fhir/.well-known/"
"""Of the authorization server, which the standard has below the FHIR base."""
_KNOWN_METHODS = frozenset(METHODS.split(", "))


class OpenContext(Protocol):
    """Makes the context of one request; it connects to the database when it must."""

    def __call__(
        self, caller: Caller, request_id: str, language: str, base_url: str, address: str = ""
    ) -> RequestContext:
        """Return the context that goes down with the request; ``address`` is the client's."""


class FhirGateway:
    """Answers what is below ``/fhir`` and hands on everything else."""

    def __init__(
        self,
        settings: Settings,
        authenticate: Authenticate,
        open_context: OpenContext,
        log: Log,
        elsewhere: WsgiApplication,
    ) -> None:
        self._authenticate = authenticate
        self._open_context = open_context
        self._log = log
        self._elsewhere = elsewhere
        self._origin = Origin(settings)
        self._cors = Cors(settings.cors_origins)
        self._language = settings.language
        self._max_body = settings.max_body
        self._gzip_min_bytes = settings.gzip_min_bytes
        self._room = Room()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one WSGI request."""
        path = environ["PATH_INFO"]
        if not path.startswith(BASE) or path[5:6] not in ("", "/") or path.startswith(_DISCOVERY):
            return self._elsewhere(environ, start_response)
        started = perf_counter()
        metrics.begin()
        exchange = self._open(environ)
        route, answer = UNMATCHED, None
        try:
            route, answer = self._answer(exchange, path[5:])
            start_response(STATUS_LINES[answer.status], answer.headers)
        finally:
            self._room.leave(exchange.taken)
            # What even the error path could not answer is counted too, as the 500 that the server makes of it.
            seconds = perf_counter() - started
            status, size = (answer.status, len(answer.body)) if answer is not None else (500, 0)
            method = exchange.method if exchange.method in _KNOWN_METHODS else "OTHER"
            metrics.end(method, route, status, seconds)
            self._log.request(exchange.request_id, method, route, status, seconds, size)
            if size > LARGE_BODY or _announced(environ) > LARGE_BODY:
                give_back()
        return [answer.body]

    def _open(self, environ: Environ) -> Exchange:
        accepted_language = environ.get("HTTP_ACCEPT_LANGUAGE")
        return Exchange(
            environ,
            request_id(environ.get("HTTP_X_REQUEST_ID")),
            environ["REQUEST_METHOD"],
            (),
            negotiate(environ.get("HTTP_ACCEPT")),
            self._language if accepted_language is None else negotiate_language(accepted_language, self._language),
            self._max_body,
            self._room,
        )

    def _answer(self, exchange: Exchange, path: str) -> tuple[str, Answer]:
        """Return the route's template and the answer, whatever happens."""
        base_url = self._origin.base_url(exchange.environ)
        try:
            response = self._respond(exchange, path, base_url)
            answer = to_answer(response, exchange, base_url, self._gzip_min_bytes)
        except Exception as error:
            response = to_response(error, exchange, self._log)
            answer = to_answer(response, exchange, base_url, self._gzip_min_bytes)
        if "HTTP_ORIGIN" in exchange.environ:
            answer.headers.extend(self._cors.headers(exchange.environ["HTTP_ORIGIN"]))
        return response.route, answer

    def _respond(self, exchange: Exchange, path: str, base_url: str) -> FhirResponse:
        exchange.segments = split_path(path)
        if exchange.method == "OPTIONS":
            return self._options(exchange.environ)
        address = self._origin.client_address(exchange.environ)
        try:
            caller = self._authenticate(exchange.environ)
        except RefusedToken as refused:
            ctx = self._open_context(refused.caller, exchange.request_id, exchange.language, base_url, address)
            write_refusal(ctx, read_request(exchange), refused)
            raise
        request = read_request(exchange)
        ctx = self._open_context(caller, exchange.request_id, exchange.language, base_url, address)
        return dispatch_audited(ctx, request)

    def _options(self, environ: Environ) -> FhirResponse:
        headers = {"Allow": METHODS}
        if "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ:
            headers.update(self._cors.preflight_headers(environ.get("HTTP_ORIGIN", "")))
        return FhirResponse(204, headers=headers, route="*")


def _announced(environ: Environ) -> int:
    """Return the bytes that the request was said to have, the limit for one that did not say."""
    length = environ.get("CONTENT_LENGTH") or ""
    if length.isascii() and length.isdigit():
        return int(length[:18])
    return LARGE_BODY + 1 if "HTTP_TRANSFER_ENCODING" in environ else 0
