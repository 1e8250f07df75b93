"""The values of HTTP headers that FHIR gives a meaning to, parsed from text and written back.

Spec: http://hl7.org/fhir/R4/http.html#Http-Headers, https://www.rfc-editor.org/rfc/rfc9110, RFC 7240 (Prefer)
"""

import random
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any, NamedTuple

from fhir_server.errors import Invalid, Text

_ETAG = r'(?:W/)?"([A-Za-z0-9\-.]{1,64})"'
_ETAGS = re.compile(rf"\s*{_ETAG}(?:\s*,\s*{_ETAG})*\s*\Z")
_ONE_ETAG = re.compile(_ETAG)
_BARE_VERSION = re.compile(r"[A-Za-z0-9\-.]{1,64}\Z")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:\-]{1,64}\Z")
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_PRIVATE = frozenset({"authorization", "cookie", "proxy-authorization", "proxy"})


class Preferences(NamedTuple):
    """What a ``Prefer`` header asks for, as far as R4 names it."""

    returned: str | None = None
    handling: str | None = None
    respond_async: bool = False


NO_PREFERENCES = Preferences()


class RequestHeaders(Mapping[str, str]):
    """The request's headers by lower-case name, read from the WSGI environ on demand; credentials are left out."""

    __slots__ = ("_environ",)

    def __init__(self, environ: Mapping[str, Any]) -> None:
        self._environ = environ

    def __getitem__(self, name: str) -> str:
        if name in _PRIVATE:
            raise KeyError(name)
        return str(self._environ["HTTP_" + name.upper().replace("-", "_")])

    def __iter__(self) -> Iterator[str]:
        names = (name[5:].lower().replace("_", "-") for name in self._environ if name.startswith("HTTP_"))
        return (name for name in names if name not in _PRIVATE)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def parse_etag(header: str, name: str) -> str:
    """Return the version id of ``W/"3"``, several joined by commas, or ``*``.

    A bare ``3`` is understood, as many clients send it. Raises ``Invalid`` for anything else: a precondition that
    cannot be read must not be taken for one that holds.
    """
    text = header.strip()
    if text == "*" or _BARE_VERSION.match(text):
        return text
    if len(text) > 2_000 or not _ETAGS.match(text):
        raise Invalid(
            Text(
                f'The header {name} must be an ETag such as W/"1".', f'L’en-tête {name} doit être un ETag, comme W/"1".'
            )
        )
    return ",".join(_ONE_ETAG.findall(text))


def parse_http_date(header: str) -> datetime | None:
    """Return the instant in UTC, ``None`` for what is no HTTP date: RFC 9110 has it ignored then."""
    try:
        parsed = parsedate_to_datetime(header[:64])
    except (ValueError, OverflowError):
        return None
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)


@lru_cache(256)
def parse_prefer(header: str) -> Preferences:
    """Return the preferences that R4 defines; others are ignored, as RFC 7240 asks."""
    found: dict[str, str] = {}
    for part in header[:1_000].split(","):
        name, _, value = part.partition(";")[0].strip().partition("=")
        found.setdefault(name.strip().lower(), value.strip().strip('"'))
    returned = {"minimal": "minimal", "representation": "representation", "operationoutcome": "OperationOutcome"}
    handling = found.get("handling", "").lower()
    return Preferences(
        returned.get(found.get("return", "").lower()),
        handling if handling in ("strict", "lenient") else None,
        "respond-async" in found,
    )


def request_id(header: str | None) -> str:
    """Return the caller's request id if it is a plain short word, else a new one."""
    if header is not None and _REQUEST_ID.match(header):
        return header
    # Unique is enough, nobody needs to be kept from guessing it; and the system's source of chance would have this
    # thread stand back for the others.
    return f"{random.getrandbits(96):024x}"


def to_etag(version_id: str) -> str:
    """Return the weak ETag of a version."""
    return f'W/"{version_id}"'


def to_http_date(moment: datetime) -> str:
    """Return a UTC instant as an HTTP date."""
    return (
        f"{_DAYS[moment.weekday()]}, {moment.day:02} {_MONTHS[moment.month - 1]} {moment.year:04} "
        f"{moment.hour:02}:{moment.minute:02}:{moment.second:02} GMT"
    )
