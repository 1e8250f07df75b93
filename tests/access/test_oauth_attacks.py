"""Attacks on the authorization server, each one that broke somebody else's."""

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from threading import Barrier, Thread
from typing import Any

import pytest
from joserfc.jwk import OctKey

from fhir_server.errors import Login
from fhir_server.smart import endings
from fhir_server.smart.bearer import BearerTokens
from fhir_server.smart.endings import end_client
from fhir_server.storage.store import StoreUnavailable
from tests.rest.smart import (
    BASE,
    DOCTOR,
    ISSUER,
    MARIE,
    PIERRE,
    REDIRECT,
    App,
    Backend,
    Page,
    Smart,
    new_key,
    query_of,
)


def refused(answer: Any, error: str, status: int = 400) -> str:
    """Check an error response and return its description."""
    assert answer.status_code == status, (answer.status_code, answer.text)
    assert answer.get_json()["error"] == error, answer.text
    return str(answer.get_json().get("error_description", ""))


# Assertions of clients ---------------------------------------------------------------------------------------------


def words(*parts: Any) -> str:
    return ".".join(
        base64.urlsafe_b64encode(part if isinstance(part, bytes) else json.dumps(part).encode()).rstrip(b"=").decode()
        for part in parts
    )


def claims_of(backend: Backend) -> dict[str, Any]:
    """Return good claims."""
    payload = backend.assertion().split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=="))
    return found


def test_an_unsigned_assertion_proves_nothing(smart: Smart) -> None:
    backend = smart.backend()
    for alg in ("none", "None", "NONE", "nOnE"):
        header = {"alg": alg, "kid": backend.key.kid, "typ": "JWT"}
        refused(backend.ask(assertion=words(header, claims_of(backend), b"")), "invalid_client")


@pytest.mark.parametrize("alg", ["HS256", "HS384"])
def test_a_public_key_is_no_shared_secret(smart: Smart, alg: str) -> None:
    backend = smart.backend(alg="RS384")
    forms = [
        backend.key.as_pem(private=False),
        json.dumps(backend.key.as_dict(private=False)).encode(),
        backend.key.as_dict(private=False)["n"].encode(),
    ]
    for secret in forms:
        signed = words({"alg": alg, "kid": backend.key.kid, "typ": "JWT"}, claims_of(backend))
        hashed = hashlib.sha256 if alg == "HS256" else hashlib.sha384
        mac = hmac.new(secret, signed.encode(), hashed).digest()
        refused(backend.ask(assertion=f"{signed}.{words(mac)}"), "invalid_client")


@pytest.mark.parametrize(("kept", "used"), [("RS384", "ES384"), ("ES384", "RS384"), ("RS384", "PS384")])
def test_another_algorithm_than_the_keys_is_refused(smart: Smart, kept: str, used: str) -> None:
    backend = smart.backend(alg=kept)
    other = new_key("ES384") if used == "ES384" else new_key("RS384")
    header = {"alg": used if used != "PS384" else "RS384", "kid": backend.key.kid}
    signed = backend.assertion(header, key=other)
    if used == "PS384":
        _, payload, signature = backend.assertion().split(".")
        signed = f"{words({'alg': 'PS384', 'kid': backend.key.kid, 'typ': 'JWT'})}.{payload}.{signature}"
    refused(backend.ask(assertion=signed), "invalid_client")


def test_weaker_algorithms_of_the_same_key_are_refused(smart: Smart) -> None:
    backend = smart.backend(alg="RS384")
    bare = {**backend.key.as_dict(private=True)}
    bare.pop("alg")
    from joserfc.jwk import RSAKey

    key = RSAKey.import_key(bare)
    refused(backend.ask(assertion=backend.assertion({"alg": "RS256"}, key=key)), "invalid_client")


@pytest.mark.parametrize(
    "kid", ["../../etc/passwd", "' OR '1'='1", "", None, {"$ne": None}, ["a"], "/dev/null", "\x00", 1]
)
def test_a_key_id_is_a_name_and_nothing_else(smart: Smart, kid: Any) -> None:
    backend = smart.backend()
    _, payload, signature = backend.assertion().split(".")
    header = {"alg": "ES384", "typ": "JWT", "kid": kid}
    refused(backend.ask(assertion=f"{words(header)}.{payload}.{signature}"), "invalid_client")


def test_keys_that_an_assertion_brings_along_are_not_used(smart: Smart) -> None:
    backend, mine = smart.backend(), new_key("ES384")
    brought = mine.as_dict(private=False)
    for header in (
        {"jwk": brought},
        {"jwk": brought, "kid": mine.kid},
        {"jku": "https://attacker.example/jwks"},
        {"x5u": "https://attacker.example/x"},
        {"crit": ["exp"], "exp": 1},
    ):
        signed = words({"alg": "ES384", "kid": backend.key.kid, "typ": "JWT", **header}, claims_of(backend))
        refused(backend.ask(assertion=f"{signed}.{words(b'x' * 96)}"), "invalid_client")
    refused(backend.ask(assertion=backend.assertion({"kid": mine.kid}, key=mine)), "invalid_client")
    refused(backend.ask(assertion=backend.assertion(key=mine)), "invalid_client")


