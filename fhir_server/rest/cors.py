"""Which web applications of other origins may call, and what they may send and see.

Credentials in the browser's sense (cookies) are never allowed: a token is sent explicitly.
Spec: https://fetch.spec.whatwg.org/#http-cors-protocol, http://hl7.org/fhir/R4/http.html#general
"""

from collections.abc import Iterable

Headers = list[tuple[str, str]]

METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
_SENDABLE = (
    "Accept, Accept-Language, Authorization, Cache-Control, Content-Encoding, Content-Type, If-Match, "
    "If-Modified-Since, If-None-Exist, If-None-Match, Prefer, X-Provenance, X-Request-Id, X-Security-Context"
)
_VISIBLE = "Content-Disposition, Content-Location, ETag, Last-Modified, Location, Retry-After, X-Request-Id"
_PREFLIGHT: Headers = [
    ("Access-Control-Allow-Methods", METHODS),
    ("Access-Control-Allow-Headers", _SENDABLE),
    ("Access-Control-Max-Age", "600"),
]


class Cors:
    """The rules for the configured origins; ``*`` allows all."""

    def __init__(self, origins: Iterable[str]) -> None:
        self._origins = frozenset(origins)

    def headers(self, origin: str) -> Headers:
        """Return what an answer to a page of that origin says; nothing when the origin is not allowed."""
        allowed = "*" if "*" in self._origins else origin
        if allowed not in self._origins:
            return []
        return [("Access-Control-Allow-Origin", allowed), ("Access-Control-Expose-Headers", _VISIBLE)]

    def preflight_headers(self, origin: str) -> Headers:
        """Return what the answer to an OPTIONS request says besides ``headers``, which every answer has."""
        return _PREFLIGHT if self.headers(origin) else []
