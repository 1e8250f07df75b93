"""One's own account: second steps, sign-ins, apps and password."""

from collections.abc import Callable
from datetime import timedelta

import pyotp
import pytest

from fhir_server.accounts.account import to_actor
from tests.rest.authenticator import Authenticator
from tests.rest.security_audit import told
from tests.rest.signing_in import PASSWORD, Browser, Clock, Site

NEW_PASSWORD = "another staple entirely"


def registered(site: Site, browser: Browser, name: str = "Ma clé") -> Authenticator:
    """Return a security key that the account of the browser has been given."""
    key = Authenticator()
    browser.get("/auth/login/enrol")
    options = browser.send("/auth/login/enrol/webauthn/options", {}).get_json()
    answer = browser.send("/auth/login/enrol/webauthn", {**key.create(options), "name": name})
    assert (answer.status_code, answer.get_json()) == (200, {"enrolled": True})
    return key


@pytest.fixture
def browser(site: Site) -> Browser:
    """A browser in which a patient is signed in."""
    site.add_patient("dominique")
    browser = site.browser()
    browser.sign_in("dominique")
    return browser


def test_a_security_key_is_registered_and_is_the_second_step_from_then_on(site: Site, browser: Browser) -> None:
    key = registered(site, browser)
    done = browser.post("/auth/login/enrol/done").get_data(as_text=True)
    assert done.count("<li><code>") == 10
    assert "« Ma clé »" in browser.get("/auth/account").get_data(as_text=True)
    other = site.browser()
    other.sign_in("dominique", next="/auth/authorize/abc")
    assert not other.is_signed_in
    other.follow()
    assert "data-security-key" in other.text
    options = other.send("/auth/login/webauthn/options", {}).get_json()
    answer = other.send("/auth/login/webauthn?next=/auth/authorize/abc", key.get(options))
    assert (answer.status_code, answer.get_json()) == (200, {"next": "/auth/authorize/abc"})
    assert other.is_signed_in


def test_a_key_without_a_name_and_one_more_key_are_fine(site: Site, browser: Browser) -> None:
    registered(site, browser, "  ")
    browser.post("/auth/login/enrol/done")
    second = registered(site, browser, "Deuxième")
    done = browser.post("/auth/login/enrol/done").get_data(as_text=True)
    assert "<li><code>" not in done
    page = browser.get("/auth/account").get_data(as_text=True)
    assert "<li><span>Security key</span>" in page
    assert "« Deuxième »" in page
    other = site.browser()
    other.sign_in("dominique")
    other.follow()
    options = other.send("/auth/login/webauthn/options", {}).get_json()
    assert len(options["allowCredentials"]) == 2
    assert other.send("/auth/login/webauthn", second.get(options)).status_code == 200


def test_a_key_registered_by_somebody_else_is_refused(site: Site, browser: Browser) -> None:
    key = registered(site, browser)
    site.add_patient("paul", "p2")
    other = site.browser()
    other.sign_in("paul")
    other.get("/auth/login/enrol")
    options = other.send("/auth/login/enrol/webauthn/options", {}).get_json()
    answer = other.send("/auth/login/enrol/webauthn", key.create(options))
    assert answer.status_code == 403
    assert "not been accepted" in answer.get_json()["problem"]
    assert other.post("/auth/login/enrol/done").status_code == 403


def key_ids(site: Site) -> list[str]:
    account = site.accounts.directory.find_by_login("dominique")
    assert account is not None
    return [key.id for key in account.security_keys]


def test_one_of_two_keys_is_removed_and_other_sign_ins_end(site: Site, browser: Browser) -> None:
    lost, kept = registered(site, browser, "Perdue"), registered(site, browser, "Gardée")
    other = site.browser()
    other.sign_in("dominique")
    other.follow()
    options = other.send("/auth/login/webauthn/options", {}).get_json()
    assert other.send("/auth/login/webauthn", lost.get(options)).status_code == 200
    browser.get("/auth/account")
    assert browser.post("/auth/account/security-key", {"key": key_ids(site)[0]}).status_code == 303
    text = browser.get("/auth/account").get_data(as_text=True)
    assert "Perdue" not in text
    assert "Gardée" in text
    assert not other.is_signed_in
    other.sign_in("dominique")
    other.follow()
    options = other.send("/auth/login/webauthn/options", {}).get_json()
    assert other.send("/auth/login/webauthn", lost.get(options)).status_code == 403
    options = other.send("/auth/login/webauthn/options", {}).get_json()
    assert other.send("/auth/login/webauthn", kept.get(options)).status_code == 200
    (event,) = told(site.composition, "security-key-removed")
    assert event.by == event.resource["agent"][-1]["who"]["identifier"]["value"]