def test_of_two_keys_with_one_id_each_is_tried_and_no_other(smart: Smart) -> None:
    first, second, third = (new_key("ES384") for _ in range(3))
    keys = [{**key.as_dict(private=False), "kid": "same"} for key in (first, second)]
    backend = smart.backend(jwks={"keys": keys})
    for key in (first, second):
        assert backend.ask(assertion=backend.assertion({"kid": "same"}, key=key)).status_code == 200
    refused(backend.ask(assertion=backend.assertion({"kid": "same"}, key=third)), "invalid_client")


def test_secrets_and_weak_keys_in_a_set_are_no_keys(smart: Smart) -> None:
    from joserfc.jwk import ECKey

    weak = ECKey.generate_key("P-256", {"kid": "weak"}, private=True)
    backend = smart.backend(jwks={"keys": [weak.as_dict(private=False)]})
    refused(backend.ask(assertion=backend.assertion({"kid": "weak", "alg": "ES256"}, key=weak)), "invalid_client")
    shared = OctKey.generate_key(256, {"kid": "shared"})
    backend = smart.backend("second", jwks={"keys": [shared.as_dict()]})
    refused(backend.ask(assertion=backend.assertion({"kid": "shared", "alg": "HS256"}, key=shared)), "invalid_client")


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": None},
        {"sub": None},
        {"aud": None},
        {"exp": None},
        {"jti": None},
        {"jti": ""},
        {"jti": 7},
        {"iss": "somebody-else"},
        {"sub": "somebody-else"},
        {"sub": {"$ne": None}},
        {"aud": "https://elsewhere.example/token"},
        {"aud": ["https://elsewhere.example/token"]},
        {"aud": []},
        {"aud": f"{ISSUER}/auth/token/"},
        {"exp": 0},
        {"exp": "never"},
        {"exp": True},
        {"exp": -1},
        {"nbf": timedelta(minutes=10)},
        {"iat": timedelta(minutes=10)},
    ],
    ids=str,
)
def test_a_claim_that_is_missing_or_wrong_is_refused(smart: Smart, claims: dict[str, Any]) -> None:
    backend, now = smart.backend(), int(time.time())
    given = {name: now + one.seconds if isinstance(one, timedelta) else one for name, one in claims.items()}
    refused(backend.ask(assertion=backend.assertion(**given)), "invalid_client")


def test_an_assertion_lives_five_minutes_at_most(smart: Smart) -> None:
    backend = smart.backend()
    assert backend.ask(assertion=backend.assertion(exp=int(time.time()) + 299)).status_code == 200
    for exp in (320, 3_600, 10**12):
        assert "five minutes" in refused(
            backend.ask(assertion=backend.assertion(exp=int(time.time()) + exp)), "invalid_client"
        )
    refused(backend.ask(assertion=backend.assertion(exp=int(time.time()) - 20)), "invalid_client")


def test_an_assertion_is_good_once(smart: Smart) -> None:
    backend, other = smart.backend(), smart.backend("other")
    assertion = backend.assertion(jti="same")
    assert backend.ask(assertion=assertion).status_code == 200
    assert "used before" in refused(backend.ask(assertion=assertion), "invalid_client")
    refused(backend.ask(assertion=backend.assertion(jti="same")), "invalid_client")
    assert other.ask(assertion=other.assertion(jti="same")).status_code == 200


def test_a_replay_at_the_same_moment_gives_one_token(smart: Smart) -> None:
    backend = smart.backend()
    assertion = backend.assertion()
    assert sorted(at_once(8, lambda: backend.ask(assertion=assertion).status_code)) == [200] + [400] * 7


def test_a_forged_assertion_uses_up_nothing(smart: Smart) -> None:
    backend = smart.backend()
    refused(backend.ask(assertion=backend.assertion(key=new_key("ES384"), jti="j")), "invalid_client")
    assert backend.ask(assertion=backend.assertion(jti="j")).status_code == 200


@pytest.mark.parametrize("assertion", ["", "a", "a.b", "a.b.c", "....", "e30.e30.e30", "é.é.é", "a" * 70_000])
def test_what_is_no_assertion_is_refused(smart: Smart, assertion: str) -> None:
    answer = smart.backend().ask(assertion=assertion) if assertion else smart.backend().ask(client_assertion="")
    assert answer.status_code in (400, 401, 413)


def test_a_backend_proves_itself_by_its_key_alone(smart: Smart) -> None:
    backend = smart.backend()
    data = {"grant_type": "client_credentials", "scope": "system/*.rs", "client_id": "backend"}
    for more in ({}, {"client_secret": ""}, {"client_secret": "x"}, {"client_assertion": backend.assertion()}):
        answer = smart.client.post("/auth/token", data={**data, **more})
        assert answer.get_json()["error"] == "invalid_client"
    refused(backend.ask(client_id="another"), "invalid_client")
    app = smart.app("confidential", secret="s")
    refused(app.token(grant_type="client_credentials", scope="system/*.rs"), "invalid_client")


