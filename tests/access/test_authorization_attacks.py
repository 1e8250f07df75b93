"""Attacks on the authorization request: safeguards left out, foreign addresses, scopes that mean something else."""

import pytest

from fhir_server.smart import endings
from tests.access.oauth import FORM, refused
from tests.rest.smart import Smart
from tests.rest.smart_apps import BASE, ISSUER, REDIRECT, App, query_of
from tests.rest.smart_people import MARIE


@pytest.mark.parametrize(
    "more",
    [
        {"code_challenge": None, "code_challenge_method": None},
        {"code_challenge": None},
        {"code_challenge_method": None},
        {"code_challenge_method": "plain"},
        {"code_challenge_method": "s256"},
        {"code_challenge": "short"},
        {"code_challenge": "a" * 200},
        {"code_challenge": "a" * 44},
        {"code_challenge": "a" * 42 + "="},
        {"code_challenge": "a" * 43 + "\n"},
        {"code_challenge": "é" * 43},
        {"aud": None},
        {"aud": ""},
        {"aud": "https://elsewhere.example/fhir"},
        {"aud": f"{BASE}/Patient"},
        {"aud": ISSUER},
        {"response_mode": "fragment"},
        {"response_mode": "form_post"},
        {"prompt": "none login"},
        {"prompt": "please"},
        {"max_age": "-1"},
        {"max_age": "9" * 20},
        {"nonce": "n" * 2_000},
        {"launch": "unknown"},
    ],
    ids=str,
)
def test_a_request_that_lacks_a_safeguard_goes_back_with_an_error(smart: Smart, more: dict[str, str | None]) -> None:
    app = smart.app()
    answer = app.authorize(smart.browser(MARIE), "openid patient/*.rs", **more)
    assert answer.status_code == 302
    told = query_of(answer.location)
    assert answer.location.startswith(f"{REDIRECT}?")
    assert (told["error"], told["state"], told["iss"]) == ("invalid_request", app.state, ISSUER)


def test_a_request_without_end_is_refused(smart: Smart) -> None:
    data = {**smart.app().parameters("patient/*.rs"), "x": "y" * 20_000}
    assert smart.browser(MARIE).post("/auth/authorize", data=data).status_code == 400


def test_request_objects_are_not_read(smart: Smart) -> None:
    for name in ("request", "request_uri"):
        answer = smart.app(f"app-{name}").authorize(
            smart.browser(MARIE), "patient/*.rs", **{name: "https://a.example/r"}
        )
        assert query_of(answer.location)["error"] == "request_not_supported"


@pytest.mark.parametrize(
    "response_type", ["token", "id_token", "code token", "code id_token", "none", "", "CODE", "co\\de", "é", "\r\n"]
)
def test_tokens_never_come_from_the_authorization_endpoint(smart: Smart, response_type: str) -> None:
    answer = smart.app().authorize(smart.browser(MARIE), "openid patient/*.rs", response_type=response_type)
    assert answer.status_code in (302, 400)
    assert "token=" not in (answer.location or "")
    nowhere = smart.app("other").authorize(
        smart.browser(MARIE), "openid", response_type=response_type, redirect_uri=None
    )
    assert nowhere.status_code == 400


@pytest.mark.parametrize(
    "uri",
    [
        "https://app.example/callback/",
        "https://app.example/callback?x=1",
        "https://app.example/callback#x",
        "https://app.example/callback/../evil",
        "https://app.example/Callback",
        "https://APP.example/callback",
        "https://app.example.evil.example/callback",
        "https://evil.example/callback",
        "https://app.example@evil.example/callback",
        "https://app.example:443/callback",
        "http://app.example/callback",
        "//app.example/callback",
        "javascript:alert(1)//app.example/callback",
        "data:text/html,x",
        "https://app.example\\.evil.example/callback",
        " https://app.example/callback",
        "https://app.example/callback\r\nSet-Cookie: a=b",
        "",
        None,
    ],
)
def test_only_a_registered_address_is_led_to(smart: Smart, uri: str | None) -> None:
    answer = smart.app().authorize(smart.browser(MARIE), "patient/*.rs", redirect_uri=uri)
    assert answer.status_code == 400
    assert answer.location is None
    assert answer.content_type.startswith("text/html")