def test_the_last_second_step_goes_only_where_none_is_required(make_site: Callable[..., Site], clock: Clock) -> None:
    site = make_site()
    site.add_patient("dominique")
    browser = site.browser()
    browser.sign_in("dominique")
    registered(site, browser)
    browser.post("/auth/login/enrol/done")
    strict = make_site(second_factor="required")
    account = strict.accounts.directory.find_by_login("dominique")
    assert account is not None
    assert not strict.accounts.remove_security_key(account, account.security_keys[0].id, to_actor(account))
    assert browser.is_signed_in, "what is not removed ends nothing"
    browser.get("/auth/account")
    assert browser.post("/auth/account/security-key", {"key": key_ids(site)[0]}).status_code == 303
    assert "None. Your account rests on the password alone." in browser.get("/auth/account").get_data(as_text=True)
    bare = site.accounts.directory.get(account.id)
    assert (bare.second_factor, bare.recovery_codes) == (False, ())


def test_an_app_beside_lets_the_only_key_go_and_recovery_codes_stay(make_site: Callable[..., Site]) -> None:
    site = make_site(second_factor="required")
    account = site.add_patient("dominique")
    browser = site.browser()
    browser.sign_in("dominique")
    registered(site, browser)
    browser.post("/auth/login/enrol/done")
    site.add_totp(account)
    site.accounts.codes.renew_recovery_codes(account)
    now = site.accounts.directory.get(account.id)
    assert site.accounts.remove_security_key(now, now.security_keys[0].id, to_actor(now))
    left = site.accounts.directory.get(account.id)
    assert (left.security_keys, len(left.recovery_codes), left.totp is not None) == ((), 10, True)


def test_an_app_is_set_up_beside_a_key_and_only_once(site: Site, browser: Browser) -> None:
    registered(site, browser)
    page = browser.get("/auth/login/enrol").get_data(as_text=True)
    secret = page.partition("<code>")[2].partition("</code>")[0].replace(" ", "")
    code = pyotp.TOTP(secret).at(site.clock())
    assert browser.post("/auth/login/enrol", {"code": code}).status_code == 200
    page = browser.get("/auth/login/enrol").get_data(as_text=True)
    assert "<code>" not in page
    assert browser.post("/auth/login/enrol", {"code": code}).status_code == 403
    assert "Authenticator app: set up" in browser.get("/auth/account").get_data(as_text=True)


def test_new_recovery_codes_take_the_place_of_the_old(site: Site, browser: Browser, clock: Clock) -> None:
    assert browser.get("/auth/account").status_code == 200
    assert browser.post("/auth/account/recovery-codes").headers["Location"] == "/auth/login?again=1"
    registered(site, browser)
    browser.post("/auth/login/enrol/done")
    account = site.accounts.directory.find_by_login("dominique")
    assert account is not None
    browser.get("/auth/account")
    assert browser.post("/auth/account/recovery-codes").get_data(as_text=True).count("<li><code>") == 10
    renewed = site.accounts.directory.get(account.id)
    assert not set(renewed.recovery_codes) & set(account.recovery_codes)


def test_who_signed_in_long_ago_signs_in_again_to_change_anything(browser: Browser, clock: Clock) -> None:
    clock.turn(minutes=15)
    assert browser.get("/auth/login/enrol").headers["Location"] == "/auth/login?again=1"
    assert "sign in once more" in browser.follow().get_data(as_text=True)
    browser.get("/auth/account")
    assert browser.send("/auth/login/enrol/webauthn/options", {}).status_code == 403
    assert browser.post("/auth/login/enrol/done").status_code == 403