# The authorization request -----------------------------------------------------------------------------------------


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


FORM = "application/x-www-form-urlencoded"


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
        "launch/encounter",
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


# The page of consent -----------------------------------------------------------------------------------------------


def test_only_the_page_that_was_shown_can_answer(smart: Smart) -> None:
    app = smart.app()
    victim, attacker = smart.browser(MARIE), smart.browser(PIERRE)
    page = app.ask(victim, "patient/*.rs")
    form = {**page.form, "decision": "allow"}
    for changed in ({"form_token": ""}, {"form_token": "x"}, {"form_token": "é"}):
        assert victim.post(page.path, data={**form, **changed}).status_code == 403
    assert attacker.post(page.path, data=form).status_code == 403
    assert smart.browser().post(page.path, data=form).status_code == 403
    attackers = app.ask(attacker, "patient/*.rs")
    mine = {**attackers.form, "decision": "allow"}
    assert victim.post(attackers.path, data=mine).status_code == 403, "made the victim answer the attacker's page"
    assert victim.post(page.path, data=form).status_code == 302


def test_a_request_is_answered_once(smart: Smart) -> None:
    page = smart.app().ask(smart.browser(MARIE), "patient/*.rs")
    form = {**page.form, "decision": "allow"}
    assert sorted(at_once(4, lambda: page.browser.post(page.path, data=form).status_code)) == [302, 400, 400, 400]
    assert page.browser.get(page.path).status_code == 400
    assert page.browser.get("/auth/authorize/unknown").status_code == 400
    assert page.browser.post("/auth/authorize/unknown").status_code == 400


def test_a_request_waits_a_quarter_of_an_hour(smart: Smart) -> None:
    page = smart.app().ask(smart.browser(MARIE), "patient/*.rs")
    past = datetime.now(UTC) - timedelta(seconds=1)
    smart.composition.store().records.change_many("smart_requests", {}, [{"$set": {"expires": past}}])
    assert page.browser.get(page.path).status_code == 400


def test_the_page_cannot_be_framed_nor_changed_by_others(smart: Smart) -> None:
    page = smart.app(redirect_uris=("com.example.app:/cb", REDIRECT)).ask(smart.browser(MARIE), "patient/*.rs")
    policy = page.response.headers["Content-Security-Policy"]
    for part in (
        "default-src 'none'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'self' com.example.app:;",
    ):
        assert part in policy
    assert "unsafe" not in policy
    assert page.response.headers["X-Frame-Options"] == "DENY"
    assert page.response.headers["Referrer-Policy"] == "no-referrer"
    assert page.response.headers["Cache-Control"] == "no-store"
    assert "<script" not in page.response.text


def test_a_name_cannot_rewrite_the_page(smart: Smart) -> None:
    name = "</h1><script>alert(1)</script>"
    page = smart.app(name=name).ask(smart.browser(MARIE), "patient/*.rs?_tag=%3Cscript%3E")
    assert "<script" not in page.response.text


def test_a_form_grants_nothing_that_was_not_asked(smart: Smart) -> None:
    app = smart.app()
    page = app.ask(smart.browser(MARIE), "patient/Observation.rs")
    answer = page.allow(scope=["patient/Observation.rs", "patient/*.cruds", "user/*.cruds", "offline_access"])
    token = app.exchange(query_of(answer.location)["code"]).get_json()
    assert token["scope"] == "patient/Observation.rs"


@pytest.mark.parametrize("patient", ["pierre", "nobody", "", "marie/../pierre"])
def test_nobody_chooses_a_patient_who_was_not_shown(smart: Smart, patient: str) -> None:
    page = smart.app().ask(smart.browser(MARIE), "launch/patient patient/*.rs")
    assert page.allow(patient=patient).location is None


# Launches ----------------------------------------------------------------------------------------------------------


def test_a_launch_is_good_once_for_its_app_and_user(smart: Smart) -> None:
    launches = smart.composition.smart().launches
    app, other = smart.app(), smart.app("other")
    doctor, marie = smart.browser(DOCTOR), smart.browser(MARIE)
    launch = launches.mint("app", "Practitioner/doctor", {"patient": "p"})
    answer = other.authorize(doctor, "launch patient/*.rs", launch=launch)
    assert query_of(answer.location)["error"] == "invalid_request", "another app's launch"
    waiting = app.authorize(marie, "launch patient/*.rs", launch=launch).location
    assert query_of(marie.get(waiting).location)["error"] == "invalid_request", "another user's launch"
    first, second = (app.ask(doctor, "launch patient/*.rs", launch=launch) for _ in range(2))
    late = second.form
    assert "code" in query_of(first.allow().location)
    answer = doctor.post(second.path, data={**late, "decision": "allow"})
    assert query_of(answer.location)["error"] == "invalid_request", "used twice"
    assert query_of(app.authorize(doctor, "launch patient/*.rs", launch=launch).location)["error"] == "invalid_request"


