"""Under which address the caller reached the server: the base of every absolute link in an answer.

A configured base always wins. Without one a ``Host`` header is believed only when it names this very machine
(loopback), and forwarded headers only from a configured proxy: any other value would let a caller put links of their
choice into answers. Spec: http://hl7.org/fhir/R4/http.html#root, https://www.rfc-editor.org/rfc/rfc7239
"""

import ipaddress
import re
from typing import Any

from fhir_server.settings import Settings

_LOOPBACK = re.compile(r"(?:localhost|127\.0\.0\.1|\[::1\])(?::\d{1,5})?\Z")
_HOST = re.compile(r"(?:[A-Za-z0-9._\-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?\Z")
_FORWARDED_PAIR = re.compile(r'\s*(\w+)\s*=\s*"?([^";,]*)"?\s*')
_MOST_KEPT = 64
_ADDRESS = re.compile(r"[0-9A-Fa-f:.]{2,45}")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Origin:
    """Finds the base URL of a request; ``settings.base_url`` unless a trusted source says otherwise."""

    def __init__(self, settings: Settings) -> None:
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        self._base = settings.base_url
        self._derived = settings.base_url == f"http://{host}:{settings.port}/fhir"
        self._proxies: tuple[Network, ...] = tuple(ipaddress.ip_network(each) for each in settings.trusted_proxies)
        self._by_host: dict[str, str] = {}

    def base_url(self, environ: dict[str, Any]) -> str:
        """Return the base without a trailing slash."""
        if not self._derived:
            return self._base
        if self._proxies and self._is_proxy(environ.get("REMOTE_ADDR", "")):
            return self._forwarded(environ)
        host = environ.get("HTTP_HOST", "")
        known = self._by_host.get(host)
        if known is None:
            known = f"http://{host}/fhir" if _LOOPBACK.match(host) else self._base
            if len(self._by_host) < _MOST_KEPT:
                self._by_host[host] = known
        return known

    def client_address(self, environ: dict[str, Any]) -> str:
        """Return the IP address of who sent the request, by what a trusted proxy says of it; empty if unknown."""
        address: str = environ.get("REMOTE_ADDR") or ""
        if self._proxies and self._is_proxy(address):
            last = environ.get("HTTP_FORWARDED", "").rpartition(",")[2]
            said = {name.lower(): value for name, value in _FORWARDED_PAIR.findall(last)}.get("for", "")
            address = said.strip('[]"') or _last(environ, "HTTP_X_FORWARDED_FOR") or address
        return address if _ADDRESS.fullmatch(address) else ""

    def _is_proxy(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._proxies)

    def _forwarded(self, environ: dict[str, Any]) -> str:
        """Return the base by the last ``Forwarded`` element (the proxy's own), else by ``X-Forwarded-*``."""
        last = environ.get("HTTP_FORWARDED", "").rpartition(",")[2]
        values = {name.lower(): value for name, value in _FORWARDED_PAIR.findall(last)}
        host = values.get("host") or _last(environ, "HTTP_X_FORWARDED_HOST") or environ.get("HTTP_HOST", "")
        scheme = values.get("proto") or _last(environ, "HTTP_X_FORWARDED_PROTO") or "http"
        if not _HOST.match(host) or scheme not in ("http", "https"):
            return self._base
        return f"{scheme}://{host}/fhir"


def _last(environ: dict[str, Any], name: str) -> str:
    text: str = environ.get(name, "")
    return text.rpartition(",")[2].strip()
