"""Attacks 41 to 43 on the side of the relying party: forged tokens, planted answers, other providers' answers."""

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from joserfc.jwk import ECKey, OctKey

from fhir_server.egress import Fetcher
from fhir_server.smart.login.federation.providers import Directory, ProviderUnavailable, providers_of
from tests.access.test_egress import serving, shut
from tests.rest.federating import PATIENT, Federation
from tests.rest.identity_provider import SECRET, Provider, new_rsa, signed_with, unsigned
from tests.rest.signing_in import Clock

STRANGER = ECKey.generate_key("P-256", {"kid": "k1"})


def refused(federation: Federation, name: str = "psc") -> None:
    """Check that the sign-in is refused, and that nothing has come of it."""
    browser = federation.site.browser()
    answer = federation.sign_in(name, browser)
    assert answer.status_code == 403
    assert "could not be verified" in answer.get_data(as_text=True)
    assert not browser.is_signed_in
    assert federation.site.accounts.directory.all() == []


def test_a_provider_that_keeps_silent_takes_one_thread_alone(federation: Federation) -> None:
    """Anybody can ask to be sent to a provider; while it does not answer, all else must go on."""
    opened, reached = threading.Event(), threading.Event()
    with serving(shut(opened, reached)) as (port, asked):
        settings = federation.site.composition.settings
        provider = providers_of(replace(settings, psc_issuer=f"http://127.0.0.1:{port}"))["psc"]
        directory = Directory(Fetcher(loopback=True, seconds=60), federation.site.clock, wait=0)

        def ask() -> None:
            with pytest.raises(ProviderUnavailable):
                directory.metadata(provider)

        first = threading.Thread(target=ask)
        first.start()
        reached.wait()
        for _ in range(3):
            ask()
        opened.set()
        first.join()
        assert len(asked) == 1


def public(provider: Provider) -> str:
    return str(provider.key.as_pem(private=False).decode())


@pytest.mark.parametrize(
    "forge",
    [
        unsigned,
        signed_with(STRANGER, "ES256"),
        signed_with(OctKey.import_key(SECRET), "HS256"),
        signed_with(OctKey.import_key(SECRET), "HS512"),
        signed_with(new_rsa(), "RS256"),
        signed_with(new_rsa(), "PS256"),
        signed_with(STRANGER, "ES256", jwk=STRANGER.as_dict(private=False)),
        signed_with(STRANGER, "ES256", jku="https://evil.example/jwks"),
        signed_with(STRANGER, "ES256", kid="../../k1"),
        signed_with(STRANGER, "ES256", kid={"$ne": 1}),
        signed_with(STRANGER, "ES256", kid=None),
        lambda provider, header, claims: "not.a.token",
        lambda provider, header, claims: "",
        lambda provider, header, claims: "é.é.é",
    ],
)
def test_a_token_that_the_provider_has_not_signed_is_worth_nothing(federation: Federation, forge: Any) -> None:
    federation.psc.forge = forge
    refused(federation)


def test_the_public_key_is_no_shared_secret(make_federation: Callable[..., Federation]) -> None:
    federation = make_federation(psc_key=new_rsa(), psc_algorithm="RS256")
    key = OctKey.import_key(b"x" * 32)
    object.__setattr__(key, "_raw_value", public(federation.psc).encode())
    federation.psc.announced = {"id_token_signing_alg_values_supported": ["RS256", "HS256"]}
    federation.psc.forge = signed_with(key, "HS256")
    refused(federation)


def test_a_header_cannot_choose_what_the_provider_has_not_announced(make_federation: Callable[..., Federation]) -> None:
    federation = make_federation(psc_key=new_rsa(), psc_algorithm="RS256")
    federation.psc.announced = {"id_token_signing_alg_values_supported": ["ES256"]}
    refused(federation)


def test_none_is_not_accepted_even_when_it_is_announced(federation: Federation) -> None:
    federation.psc.announced = {"id_token_signing_alg_values_supported": ["none", "ES256"]}
    federation.psc.forge = unsigned
    refused(federation)


def test_franceconnect_is_not_believed_by_a_shared_secret(federation: Federation) -> None:
    federation.site.put(PATIENT)
    federation.franceconnect.announced = {"id_token_signing_alg_values_supported": ["ES256", "HS256"]}
    federation.franceconnect.forge = signed_with(OctKey.import_key(SECRET), "HS256")
    refused(federation, "franceconnect")