def test_a_launch_for_a_patient_opens_no_other_persons_record(smart: Smart) -> None:
    launch = smart.composition.smart().launches.mint("app", None, {"patient": "pierre"})
    browser = smart.browser(MARIE)
    waiting = smart.app().authorize(browser, "launch patient/*.rs", launch=launch).location
    assert query_of(browser.get(waiting).location)["error"] == "access_denied"


def test_a_launch_used_at_the_same_moment_gives_one_code(smart: Smart) -> None:
    launch = smart.composition.smart().launches.mint("app", None, {"patient": "p"})
    app, browser = smart.app(), smart.browser(DOCTOR)
    pages = [app.ask(browser, "launch patient/*.rs", launch=launch) for _ in range(4)]
    forms = [(page, {**page.form, "decision": "allow"}) for page in pages]
    answers = at_once(
        4, lambda: None, [lambda p=page, f=form: p.browser.post(p.path, data=f).location for page, form in forms]
    )
    assert sorted("code=" in str(answer) for answer in answers) == [False, False, False, True]


def test_an_old_launch_is_good_for_nothing(smart: Smart) -> None:
    launch = smart.composition.smart().launches.mint("app", None, {"patient": "p"})
    past = datetime.now(UTC) - timedelta(seconds=1)
    smart.composition.store().records.change_many("smart_launches", {}, [{"$set": {"expires": past}}])
    answer = smart.app().authorize(smart.browser(DOCTOR), "launch patient/*.rs", launch=launch)
    assert query_of(answer.location)["error"] == "invalid_request"


def test_only_an_ehr_mints_launches(smart: Smart) -> None:
    smart.app()
    ehr, backend = smart.backend("ehr", roles=("ehr",)), smart.backend()
    person = smart.app("ehr-app", roles=("ehr",)).run(DOCTOR, "user/*.rs offline_access")

    def mint(token: str, scheme: str = "Bearer", **body: Any) -> Any:
        return smart.client.post(
            "/auth/launch", json={"client_id": "app", **body}, headers={"Authorization": f"{scheme} {token}"}
        )

    for token in ("", "x", person["refresh_token"]):
        assert mint(token).status_code == 401
    assert mint(backend.token(), "Basic").status_code == 401
    for token in (backend.token(), person["access_token"]):
        assert mint(token).status_code == 403
    good = ehr.token()
    assert mint(good).status_code == 201
    for body in (
        {"client_id": "nobody"},
        {"patient": "../x"},
        {"patient": {"$ne": 1}},
        {"smart_style_url": "javascript:x"},
        {"fhirContext": [{"reference": "x"}]},
        {"$where": "x"},
    ):
        refused(mint(good, **body), "invalid_request")
    assert smart.client.post("/auth/launch", data="[", headers={"Authorization": f"Bearer {good}"}).status_code == 400
    endings.end_client(smart.composition.smart().ground, "ehr")
    assert mint(good).status_code == 401


# Codes -------------------------------------------------------------------------------------------------------------


def test_a_code_is_good_once_and_a_replay_ends_what_it_gave(smart: Smart) -> None:
    app = smart.app()
    code = app.code(smart.browser(MARIE), "patient/*.rs offline_access")
    token = app.exchange(code).get_json()
    assert smart.works(token["access_token"])
    refused(app.exchange(code), "invalid_grant")
    assert not smart.works(token["access_token"])
    refused(app.refresh(token["refresh_token"]), "invalid_grant")


def test_a_code_used_at_the_same_moment_gives_no_lasting_token(smart: Smart) -> None:
    app = smart.app()
    code = app.code(smart.browser(MARIE), "patient/*.rs")
    answers = at_once(6, lambda: app.exchange(code))
    given = [one.get_json()["access_token"] for one in answers if one.status_code == 200]
    assert len(given) <= 1
    assert not any(smart.works(token) for token in given)


def test_a_code_is_bound_to_client_address_and_verifier(smart: Smart) -> None:
    other = smart.app("other")
    for form in (
        {"code_verifier": secrets.token_urlsafe(48)},
        {"code_verifier": None},
        {"code_verifier": "short"},
        {"redirect_uri": "https://app.example/other"},
        {"redirect_uri": None},
    ):
        app = smart.app(f"app-{secrets.token_hex(4)}")
        code = app.code(smart.browser(MARIE), "patient/*.rs")
        answer = app.exchange(code, **form)
        assert answer.status_code == 400, form
        refused(app.exchange(code), "invalid_grant")
    app = smart.app()
    code = app.code(smart.browser(MARIE), "patient/*.rs")
    refused(other.exchange(code, code_verifier=app.verifier), "invalid_grant")
    assert app.exchange(code).status_code == 200


