"""Signing in by pages: password, second step, situation, and out again."""

from collections.abc import Callable

import pyotp
import pytest

from fhir_server.accounts.account import Situation
from fhir_server.smart.login.blueprint import SignedIn
from tests.rest.signing_in import GUARD, PASSWORD, Clock, Site

DOCTOR = Situation("s1", "10", "SM54", "SA07", "Cabinet Medioni", ("https://finess.esante.gouv.fr|750803447",))
NURSE = Situation("s2", "60", organization_name="Hôpital")


def test_a_password_alone_opens_an_account_where_a_second_factor_is_optional(site: Site) -> None:
    site.add_patient("dominique")
    browser = site.browser()
    assert not browser.is_signed_in
    answer = browser.sign_in(" Dominique ", next="/auth/authorize/abc?x=1")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/auth/authorize/abc?x=1")
    assert browser.is_signed_in
    page = browser.get("/auth/account").get_data(as_text=True)
    assert "Dominique Dupont" in page


def test_a_code_of_the_app_is_the_second_step(site: Site) -> None:
    otp = site.add_totp(site.add_patient("dominique"))
    browser = site.browser()
    browser.sign_in("dominique", next="/auth/authorize/abc")
    assert not browser.is_signed_in
    answer = browser.type_code(otp.at(site.clock()))
    assert (answer.status_code, answer.headers["Location"]) == (303, "/auth/authorize/abc")
    assert browser.is_signed_in


def test_a_wrong_code_is_asked_for_again(site: Site) -> None:
    otp = site.add_totp(site.add_patient("dominique"))
    browser = site.browser()
    browser.sign_in("dominique")
    assert browser.type_code("000000").status_code == 403
    assert browser.problem == "This code is not right, or has been used."
    assert browser.post("/auth/login/totp", {"code": otp.at(site.clock())}).status_code == 303


def test_where_it_is_required_a_second_step_is_set_up_before_anything_else(make_site: Callable[..., Site]) -> None:
    site = make_site(second_factor="required")
    site.add_patient("dominique")
    browser = site.browser()
    browser.sign_in("dominique", next="/auth/authorize/abc")
    assert not browser.is_signed_in
    page = browser.follow().get_data(as_text=True)
    assert 'src="data:image/svg+xml' in page
    secret = page.partition("<code>")[2].partition("</code>")[0].replace(" ", "")
    again = browser.get("/auth/login/enrol?next=/auth/authorize/abc").get_data(as_text=True)
    assert secret in again.replace(" ", "")
    assert browser.post("/auth/login/enrol", {"code": "123"}).status_code == 403
    done = browser.post("/auth/login/enrol", {"code": pyotp.TOTP(secret).at(site.clock())}).get_data(as_text=True)
    assert done.count("<li><code>") == 10
    assert 'href="/auth/authorize/abc"' in done
    assert browser.is_signed_in


def test_a_recovery_code_opens_once(make_site: Callable[..., Site]) -> None:
    site = make_site()
    account = site.add_patient("dominique")
    site.add_totp(account)
    codes = site.accounts.codes.renew_recovery_codes(account)
    browser = site.browser()
    browser.sign_in("dominique")
    assert browser.type_code(codes[3].lower().replace("-", " ")).status_code == 303
    other = site.browser()
    other.sign_in("dominique")
    assert other.type_code(codes[3]).status_code == 403
    assert other.post("/auth/login/totp", {"code": codes[4]}).status_code == 303


def test_a_professional_of_two_situations_chooses_one(make_site: Callable[..., Site]) -> None:
    site = make_site(professional_passwords=True)
    account = site.add_doctor("martin", DOCTOR, NURSE)
    browser = site.browser(Accept_Language="fr")
    browser.sign_in("martin", next="/auth/authorize/abc")
    page = browser.follow().get_data(as_text=True)
    assert "Médecin" in page
    assert "Infirmier" in page
    assert not browser.is_signed_in
    answer = browser.post("/auth/login/situation", {"situation": "s1"})
    assert answer.headers["Location"] == "/auth/authorize/abc"
    people = SignedIn(site.composition.settings, site.composition.accounts)
    presence = people.current_session({"HTTP_COOKIE": f"fhir-session={browser.cookie('fhir-session')}"})
    assert presence is not None
    practice = presence.account.professional
    assert practice is not None
    assert (practice.profession, practice.specialty, practice.sector) == ("10", "SM54", "SA07")
    assert practice.practitioner_role is not None
    assert practice.organization is not None
    role = site.composition.store().get(practice.practitioner_role)
    assert role is not None
    assert b'"Practitioner/martin"' in (role.body or b"")
    again = people.find_account(account.id, practice.practitioner_role)
    assert again == presence.account
    assert people.find_account(account.id, None) is None
    assert people.find_account(account.id, "PractitionerRole/other") is None


