"""One ``FhirResponse`` written once as HTTP: status, headers, bytes.

Stored JSON goes out untouched when compact JSON is what the caller takes.
Spec: http://hl7.org/fhir/R4/http.html#ops, http://hl7.org/fhir/R4/binary.html#rest
"""

import zlib
from http import HTTPStatus
from typing import Any, NamedTuple

import orjson

from fhir_server.fhir.json import parse_stored, to_json, to_pretty_json
from fhir_server.fhir.xml import to_xml
from fhir_server.interactions.request import FhirResponse
from fhir_server.rest.headers import to_http_date
from fhir_server.rest.negotiation import Format, accepts_gzip
from fhir_server.rest.requests import Exchange

Headers = list[tuple[str, str]]

STATUS_LINES = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}
_WITHOUT_BODY = frozenset({204, 304})
# Narratives and stored files are other people's markup: a browser must neither guess a type nor run anything.
_FIXED: Headers = [
    ("X-Content-Type-Options", "nosniff"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; sandbox"),
    ("Vary", "Accept, Accept-Encoding, Accept-Language, Authorization, Origin"),
]
# What has an ETag may be kept by the caller's own browser, to be asked for again each time; nothing else is kept.
_REVALIDATE = ("Cache-Control", "private, no-cache")
_FORGET = ("Cache-Control", "no-store")
_PACKED_ALREADY = ("image/", "video/", "audio/", "application/zip", "application/gzip", "application/pdf")


class Answer(NamedTuple):
    """An HTTP answer ready for the server."""

    status: int
    headers: Headers
    body: bytes


def to_answer(response: FhirResponse, exchange: Exchange, base_url: str, gzip_min_bytes: int) -> Answer:
    """Return the HTTP form of a response in the negotiated format."""
    native = response.content_type
    body = _native(response.body) if native is not None else _written(response.body, exchange)
    headers = [*_FIXED, ("X-Request-Id", exchange.request_id)]
    if response.status in _WITHOUT_BODY:
        body = b""
    elif body or native is not None:
        headers.append(("Content-Type", native if native is not None else exchange.negotiated.content_type))
        if native is not None:
            headers.append(("Content-Disposition", "attachment"))
    _add_identity(headers, response, base_url)
    if response.headers:
        headers.extend(response.headers.items())
    if len(body) >= gzip_min_bytes and "HTTP_ACCEPT_ENCODING" in exchange.environ:
        body = _packed(body, headers, exchange.environ["HTTP_ACCEPT_ENCODING"], native)
    return _finished(response.status, headers, body, exchange.method)


def _finished(status: int, headers: Headers, body: bytes, method: str) -> Answer:
    if status not in _WITHOUT_BODY:
        headers.append(("Content-Length", str(len(body))))
    return Answer(status, headers, b"" if method == "HEAD" else body)


def write_resource(resource: dict[str, Any], format: Format | None, pretty: bool) -> bytes:
    """Return a resource in a format; JSON when neither was acceptable."""
    if format == "xml":
        return to_xml(parse_stored(to_json(resource)), pretty)
    return to_pretty_json(resource) if pretty else to_json(resource)


def _written(body: bytes | dict[str, Any] | None, exchange: Exchange) -> bytes:
    format, pretty = exchange.negotiated.format, exchange.pretty
    if body is None:
        return b""
    if isinstance(body, dict):
        return write_resource(body, format, pretty)
    if format == "xml":
        return to_xml(parse_stored(body), pretty)
    return to_pretty_json(orjson.Fragment(body)) if pretty else body


def _native(body: bytes | dict[str, Any] | None) -> bytes:
    if not isinstance(body, bytes | None):
        raise TypeError("native content is bytes")
    return body or b""


def _add_identity(headers: Headers, response: FhirResponse, base_url: str) -> None:
    """Add what says which version of what this is, and how long it may be kept."""
    if response.version_id is None:
        headers.append(_FORGET)
    else:
        headers.append(_REVALIDATE)
        headers.append(("ETag", f'W/"{response.version_id}"'))
    if response.last_modified is not None:
        headers.append(("Last-Modified", to_http_date(response.last_modified)))
    location = response.location
    if location is not None:
        absolute = location if location.startswith(("http:", "https:")) else f"{base_url}/{location}"
        headers.append(("Location", absolute))


def _packed(body: bytes, headers: Headers, accepted: str, native: str | None) -> bytes:
    if (native is not None and native.startswith(_PACKED_ALREADY)) or not accepts_gzip(accepted):
        return body
    headers.append(("Content-Encoding", "gzip"))
    return zlib.compress(body, 1, wbits=31)
