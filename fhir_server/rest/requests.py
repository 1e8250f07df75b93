"""One HTTP request read once into one ``FhirRequest``; nothing below the edge sees HTTP again.

It reads the WSGI environ itself: for a read, building a framework's request object would cost as much as all else.
Spec: http://hl7.org/fhir/R4/http.html
"""

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from fhir_server.errors import Invalid, NotAcceptable, Text, TooCostly
from fhir_server.interactions.request import FhirRequest
from fhir_server.rest.bodies import read_body
from fhir_server.rest.contents import NO_CONTENT, Content, is_binary, parse_content
from fhir_server.rest.headers import (
    NO_PREFERENCES,
    Preferences,
    RequestHeaders,
    parse_etag,
    parse_http_date,
    parse_prefer,
)
from fhir_server.rest.memory import Room
from fhir_server.rest.negotiation import Negotiated, negotiate

Parameters = tuple[tuple[str, str], ...]

MAX_PARAMETERS = 1_000
MAX_QUERY = 1 << 16
_MAX_FORM = 1 << 20
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_CONDITIONS = ("HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH", "HTTP_IF_MODIFIED_SINCE")

_NOT_UTF8 = Text("The URL is not percent-encoded UTF-8.", "L’URL n’est pas de l’UTF-8 encodé en pourcent.")
_FORM_NOT_UTF8 = Text(
    "The form is not percent-encoded UTF-8.", "Le formulaire n’est pas de l’UTF-8 encodé en pourcent."
)
_TOO_MANY = Text(
    f"The query is too large: at most {MAX_PARAMETERS} parameters.",
    f"La requête est trop grande : {MAX_PARAMETERS} paramètres au plus.",
)
_FORMAT = Text(
    "The answer can be application/fhir+json or application/fhir+xml, not what Accept or _format asks for.",
    "La réponse peut être en application/fhir+json ou application/fhir+xml, pas dans le format demandé.",
)
_PRETTY = Text("The parameter _pretty is true or false.", "Le paramètre _pretty vaut true ou false.")


@dataclass(slots=True)
class Exchange:
    """One request on its way through the edge: what is known of it, also when the rest cannot be read.

    The only mutable value of the edge; each field is set once, as soon as it is known.
    """

    environ: dict[str, Any]
    request_id: str
    method: str
    segments: tuple[str, ...]
    negotiated: Negotiated
    language: str
    max_body: int
    room: Room
    pretty: bool = False
    taken: int = 0
    """Of the room for large bodies; to be left when the request is answered."""

    def take_format(self, parameters: Parameters) -> Parameters:
        """Return the parameters without ``_format`` and ``_pretty``, after taking them to heart."""
        if not any(name in ("_format", "_pretty") for name, _ in parameters):
            return parameters
        for name, value in parameters:
            if name == "_format":
                self.negotiated = negotiate(None, value)
            elif name == "_pretty":
                if value not in ("true", "false"):
                    raise Invalid(_PRETTY)
                self.pretty = value == "true"
        return tuple(pair for pair in parameters if pair[0] not in ("_format", "_pretty"))


def split_path(path: str) -> tuple[str, ...]:
    """Return the parts of a WSGI path below the base; raises ``Invalid`` when it is not UTF-8."""
    if not path.isascii():
        path = _decode(path)
    if path.endswith("/"):
        path = path[:-1]
    return tuple(path[1:].split("/")) if path else ()


def read_request(exchange: Exchange) -> FhirRequest:
    """Return the request as a plain value, its body read and parsed.

    Raises ``Invalid``, ``NotAcceptable``, ``TooLong``, ``UnsupportedMediaType``, and what the parsers raise.
    """
    environ, method = exchange.environ, exchange.method
    query = environ.get("QUERY_STRING", "")
    parameters = exchange.take_format(parse_query(query)) if query else ()
    if exchange.negotiated.format is None and not is_binary(exchange.segments):
        raise NotAcceptable(_FORMAT)
    if method in _WITH_BODY:
        return _with_body(exchange, parameters)
    if any(name in environ for name in _CONDITIONS) or "HTTP_PREFER" in environ:
        return _build(exchange, parameters, NO_CONTENT)
    return FhirRequest(
        "GET" if method == "HEAD" else method,
        exchange.segments,
        parameters,
        accept=exchange.negotiated.accept,
        headers=RequestHeaders(environ),
    )


def parse_query(text: str) -> Parameters:
    """Return the decoded pairs of a query or form in order; raises ``Invalid`` or ``TooCostly``."""
    if len(text) > MAX_QUERY or text.count("&") >= MAX_PARAMETERS:
        raise TooCostly(_TOO_MANY)
    return _pairs(text, _NOT_UTF8)


def _with_body(exchange: Exchange, parameters: Parameters) -> FhirRequest:
    environ = exchange.environ
    body = read_body(environ, exchange.max_body)
    exchange.taken = exchange.room.enter(len(body))  # not before: who sends slowly must keep nobody waiting
    content = parse_content(body, environ.get("CONTENT_TYPE", ""), exchange.method, exchange.segments)
    if content.form is not None:
        parameters += exchange.take_format(_parse_form(content.form))
    return _build(exchange, parameters, content)


def _build(exchange: Exchange, parameters: Parameters, content: Content) -> FhirRequest:
    environ = exchange.environ
    if_match, if_none_match, if_modified_since = (environ.get(name) for name in _CONDITIONS)
    preferences = _preferences(environ)
    return FhirRequest(
        "GET" if exchange.method == "HEAD" else exchange.method,
        exchange.segments,
        parameters,
        resource=content.resource,
        content=content.native,
        content_type=content.content_type,
        size=content.size,
        accept=exchange.negotiated.accept,
        if_match=parse_etag(if_match, "If-Match") if if_match is not None else None,
        if_none_match=parse_etag(if_none_match, "If-None-Match") if if_none_match is not None else None,
        if_none_exist=environ.get("HTTP_IF_NONE_EXIST"),
        if_modified_since=parse_http_date(if_modified_since) if if_modified_since is not None else None,
        prefer_return=preferences.returned,
        handling=preferences.handling,
        headers=RequestHeaders(environ),
    )


def _preferences(environ: dict[str, Any]) -> Preferences:
    header = environ.get("HTTP_PREFER")
    return NO_PREFERENCES if header is None else parse_prefer(header)


def _parse_form(content: bytes) -> Parameters:
    if len(content) > _MAX_FORM or content.count(b"&") >= MAX_PARAMETERS:
        raise TooCostly(_TOO_MANY)
    try:
        return _pairs(content.decode("utf-8"), _FORM_NOT_UTF8)
    except UnicodeDecodeError:
        raise Invalid(_FORM_NOT_UTF8) from None


def _pairs(text: str, problem: Text) -> Parameters:
    try:
        return tuple(parse_qsl(text, keep_blank_values=True, errors="strict"))
    except UnicodeDecodeError:
        raise Invalid(problem) from None


def _decode(path: str) -> str:
    try:
        return path.encode("latin-1").decode("utf-8")
    except UnicodeError:
        raise Invalid(_NOT_UTF8) from None