@pytest.mark.parametrize("crit", [["exp"], ["b64"], []])
def test_a_header_that_must_be_understood_and_is_not_is_refused(federation: Federation, crit: list[str]) -> None:
    federation.psc.forge = lambda provider, header, claims: signed_with(provider.key, "ES256", crit=crit)(
        provider, header, claims
    )
    refused(federation)


def test_two_keys_of_one_name_and_keys_for_other_uses_sign_nothing(federation: Federation) -> None:
    own = federation.psc.key.as_dict(private=False)
    for published in (
        [own, STRANGER.as_dict(private=False)],
        [{**own, "use": "enc"}],
        [{**own, "alg": "ES384"}],
        [{**own, "crv": "P-384"}],
        [],
    ):
        federation.psc.published = published
        federation.site.clock.turn(minutes=11)
        refused(federation)


def test_a_key_without_a_modulus_signs_nothing(make_federation: Callable[..., Federation]) -> None:
    federation = make_federation(psc_key=new_rsa(), psc_algorithm="RS256")
    federation.psc.published = [{"kty": "RSA", "kid": "k1", "e": "AQAB"}]
    refused(federation)


def test_a_short_key_is_refused(make_federation: Callable[..., Federation]) -> None:
    with pytest.warns(Warning, match="2048"):
        key = new_rsa(bits=1024)
    federation = make_federation(psc_key=key, psc_algorithm="RS256")
    refused(federation)


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://evil.example"},
        {"iss": None},
        {"aud": "another-client"},
        {"aud": ["another-client", "third"]},
        {"aud": None},
        {"aud": ["our-client", "another-client"]},
        {"azp": "another-client"},
        {"nonce": "another"},
        {"nonce": None},
        {"exp": None},
        {"exp": "never"},
        {"iat": None},
        {"sub": None},
        {"sub": 7},
        {"sub": ""},
        {"auth_time": "yesterday"},
        {"at_hash": "AAAA"},
    ],
)
def test_a_token_for_somebody_or_something_else_is_refused(federation: Federation, claims: dict[str, Any]) -> None:
    federation.psc.claims = claims
    refused(federation)


@pytest.mark.parametrize(
    ("exp", "iat", "good"),
    [(-31, -60, False), (-29, -60, True), (300, 31, False), (300, 29, True), (300, -601, False), (300, -599, True)],
)
def test_clocks_may_differ_by_half_a_minute_and_no_more(
    federation: Federation, clock: Clock, exp: int, iat: int, good: bool
) -> None:
    moment = int(clock().timestamp())
    federation.psc.claims = {"exp": moment + exp, "iat": moment + iat}
    assert federation.sign_in("psc").status_code == (303 if good else 403)


def test_a_token_for_us_among_others_says_that_it_is_for_us(federation: Federation) -> None:
    federation.psc.claims = {"aud": ["our-client", "another-client"], "azp": "our-client"}
    assert federation.sign_in("psc").status_code == 303


def test_an_answer_is_good_once(federation: Federation) -> None:
    browser = federation.site.browser()
    answer = federation.begin(browser, "psc")
    assert federation.finish(browser, "psc", answer).status_code == 303
    assert federation.finish(browser, "psc", answer).status_code == 403


def test_a_code_that_was_used_already_is_refused_by_the_provider(federation: Federation) -> None:
    first, second = federation.site.browser(), federation.site.browser()
    answer, other = federation.begin(first, "psc"), federation.begin(second, "psc")
    assert federation.finish(first, "psc", answer).status_code == 303
    assert federation.finish(second, "psc", {**other, "code": answer["code"]}).status_code == 403


def test_a_code_stolen_from_another_browser_fails_by_its_challenge(federation: Federation) -> None:
    victim, thief = federation.site.browser(), federation.site.browser()
    stolen, own = federation.begin(victim, "psc"), federation.begin(thief, "psc")
    assert federation.finish(thief, "psc", {**own, "code": stolen["code"]}).status_code == 403
    assert not thief.is_signed_in


def test_an_answer_planted_into_another_browser_signs_nobody_in(federation: Federation) -> None:
    attacker, victim = federation.site.browser(), federation.site.browser()
    answer = federation.begin(attacker, "psc")
    victim.get("/auth/login")
    assert federation.finish(victim, "psc", answer).status_code == 403
    assert not victim.is_signed_in
    # Looking at it has not used the attacker's own state up, nor given the attacker anything.
    assert federation.finish(attacker, "psc", answer).status_code == 303


@pytest.mark.parametrize("state", ["", "guess", "x" * 5_000])
def test_an_answer_to_nothing_is_refused(federation: Federation, state: str) -> None:
    browser = federation.site.browser()
    answer = federation.begin(browser, "psc")
    assert federation.finish(browser, "psc", {**answer, "state": state}).status_code == 403


