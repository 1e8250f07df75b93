"""Redirect addresses: which may be registered, and which registered one a request names, to the letter.

Spec: https://www.rfc-editor.org/rfc/rfc9700#section-4.1, https://www.rfc-editor.org/rfc/rfc8252#section-7
"""

import re
from urllib.parse import SplitResult, urlsplit

_LOOPBACK = frozenset({"127.0.0.1", "::1"})
_PLAIN = re.compile(r"[A-Za-z0-9\-._~:/?@!$&()*+=%\[\]#]+")
"""Without blanks, quotes, commas and semicolons: its beginning also stands in a header."""
_PRIVATE_SCHEME = re.compile(r"[a-z][a-z0-9-]*(?:\.[a-z0-9-]+)+")


def problem_with(uri: str) -> str | None:
    """Return what is wrong with an address to be registered, in English; None when it may be."""
    parts = _split(uri)
    if parts is None or not _PLAIN.fullmatch(uri) or len(uri) > 1_000:
        return "it is not a plain address"
    if "#" in uri:
        return "it must have no fragment"
    if "@" in parts.netloc or "*" in parts.netloc:
        return "its host must be a host alone"
    if parts.scheme in ("https", "http"):
        if not parts.hostname:
            return "it has no host"
        if parts.scheme == "http" and not _is_local(parts):
            return "http is for this machine alone (127.0.0.1, [::1], localhost)"
        return None
    if _PRIVATE_SCHEME.fullmatch(parts.scheme):
        return None
    return "its scheme must be https, or an app's own, such as com.example.app"


def is_registered(uri: str, registered: tuple[str, ...]) -> bool:
    """Say whether the address is one of those registered; of a native app on the machine's loopback, at any port."""
    return uri in registered or any(_differs_by_port(uri, one) for one in registered)


def origin_of(uri: str) -> str:
    """Return what a page's policy must allow for a form to lead there."""
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme in ("https", "http") else f"{parts.scheme}:"


def _differs_by_port(uri: str, registered: str) -> bool:
    asked, known = _split(uri), _split(registered)
    if asked is None or known is None or problem_with(uri) is not None:
        return False
    if known.scheme != "http" or known.hostname not in _LOOPBACK:
        return False
    return (asked.scheme, asked.hostname, asked.path, asked.query) == (
        known.scheme,
        known.hostname,
        known.path,
        known.query,
    )


def _is_local(parts: SplitResult) -> bool:
    return parts.hostname in _LOOPBACK or parts.hostname == "localhost"


def _split(uri: str) -> SplitResult | None:
    try:
        parts = urlsplit(uri)
        _ = parts.port
    except ValueError:
        return None
    return parts