def test_a_professional_of_one_situation_is_not_asked(make_site: Callable[..., Site]) -> None:
    site = make_site(professional_passwords=True)
    site.add_doctor("martin", NURSE)
    browser = site.browser()
    assert browser.sign_in("martin").headers["Location"] == "/auth/account"
    assert "Hôpital" in browser.follow().get_data(as_text=True)
    # The second time the PractitionerRole is there already.
    assert site.browser().sign_in("martin").headers["Location"] == "/auth/account"
    assert site.composition.store().counts().keys() - {"AuditEvent"} == {"Practitioner", "PractitionerRole"}


def test_a_professional_without_a_situation_goes_nowhere(make_site: Callable[..., Site]) -> None:
    site = make_site(professional_passwords=True)
    site.add_doctor("martin")
    browser = site.browser()
    browser.sign_in("martin")
    browser.follow()
    assert "No practice is known" in browser.text
    browser.get("/auth/login")
    assert browser.post("/auth/login/situation", {"situation": "s1"}).status_code == 403


def test_a_situation_that_is_none_of_ones_own_is_refused(make_site: Callable[..., Site]) -> None:
    site = make_site(professional_passwords=True)
    site.add_doctor("martin", DOCTOR, NURSE)
    browser = site.browser()
    browser.sign_in("martin")
    browser.follow()
    assert browser.post("/auth/login/situation", {"situation": "s3"}).status_code == 403
    assert not browser.is_signed_in


def test_situations_that_cannot_be_told_apart_open_nothing(make_site: Callable[..., Site]) -> None:
    site = make_site(professional_passwords=True)
    for number in ("1", "2"):
        identifier = {"system": "https://finess.esante.gouv.fr", "value": "750803447"}
        site.put({"resourceType": "Organization", "id": number, "identifier": [identifier], "name": "Twice"})
    site.add_doctor("martin", DOCTOR)
    browser = site.browser()
    assert browser.sign_in("martin").status_code == 403
    assert not browser.is_signed_in


def test_a_mother_acts_for_her_child_until_it_comes_of_age(site: Site, clock: Clock) -> None:
    account = site.add_patient("dominique", "p1")
    site.put({"resourceType": "Patient", "id": "lea", "name": [{"given": ["Léa"]}], "birthDate": "2115-07-12"})
    site.put({"resourceType": "Patient", "id": "old", "name": [{"given": ["Old"]}], "birthDate": "2050-01-01"})
    for id in ("lea", "old"):
        related = {"resourceType": "RelatedPerson", "id": f"rp-{id}", "relationship": [GUARD]}
        site.put({**related, "patient": {"reference": f"Patient/{id}"}})
    targets = ("Patient/p1", "RelatedPerson/rp-lea", "RelatedPerson/rp-old")
    links = [{"target": {"reference": reference}, "assurance": "level3"} for reference in targets]
    site.put({"resourceType": "Person", "id": "pe", "link": links})

    def persons() -> list[tuple[str, str | None]]:
        found = site.accounts.find_account(account.id, None)
        return [(each.patient, each.related_person) for each in found.persons] if found else []

    assert persons() == [("p1", None), ("lea", "RelatedPerson/rp-lea")]
    browser = site.browser()
    browser.sign_in("dominique")
    assert "Léa" in browser.follow().get_data(as_text=True)
    site.put({"resourceType": "Person", "id": "pe", "link": [*links[:1], {**links[1], "assurance": "level1"}]})
    assert persons() == [("p1", None)]
    site.put({"resourceType": "Person", "id": "pe", "link": links[1:]})
    assert persons() == [("p1", None)]
    site.put({"resourceType": "Person", "id": "pe", "active": False, "link": links})
    assert persons() == [("p1", None)]
    site.put({"resourceType": "Person", "id": "pe", "link": links})
    clock.now = clock.now.replace(year=2133, month=7, day=11, hour=21)
    assert len(persons()) == 2
    clock.turn(hours=1)
    assert persons() == [("p1", None)]


def test_an_account_whose_person_is_gone_opens_nothing(site: Site) -> None:
    site.add_patient("dominique", "p1")
    browser = site.browser()
    browser.sign_in("dominique")
    site.composition.store().connection.database["resources"].delete_many({})
    assert not browser.is_signed_in


