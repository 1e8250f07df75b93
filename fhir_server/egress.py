"""The only way out to an address that somebody else has named: looked up, checked, pinned, bounded.

The name is resolved once and every address it has must be public; the connection goes to the address that was checked,
so a name that changes its mind in between gains nothing. No redirects, no proxies, no credentials in the address.
Spec: https://owasp.org/Top10/A10_2021-Server-Side_Request_Forgery_%28SSRF%29/
"""

import http.client
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], list[str]]

_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class FetchRefused(Exception):
    """The address is not one to go to, or what is there is not to be had; the message says why, in English."""


def resolve(host: str, port: int) -> list[str]:
    """Return all addresses of a host name as the system knows them."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(one[4][0]) for one in found))


@dataclass(frozen=True, slots=True)
class Fetcher:
    """Fetches small public documents. ``loopback`` lets it also go to this machine, by http: for tests alone."""

    loopback: bool = False
    seconds: float = 5.0
    most_bytes: int = 1 << 18
    resolve: Resolve = resolve

    def get(self, url: str, accept: str = "application/json") -> bytes:
        """Return the body behind an https address; raises ``FetchRefused``."""
        parts = self._parts(url)
        address = self._address(parts)
        try:
            with self._connected(parts, address) as connection:
                return self._body(connection, parts, accept)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise FetchRefused(f"the server named cannot be read ({type(error).__name__})") from None

    def check(self, url: str) -> None:
        """Raise ``FetchRefused`` for an address that ``get`` would never go to, without looking its name up."""
        self._parts(url)

    def _parts(self, url: str) -> SplitResult:
        if not url.isascii() or not url.isprintable() or " " in url or "\\" in url or len(url) > 2_000:
            raise FetchRefused("not a plain address")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise FetchRefused("not an address") from None
        if parts.scheme not in ("https", *(("http",) if self.loopback else ())):
            raise FetchRefused("the address must begin with https://")
        if not parts.hostname or "@" in parts.netloc or parts.fragment or "#" in url or port == 0:
            raise FetchRefused("the address must be a host and a path, without user or fragment")
        return parts

    def _address(self, parts: SplitResult) -> str:
        """Return the address to connect to; every address of the name must do."""
        host, port = parts.hostname or "", _port(parts)
        try:
            found = self.resolve(host, port)
        except (OSError, UnicodeError):
            raise FetchRefused("the host name is not known") from None
        for one in found:
            self._check_address(one, parts.scheme)
        if not found:
            raise FetchRefused("the host name is not known")
        return found[0]

    def _check_address(self, text: str, scheme: str) -> None:
        address = _plain(ipaddress.ip_address(text.partition("%")[0]))
        if address.is_loopback and self.loopback:
            return
        if scheme != "https" or not address.is_global or address.is_multicast or address.is_reserved:
            raise FetchRefused("the host is not on the public internet")

    @contextmanager
    def _connected(self, parts: SplitResult, address: str) -> Iterator["_Pinned"]:
        connection = _Pinned(parts, address, self.seconds)
        connection.connect()
        # Timeouts of a socket are for one wait; this one is for all of them together.
        watch = threading.Timer(self.seconds, connection.abort)
        watch.daemon = True
        watch.start()
        try:
            connection.secure()
            yield connection
            # What was cut off looks like one that has ended: no more headers, no more body.
            if connection.aborted:
                raise FetchRefused("the server named is too slow")
        finally:
            watch.cancel()
            connection.close()

    def _body(self, connection: http.client.HTTPConnection, parts: SplitResult, accept: str) -> bytes:
        target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        connection.request("GET", target, headers={"Accept": accept, "Accept-Encoding": "identity"})
        response = connection.getresponse()
        if response.status != 200:
            raise FetchRefused(f"the server named answers with status {response.status}")
        body = response.read(self.most_bytes + 1)
        if len(body) > self.most_bytes:
            raise FetchRefused("the document is too large")
        return body


class _Pinned(http.client.HTTPConnection):
    """A connection to one address, whatever the host is called; TLS is for the host's name."""

    def __init__(self, parts: SplitResult, address: str, seconds: float) -> None:
        super().__init__(parts.hostname or "", _port(parts), timeout=seconds)
        self._address = address
        self._tls = parts.scheme == "https"
        self.aborted = False

    def connect(self) -> None:
        """Connect to the pinned address."""
        self.sock: Any = socket.create_connection((self._address, self.port), self.timeout)

    def secure(self) -> None:
        """Begin TLS."""
        if self._tls:
            context = ssl.create_default_context()
            self.sock = context.wrap_socket(self.sock, server_hostname=self.host, do_handshake_on_connect=False)
            self.sock.do_handshake()

    def abort(self) -> None:
        """Break the connection off, wherever it is."""
        self.aborted = True
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # it had ended by itself


def _port(parts: SplitResult) -> int:
    return parts.port or (443 if parts.scheme == "https" else 80)


def _plain(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 one stands for, if it does."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    inner = address.ipv4_mapped or address.sixtofour
    if inner is None and address.teredo is not None:
        inner = address.teredo[1]
    if inner is None and address in _NAT64:
        inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return inner or address