def test_a_changed_password_ends_all_other_sign_ins(site: Site, browser: Browser) -> None:
    other = site.browser()
    other.sign_in("dominique")
    browser.get("/auth/account")
    answer = browser.post("/auth/account/password", {"present": PASSWORD, "new": NEW_PASSWORD})
    assert answer.headers["Location"] == "/auth/account?changed=1"
    assert "The password is changed" in browser.follow().get_data(as_text=True)
    assert not other.is_signed_in
    assert other.sign_in("dominique").status_code == 403
    assert other.sign_in("dominique", NEW_PASSWORD).status_code == 303


@pytest.mark.parametrize(
    ("form", "status", "problem"),
    [
        ({"present": "wrong", "new": NEW_PASSWORD}, 403, "Login name or password are not right"),
        ({"present": PASSWORD, "new": "short"}, 422, "A password has 12 to 256 characters."),
        ({"present": PASSWORD, "new": "x" * 30}, 422, "different characters"),
        ({"present": PASSWORD, "new": NEW_PASSWORD, "csrf": "wrong"}, 403, "too old"),
        ({"present": "x" * 2_000, "new": NEW_PASSWORD}, 403, "too old"),
    ],
)
def test_a_password_is_not_changed_unless_all_is_right(
    site: Site, browser: Browser, form: dict[str, str], status: int, problem: str
) -> None:
    browser.get("/auth/account")
    assert browser.post("/auth/account/password", form).status_code == status
    assert problem in browser.problem
    assert site.browser().sign_in("dominique").status_code == 303


def test_guessing_the_present_password_has_to_wait(browser: Browser) -> None:
    browser.get("/auth/account")
    form = {"present": "wrong", "new": NEW_PASSWORD}
    statuses = [browser.post("/auth/account/password", form).status_code for _ in range(7)]
    assert statuses == [403] * 5 + [429] * 2


def test_other_sign_ins_are_seen_and_ended(site: Site, browser: Browser) -> None:
    second = site.browser(User_Agent="Mozilla/5.0 (X11; Linux x86_64) Firefox/150.0")
    third = site.browser()
    stranger = site.browser()
    site.add_patient("paul", "p2")
    second.sign_in("dominique")
    third.sign_in("dominique")
    stranger.sign_in("paul")
    page = browser.get("/auth/account").get_data(as_text=True)
    assert "Firefox, Linux" in page
    assert page.count("this browser") == 1
    listed = [part.partition('"')[0] for part in page.split('name="session" value="')[1:]]
    assert len(listed) == 3
    wanted = next(each for each in listed if each != "others")
    browser.post("/auth/account/session", {"session": wanted})
    assert [second.is_signed_in, third.is_signed_in].count(True) == 1
    account = site.accounts.directory.find_by_login("paul")
    assert account is not None
    (paul,) = site.accounts.sessions.of_account(account.id, site.clock())
    browser.get("/auth/account")
    browser.post("/auth/account/session", {"session": paul.id})
    assert stranger.is_signed_in
    browser.get("/auth/account")
    browser.post("/auth/account/session", {"session": "others"})
    assert [second.is_signed_in, third.is_signed_in, browser.is_signed_in] == [False, False, True]
    assert browser.post("/auth/account/session", {"session": "others", "csrf": "x"}).status_code == 403


def test_who_signs_in_with_the_app_alone_sees_no_key(make_site: Callable[..., Site]) -> None:
    site = make_site(base_url="http://127.0.0.1:8000/fhir")
    site.add_totp(site.add_patient("dominique"))
    browser = site.browser()
    browser.sign_in("dominique")
    browser.follow()
    assert "data-security-key" not in browser.text
    assert 'autocomplete="one-time-code"' in browser.text


def test_times_are_those_of_paris_in_the_language_of_the_page(site: Site, browser: Browser) -> None:
    assert "since 04 May 2126 14:00" in browser.get("/auth/account").get_data(as_text=True)
    assert "depuis le 04/05/2126 14:00" in browser.get("/auth/account?lang=fr").get_data(as_text=True)
    assert site.clock().utcoffset() == timedelta(0)
