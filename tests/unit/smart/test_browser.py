"""What a request says of its browser, and the paths that one is led on to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.smart.addresses import client_address, to_subscriber
from fhir_server.smart.login.browser import HOME, describe_agent, is_own_origin, own_path

BASE = "https://health.example.org/fhir"


@pytest.mark.parametrize(
    "path", ["/auth/account", "/auth/authorize/abc", "/auth/authorize/a?b=c&d=%2Fe", "/auth/login/enrol"]
)
def test_our_own_paths_are_gone_on_to(path: str) -> None:
    assert own_path(path) == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "https://evil.example/",
        "//evil.example/auth/",
        "/\\evil.example",
        "/auth/\\evil.example",
        "/auth//evil.example",
        "/auth/../evil",
        "/auth/%2e%2e/evil",
        "/auth/./x",
        "/auth/x\r\nLocation: https://evil.example",
        "/auth/\tx",
        " /auth/account",
        "/authx/account",
        "/fhir/Patient",
        "javascript:alert(1)",
        "/auth/#x",
        "/auth/é",
        "/auth/" + "x" * 3_000,
    ],
)
def test_no_other_path_is_gone_on_to(path: str) -> None:
    assert own_path(path) == HOME


@given(st.text(max_size=60).map(lambda tail: "/auth/" + tail))
def test_whatever_follows_the_way_stays_here(path: str) -> None:
    gone = own_path(path)
    assert gone.startswith("/auth/")
    assert not set(gone) & set("\\\r\n\t #")
    assert "//" not in gone.partition("?")[0]


@pytest.mark.parametrize(
    ("environ", "proxies", "address"),
    [
        ({"REMOTE_ADDR": "203.0.113.7"}, (), "203.0.113.7"),
        ({"REMOTE_ADDR": "203.0.113.7", "HTTP_X_FORWARDED_FOR": "198.51.100.1"}, (), "203.0.113.7"),
        ({"REMOTE_ADDR": "10.0.0.1", "HTTP_X_FORWARDED_FOR": "1.2.3.4, 198.51.100.1"}, ("10.0.0.0/8",), "198.51.100.1"),
        (
            {"REMOTE_ADDR": "10.0.0.1", "HTTP_FORWARDED": 'for="[2001:db8:1:2::9]:443"'},
            ("10.0.0.1",),
            "2001:db8:1:2::/64",
        ),
        ({"REMOTE_ADDR": "10.0.0.1"}, ("10.0.0.1",), "10.0.0.1"),
        ({"REMOTE_ADDR": "10.0.0.1", "HTTP_X_FORWARDED_FOR": "evil"}, ("10.0.0.1",), "unknown"),
        ({"REMOTE_ADDR": "2001:db8:1:2:3:4:5:6"}, (), "2001:db8:1:2::/64"),
        ({}, ("10.0.0.1",), "unknown"),
    ],
)
def test_attempts_are_counted_by_the_subscriber_behind_the_proxies(
    environ: dict[str, str], proxies: tuple[str, ...], address: str
) -> None:
    assert to_subscriber(client_address(environ, proxies)) == address


@pytest.mark.parametrize(
    ("headers", "ours"),
    [
        ({}, True),
        ({"Origin": "https://health.example.org"}, True),
        ({"Origin": "https://internal:8000"}, True),
        ({"Origin": "https://evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://health.example.org"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-site", "Origin": "https://health.example.org"}, False),
    ],
)
def test_changes_come_from_our_own_pages(headers: dict[str, str], ours: bool) -> None:
    assert is_own_origin(headers, "internal:8000", BASE) is ours


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/150.0 Safari/537.36", "Chrome, Linux"),
        ("Mozilla/5.0 (Windows NT 10.0) Chrome/150 Safari/537 Edg/150", "Edge, Windows"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 19 like Mac OS X) Version/19 Safari/604", "Safari, iPhone"),
        ("<script>", ""),
        ("", ""),
    ],
)
def test_a_browser_is_described_by_known_words_alone(header: str, words: str) -> None:
    assert describe_agent(header) == words
