"""Attacks on security keys: other sites, replayed and crossed ceremonies, clones, nonsense."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from fhir_server.accounts.account import SecurityKey
from tests.rest.authenticator import Authenticator
from tests.rest.signing_in import Browser, Clock, Site


@pytest.mark.parametrize("path", ["/auth/login/webauthn", "/auth/login/webauthn/options"])
def test_a_script_that_is_not_ours_gets_no_challenge_and_gives_no_answer(site: Site, path: str) -> None:
    site.add_totp(site.add_patient("dominique"))
    browser = site.browser()
    browser.sign_in("dominique")
    browser.follow()
    assert browser.send(path, {}, X_CSRF_Token="wrong").status_code == 403
    assert browser.send(path, {}, Origin="https://evil.example").status_code == 403
    assert site.browser().send(path, {}).status_code == 403
    assert browser.send("/auth/login/webauthn", [1]).status_code == 403


def prepared(site: Site) -> tuple[Browser, Authenticator]:
    """Return a browser that has given the password, and the security key of its account."""
    site.add_patient("dominique")
    owner = site.browser()
    owner.sign_in("dominique")
    key = Authenticator()
    owner.get("/auth/login/enrol")
    options = owner.send("/auth/login/enrol/webauthn/options", {}).get_json()
    assert owner.send("/auth/login/enrol/webauthn", key.create(options)).status_code == 200
    browser = site.browser()
    browser.sign_in("dominique")
    browser.follow()
    return browser, key


def ask(browser: Browser) -> dict[str, object]:
    """Return options with a new challenge."""
    return dict(browser.send("/auth/login/webauthn/options", {}).get_json())


def test_a_key_used_on_another_site_opens_nothing(site: Site) -> None:
    browser, key = prepared(site)
    for origin, rp_id in (
        ("https://evil.example", "localhost"),
        ("http://localhost:8000", "evil.example"),
        ("http://localhost:8001", "localhost"),
        ("https://localhost:8000", "localhost"),
    ):
        key.origin, key.rp_id = origin, rp_id
        assert browser.send("/auth/login/webauthn", key.get(ask(browser))).status_code == 403
    assert not browser.is_signed_in


def test_a_challenge_is_answered_once_by_its_own_session(site: Site) -> None:
    browser, key = prepared(site)
    answer = key.get(ask(browser))
    key.count -= 1
    other = site.browser()
    other.sign_in("dominique")
    other.follow()
    ask(other)
    assert other.send("/auth/login/webauthn", answer).status_code == 403
    assert browser.send("/auth/login/webauthn", key.get({"challenge": "b3RoZXI"})).status_code == 403
    # A wrong answer has used the challenge up.
    assert browser.send("/auth/login/webauthn", answer).status_code == 403
    assert browser.send("/auth/login/webauthn", key.get(ask(browser))).status_code == 200


def test_a_registration_does_not_answer_for_a_sign_in_nor_the_other_way(site: Site) -> None:
    browser, key = prepared(site)
    assert browser.send("/auth/login/webauthn", key.create(ask(browser))).status_code == 403
    other = site.browser()
    site.add_patient("paul", "p2")
    other.sign_in("paul")
    other.get("/auth/login/enrol")
    options = other.send("/auth/login/enrol/webauthn/options", {}).get_json()
    assert other.send("/auth/login/enrol/webauthn", Authenticator().get(options)).status_code == 403
    assert other.send("/auth/login/enrol/webauthn", Authenticator().create(options)).status_code == 403


def test_a_key_is_removed_by_its_owner_alone_and_shortly_after_a_sign_in(site: Site, clock: Clock) -> None:
    prepared(site)
    (owner,) = (one for one in site.accounts.directory.all() if one.login == "dominique")
    key = owner.security_keys[0].id
    thief = site.browser()
    site.add_patient("paul", "p2")
    thief.sign_in("paul")
    thief.get("/auth/account")
    for wanted in (key, "", "unknown", owner.id):
        assert thief.post("/auth/account/security-key", {"key": wanted}).status_code == 409
    clock.turn(minutes=16)
    thief.get("/auth/account")
    answer = thief.post("/auth/account/security-key", {"key": key})
    assert answer.headers["Location"] == "/auth/login?again=1"
    assert [one.id for one in site.accounts.directory.get(owner.id).security_keys] == [key]


def test_of_two_keys_removed_at_once_one_stays_where_one_is_required(site: Site) -> None:
    account = site.add_patient("dominique")
    directory = site.accounts.directory
    for name in ("a", "b"):
        assert directory.add_security_key(account.id, SecurityKey(name, b"key", 0, name, site.clock()))
    with ThreadPoolExecutor(2) as pool:
        gone = list(
            pool.map(lambda key: directory.remove_security_key(account.id, key, leaves_a_factor=True), ("a", "b"))
        )
    assert sorted(gone) == [False, True]
    assert len(directory.get(account.id).security_keys) == 1


def test_a_cloned_key_is_noticed_by_its_counter(site: Site) -> None:
    browser, key = prepared(site)
    key.count = 10
    assert browser.send("/auth/login/webauthn", key.get(ask(browser))).status_code == 200
    clone = Authenticator(id=key.id, key=key.key, count=3)
    thief = site.browser()
    thief.sign_in("dominique")
    thief.follow()
    assert thief.send("/auth/login/webauthn", clone.get(ask(thief))).status_code == 403


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"id": 1},
        {"id": None, "response": "x"},
        {"id": "x", "rawId": "x", "type": "public-key", "response": {}},
        {"response": {"clientDataJSON": "e30"}},
    ],
)
def test_nonsense_from_a_key_is_refused_like_a_wrong_answer(site: Site, answer: dict[str, object]) -> None:
    browser, key = prepared(site)
    ask(browser)
    assert browser.send("/auth/login/webauthn", answer).status_code == 403
    ask(browser)
    known = {**key.get({"challenge": "x"}), **answer, "id": key.create({"challenge": ""})["id"]}
    assert browser.send("/auth/login/webauthn", known).status_code == 403


def test_another_key_than_the_accounts_opens_nothing(site: Site) -> None:
    browser, key = prepared(site)
    assert browser.send("/auth/login/webauthn", Authenticator().get(ask(browser))).status_code == 403
    forged = Authenticator(id=key.id)
    assert browser.send("/auth/login/webauthn", forged.get(ask(browser))).status_code == 403


def test_a_key_is_registered_by_our_own_page_alone(site: Site) -> None:
    site.add_patient("dominique")
    browser = site.browser()
    browser.sign_in("dominique")
    browser.get("/auth/login/enrol")
    options = browser.send("/auth/login/enrol/webauthn/options", {}).get_json()
    answer = Authenticator().create(options)
    assert browser.send("/auth/login/enrol/webauthn", answer, X_CSRF_Token="wrong").status_code == 403
    assert browser.send("/auth/login/enrol/webauthn", "text").status_code == 403
    answer = Authenticator().create(browser.send("/auth/login/enrol/webauthn/options", {}).get_json())
    assert browser.send("/auth/login/enrol/webauthn", {**answer, "name": "key \ud800"}).status_code == 403


def waiting(site: Site) -> tuple[Browser, Browser]:
    """Return two browsers that have given the password of an account without a second step: a thief's, its owner's."""
    site.add_patient("dominique")
    thief, owner = site.browser("198.51.100.7"), site.browser()
    for browser in (thief, owner):
        browser.sign_in("dominique")
        browser.get("/auth/login/enrol")
    return thief, owner


def test_who_has_the_password_alone_does_not_pass_by_the_key_that_its_owner_registers_meanwhile(
    make_site: Callable[..., Site],
) -> None:
    site = make_site(second_factor="required")
    thief, owner = waiting(site)
    options = owner.send("/auth/login/enrol/webauthn/options", {}).get_json()
    assert owner.send("/auth/login/enrol/webauthn", Authenticator().create(options)).status_code == 200
    assert thief.post("/auth/login/enrol/done").status_code == 403
    assert not thief.is_signed_in
    assert owner.post("/auth/login/enrol/done").status_code == 200
    assert owner.is_signed_in


def test_who_has_the_password_alone_adds_no_key_to_an_account_that_has_an_app_meanwhile(
    make_site: Callable[..., Site],
) -> None:
    site = make_site(second_factor="required")
    thief, _ = waiting(site)
    options = thief.send("/auth/login/enrol/webauthn/options", {}).get_json()
    (account,) = site.accounts.directory.all()
    site.add_totp(account)
    assert thief.send("/auth/login/enrol/webauthn", Authenticator().create(options)).status_code == 403
    assert site.accounts.directory.get(account.id).security_keys == ()
    assert thief.get("/auth/login/enrol").headers["Location"] == "/auth/login?again=1"