def test_an_operator_signs_in_without_a_record(site: Site) -> None:
    account = site.add("admin", "operator", roles=("auditor",))
    browser = site.browser()
    browser.sign_in("admin")
    assert browser.is_signed_in
    found = site.accounts.find_account(account.id, None)
    assert found is not None
    assert (found.kind, found.fhir_user, found.persons, found.roles) == ("operator", None, (), ("auditor",))
    assert site.accounts.find_account("nobody", None) is None


def test_signing_out_ends_the_session(site: Site) -> None:
    site.add_patient("dominique")
    browser = site.browser()
    browser.sign_in("dominique")
    kept = browser.cookie("fhir-session")
    browser.get("/auth/logout")
    assert browser.is_signed_in
    assert browser.post("/auth/logout").status_code == 303
    assert "You are signed out." in browser.follow().get_data(as_text=True)
    assert browser.cookie("fhir-session") is None
    browser.set_cookie("fhir-session", str(kept))
    assert not browser.is_signed_in


def test_a_session_ends_by_inactivity_and_by_age(make_site: Callable[..., Site], clock: Clock) -> None:
    site = make_site(session_idle_timeout=1800.0, session_lifetime=3600.0)
    site.add_patient("dominique")
    idle, busy = site.browser(), site.browser()
    idle.sign_in("dominique")
    busy.sign_in("dominique")
    clock.turn(minutes=29)
    assert busy.is_signed_in
    clock.turn(minutes=1)
    assert not idle.is_signed_in
    assert busy.is_signed_in
    clock.turn(minutes=29)
    assert busy.is_signed_in
    clock.turn(minutes=1)
    assert not busy.is_signed_in


def test_half_a_sign_in_does_not_wait_for_ever(site: Site, clock: Clock) -> None:
    otp = site.add_totp(site.add_patient("dominique"))
    browser = site.browser()
    browser.sign_in("dominique")
    browser.follow()
    clock.turn(minutes=10)
    answer = browser.post("/auth/login/totp", {"code": otp.at(clock())})
    assert answer.headers["Location"] == "/auth/login"


@pytest.mark.parametrize("path", ["/auth/login/totp", "/auth/login/situation", "/auth/login/enrol", "/auth/account"])
def test_a_step_without_the_one_before_begins_at_the_beginning(site: Site, path: str) -> None:
    assert site.browser().get(path).headers["Location"].partition("?")[0] == "/auth/login"


def test_pages_speak_the_language_that_is_asked_for_and_then_the_one_chosen(site: Site) -> None:
    browser = site.browser(Accept_Language="fr-FR,fr;q=0.9,en;q=0.5")
    assert '<html lang="fr">' in browser.get("/auth/login").get_data(as_text=True)
    page = browser.get("/auth/login?lang=en&next=/auth/authorize/abc").get_data(as_text=True)
    assert '<html lang="en">' in page
    assert "/auth/login?lang=fr&amp;next=%2Fauth%2Fauthorize%2Fabc" in page
    assert '<html lang="en">' in browser.get("/auth/login").get_data(as_text=True)
    assert '<html lang="en">' in site.browser().get("/auth/login").get_data(as_text=True)
    assert '<html lang="en">' in site.browser(Accept_Language="de").get("/auth/login").get_data(as_text=True)


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("en-US,fr", "en"),
        ("fr-CA,en;q=0.9", "fr"),
        ("de,fr;q=0.5", "fr"),
        ("fr;q=0.1,en;q=0.9", "en"),
        ("fr;q=0", "en"),
        ("*", "en"),
        ("FR", "fr"),
    ],
)
def test_the_pages_before_and_after_signing_in_speak_one_language(site: Site, accepted: str, language: str) -> None:
    browser = site.browser(Accept_Language=accepted)
    for path in ("/auth/login", "/auth/authorize/unknown"):
        assert f'<html lang="{language}">' in browser.get(path).get_data(as_text=True), path


def test_an_outdated_hash_is_renewed_at_the_next_sign_in(site: Site) -> None:
    from argon2 import PasswordHasher

    account = site.add_patient("dominique")
    old = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash(PASSWORD)
    site.accounts.directory.set_password(account.id, old, site.clock())
    assert site.browser().sign_in("dominique").status_code == 303
    kept = site.accounts.directory.get(account.id).password
    assert kept is not None
    assert kept.startswith("$argon2id$v=19$m=1024")
    assert site.browser().sign_in("dominique").status_code == 303


def test_cookies_that_cannot_be_read_sign_nobody_in(site: Site) -> None:
    people = SignedIn(site.composition.settings, site.composition.accounts)
    for header in ("", "fhir-session=", "fhir-session=abc", "\x00=\x00; ;;", 'fhir-session="a'):
        assert people.current_session({"HTTP_COOKIE": header}) is None
    assert people.current_session({}) is None
