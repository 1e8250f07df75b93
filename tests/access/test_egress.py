"""Where the server can be made to go: nowhere but to public hosts, and there only as far as it meant to."""

import http.server
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fhir_server.egress import Fetcher, FetchRefused, resolve
from fhir_server.smart.key_sets import KeySets, KeysRefused
from tests.access.certificates import self_signed

Answer = Callable[[http.server.BaseHTTPRequestHandler], None]


def body(content: bytes, status: int = 200, **headers: str) -> Answer:
    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(content)

    return answer


@contextmanager
def serving(answer: Answer, certificate: Path | None = None) -> Iterator[tuple[int, list[str]]]:
    """Run an HTTP server on the loopback and give its port and what it has been asked for."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(f"{self.path} {self.headers['Host']} {self.headers.get('Authorization')}")
            try:
                answer(self)
            except OSError:
                asked.append("cut off")

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_address[1], asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def names(*addresses: str) -> Callable[[str, int], list[str]]:
    return lambda host, port: list(addresses)


@pytest.mark.parametrize(
    "url",
    [
        "http://keys.example/jwks",
        "ftp://keys.example/jwks",
        "file:///etc/passwd",
        "gopher://keys.example/",
        "jar:https://keys.example!/",
        "data:application/json,{}",
        "https:///jwks",
        "https://",
        "//keys.example/jwks",
        "keys.example/jwks",
        "",
        "https://user@keys.example/jwks",
        "https://user:word@keys.example/jwks",
        "https://keys.example#@127.0.0.1/",
        "https://keys.example/jwks#fragment",
        "https://keys.example\\@127.0.0.1/",
        "https://keys.example/\r\nHost: evil",
        "https://keys.example/ x",
        "https://keys.example/\x00",
        "https://kéys.example/jwks",
        "https://keys.example:99999/jwks",
        "https://keys.example:0/jwks",
        "https://keys.example:x/jwks",
        "https://[::1/jwks",
        "https://keys.example/" + "a" * 3_000,
    ],
)
def test_what_is_no_plain_public_address_is_not_even_looked_up(url: str) -> None:
    asked: list[str] = []

    def look(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["93.184.215.14"]

    with pytest.raises(FetchRefused):
        Fetcher(resolve=look).get(url)
    with pytest.raises(FetchRefused):
        Fetcher().check(url)
    assert asked == []


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.9.9.9",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "192.0.0.1",
        "198.18.0.1",
        "203.0.113.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
        "2001:db8::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:10.0.0.1",
        "64:ff9b::127.0.0.1",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
        "2002:a9fe:a9fe::",
        "2001:0:7f00:1::",
    ],
)
def test_no_address_inside_is_gone_to(address: str) -> None:
    with pytest.raises(FetchRefused, match="public internet"):
        Fetcher(resolve=names(address)).get("https://keys.example/jwks")
    with pytest.raises(FetchRefused, match="public internet"):
        Fetcher(resolve=names("93.184.215.14", address)).get("https://keys.example/jwks")


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0", "[::1]", "[::ffff:127.0.0.1]", "localhost"],
)
def test_no_way_of_writing_the_loopback_gets_there(host: str) -> None:
    with pytest.raises(FetchRefused):
        Fetcher().get(f"https://{host}/jwks")


def test_a_name_that_changes_its_mind_gains_nothing() -> None:
    """The name is looked up once, and the connection goes to the address that was looked at."""
    looks: list[str] = []

    def rebinding(host: str, port: int) -> list[str]:
        looks.append(host)
        return ["127.0.0.1"] if len(looks) == 1 else ["169.254.169.254"]

    with serving(body(b"{}")) as (port, asked):
        assert Fetcher(loopback=True, resolve=rebinding).get(f"http://keys.example:{port}/jwks?a=1") == b"{}"
    assert looks == ["keys.example"]
    assert asked == [f"/jwks?a=1 keys.example:{port} None"]


def test_names_that_lead_nowhere_are_refused() -> None:
    def unknown(host: str, port: int) -> list[str]:
        raise OSError("no such host")

    for look in (unknown, names()):
        with pytest.raises(FetchRefused, match="not known"):
            Fetcher(resolve=look).get("https://keys.example/jwks")
    assert "127.0.0.1" in resolve("localhost", 80) or "::1" in resolve("localhost", 80)


@pytest.mark.parametrize("status", [201, 204, 301, 302, 303, 307, 308, 401, 404, 500])
def test_nothing_but_the_document_itself_is_taken(status: int) -> None:
    leading = body(b"x", status, Location="http://169.254.169.254/")
    with serving(leading) as (port, asked), pytest.raises(FetchRefused, match=str(status)):
        Fetcher(loopback=True).get(f"http://127.0.0.1:{port}/")
    assert len(asked) == 1


def test_a_document_without_end_is_cut_off() -> None:
    with serving(body(b"a" * 2_000)) as (port, _):
        with pytest.raises(FetchRefused, match="too large"):
            Fetcher(loopback=True, most_bytes=1_999).get(f"http://127.0.0.1:{port}/")
        assert len(Fetcher(loopback=True, most_bytes=2_000).get(f"http://127.0.0.1:{port}/")) == 2_000


def test_a_document_that_drips_is_cut_off() -> None:
    def drip(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.flush_headers()
        for _ in range(90):
            handler.wfile.write(b"X-More: x\r\n")
            handler.wfile.flush()
            time.sleep(0.05)

    started = time.monotonic()
    with serving(drip) as (port, _), pytest.raises(FetchRefused, match="slow"):
        Fetcher(loopback=True, seconds=0.4).get(f"http://127.0.0.1:{port}/")
    assert time.monotonic() - started < 3


def test_what_does_not_speak_http_is_refused() -> None:
    def babble(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"* OK IMAP4rev1\r\n")

    with serving(babble) as (port, _), pytest.raises(FetchRefused, match="cannot be read"):
        Fetcher(loopback=True).get(f"http://127.0.0.1:{port}/")


def test_tls_is_for_the_name_and_not_for_the_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = self_signed(tmp_path, "keys.example")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    fetcher = Fetcher(loopback=True, resolve=names("127.0.0.1"))
    with serving(body(b'{"keys":[]}'), certificate) as (port, asked):
        assert fetcher.get(f"https://keys.example:{port}") == b'{"keys":[]}'
        with pytest.raises(FetchRefused):
            fetcher.get(f"https://other.example:{port}/")
        monkeypatch.delenv("SSL_CERT_FILE")
        with pytest.raises(FetchRefused):
            fetcher.get(f"https://keys.example:{port}/")
    assert asked == [f"/ keys.example:{port} None"]


def shut(opened: threading.Event, reached: threading.Event) -> Answer:
    """Return what gives a set of no keys, once it is opened."""

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        reached.set()
        opened.wait()
        body(b'{"keys": []}')(handler)

    return answer


def test_a_door_that_stays_shut_keeps_nobody_before_it() -> None:
    """Anybody can name a client whose keys are behind it: one request waits for them, the others do not."""
    opened, reached = threading.Event(), threading.Event()
    with serving(shut(opened, reached)) as (port, asked):
        sets, url = KeySets(Fetcher(loopback=True, seconds=60), seconds=0), f"http://127.0.0.1:{port}/jwks"
        first = threading.Thread(target=sets.find, args=(url, "a"))
        first.start()
        reached.wait()
        for _ in range(3):
            with pytest.raises(KeysRefused, match="being fetched"):
                sets.find(url, "a")
        opened.set()
        first.join()
        assert sets.find(url, "a") == ()
        assert len(asked) == 1


def test_who_waits_for_a_door_does_not_knock_once_more() -> None:
    opened, reached, waiting = (threading.Event() for _ in range(3))
    looks: list[str] = []

    def monotonic() -> float:
        looks.append(threading.current_thread().name)
        if looks.count("second") == 3:  # it has decided to knock
            waiting.set()
        return 1_000.0

    with serving(shut(opened, reached)) as (port, asked):
        url = f"http://127.0.0.1:{port}/jwks"
        sets = KeySets(Fetcher(loopback=True, seconds=60), monotonic=monotonic, seconds=60)
        both = [threading.Thread(target=sets.find, args=(url, "a"), name=name) for name in ("first", "second")]
        both[0].start()
        reached.wait()
        both[1].start()
        waiting.wait()
        opened.set()
        for one in both:
            one.join()
        assert len(asked) == 1
