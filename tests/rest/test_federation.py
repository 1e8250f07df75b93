"""Signing in through Pro Santé Connect and FranceConnect, which the tests themselves run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import OctKey

from fhir_server.smart.login.blueprint import SignedIn
from tests.rest.federating import DOCTOR, PATIENT, SECOND_ACTIVITY, Federation
from tests.rest.identity_provider import SECRET, new_rsa
from tests.rest.signing_in import Browser, Clock


def presence(federation: Federation, browser: Browser) -> Any:
    people = SignedIn(federation.site.composition.settings, federation.site.composition.accounts)
    return people.current_session({"HTTP_COOKIE": f"fhir-session={browser.cookie('fhir-session')}"})


def people_of(federation: Federation) -> dict[str, int]:
    """Return how many resources there are of each type, the trail of their making left out."""
    counts = federation.site.composition.store().counts()
    return {kind: count for kind, count in counts.items() if kind != "AuditEvent"}


def test_the_first_page_offers_what_is_set_up(federation: Federation) -> None:
    page = federation.site.browser().get("/auth/login?next=/auth/authorize/abc").get_data(as_text=True)
    assert "/auth/federation/franceconnect?next=%2Fauth%2Fauthorize%2Fabc" in page
    assert "/auth/federation/psc?next=%2Fauth%2Fauthorize%2Fabc" in page


def test_who_must_sign_in_afresh_is_asked_again_by_the_provider(federation: Federation) -> None:
    browser = federation.site.browser()
    page = browser.get("/auth/login?next=/auth/authorize/abc&fresh=1").get_data(as_text=True)
    assert "/auth/federation/psc?next=%2Fauth%2Fauthorize%2Fabc&amp;fresh=1" in page
    assert "prompt=login" in browser.get("/auth/federation/psc?fresh=1").headers["Location"]
    assert "prompt" not in browser.get("/auth/federation/psc").headers["Location"]


def test_an_app_that_waits_for_its_window_is_not_cut_off_from_it(federation: Federation) -> None:
    browser, name = federation.site.browser(), "Cross-Origin-Opener-Policy"
    assert browser.get("/auth/federation/psc").headers[name] == "same-origin"
    away = browser.get("/auth/federation/psc?next=/auth/authorize/abc")
    back = federation.finish(browser, "psc", federation.psc.authorize(away.headers["Location"]))
    assert back.headers["Location"] == "/auth/authorize/abc"
    assert [answer for answer in (away, back) if name in answer.headers] == []


def test_a_doctor_is_found_by_the_national_identifier_or_made(federation: Federation) -> None:
    browser = federation.site.browser()
    answer = federation.sign_in("psc", browser)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/auth/authorize/abc")
    found = presence(federation, browser)
    assert (found.acr, found.amr) == ("eidas1", ("fed",))
    assert (federation.site.clock() - found.auth_time).total_seconds() == 60
    account = found.account
    assert (account.kind, account.user_name) == ("professional", "Stéphane MEDIONI")
    practice = account.professional
    assert practice.identifiers == (
        "urn:oid:1.2.250.1.71.4.2.1|899700218896",
        "https://rpps.esante.gouv.fr|99700218896",
    )
    assert (practice.profession, practice.specialty, practice.sector) == ("10", "SM54", "SA07")
    assert practice.organization_name == "Cabinet Medioni"
    assert people_of(federation) == {"Organization": 1, "Practitioner": 1, "PractitionerRole": 1}
    again = federation.site.browser()
    federation.sign_in("psc", again)
    assert presence(federation, again).account == account
    assert people_of(federation) == {"Organization": 1, "Practitioner": 1, "PractitionerRole": 1}
    assert len(federation.site.accounts.directory.all()) == 1


def test_a_doctor_who_is_known_stays_the_same_practitioner(federation: Federation) -> None:
    number = {"system": "urn:oid:1.2.250.1.71.4.2.1", "value": "899700218896"}
    federation.site.put({"resourceType": "Practitioner", "id": "known", "identifier": [number]})
    browser = federation.site.browser()
    federation.sign_in("psc", browser)
    assert presence(federation, browser).account.fhir_user == "Practitioner/known"


def test_a_doctor_of_several_situations_chooses_at_each_login(federation: Federation) -> None:
    practice = DOCTOR["SubjectRefPro"]["exercices"][0]
    both = {**practice, "activities": [*practice["activities"], SECOND_ACTIVITY]}
    federation.psc.person["SubjectRefPro"] = {"exercices": [both]}
    browser = federation.site.browser()
    answer = federation.sign_in("psc", browser)
    assert answer.headers["Location"].startswith("/auth/login/situation?next=")
    assert not browser.is_signed_in
    page = browser.follow().get_data(as_text=True)
    ids = [part.partition('"')[0] for part in page.split('name="situation" value="')[1:]]
    assert browser.post("/auth/login/situation", {"situation": ids[1]}).headers["Location"] == "/auth/authorize/abc"
    assert presence(federation, browser).account.professional.organization_name == "Hôpital"
    # Who no longer practises there is no longer signed in there, and has no tokens from there.
    ended: list[str] = []
    object.__setattr__(federation.site.accounts.directory, "end_tokens", ended.append)
    federation.sign_in("psc")
    assert ended == []
    federation.psc.person["SubjectRefPro"] = DOCTOR["SubjectRefPro"]
    federation.sign_in("psc")
    assert len(ended) == 1
    assert not browser.is_signed_in


def test_a_regulating_doctor_is_known_as_one(federation: Federation) -> None:
    federation.psc.person["Acces_Regulation_Medicale"] = "VRAI"
    browser = federation.site.browser()
    federation.sign_in("psc", browser)
    assert presence(federation, browser).account.professional.regulation is True


def test_the_algorithms_that_the_provider_announces_are_used(make_federation: Callable[..., Federation]) -> None:
    for key, algorithm in ((OctKey.import_key(SECRET), "HS256"), (new_rsa(), "RS256")):
        federation = make_federation(psc_key=key, psc_algorithm=algorithm)
        assert federation.sign_in("psc").headers["Location"] == "/auth/authorize/abc"


def test_a_new_key_of_the_provider_is_fetched(federation: Federation, clock: Clock) -> None:
    assert federation.sign_in("psc").status_code == 303
    federation.psc.key = type(federation.psc.key).generate_key("P-256", {"kid": "k2", "use": "sig"})
    assert federation.sign_in("psc").status_code == 403
    clock.turn(seconds=31)
    assert federation.sign_in("psc").status_code == 303


def test_what_a_provider_publishes_is_not_fetched_each_time(federation: Federation) -> None:
    for _ in range(3):
        federation.sign_in("psc")
    paths = [path for method, path, _ in federation.psc.requests if method == "GET"]
    assert paths.count("/.well-known/wallet-openid-configuration") == 1
    assert paths.count("/jwks") == 1


def test_a_provider_that_is_away_is_left_in_peace_for_a_moment(federation: Federation) -> None:
    federation.psc.statuses = {"metadata": 500}
    browser = federation.site.browser()
    for _ in range(3):
        assert browser.get("/auth/federation/psc").status_code == 503
    assert len(federation.psc.requests) == 1
    federation.psc.statuses = {}
    federation.site.clock.turn(seconds=11)
    assert browser.get("/auth/federation/psc").status_code == 303


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_the_client_proves_itself_as_the_provider_wants(federation: Federation, method: str) -> None:
    federation.psc.announced = {"token_endpoint_auth_methods_supported": [method]}
    assert federation.sign_in("psc").status_code == 303


def test_a_patient_is_found_by_the_identity_pivot_and_linked_once(federation: Federation) -> None:
    federation.site.put(PATIENT)
    browser = federation.site.browser()
    assert federation.sign_in("franceconnect", browser).headers["Location"] == "/auth/authorize/abc"
    account = presence(federation, browser).account
    assert (account.kind, account.fhir_user) == ("patient", "Patient/p1")
    # From now on the subject is enough, even if the traits change.
    federation.franceconnect.person["family_name"] = "AUTRE"
    again = federation.site.browser()
    federation.sign_in("franceconnect", again)
    assert presence(federation, again).account == account
    assert "another service" in again.get("/auth/account").get_data(as_text=True)
    assert again.get("/auth/login/enrol").headers["Location"] == "/auth/login?again=1"


def test_a_patient_who_has_a_password_keeps_the_one_account(federation: Federation) -> None:
    federation.site.put(PATIENT)
    account = federation.site.add("dominique", fhir_user="Patient/p1")
    browser = federation.site.browser()
    federation.sign_in("franceconnect", browser)
    assert presence(federation, browser).account.id == account.id
    assert federation.site.browser().sign_in("dominique").status_code == 303


def test_nobody_and_two_who_fit_get_the_same_answer(federation: Federation) -> None:
    nobody = federation.sign_in("franceconnect")
    federation.site.put(PATIENT)
    federation.site.put({**PATIENT, "id": "p2"})
    two = federation.sign_in("franceconnect")
    assert (nobody.status_code, two.status_code) == (403, 403)
    assert nobody.get_data() == two.get_data()
    assert "could not find one record" in two.get_data(as_text=True)
    assert federation.site.accounts.directory.all() == []


@pytest.mark.parametrize(
    "other",
    [
        {"birthdate": "1979-03-29"},
        {"gender": "male"},
        {"birthplace": "51216"},
        {"given_name": "Dominic"},
        {"family_name": "PAT"},
        {"family_name": "PAT-TROIS-QUATRE"},
        {"birthplace": None},
    ],
)
def test_whoever_differs_in_one_trait_is_somebody_else(federation: Federation, other: dict[str, Any]) -> None:
    federation.site.put(PATIENT)
    federation.franceconnect.userinfo = other
    assert federation.sign_in("franceconnect").status_code == 403


def test_another_subject_with_the_same_traits_does_not_take_an_account_over(federation: Federation) -> None:
    federation.site.put(PATIENT)
    assert federation.sign_in("franceconnect").status_code == 303
    federation.franceconnect.claims = {"sub": "subject-2"}
    federation.franceconnect.userinfo = {"sub": "subject-2"}
    assert federation.sign_in("franceconnect").status_code == 403


def test_a_locked_account_is_refused_whoever_vouches(federation: Federation) -> None:
    federation.site.put(PATIENT)
    for name in ("psc", "franceconnect"):
        federation.sign_in(name)
    for account in federation.site.accounts.directory.all():
        federation.site.accounts.directory.lock(account.id)
    assert [federation.sign_in(name).status_code for name in ("psc", "franceconnect")] == [403, 403]


@pytest.mark.parametrize(
    "person",
    [
        {"SubjectRefPro": {"exercices": [{"codeProfession": "93", "activities": []}]}},
        {"SubjectNameID": None},
        {"SubjectRefPro": None, "SubjectRole": ["41^1.2.250.1.213.1.1.5.5"]},
    ],
)
def test_a_profession_that_does_not_count_is_refused(federation: Federation, person: dict[str, Any]) -> None:
    federation.psc.userinfo = person
    answer = federation.sign_in("psc")
    assert answer.status_code == 403
    assert "your profession is not among those" in answer.get_data(as_text=True)
    assert federation.site.composition.store().counts().keys() <= {"AuditEvent"}


def test_two_practitioners_with_one_number_are_nobody(federation: Federation) -> None:
    number = {"system": "urn:oid:1.2.250.1.71.4.2.1", "value": "899700218896"}
    for id in ("a", "b"):
        federation.site.put({"resourceType": "Practitioner", "id": id, "identifier": [number]})
    assert federation.sign_in("psc").status_code == 403


def test_a_practitioner_whose_account_is_a_patients_is_nobody(federation: Federation) -> None:
    number = {"system": "urn:oid:1.2.250.1.71.4.2.1", "value": "899700218896"}
    federation.site.put({"resourceType": "Practitioner", "id": "a", "identifier": [number]})
    federation.site.add("odd", "operator", fhir_user="Practitioner/a")
    assert federation.sign_in("psc").status_code == 403


def test_a_subject_does_not_become_another_professional(federation: Federation) -> None:
    assert federation.sign_in("psc").status_code == 303
    federation.psc.person["SubjectNameID"] = "899700218897"
    assert federation.sign_in("psc").status_code == 403


def test_a_professional_without_names_is_let_in(federation: Federation) -> None:
    federation.psc.userinfo = {"given_name": None, "family_name": None}
    assert federation.sign_in("psc").status_code == 303


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("metadata", {"statuses": {"metadata": 500}}),
        ("metadata", {"bodies": {"metadata": b"[]"}}),
        ("metadata", {"bodies": {"metadata": b"not json"}}),
        ("metadata", {"bodies": {"metadata": b"x" * 300_000}}),
        ("metadata", {"announced": {"issuer": "https://other.example"}}),
        ("metadata", {"announced": {"authorization_endpoint": "javascript:alert(1)"}}),
        ("metadata", {"announced": {"token_endpoint": None}}),
    ],
)
def test_a_provider_that_does_not_say_what_it_is_is_unavailable(
    federation: Federation, what: str, change: dict[str, Any]
) -> None:
    for name, value in change.items():
        setattr(federation.psc, name, value)
    answer = federation.site.browser().get("/auth/federation/psc")
    assert answer.status_code == 503
    assert "does not answer right now" in answer.get_data(as_text=True)


def test_a_provider_that_fails_on_the_way_back_is_unavailable(federation: Federation) -> None:
    for announced in ({"token_endpoint": "http://127.0.0.1:9/x"}, {"userinfo_endpoint": "http://127.0.0.1:9/x"}):
        federation.psc.announced = announced
        federation.site.clock.turn(minutes=11)
        assert federation.sign_in("psc").status_code == 503
    federation.psc.announced = {}
    federation.psc.bodies = {"jwks": b"{}"}
    federation.site.clock.turn(minutes=11)
    assert federation.sign_in("psc").status_code == 503


def test_without_the_file_of_the_secret_nobody_is_sent_anywhere(
    make_federation: Callable[..., Federation], tmp_path: Path
) -> None:
    federation = make_federation(psc_client_secret_file=tmp_path / "missing")
    assert federation.site.browser().get("/auth/federation/psc").status_code == 503


def test_a_provider_that_is_not_set_up_is_not_there(federation: Federation) -> None:
    browser = federation.site.browser()
    assert browser.get("/auth/federation/other").status_code == 404
    assert browser.get("/auth/federation/other/callback").status_code == 404


def test_signing_in_ends_the_session_that_the_browser_had(federation: Federation) -> None:
    federation.site.put(PATIENT)
    federation.site.add("dominique", fhir_user="Patient/p1")
    browser = federation.site.browser()
    browser.sign_in("dominique")
    former = str(browser.cookie("fhir-session"))
    federation.sign_in("franceconnect", browser)
    assert browser.cookie("fhir-session") != former
    assert federation.site.accounts.find_session(former) is None
