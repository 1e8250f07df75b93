"""Page links that carry the search, sealed: nobody can read, alter, borrow or keep them.

A token is AES-GCM over the search's parameters, the last sort key and the expiry; the caller and the policy's digest
are authenticated with it, so a link opens for the same caller under the same policy only. Nothing is stored.
Spec: http://hl7.org/fhir/R4/http.html#paging
"""

import os
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from urllib.parse import quote, urlencode

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fhir_server.errors import Issue, NotFound, Text
from fhir_server.search.compiler import Keyset

PAGE_PARAMETER = "_page"
"""The query parameter that a page link consists of."""

_VERSION = b"4"
_NONCE = 12
_TOGETHER = 256
_LONGEST_TOKEN = 400_000
_WORTH_PACKING = 400
_LIST = b"["
_UNUSABLE = Text(
    "This page link is not valid, or no longer: start the search again.",
    "Ce lien de page n’est pas valide, ou ne l’est plus : recommencez la recherche.",
)


@dataclass(frozen=True, slots=True)
class PageState:
    """What a page needs: the search as it was used, where the page begins, and until when the link is good.

    ``path`` is what was searched below the base (``Observation``, empty for the system); ``keyset`` None is page one.
    ``strict`` is how the search was handled, ``warnings`` what a lenient one has to say on each of its pages.
    """

    path: str
    parameters: tuple[tuple[str, str], ...]
    keyset: Keyset | None
    expires: datetime
    strict: bool = True
    warnings: tuple[Issue, ...] = ()


class PageSealer:
    """Seals and opens page states with a key of 16, 24 or 32 bytes that all workers share."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)
        self._nonces = Nonces()

    def seal(self, state: PageState, caller: str, policy_hash: str) -> str:
        """Return the token of a page, in letters that a URL takes as they are."""
        nonce = self._nonces.next()
        sealed = self._cipher.encrypt(nonce, _to_bytes(state), _bound_to(caller, policy_hash))
        return urlsafe_b64encode(_VERSION + nonce + sealed).rstrip(b"=").decode("ascii")

    def open(self, token: str, caller: str, policy_hash: str, now: datetime) -> PageState:
        """Return the state of a token. Raises ``NotFound``, the same whatever is wrong with it."""
        try:
            state = _from_bytes(self._decrypt(token, caller, policy_hash))
        except (InvalidTag, NotBase64, UnicodeError, ValueError):
            raise NotFound(_UNUSABLE) from None
        if state.expires <= now:
            raise NotFound(_UNUSABLE)
        return state

    def _decrypt(self, token: str, caller: str, policy_hash: str) -> bytes:
        if len(token) > _LONGEST_TOKEN:
            raise ValueError
        raw = urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4))
        if raw[:1] != _VERSION or len(raw) <= 1 + _NONCE:
            raise ValueError
        return self._cipher.decrypt(raw[1 : 1 + _NONCE], raw[1 + _NONCE :], _bound_to(caller, policy_hash))


class Nonces:
    """Random nonces, asked of the system many at a time: each question would hand the thread's turn to another."""

    def __init__(self) -> None:
        self._pool: list[bytes] = []
        self._process = 0

    def next(self) -> bytes:
        """Return one that nobody else is given. Safe for threads and after a fork."""
        if self._process == os.getpid():
            with suppress(IndexError):  # another thread may have taken the last one
                return self._pool.pop()
        drawn = os.urandom(_NONCE * _TOGETHER)
        pool = [drawn[start : start + _NONCE] for start in range(0, len(drawn), _NONCE)]
        nonce = pool.pop()
        self._pool, self._process = pool, os.getpid()
        return nonce


@dataclass(frozen=True, slots=True)
class Link:
    """One ``Bundle.link``."""

    relation: str
    url: str


def self_link(base_url: str, path: str, used: Sequence[tuple[str, str]]) -> Link:
    """Return the link that shows the search as it was understood."""
    return Link("self", _url(base_url, path, _to_query(tuple(used))))