def test_what_a_consent_gave_ends_with_it(smart: Smart) -> None:
    app, ground = smart.app(), smart.composition.smart().ground
    code = app.code(smart.browser(MARIE), "patient/*.rs offline_access")
    records = smart.composition.store().records
    records.change_many("smart_grants", {}, [{"$set": {"ended": "$$NOW"}}])
    refused(app.exchange(code), "invalid_grant")
    token = app.run(MARIE, "patient/*.rs offline_access")
    records.change_many("smart_grants", {}, [{"$set": {"ended": "$$NOW"}}])
    refused(app.refresh(token["refresh_token"]), "invalid_grant")
    assert smart.composition.smart().consents.of_account("marie") == []
    endings.end_grant(ground, "unknown")


def test_a_code_is_good_for_a_minute(smart: Smart) -> None:
    app = smart.app()
    code = app.code(smart.browser(MARIE), "patient/*.rs")
    past = datetime.now(UTC) - timedelta(seconds=1)
    smart.composition.store().records.change_many("smart_codes", {}, [{"$set": {"expires": past}}])
    refused(app.exchange(code), "invalid_grant")


@pytest.mark.parametrize("code", ["", "x", "' OR 1=1", "{'$ne': null}", "a" * 5_000])
def test_what_is_no_code_gives_nothing(smart: Smart, code: str) -> None:
    assert smart.app().exchange(code).status_code == 400


def test_a_confidential_app_without_its_proof_gets_nothing(smart: Smart) -> None:
    app = smart.app("confidential", secret="s3cret")
    code = app.code(smart.browser(MARIE), "patient/*.rs")
    for wrong in ("", "wrong"):
        app.secret = wrong
        assert app.exchange(code).get_json()["error"] == "invalid_client"
    app.secret = "s3cret"
    assert app.exchange(code).status_code == 200
    public = smart.app("public")
    public.secret = "anything"
    assert public.exchange("x").get_json()["error"] == "invalid_client"


# Tokens ------------------------------------------------------------------------------------------------------------


def test_a_refresh_token_is_good_once_and_its_reuse_ends_the_family(smart: Smart) -> None:
    app = smart.app()
    first = app.run(MARIE, "patient/*.rs offline_access")
    second = app.refresh(first["refresh_token"]).get_json()
    third = app.refresh(second["refresh_token"]).get_json()
    assert third["patient"] == "marie"
    assert smart.works(third["access_token"])
    assert "used before" in refused(app.refresh(first["refresh_token"]), "invalid_grant")
    for token in (first, second, third):
        assert not smart.works(token["access_token"])
    refused(app.refresh(third["refresh_token"]), "invalid_grant")


def test_a_refresh_at_the_same_moment_leaves_nothing_behind(smart: Smart) -> None:
    app = smart.app()
    token = app.run(MARIE, "patient/*.rs offline_access")
    answers = at_once(6, lambda: app.refresh(token["refresh_token"]))
    given = [one.get_json() for one in answers if one.status_code == 200]
    assert len(given) <= 1
    assert not any(smart.works(one["access_token"]) for one in given)


def test_a_refresh_never_widens(smart: Smart) -> None:
    app = smart.app()
    token = app.run(MARIE, "patient/Observation.rs patient/Condition.r offline_access")
    for scope in (
        "patient/*.rs",
        "patient/Observation.cruds",
        "user/Observation.rs",
        "openid",
        "system/*.rs",
        "nonsense",
    ):
        refused(app.refresh(token["refresh_token"], scope=scope), "invalid_scope")
    narrow = app.refresh(token["refresh_token"], scope="patient/Observation.r?category=laboratory").get_json()
    assert narrow["scope"] == "patient/Observation.r?category=laboratory"
    again = app.refresh(narrow["refresh_token"]).get_json()
    assert again["scope"] == "patient/Observation.rs patient/Condition.r offline_access"
    smart.composition.smart().clients.change("app", scope="patient/Condition.rs")
    assert app.refresh(again["refresh_token"]).get_json()["scope"] == "patient/Condition.r"
    last = app.run(MARIE, "patient/Condition.rs")
    assert "refresh_token" not in last


def test_a_client_that_may_do_nothing_any_more_is_refreshed_nothing(smart: Smart) -> None:
    app = smart.app()
    token = app.run(MARIE, "patient/Observation.rs offline_access")
    smart.composition.smart().clients.change("app", scope="patient/Condition.rs")
    refused(app.refresh(token["refresh_token"]), "invalid_scope")


def test_a_refresh_token_is_its_clients(smart: Smart) -> None:
    app, other = smart.app(), smart.app("other")
    token = app.run(MARIE, "patient/*.rs offline_access")
    refused(other.refresh(token["refresh_token"]), "invalid_grant")
    refused(app.refresh(token["access_token"]), "invalid_grant")
    assert app.refresh(token["refresh_token"]).status_code == 200
    assert smart.fhir("Patient", token["refresh_token"]).status_code == 401


