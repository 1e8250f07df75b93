"""Attacks on sessions and pages: planted sessions, forged and framed forms, accounts locked meanwhile."""

from collections.abc import Callable

import pytest

from fhir_server.accounts.account import Situation
from tests.rest.signing_in import PASSWORD, Clock, Site


def test_a_planted_session_is_worth_nothing_after_the_sign_in(site: Site) -> None:
    site.add_totp(site.add_patient("dominique"))
    site.add_patient("mallory", "p2")
    attacker = site.browser()
    attacker.sign_in("mallory")
    planted = {name: str(attacker.cookie(name)) for name in ("fhir-session", "fhir-visit")}
    victim = site.browser()
    for name, value in planted.items():
        victim.set_cookie(name, value)
    victim.sign_in("dominique")
    pending = victim.cookie("fhir-session")
    otp = pyotp_of(site, "dominique")
    victim.type_code(otp)
    assert victim.is_signed_in
    tokens = [planted["fhir-session"], pending, victim.cookie("fhir-session")]
    assert len(set(tokens)) == 3
    # Neither what the attacker knew nor what the first step gave opens anything now.
    for token in tokens[:2]:
        attacker.set_cookie("fhir-session", str(token))
        assert not attacker.is_signed_in


def pyotp_of(site: Site, login: str) -> str:
    """Return the code that the account's app shows."""
    import pyotp

    account = site.accounts.directory.find_by_login(login)
    assert account is not None
    assert account.totp is not None
    return pyotp.TOTP(site.accounts.sealer.open(account.totp, account.id).decode()).at(site.clock())


def test_a_session_is_stored_as_a_digest_alone(site: Site) -> None:
    site.add_patient("dominique")
    browser = site.browser()
    browser.sign_in("dominique")
    token = browser.cookie("fhir-session")
    assert token is not None
    assert token not in repr(site.records.find("sessions", {}))
    stored = site.records.find("sessions", {})[0]["_id"]
    browser.set_cookie("fhir-session", stored)
    assert not browser.is_signed_in


def test_cookies_are_out_of_reach_of_scripts_other_sites_and_plain_http(make_site: Callable[..., Site]) -> None:
    site = make_site(base_url="https://health.example.org/fhir")
    site.add_patient("dominique")
    browser = site.browser()
    browser.sign_in("dominique")
    assert browser.page is not None
    (cookie,) = (each for each in browser.page.headers.getlist("Set-Cookie") if "session" in each)
    assert cookie.startswith("__Host-fhir-session=")
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} <= set(cookie.split("; "))
    assert "Domain" not in cookie
    assert browser.page.headers["Strict-Transport-Security"].startswith("max-age=")


@pytest.mark.parametrize("path", ["/auth/login", "/auth/logout", "/auth/account", "/auth/login/totp"])
def test_no_page_can_be_framed_injected_into_or_kept(site: Site, path: str) -> None:
    answer = site.browser().get(path)
    policy = answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert "frame-ancestors 'none'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "form-action 'self'" in policy
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    text = answer.get_data(as_text=True)
    assert "<style" not in text
    assert "<script>" not in text
    assert " style=" not in text
    assert " onclick" not in text


@pytest.mark.parametrize("content_type", ["application/json", "application/x-www-form-urlencoded", "text/plain"])
@pytest.mark.parametrize(
    "path", ["/auth/login", "/auth/login/webauthn", "/auth/login/enrol/webauthn", "/auth/logout", "/auth/account/app"]
)
def test_a_page_reads_no_more_than_a_form(site: Site, path: str, content_type: str) -> None:
    """Before anybody has signed in: a few large bodies would take all memory."""
    body = b'{"a": [' + b"1," * 50_000 + b"1]}"
    answer = site.application.test_client().post(path, data=body, content_type=content_type)
    assert answer.status_code == 413


@pytest.mark.parametrize(
    "path",
    [
        "/auth/login",
        "/auth/logout",
        "/auth/account/session",
        "/auth/account/app",
        "/auth/account/password",
        "/auth/account/security-key",
        "/auth/account/recovery-codes",
        "/auth/login/enrol",
        "/auth/login/enrol/done",
    ],
)
def test_a_form_that_is_not_ours_changes_nothing(site: Site, path: str) -> None:
    site.add_patient("dominique")
    browser, attacker = site.browser(), site.browser()
    browser.sign_in("dominique")
    attacker.get("/auth/login")
    form = {"login": "dominique", "password": PASSWORD, "session": "others", "code": "1", "present": PASSWORD}
    browser.page = None
    assert browser.post(path, form).status_code == 403
    assert browser.post(path, {**form, "csrf": ""}).status_code == 403
    assert browser.post(path, {**form, "csrf": attacker.hidden["csrf"]}).status_code == 403
    page = "/auth/logout"
    browser.get(page)
    proof = browser.hidden["csrf"]
    assert browser.post(path, {**form, "csrf": proof}, Origin="https://evil.example").status_code == 403
    assert browser.post(path, {**form, "csrf": proof}, Sec_Fetch_Site="cross-site").status_code == 403
    assert browser.is_signed_in