def page_link(base_url: str, relation: str, state: PageState, token: str) -> Link:
    """Return the link ``previous`` or ``next`` to a sealed page."""
    return Link(relation, _url(base_url, state.path, f"{PAGE_PARAMETER}={token}"))


def page_links(
    sealer: PageSealer,
    base_url: str,
    path: str,
    used: tuple[tuple[str, str], ...],
    *,
    previous: Keyset | None,
    next: Keyset | None,
    caller: str,
    policy_hash: str,
    now: datetime,
    lifetime: timedelta,
    strict: bool = True,
    warnings: tuple[Issue, ...] = (),
) -> tuple[Link, ...]:
    """Return self, first and, where their keysets are given, previous and next.

    ``first`` is the search itself, sealed only where it has warnings to remember. ``previous`` is the keyset of the
    page's first entry read backward, ``next`` that of its last entry.
    """
    expires = now + lifetime
    own = self_link(base_url, path, used)
    links = [own] if warnings else [own, Link("first", own.url)]
    wanted = (("first", None), ("previous", previous), ("next", next))
    for relation, keyset in wanted:
        if keyset is None and not (relation == "first" and warnings):
            continue
        state = PageState(path, used, keyset, expires, strict, warnings)
        links.append(page_link(base_url, relation, state, sealer.seal(state, caller, policy_hash)))
    return tuple(links)


@lru_cache(maxsize=256)
def _to_query(used: tuple[tuple[str, str], ...]) -> str:
    """Return the pairs as a query string; a search that is asked again, or has further links, says the same."""
    # A bar must be escaped in a URI (RFC 3986), which the type of Bundle.link.url is; strict readers refuse it.
    return urlencode(used, quote_via=quote, safe=",:/$")


def _url(base_url: str, path: str, query: str) -> str:
    url = f"{base_url}/{path}" if path else base_url
    return f"{url}?{query}" if query else url


def _bound_to(caller: str, policy_hash: str) -> bytes:
    return orjson.dumps([caller, policy_hash])


def _to_bytes(state: PageState) -> bytes:
    keyset = None if state.keyset is None else _keyset_to_json(state.keyset)
    warnings = [_issue_to_json(one) for one in state.warnings]
    content = [state.path, state.parameters, keyset, _milliseconds(state.expires), state.strict, warnings]
    written = orjson.dumps(content)
    return written if len(written) < _WORTH_PACKING else zlib.compress(written, 6)


def _from_bytes(content: bytes) -> PageState:
    written = content if content.startswith(_LIST) else zlib.decompress(content)
    path, parameters, keyset, expires, strict, warnings = orjson.loads(written)
    return PageState(
        path=path,
        parameters=tuple((name, value) for name, value in parameters),
        keyset=None if keyset is None else _keyset_from_json(keyset),
        expires=_moment(expires),
        strict=strict,
        warnings=tuple(map(_issue_from_json, warnings)),
    )


def _keyset_to_json(keyset: Keyset) -> list[Any]:
    return [keyset.backward, keyset.inclusive, keyset.tied, [_to_json(one) for one in keyset.values]]


def _keyset_from_json(content: list[Any]) -> Keyset:
    backward, inclusive, tied, values = content
    return Keyset(tuple(_from_json(one) for one in values), backward, inclusive, tied)


def _issue_to_json(issue: Issue) -> list[Any]:
    return [issue.code, issue.text.en, issue.text.fr, issue.severity, issue.expression]


def _issue_from_json(content: list[Any]) -> Issue:
    code, en, fr, severity, expression = content
    return Issue(code, Text(en, fr), severity, tuple(expression))


def _to_json(value: Any) -> Any:
    return {"ms": _milliseconds(value)} if isinstance(value, datetime) else value


def _from_json(value: Any) -> Any:
    return _moment(value["ms"]) if isinstance(value, dict) else value


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _milliseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def _moment(milliseconds: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=milliseconds)
