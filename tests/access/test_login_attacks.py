"""Attacks 50 and its neighbours: guessing, telling accounts apart, planted sessions, forged and framed forms."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from fhir_server.accounts.account import Situation
from tests.rest.authenticator import Authenticator
from tests.rest.signing_in import PASSWORD, Browser, Clock, Site

STEP = timedelta(seconds=30)


def guess(site: Site, login: str, times: int, address: str = "203.0.113.7") -> list[int]:
    browser = site.browser()
    browser.get("/auth/login")
    found = []
    for number in range(times):
        answer = browser.post("/auth/login", {"login": login, "password": f"guess number {number}"})
        found.append(answer.status_code)
    return found


def test_guesses_on_one_name_have_to_wait_ever_longer(site: Site, clock: Clock) -> None:
    site.add_patient("dominique")
    assert guess(site, "dominique", 7) == [403] * 5 + [429] * 2
    browser = site.browser()
    waits = []
    for _ in range(8):
        answer = browser.sign_in("dominique", "guess")
        assert answer.status_code == 429
        waits.append(int(answer.headers["Retry-After"]))
        clock.turn(seconds=waits[-1])
        assert browser.sign_in("dominique", "guess").status_code == 403
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128]
    assert "Too many attempts" in browser.sign_in("dominique", PASSWORD).get_data(as_text=True)
    assert "5 min" in browser.problem
    clock.turn(seconds=256)
    assert browser.sign_in("dominique").status_code == 303


def test_nobody_is_kept_out_for_longer_than_a_quarter_of_an_hour(site: Site, clock: Clock) -> None:
    throttle = site.accounts.sign_in.throttles.name
    for _ in range(40):
        clock.turn(seconds=throttle.admit("dominique", clock()))
    assert throttle.admit("dominique", clock()) in (0, 900)
    assert throttle.admit("dominique", clock()) == 900


def test_the_right_password_is_not_told_from_a_wrong_one_while_one_has_to_wait(site: Site) -> None:
    site.add_patient("dominique")
    guess(site, "dominique", 6)
    browser = site.browser()
    right, wrong = browser.sign_in("dominique"), browser.sign_in("dominique", "wrong")
    assert (right.status_code, right.headers["Retry-After"]) == (wrong.status_code, wrong.headers["Retry-After"])
    assert strip(right.get_data(as_text=True)) == strip(wrong.get_data(as_text=True))


def test_failures_are_forgotten_after_a_success_and_after_an_hour(site: Site, clock: Clock) -> None:
    site.add_patient("dominique")
    assert guess(site, "dominique", 4) == [403] * 4
    assert site.browser().sign_in("dominique").status_code == 303
    assert guess(site, "dominique", 5) == [403] * 5
    clock.turn(hours=2)
    assert guess(site, "dominique", 5) == [403] * 5


def test_many_guesses_at_once_are_counted_one_by_one(site: Site) -> None:
    site.add_patient("dominique")
    throttle = site.accounts.sign_in.throttles.name
    with ThreadPoolExecutor(16) as pool:
        waits = list(pool.map(lambda _: throttle.admit("dominique", site.clock()), range(64)))
    assert waits.count(0) == 5


def test_one_address_that_tries_many_names_has_to_wait(site: Site, clock: Clock) -> None:
    site.add_patient("dominique")
    browser = site.browser()
    browser.get("/auth/login")
    statuses = [
        browser.post("/auth/login", {"login": f"name{number}", "password": "guess"}).status_code for number in range(32)
    ]
    assert statuses == [403] * 30 + [429] * 2
    assert browser.post("/auth/login", {"login": "dominique", "password": PASSWORD}).status_code == 429
    # It was not counted against the name, whose owner is elsewhere.
    assert site.accounts.sign_in.throttles.name.admit("dominique", clock()) == 0


def test_who_signs_in_often_from_one_address_does_not_have_to_wait(site: Site) -> None:
    throttle = site.accounts.sign_in.throttles.address
    for _ in range(100):
        assert throttle.admit("10.0.0.1", site.clock()) == 0
        throttle.take_back("10.0.0.1")


def test_the_database_keeps_neither_names_nor_addresses_of_those_who_failed(site: Site) -> None:
    guess(site, "dominique", 1)
    kept = repr(site.records.find("throttles", {}))
    assert "dominique" not in kept
    assert "127.0.0.1" not in kept


@pytest.fixture
def mixed(site: Site) -> Site:
    """A site with an account of each kind that a password must not open."""
    site.add_patient("dominique", "p1")
    site.accounts.directory.lock(site.add_patient("locked", "p2").id)
    site.accounts.directory.remove(site.add_patient("removed", "p3").id)
    site.add("federated", fhir_user="Patient/p4", password=None)
    site.add_doctor("martin", Situation("s", "10"))
    return site


def strip(text: str) -> str:
    """Return a page without what differs between any two: the proof of the form."""
    head, _, rest = text.partition('name="csrf" value="')
    return head + rest.partition('"')[2]


def test_unknown_wrong_locked_removed_and_unfit_accounts_get_one_and_the_same_answer(mixed: Site) -> None:
    answers = {}
    for login in ("dominique", "unknown", "locked", "removed", "federated", "martin", "a b", ""):
        password = "wrong password" if login == "dominique" else PASSWORD
        answer = mixed.browser().sign_in(login, password)
        headers = {name: value for name, value in answer.headers.items() if name not in ("Date", "Set-Cookie")}
        answers[login] = (answer.status_code, strip(answer.get_data(as_text=True)), headers)
    assert answers["dominique"][0] == 403
    assert [login for login, answer in answers.items() if answer != answers["dominique"]] == []


def test_every_kind_of_refusal_does_the_same_work(mixed: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    verified: list[str] = []
    hasher = mixed.accounts.passwords._hasher
    original = type(hasher).verify
    monkeypatch.setattr(
        type(hasher), "verify", lambda self, kept, given: (verified.append(kept[:29]), original(self, kept, given))[1]
    )
    for login in ("dominique", "unknown", "locked", "removed", "federated", "martin", ""):
        verified.clear()
        assert not mixed.accounts.sign_in.with_password(login, "wrong password", login, "").token
        assert verified == ["$argon2id$v=19$m=1024,t=1,p=1"], login


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
    text = answer.get_data(as_text=True)
    assert "<style" not in text
    assert "<script>" not in text
    assert " style=" not in text
    assert " onclick" not in text


@pytest.mark.parametrize(
    "path",
    [
        "/auth/login",
        "/auth/logout",
        "/auth/account/session",
        "/auth/account/app",
        "/auth/account/password",
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


def test_a_code_is_good_once_within_its_window(site: Site, clock: Clock) -> None:
    otp = site.add_totp(site.add_patient("dominique"))
    code, earlier = otp.at(clock()), otp.at(clock() - STEP)
    first = site.browser()
    first.sign_in("dominique")
    assert first.type_code(code).status_code == 303
    thief = site.browser()
    thief.sign_in("dominique")
    assert thief.type_code(code).status_code == 403
    assert thief.post("/auth/login/totp", {"code": earlier}).status_code == 403
    assert thief.post("/auth/login/totp", {"code": otp.at(clock() + STEP)}).status_code == 303


def test_one_code_sent_many_times_at_once_opens_one_session(site: Site, clock: Clock) -> None:
    account = site.add_patient("dominique")
    code = site.add_totp(account).at(clock())
    enrolled = site.accounts.directory.get(account.id)
    with ThreadPoolExecutor(8) as pool:
        opened = list(pool.map(lambda _: site.accounts.codes.check(enrolled, code, clock()), range(16)))
    assert opened.count(True) == 1


def test_guesses_on_the_second_step_have_to_wait(site: Site, clock: Clock) -> None:
    otp = site.add_totp(site.add_patient("dominique"))
    browser = site.browser()
    browser.sign_in("dominique")
    browser.follow()
    statuses = [browser.post("/auth/login/totp", {"code": f"{number:06}"}).status_code for number in range(7)]
    assert statuses == [403] * 5 + [429] * 2
    assert "Retry-After" in browser.post("/auth/login/totp", {"code": otp.at(clock())}).headers
    # Another start with the password does not give five more guesses.
    again = site.browser()
    again.sign_in("dominique")
    assert again.type_code("000000").status_code == 429


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


def test_a_form_of_the_second_step_that_is_not_ours_counts_as_no_attempt(site: Site, clock: Clock) -> None:
    otp = site.add_totp(site.add_patient("dominique"))
    browser = site.browser()
    browser.sign_in("dominique")
    browser.follow()
    for _ in range(7):
        assert browser.post("/auth/login/totp", {"code": "000000", "csrf": "wrong"}).status_code == 403
        assert "too old" in browser.problem
    assert browser.post("/auth/login/totp", {"code": otp.at(clock())}).status_code == 303


def test_a_situation_is_chosen_on_our_own_page(make_site: Callable[..., Site]) -> None:
    site = make_site(professional_passwords=True)
    site.add_doctor("martin", Situation("a", "10"), Situation("b", "60"))
    browser = site.browser()
    browser.sign_in("martin")
    browser.follow()
    assert browser.post("/auth/login/situation", {"situation": "a", "csrf": "wrong"}).status_code == 403
    assert not browser.is_signed_in
    assert browser.post("/auth/login/situation", {"situation": "a"}).status_code == 303


def test_a_key_is_registered_by_our_own_page_alone(site: Site) -> None:
    site.add_patient("dominique")
    browser = site.browser()
    browser.sign_in("dominique")
    browser.get("/auth/login/enrol")
    options = browser.send("/auth/login/enrol/webauthn/options", {}).get_json()
    answer = Authenticator().create(options)
    assert browser.send("/auth/login/enrol/webauthn", answer, X_CSRF_Token="wrong").status_code == 403
    assert browser.send("/auth/login/enrol/webauthn", "text").status_code == 403