@pytest.mark.parametrize("next", ["https://evil.example/", "//evil.example", "/auth/../x", "/\\evil", "/fhir/Patient"])
def test_nobody_is_led_to_another_site(site: Site, next: str) -> None:
    site.add_patient("dominique")
    browser = site.browser()
    browser.get("/auth/login?next=" + next)
    assert browser.hidden["next"] == "/auth/account"
    answer = browser.post("/auth/login", {"login": "dominique", "password": PASSWORD, "next": next})
    assert answer.headers["Location"] == "/auth/account"


def test_what_is_put_into_an_address_is_shown_as_text(site: Site) -> None:
    answer = site.browser().get("/auth/login?next=/auth/%3Cscript%3Ealert(1)%3C/script%3E&lang=%3Cx%3E")
    assert "<script>alert" not in answer.get_data(as_text=True)
    answer = site.browser().get("/auth/login?next=/auth/x'%22%3E%3Cb%3E")
    assert "<b>" not in answer.get_data(as_text=True)


def test_a_locked_account_ends_with_the_next_request(site: Site) -> None:
    ended: list[str] = []
    account = site.add_patient("dominique")
    browser, other = site.browser(), site.browser()
    browser.sign_in("dominique")
    other.sign_in("dominique")
    object.__setattr__(site.accounts.directory, "end_tokens", ended.append)
    site.accounts.directory.lock(account.id)
    assert ended == [account.id]
    assert not browser.is_signed_in
    assert not other.is_signed_in
    assert site.accounts.find_account(account.id, None) is None
    assert browser.sign_in("dominique").status_code == 403
    site.accounts.directory.unlock(account.id)
    assert not other.is_signed_in
    assert browser.sign_in("dominique").status_code == 303


def test_a_session_opened_while_the_account_is_being_locked_is_of_no_use(site: Site) -> None:
    account = site.add_patient("dominique")
    browser = site.browser()
    browser.sign_in("dominique")
    # As if the lock had ended the sessions just before this one was opened.
    site.records.change("accounts", {"_id": account.id}, [{"$set": {"state": "locked"}}])
    assert not browser.is_signed_in
    assert browser.get("/auth/account").status_code == 303


def test_the_second_step_of_an_account_locked_meanwhile_opens_nothing(site: Site, clock: Clock) -> None:
    account = site.add_patient("dominique")
    otp = site.add_totp(account)
    browser = site.browser()
    browser.sign_in("dominique")
    browser.follow()
    site.accounts.directory.lock(account.id)
    browser.post("/auth/login/totp", {"code": otp.at(clock())})
    assert not browser.is_signed_in


def test_secrets_are_sealed_or_hashed_in_the_database(site: Site) -> None:
    account = site.add_patient("dominique")
    uri = site.accounts.codes.provision(account).uri
    codes = site.accounts.codes.renew_recovery_codes(account)
    kept = repr(site.records.find("accounts", {}))
    secret = uri.partition("secret=")[2].partition("&")[0]
    for text in (PASSWORD, secret, *codes, *(code.replace("-", "") for code in codes)):
        assert text not in kept


def test_a_professional_has_no_password_unless_a_setting_says_so(make_site: Callable[..., Site]) -> None:
    strict, lax = make_site(), make_site(professional_passwords=True)
    strict.add_doctor("martin", Situation("s", "10"))
    assert strict.browser().sign_in("martin").status_code == 403
    assert lax.browser().sign_in("martin").status_code == 303


def test_a_situation_is_chosen_on_our_own_page(make_site: Callable[..., Site]) -> None:
    site = make_site(professional_passwords=True)
    site.add_doctor("martin", Situation("a", "10"), Situation("b", "60"))
    browser = site.browser()
    browser.sign_in("martin")
    browser.follow()
    assert browser.post("/auth/login/situation", {"situation": "a", "csrf": "wrong"}).status_code == 403
    assert not browser.is_signed_in
    assert browser.post("/auth/login/situation", {"situation": "a"}).status_code == 303