def test_an_answer_comes_within_ten_minutes(federation: Federation, clock: Clock) -> None:
    browser = federation.site.browser()
    answer = federation.begin(browser, "psc")
    clock.turn(minutes=10)
    assert federation.finish(browser, "psc", answer).status_code == 403


def test_an_answer_of_one_provider_is_none_of_the_others(federation: Federation) -> None:
    browser = federation.site.browser()
    answer = federation.begin(browser, "psc")
    assert federation.finish(browser, "franceconnect", answer).status_code == 403
    assert federation.finish(browser, "psc", {**answer, "iss": "https://evil.example"}).status_code == 403


def test_a_provider_that_names_itself_must_do_so(federation: Federation) -> None:
    browser = federation.site.browser()
    answer = federation.begin(browser, "psc")
    del answer["iss"]
    assert federation.finish(browser, "psc", answer).status_code == 403


def test_a_provider_that_never_names_itself_need_not(federation: Federation) -> None:
    federation.psc.names_itself = False
    assert federation.sign_in("psc").status_code == 303


def test_who_cancels_is_told_so_and_not_signed_in(federation: Federation) -> None:
    browser = federation.site.browser()
    answer = federation.begin(browser, "psc")
    del answer["code"]
    page = federation.finish(browser, "psc", {**answer, "error": "access_denied", "error_description": "<b>no</b>"})
    assert page.status_code == 403
    assert "<b>no" not in page.get_data(as_text=True)


@pytest.mark.parametrize(
    "change",
    [
        {"userinfo": {"sub": "somebody-else"}},
        {"userinfo": {"sub": None}},
        {"statuses": {"userinfo": 500}},
        {"bodies": {"userinfo": b"[]"}},
        {"bodies": {"userinfo": b"<html>"}},
        {"answer": {"access_token": None}},
        {"answer": {"token_type": "mac"}},
        {"answer": {"id_token": None}},
        {"answer": {"id_token": 7}},
        {"bodies": {"token": b"<html>"}},
        {"bodies": {"token": b'{"error": "server_error"}'}},
        {"statuses": {"token": 500}},
    ],
)
def test_what_does_not_belong_together_is_refused(federation: Federation, change: dict[str, Any]) -> None:
    for name, value in change.items():
        setattr(federation.psc, name, value)
    refused(federation)


@pytest.mark.parametrize(
    ("userinfo", "good"),
    [
        ({"iss": "https://evil.example"}, False),
        ({"aud": "another-client"}, False),
        ({"aud": ["our-client", "x"]}, True),
        ({}, True),
    ],
)
def test_signed_userinfo_is_from_the_provider_for_us(
    federation: Federation, userinfo: dict[str, Any], good: bool
) -> None:
    federation.site.put(PATIENT)
    federation.franceconnect.userinfo = userinfo
    assert federation.sign_in("franceconnect").status_code == (303 if good else 403)


def test_franceconnect_must_sign_what_it_says_of_somebody(federation: Federation) -> None:
    federation.site.put(PATIENT)
    federation.franceconnect.signed_userinfo = False
    refused(federation, "franceconnect")


def test_the_way_to_the_provider_carries_state_nonce_and_challenge(federation: Federation) -> None:
    seen = []
    for _ in range(2):
        browser = federation.site.browser()
        federation.begin(browser, "psc", "https://evil.example/")
        (asked,) = federation.psc.codes.values()
        federation.psc.codes.clear()
        seen.append(asked)
        assert asked["redirect_uri"] == "http://localhost:8000/auth/federation/psc/callback"
        assert asked["scope"] == "openid scope_all"
        assert asked["code_challenge_method"] == "S256"
        assert min(len(asked[name]) for name in ("state", "nonce", "code_challenge")) == 43
    assert all(seen[0][name] != seen[1][name] for name in ("state", "nonce", "code_challenge"))
    kept = repr(federation.site.records.find("sign_ins", {}))
    assert seen[0]["state"] not in kept
    assert "evil.example" not in kept


def test_logs_say_why_and_never_who(federation: Federation, capfd: pytest.CaptureFixture[str]) -> None:
    federation.psc.claims = {"nonce": "another"}
    federation.sign_in("psc")
    lines = capfd.readouterr().out
    assert '"event":"sign-in","provider":"psc","reason":"id token: InvalidClaimError"' in lines
    for secret in ("MEDIONI", "899700218896", "subject-1", SECRET, "abc"):
        assert secret not in lines.partition('"event":"sign-in"')[2]