def test_a_native_app_may_use_any_port_of_the_loopback_and_nothing_else(smart: Smart) -> None:
    app = smart.app(redirect_uris=("http://127.0.0.1/cb?a=1", "http://[::1]/cb", "http://localhost/cb", REDIRECT))
    browser = smart.browser(MARIE)
    for uri in ("http://127.0.0.1:5173/cb?a=1", "http://127.0.0.1/cb?a=1", "http://[::1]:9/cb", "http://localhost/cb"):
        assert app.authorize(browser, "patient/*.rs", redirect_uri=uri).status_code == 303
    for uri in (
        "http://127.0.0.1:5173/cb",
        "http://127.0.0.1:5173/other?a=1",
        "http://127.0.0.2:5173/cb?a=1",
        "https://127.0.0.1:5173/cb?a=1",
        "http://localhost:5173/cb",
        "http://127.0.0.1:5173/cb?a=1#x",
        "http://u@127.0.0.1:5173/cb?a=1",
        "http://127.0.0.1:99999/cb?a=1",
        "https://app.example:8443/callback",
    ):
        assert app.authorize(browser, "patient/*.rs", redirect_uri=uri).status_code == 400


def test_a_parameter_twice_is_refused(smart: Smart) -> None:
    app, browser = smart.app(), smart.browser(MARIE)
    given = app.parameters("patient/*.rs")
    for name in ("redirect_uri", "scope", "client_id", "code_challenge", "aud", "state"):
        pairs = [*given.items(), (name, given[name])]
        answer = browser.get("/auth/authorize", query_string=pairs)
        assert answer.status_code == 400, name
    pairs = [("grant_type", "authorization_code"), ("code", "a"), ("code", "b"), ("client_id", "app")]
    answer = smart.client.post("/auth/token", data="&".join(f"{a}={b}" for a, b in pairs), content_type=FORM)
    refused(answer, "invalid_request")


def test_an_unknown_or_ended_client_asks_nobody(smart: Smart) -> None:
    app, browser = smart.app(), smart.browser(MARIE)
    waiting = app.authorize(browser, "patient/*.rs").location
    assert endings.end_client(smart.composition.smart().ground, "app")
    assert not endings.end_client(smart.composition.smart().ground, "app")
    assert app.authorize(browser, "patient/*.rs").status_code == 400
    assert browser.get(waiting).status_code == 400
    for client_id in (None, "", "a" * 1_000, "nobody"):
        assert app.authorize(browser, "patient/*.rs", client_id=client_id).status_code == 400


def test_a_backend_asks_nobody(smart: Smart) -> None:
    backend = smart.backend(redirect_uris=(REDIRECT,))
    answer = App(smart, backend.client).authorize(smart.browser(MARIE), "system/*.rs")
    assert query_of(answer.location)["error"] == "unauthorized_client"


@pytest.mark.parametrize(
    "scope",
    [
        "",
        "system/*.rs",
        "patient/*.dc",
        "patient/Observations.rs",
        "PATIENT/*.rs",
        "patient/Observation.rs?patient.name=x",
        "patient/Observation.rs?code:in=http://a/b",
        "patient/Observation.rs?_has:Provenance:target:agent=x",
        "launch/imagingstudy",
        "admin",
        "*",
        "a" * 10_000,
    ],
)
def test_a_scope_that_means_nothing_here_is_refused(smart: Smart, scope: str) -> None:
    answer = smart.app(scope="openid patient/*.cruds user/*.cruds system/*.cruds").authorize(
        smart.browser(MARIE), scope
    )
    assert query_of(answer.location)["error"] == "invalid_scope"


def test_a_launch_alone_is_nothing_to_consent_to(smart: Smart) -> None:
    browser = smart.browser(MARIE)
    answer = smart.app().authorize(browser, "launch/patient")
    assert query_of(browser.get(answer.location).location)["error"] == "invalid_scope"


def test_a_user_never_gets_system_scopes_and_a_backend_never_a_users(smart: Smart) -> None:
    app = smart.app(scope="patient/*.rs system/*.cruds")
    assert app.run(MARIE, "patient/*.rs system/*.cruds")["scope"] == "patient/*.rs"
    backend = smart.backend(scope="system/*.rs user/*.cruds patient/*.cruds openid offline_access")
    answer = backend.ask("system/*.cruds user/*.cruds patient/*.cruds openid offline_access").get_json()
    assert answer["scope"] == "system/*.rs"
    assert "refresh_token" not in answer
    assert "id_token" not in answer
    refused(backend.ask("user/*.rs"), "invalid_scope")
    refused(backend.ask(""), "invalid_scope")