def test_only_a_public_client_may_leave_its_name_out(smart: Smart) -> None:
    app, confidential = smart.app(), smart.app("confidential", secret="s")

    def refresh(token: str) -> Any:
        return smart.client.post("/auth/token", data={"grant_type": "refresh_token", "refresh_token": token})

    token = app.run(MARIE, "patient/*.rs offline_access")
    assert refresh(token["refresh_token"]).status_code == 200
    refused(refresh(confidential.run(MARIE, "patient/*.rs offline_access")["refresh_token"]), "invalid_client", 401)
    refused(refresh("unknown"), "invalid_client", 401)
    refused(refresh(token["access_token"]), "invalid_client", 401)


def test_online_access_ends_with_the_day_and_offline_access_by_disuse(smart: Smart) -> None:
    app = smart.app()
    tokens = smart.composition.smart().tokens
    login = datetime.now(UTC) - timedelta(hours=2)
    code = app.code(smart.browser(MARIE, login), "patient/*.rs online_access")
    online = tokens.find(app.exchange(code).get_json()["refresh_token"])
    assert online is not None
    assert abs(online.expires - login - timedelta(hours=12)) < timedelta(seconds=1)
    offline = tokens.find(app.run(MARIE, "patient/*.rs offline_access")["refresh_token"])
    assert offline is not None
    assert abs(offline.expires - offline.issued - timedelta(days=90)) < timedelta(seconds=1)


def test_an_expired_token_is_none(smart: Smart) -> None:
    app = smart.app()
    token = app.run(MARIE, "patient/*.rs offline_access")
    past = datetime.now(UTC) - timedelta(seconds=1)
    smart.composition.store().records.change_many("smart_tokens", {}, [{"$set": {"expires": past}}])
    assert not smart.works(token["access_token"])
    refused(app.refresh(token["refresh_token"]), "invalid_grant")


def test_an_end_takes_every_token_with_it_at_once(smart: Smart) -> None:
    ground = smart.composition.smart().ground
    app, other = smart.app(), smart.app("other")
    scope = "patient/*.rs offline_access"

    def given() -> list[dict[str, Any]]:
        return [
            app.run(MARIE, scope),
            app.run(MARIE, scope, {"patient": "irene"}),
            other.run(MARIE, scope),
            app.run(PIERRE, scope),
        ]

    def alive(tokens: list[dict[str, Any]]) -> list[bool]:
        return [smart.works(token["access_token"]) for token in tokens]

    tokens = given()
    endings.end_person(ground, "marie", "irene")
    assert alive(tokens) == [True, False, True, True]
    refused(app.refresh(tokens[1]["refresh_token"]), "invalid_grant")
    smart.people.lock("marie")
    endings.end_account(ground, "marie")
    assert alive(tokens) == [False, False, False, True]
    smart.people.add(MARIE)
    refused(app.refresh(tokens[0]["refresh_token"]), "invalid_grant")
    endings.end_client(ground, "app")
    assert alive(tokens) == [False, False, False, False]


def test_what_is_no_longer_true_is_refreshed_no_more(smart: Smart) -> None:
    from dataclasses import replace

    app = smart.app()
    child = app.run(MARIE, "patient/*.rs offline_access", {"patient": "irene"})
    doctor = app.run(DOCTOR, "user/*.rs offline_access")
    moved = app.run(DOCTOR, "user/*.rs offline_access")
    smart.people.add(replace(MARIE, persons=MARIE.persons[:1]))
    refused(app.refresh(child["refresh_token"]), "invalid_grant")
    assert DOCTOR.professional is not None
    smart.people.add(replace(DOCTOR, professional=replace(DOCTOR.professional, sector="SA01")))
    renewed = app.refresh(doctor["refresh_token"]).get_json()
    assert smart.caller(renewed["access_token"]).sector == "SA01"
    smart.people.add(replace(DOCTOR, professional=replace(DOCTOR.professional, practitioner_role="PractitionerRole/2")))
    refused(app.refresh(moved["refresh_token"]), "invalid_grant")


