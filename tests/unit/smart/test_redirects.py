"""Which redirect addresses may be registered, and what of one a page's policy must allow."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.smart.redirects import is_registered, origin_of, problem_with


@pytest.mark.parametrize(
    "uri",
    [
        "https://app.example/callback",
        "https://app.example:8443/callback?a=1",
        "https://app.example",
        "http://127.0.0.1/cb",
        "http://127.0.0.1:8080/cb",
        "http://[::1]/cb",
        "http://localhost:3000/cb",
        "com.example.app:/callback",
        "com.example.app://callback",
    ],
)
def test_these_may_be_registered(uri: str) -> None:
    assert problem_with(uri) is None
    assert is_registered(uri, (uri,))


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "app.example/callback",
        "/callback",
        "http://app.example/callback",
        "http://127.0.0.1.evil.example/cb",
        "https://",
        "https:///x",
        "https://*.example/cb",
        "https://user@app.example/cb",
        "https://app.example/cb#x",
        "https://app.example/cb#",
        "https://app.example/a b",
        "https://app.example/a;b",
        "https://app.example/a,b",
        "https://app.example/'",
        'https://app.example/"',
        "https://app.example/\r\nx",
        "https://app.éxample/",
        "https://app.example:x/",
        "https://[::1/",
        "javascript:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "vbscript:x",
        "myapp://callback",
        "about:blank",
        "https://app.example/" + "a" * 1_000,
    ],
)
def test_these_may_not(uri: str) -> None:
    assert problem_with(uri) is not None


@given(st.text(max_size=60))
def test_only_what_is_registered_is_registered(uri: str) -> None:
    registered = ("https://app.example/callback", "http://127.0.0.1:80/cb")
    if is_registered(uri, registered) and uri not in registered:
        assert uri.startswith("http://127.0.0.1")
        assert uri.endswith("/cb")


def test_a_policy_allows_the_origin_or_the_apps_scheme() -> None:
    assert origin_of("https://app.example:8443/callback?a=1") == "https://app.example:8443"
    assert origin_of("com.example.app:/cb") == "com.example.app:"
