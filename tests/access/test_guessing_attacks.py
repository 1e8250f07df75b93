"""Attack 50: guessing passwords and codes, and telling accounts apart."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from fhir_server.accounts.account import Situation
from tests.rest.signing_in import PASSWORD, Clock, Site

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


def test_a_form_of_the_second_step_that_is_not_ours_counts_as_no_attempt(site: Site, clock: Clock) -> None:
    otp = site.add_totp(site.add_patient("dominique"))
    browser = site.browser()
    browser.sign_in("dominique")
    browser.follow()
    for _ in range(7):
        assert browser.post("/auth/login/totp", {"code": "000000", "csrf": "wrong"}).status_code == 403
        assert "too old" in browser.problem
    assert browser.post("/auth/login/totp", {"code": otp.at(clock())}).status_code == 303