@pytest.mark.parametrize("moment", ["client", "consent", "account"])
def test_no_token_survives_an_end_at_the_same_moment(
    smart: Smart, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end falls between the look at what is still good and the token: just before the insert, or just after."""
    parts = smart.composition.smart()
    app = smart.app()
    code = app.code(smart.browser(MARIE), "patient/*.rs offline_access")
    grant = parts.ground.records.find("smart_grants", {})[0]["_id"]
    records = smart.composition.store().records
    insert = records.insert

    def ending(collection: str, document: Any) -> bool:
        if collection == "smart_tokens":
            if moment == "client":
                endings.end_client(parts.ground, "app")
            elif moment == "consent":
                endings.end_grant(parts.ground, grant)
            else:
                smart.people.lock("marie")
                endings.end_account(parts.ground, "marie")
        return insert(collection, document)

    monkeypatch.setattr(records, "insert", ending)
    refused(app.exchange(code), "invalid_grant")
    assert records.find("smart_tokens", {}) == []


# The edge ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer x",
        "Basic YTpi",
        "bearer a b",
        "Bearer a, Bearer b",
        'Bearer {"$ne":null}',
        "Token x",
        "Bearer " + "a" * 9_000,
    ],
)
def test_without_a_good_token_there_is_nothing(smart: Smart, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    for method, path in (
        ("GET", "/fhir/Patient"),
        ("GET", "/fhir/Patient/p"),
        ("POST", "/fhir"),
        ("POST", "/fhir/metadata"),
        ("GET", "/fhir/_history"),
        ("DELETE", "/fhir/Patient/p"),
        ("GET", "/fhir/metadata/x"),
    ):
        answer = smart.client.open(path, method=method, headers=headers)
        assert answer.status_code == 401, (method, path)
        assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="fhir"')
        assert answer.get_json()["issue"][0]["code"] == "login"
        assert "x-request-id" in {name.lower() for name in dict(answer.headers)}


def test_a_token_does_not_belong_into_a_url(smart: Smart) -> None:
    token = smart.app().run(MARIE, "patient/*.rs")["access_token"]
    for query in (f"access_token={token}", f"a=1&access%5Ftoken={token}", "access_token=", f"acc%65ss_token={token}"):
        for given in (None, token):
            answer = smart.fhir(f"Patient?{query}", given)
            assert answer.status_code == 401
            assert 'error="invalid_request"' in answer.headers["WWW-Authenticate"]
            assert token not in answer.text
    assert smart.fhir(f"metadata?access_token={token}").status_code == 401


def test_a_token_in_a_form_is_not_read(smart: Smart) -> None:
    token = smart.app().run(MARIE, "patient/*.rs")["access_token"]
    answer = smart.client.post("/fhir/Patient/_search", data={"access_token": token})
    assert answer.status_code == 401


def test_the_metadata_is_all_that_is_public(smart: Smart) -> None:
    for method in ("GET", "HEAD"):
        assert smart.client.open("/fhir/metadata", method=method).status_code == 200
    assert smart.client.open("/fhir/Patient", method="OPTIONS").status_code == 204
    assert smart.fhir("metadata", "wrong").status_code == 401


def test_introspection_is_for_those_who_prove_themselves_and_may_know(smart: Smart) -> None:
    app = smart.app()
    mine = smart.app("mine", secret="m")
    ehr = smart.app("ehr", secret="e", roles=("ehr",))
    token = app.run(MARIE, "patient/*.rs offline_access")
    for data in ({"token": token["access_token"]}, {"token": token["access_token"], "client_id": "app"}):
        assert smart.client.post("/auth/introspect", data=data).get_json()["error"] == "invalid_client"
    bearer = {"Authorization": f"Bearer {token['access_token']}"}
    assert (
        smart.client.post("/auth/introspect", data={"token": token["access_token"]}, headers=bearer).status_code != 200
    )
    assert smart.introspect(token["access_token"], mine) == {"active": False}
    assert smart.introspect("unknown", ehr) == {"active": False}
    found = smart.introspect(token["access_token"], ehr)
    assert (found["active"], found["client_id"], found["patient"], found["fhirUser"]) == (
        True,
        "app",
        "marie",
        f"{BASE}/Patient/marie",
    )
    assert found["scope"] == "patient/*.rs offline_access"
    assert set(smart.introspect(token["refresh_token"], ehr)) == {
        "active",
        "iss",
        "aud",
        "client_id",
        "scope",
        "iat",
        "exp",
    }
    app.refresh(token["refresh_token"])
    assert smart.introspect(token["refresh_token"], ehr) == {"active": False}
    word = base64.b64encode(b"ehr:e").decode()
    for data in ({}, {"token": "x", "token_type_hint": "id_token"}):
        answer = smart.client.post("/auth/introspect", data=data, headers={"Authorization": f"Basic {word}"})
        assert answer.status_code in (400, 401)
        assert "error" in answer.get_json()


def test_a_token_is_revoked_by_its_client_alone_and_at_once(smart: Smart) -> None:
    app, other = smart.app(), smart.app("other")
    token = app.run(MARIE, "patient/*.rs offline_access")

    def revoke(word: str, client: str = "app") -> int:
        return smart.client.post("/auth/revoke", data={"token": word, "client_id": client}).status_code

    assert revoke(token["access_token"], other.client.id) == 200
    assert smart.works(token["access_token"])
    assert revoke(token["access_token"]) == 200
    assert not smart.works(token["access_token"])
    again = app.refresh(token["refresh_token"]).get_json()
    assert revoke(again["refresh_token"]) == 200
    assert not smart.works(again["access_token"])
    refused(app.refresh(again["refresh_token"]), "invalid_grant")
    assert revoke("unknown") == 200
    assert smart.client.post("/auth/revoke", data={"token": "x"}).get_json()["error"] == "invalid_client"
    backend = smart.backend()
    alone = backend.token()
    assert (
        backend.smart.client.post(
            "/auth/revoke",
            data={"token": alone, "client_assertion_type": ASSERTION_TYPE, "client_assertion": backend.assertion()},
        ).status_code
        == 200
    )
    assert not smart.works(alone)


ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def test_pages_of_other_origins_call_only_where_they_may(smart_with: Callable[..., Smart]) -> None:
    smart = smart_with(cors_origins=("https://app.example",))
    good, bad = {"Origin": "https://app.example"}, {"Origin": "https://evil.example"}
    name = "Access-Control-Allow-Origin"
    for path in ("/auth/jwks", "/.well-known/openid-configuration", "/fhir/.well-known/smart-configuration"):
        assert smart.client.get(path, headers=good).headers[name] == "https://app.example"
        assert name not in smart.client.get(path, headers=bad).headers
    for path in ("/auth/token", "/auth/revoke", "/auth/introspect"):
        answer = smart.client.post(path, headers=good)
        assert answer.headers[name] == "https://app.example"
        assert "Access-Control-Allow-Credentials" not in answer.headers
        preflight = smart.client.options(path, headers={**good, "Access-Control-Request-Method": "POST"})
        assert "POST" in preflight.headers["Access-Control-Allow-Methods"]
        assert name not in smart.client.options(path, headers=bad).headers
    for path in ("/auth/authorize", "/auth/authorize/x", "/auth/launch"):
        assert name not in smart.client.get(path, headers=good).headers


def test_credentials_in_the_query_of_the_token_endpoint_are_not_read(smart: Smart) -> None:
    app = smart.app("confidential", secret="s")
    code = app.code(smart.browser(MARIE), "patient/*.rs")
    query = {"client_id": "confidential", "client_secret": "s", "grant_type": "authorization_code", "code": code}
    answer = smart.client.post("/auth/token", query_string=query, data={})
    assert answer.status_code == 400
    for content_type in ("application/json", "multipart/form-data", "text/plain"):
        refused(smart.client.post("/auth/token", data=json.dumps(query), content_type=content_type), "invalid_request")
    assert smart.client.get("/auth/token", query_string=query).status_code == 405
    refused(app.token(grant_type="password", username="marie", password="x"), "unsupported_grant_type")
    refused(app.token(grant_type=""), "unsupported_grant_type")


def test_a_database_that_is_away_is_said_to_be(smart: Smart, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any, **__: Any) -> Any:
        raise StoreUnavailable("away")

    app = smart.app()
    for look_up in ("find", "get"):
        monkeypatch.setattr(smart.composition.store().records, look_up, away)
    answer = app.exchange("x")
    assert (answer.status_code, answer.get_json()) == (503, {"error": "temporarily_unavailable"})
    assert answer.headers["Retry-After"]
    assert smart.fhir("Patient", "token").status_code == 503


def test_nothing_secret_is_stored_or_logged(smart: Smart, capsys: pytest.CaptureFixture[str]) -> None:
    app = smart.app("confidential", secret="s3cret-of-the-app")
    token = app.run(MARIE, "openid patient/*.rs offline_access")
    backend = smart.backend()
    backend.token()
    smart.fhir("Patient?name=x", token["access_token"])
    database = smart.composition.store().connection.database
    stored = str(
        [list(database[name].find({})) for name in database.list_collection_names() if name.startswith("smart_")]
    )
    written = capsys.readouterr()
    for secret in (token["access_token"], token["refresh_token"], "s3cret-of-the-app", "BEGIN PRIVATE"):
        assert secret not in stored
        assert secret not in written.out + written.err
    assert "'d'" not in stored
    keys = smart.composition.settings.data_directory / "signing-keys.json"
    assert keys.stat().st_mode & 0o777 == 0o600


def at_once(count: int, work: Callable[[], Any], each: list[Callable[[], Any]] | None = None) -> list[Any]:
    """Do something several times at the same moment and return what came of it."""
    works = each or [work] * count
    barrier, found = Barrier(len(works)), list[Any]()

    def run(one: Callable[[], Any]) -> None:
        barrier.wait()
        found.append(one())

    threads = [Thread(target=run, args=(one,)) for one in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_a_page_in_two_tabs_can_be_answered_in_either(smart: Smart) -> None:
    app, browser = smart.app(), smart.browser(MARIE)
    path = app.authorize(browser, "patient/*.rs").location
    first, _ = Page.at(browser, path), Page.at(browser, path)
    assert first.allow().status_code == 302


def test_an_end_holds_for_every_worker_as_soon_as_it_is_told(smart: Smart, make_composition: Any) -> None:
    token = smart.app("app").run(MARIE, "patient/*.rs")["access_token"]
    other = BearerTokens(make_composition(auth="smart").smart().tokens)
    environ = {"HTTP_AUTHORIZATION": f"Bearer {token}", "PATH_INFO": "/fhir/Patient", "REQUEST_METHOD": "GET"}
    assert other.authenticate(environ).patient == "marie"
    assert smart.works(token)
    end_client(smart.composition.smart().ground, "app")
    assert not smart.works(token)
    with pytest.raises(Login):
        other.authenticate(environ)
