"""Sign-ins and changes of accounts are in the audit when the answer is there: who, to whom, with which outcome."""

from collections.abc import Callable

import pytest
from click.testing import CliRunner

from fhir_server.accounts.account import Situation
from fhir_server.cli import main
from fhir_server.storage.store import StoreUnavailable
from tests.rest.authenticator import Authenticator
from tests.rest.federating import PATIENT, Federation
from tests.rest.security_audit import short, told
from tests.rest.signing_in import HOME, PASSWORD, Browser, Clock, Site


def signed_in(site: Site, login: str = "dominique") -> Browser:
    browser = site.browser()
    assert browser.sign_in(login).status_code == 303
    return browser


def test_a_sign_in_and_a_sign_out_are_told_by_account_and_address(site: Site) -> None:
    account = site.add_patient("dominique")
    browser = signed_in(site)
    browser.get("/auth/logout")
    browser.post("/auth/logout")
    came, went = told(site.composition, "sign-in", "sign-out")
    assert short([came, went]) == [("sign-in", "", account.id, ""), ("sign-out", "", account.id, "")]
    assert came.details["amr"] == "pwd"
    assert came.resource["agent"][-1]["network"]["address"] == HOME
    assert came.resource["agent"][-1]["role"][0]["coding"][0]["code"] == "patient"


def test_a_password_alone_is_no_sign_in_yet(site: Site, clock: Clock) -> None:
    otp = site.add_totp(site.add_patient("dominique"))
    browser = signed_in(site)
    assert told(site.composition, "sign-in") == []
    assert browser.type_code("000000").status_code == 403
    assert browser.post("/auth/login/totp", {"code": otp.at(clock())}).status_code == 303
    refused, came = told(site.composition, "sign-in")
    assert (refused.outcome, refused.problem, refused.by == came.by) == ("4", "refused", True)
    assert (came.outcome, came.details["amr"]) == ("0", "pwd otp mfa")


def test_who_has_not_come_in_yet_does_not_sign_out(site: Site) -> None:
    site.add_totp(site.add_patient("dominique"))
    browser = signed_in(site)
    browser.get("/auth/logout")
    browser.post("/auth/logout")
    assert told(site.composition, "sign-in", "sign-out") == []


def test_a_professional_has_signed_in_once_they_say_where(make_site: Callable[..., Site]) -> None:
    site = make_site(professional_passwords=True)
    account = site.add_doctor("martin", Situation("a", "10"), Situation("b", "60"))
    browser = signed_in(site, "martin")
    assert told(site.composition, "sign-in") == []
    browser.follow()
    browser.post("/auth/login/situation", {"situation": "a"})
    assert short(told(site.composition, "sign-in")) == [("sign-in", "", account.id, "")]


def test_who_signs_in_anew_signs_out_of_what_was_before(site: Site) -> None:
    account = site.add_patient("dominique")
    signed_in(site).sign_in("dominique")
    assert [one.code for one in told(site.composition, "sign-in", "sign-out")] == ["sign-in", "sign-in", "sign-out"]
    assert {one.by for one in told(site.composition, "sign-in", "sign-out")} == {account.id}


def test_sign_ins_ended_from_elsewhere_are_told_each(site: Site) -> None:
    site.add_patient("dominique")
    for _ in range(2):
        signed_in(site)
    browser = signed_in(site)
    browser.get("/auth/account")
    browser.post("/auth/account/session", {"session": "others"})
    assert len(told(site.composition, "sign-out")) == 2


def test_a_provider_s_sign_ins_are_told_and_the_account_that_they_make(federation: Federation) -> None:
    federation.site.put(PATIENT)
    federation.sign_in("franceconnect")
    events = told(federation.site.composition)
    assert [one.code for one in events] == ["account-added", "account-linked", "sign-in"]
    assert events[0].by == federation.site.composition.settings.base_url
    assert events[2].by == events[0].about == events[1].about
    assert events[2].details == {"amr": "fed", "acr": "eidas1"}


def test_whom_a_provider_vouches_for_in_vain_is_told_as_nobody(federation: Federation) -> None:
    assert federation.sign_in("franceconnect").status_code == 403
    federation.site.browser().get("/auth/federation/psc/callback?state=forged&code=x")
    assert short(told(federation.site.composition)) == [
        ("sign-in", "refused", "unknown", ""),
        ("sign-in", "refused", "unknown", ""),
    ]


def test_what_owners_change_is_told_as_theirs(site: Site, clock: Clock) -> None:
    account = site.add_patient("dominique")
    browser = signed_in(site)
    browser.get("/auth/login/enrol")
    options = browser.send("/auth/login/enrol/webauthn/options", {}).get_json()
    browser.send("/auth/login/enrol/webauthn", Authenticator().create(options))
    browser.post("/auth/login/enrol/done")
    browser.get("/auth/account")
    browser.post("/auth/account/password", {"present": PASSWORD, "new": "another good password"})
    events = told(site.composition)[2:]
    assert short(events) == [
        ("security-key-added", "", account.id, ""),
        ("recovery-codes-renewed", "", account.id, ""),
        ("password-changed", "", account.id, ""),
    ]
    assert {one.resource["agent"][-1]["network"]["address"] for one in events} == {HOME}


def test_an_app_that_shows_codes_is_told_as_a_second_factor(site: Site, clock: Clock) -> None:
    import pyotp

    account = site.add_patient("dominique")
    browser = signed_in(site)
    browser.get("/auth/login/enrol")
    secret = browser.text.partition("<code>")[2].partition("<")[0].replace(" ", "")
    browser.post("/auth/login/enrol", {"code": pyotp.TOTP(secret).at(clock())})
    assert short(told(site.composition, "second-factor-added")) == [("second-factor-added", "", account.id, "")]


def test_what_the_command_line_does_to_an_account_is_told(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in site.composition.settings.to_environment().items():
        monkeypatch.setenv(name, value)

    def run(*words: str) -> None:
        result = CliRunner().invoke(main, ["account", *words], input=f"{PASSWORD}\n")
        assert result.exit_code == 0, result.output

    run("add", "olga", "--operator", "--totp")
    run("lock", "olga")
    run("unlock", "olga")
    run("reset", "olga", "--password", "--second-factor")
    account = site.accounts.directory.find_by_login("olga")
    run("remove", "olga")
    assert account is not None
    codes = (
        "account-added",
        "second-factor-added",
        "account-locked",
        "account-unlocked",
        "password-changed",
        "second-factors-removed",
        "account-removed",
    )
    assert short(told(site.composition)) == [(code, "", "command line", account.id) for code in codes]


def test_nobody_is_signed_in_whose_sign_in_cannot_be_told(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.add_patient("dominique")

    def away(_: object) -> None:
        raise StoreUnavailable("away")

    monkeypatch.setattr(site.composition.store().audit_log, "append", away)
    browser = site.browser()
    browser.get("/auth/login")
    answer = browser.post("/auth/login", {"login": "dominique", "password": PASSWORD})
    assert answer.status_code == 503
    assert browser.cookie("fhir-session") is None


def test_a_server_told_not_to_keeps_nothing(make_site: Callable[..., Site]) -> None:
    site = make_site(audit="off")
    site.add_patient("dominique")
    signed_in(site)
    site.browser().sign_in("dominique", "wrong")
    assert told(site.composition) == []
    assert site.records.find("repeats", {}) == []
