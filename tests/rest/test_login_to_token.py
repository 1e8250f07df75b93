"""From the login page to a token and back to nothing: accounts and the authorization server together."""

from collections.abc import Callable
from html import unescape
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from flask.testing import FlaskClient

from fhir_server.accounts.account import Situation
from tests.rest.signing_in import GUARD, Browser, Site
from tests.rest.smart import Smart
from tests.rest.smart_apps import BASE, App, Page

SCOPE = "openid fhirUser launch/patient offline_access patient/*.rs"


@pytest.fixture
def secured(make_site: Callable[..., Site]) -> Site:
    """A site at the address that the apps of these tests know."""
    return make_site(base_url=BASE, professional_passwords=True)


def to_smart(site: Site) -> Smart:
    """Return the same server, seen by its apps."""
    return Smart(site.composition, None, site.application)  # type: ignore[arg-type]


def sign_in(site: Site, app: App, login: str, scope: str = SCOPE) -> tuple[Browser, FlaskClient, str]:
    """Follow an app to the login page, sign in, and return the browser (twice) and the path it is led back to."""
    browser, same = site.browser(), site.application.test_client()
    asked = app.authorize(same, scope)
    assert asked.status_code == 303, asked.text
    led = same.get(asked.location)
    assert led.location.startswith("/auth/login?next=%2Fauth%2Fauthorize%2F")
    back = browser.sign_in(login, next=led.location.partition("next=")[2]).headers["Location"]
    assert back == unquote(led.location.partition("next=")[2]) == asked.location
    same.set_cookie("fhir-session", str(browser.cookie("fhir-session")))
    return browser, same, back


def token_of(app: App, same: FlaskClient, back: str, **form: Any) -> dict[str, Any]:
    """Consent and return the token response."""
    answer = Page.at(same, back).allow(**form)
    code = answer.location.partition("code=")[2].partition("&")[0]
    token = app.exchange(code)
    assert token.status_code == 200, token.text
    return dict(token.get_json())


def read(site: Site, token: dict[str, Any], path: str) -> int:
    """Return the status of a read with a token."""
    headers = {"Authorization": f"Bearer {token['access_token']}"}
    return int(site.application.test_client().get(f"/fhir/{path}", headers=headers).status_code)


def test_the_page_of_consent_speaks_the_language_chosen_while_signing_in(secured: Site) -> None:
    secured.add_patient("dominique")
    app = to_smart(secured).app()
    _, same, back = sign_in(secured, app, "dominique")
    assert 'lang="en"' in Page.at(same, back).response.text
    same.get("/auth/login?lang=fr")
    assert 'lang="fr"' in Page.at(same, back).response.text
    assert 'lang="fr"' in same.get("/auth/authorize/unknown").text
    asked = app.authorize(same, SCOPE, ui_locales="en").location
    assert 'lang="fr"' in Page.at(same, asked).response.text, "a person’s word counts more than an app’s"


def test_an_account_that_is_locked_takes_its_tokens_with_it(secured: Site) -> None:
    account = secured.add_patient("dominique")
    app = to_smart(secured).app()
    browser, same, back = sign_in(secured, app, "dominique")
    token = token_of(app, same, back)
    assert token["patient"] == "p1"
    assert read(secured, token, "Patient/p1") == 200
    assert app.client.name in browser.get("/auth/account").get_data(as_text=True)
    secured.accounts.directory.lock(account.id)
    assert read(secured, token, "Patient/p1") == 401
    assert app.refresh(token["refresh_token"]).status_code == 400
    secured.accounts.directory.unlock(account.id)
    assert read(secured, token, "Patient/p1") == 401


@pytest.mark.parametrize("end", ["remove", "remove_second_factors"])
def test_whatever_ends_the_sessions_ends_the_tokens(secured: Site, end: str) -> None:
    account = secured.add_patient("dominique")
    app = to_smart(secured).app()
    browser, same, back = sign_in(secured, app, "dominique")
    token = token_of(app, same, back)
    getattr(secured.accounts.directory, end)(account.id)
    assert read(secured, token, "Patient/p1") == 401
    assert not browser.is_signed_in


def test_an_app_that_its_user_withdraws_loses_its_token(secured: Site) -> None:
    secured.add_patient("dominique")
    secured.add_patient("paul", "p2")
    app = to_smart(secured).app()
    browser, same, back = sign_in(secured, app, "dominique")
    token = token_of(app, same, back)
    consent = consent_on(browser)
    other = secured.browser()
    other.sign_in("paul")
    other.get("/auth/account")
    assert other.post("/auth/account/app", {"app": consent}).status_code == 303
    assert read(secured, token, "Patient/p1") == 200
    assert browser.post("/auth/account/app", {"app": consent}).status_code == 303
    assert read(secured, token, "Patient/p1") == 401
    assert app.client.name not in browser.get("/auth/account").get_data(as_text=True)


LAUNCH_URL = "https://app.example/launch?from=portal"


def consent_on(browser: Browser) -> str:
    """Return the id of the first consent on the account's page."""
    return browser.get("/auth/account").get_data(as_text=True).partition('name="app" value="')[2].partition('"')[0]


def opened(browser: Browser, consent: str) -> dict[str, str]:
    """Open an app from the account and return what its launch URL is given."""
    answer = browser.post("/auth/account/app/open", {"app": consent})
    assert answer.status_code == 200
    address = unescape(answer.get_data(as_text=True).partition('class="button" href="')[2].partition('"')[0])
    assert address.startswith(LAUNCH_URL)
    return dict(parse_qsl(urlsplit(address).query))


def test_an_app_is_opened_in_the_record_that_it_was_let_into(secured: Site) -> None:
    secured.add_patient("dominique")
    represent_lea(secured)
    smart = to_smart(secured)
    app = smart.app(initiate_login_uri=LAUNCH_URL)
    browser, same, back = sign_in(secured, app, "dominique")
    token_of(app, same, back, patient="lea")
    given = opened(browser, consent_on(browser))
    assert given == {"from": "portal", "iss": BASE, "launch": given["launch"]}
    page = app.ask(same, "launch openid patient/*.rs", launch=given["launch"])
    assert page.form["patient"] == "lea"
    code = page.allow(patient="lea").location.partition("code=")[2].partition("&")[0]
    token = app.exchange(code).get_json()
    assert (token["patient"], token["need_patient_banner"]) == ("lea", True)
    assert read(secured, token, "Patient/lea") == 200
    again = app.authorize(same, "launch patient/*.rs", launch=given["launch"])
    assert "error=" in (same.get(again.location).location or again.location)


def test_only_who_has_let_an_app_in_opens_it_and_only_from_our_page(secured: Site) -> None:
    secured.add_patient("dominique")
    secured.add_patient("paul", "p2")
    app = to_smart(secured).app(initiate_login_uri=LAUNCH_URL)
    browser, same, back = sign_in(secured, app, "dominique")
    token_of(app, same, back)
    consent = consent_on(browser)
    other = secured.browser()
    other.sign_in("paul")
    for wrong in (consent, "nothing"):
        other.get("/auth/account")
        answer = other.post("/auth/account/app/open", {"app": wrong})
        assert (answer.status_code, answer.headers["Location"]) == (303, "/auth/account")
    assert browser.post("/auth/account/app/open", {"app": consent, "csrf": "forged"}).status_code == 403
    assert secured.browser().post("/auth/account/app/open", {"app": consent}).status_code == 403
    consent_on(browser)
    assert browser.post("/auth/account/app", {"app": consent}).status_code == 303
    browser.get("/auth/account")
    assert browser.post("/auth/account/app/open", {"app": consent}).status_code == 303


def test_an_app_without_an_address_for_it_cannot_be_opened(secured: Site) -> None:
    secured.add_patient("dominique")
    app = to_smart(secured).app()
    browser, same, back = sign_in(secured, app, "dominique")
    token_of(app, same, back)
    assert "/auth/account/app/open" not in browser.get("/auth/account").get_data(as_text=True)
    assert browser.post("/auth/account/app/open", {"app": consent_on(browser)}).status_code == 303


def represent_lea(secured: Site) -> dict[str, Any]:
    """Make Dominique (p1) a representative of a child, and return the relation without its patient."""
    secured.put({"resourceType": "Patient", "id": "lea", "name": [{"given": ["Léa"]}], "birthDate": "2115-07-12"})
    related = {"resourceType": "RelatedPerson", "id": "rp", "relationship": [GUARD]}
    secured.put({**related, "patient": {"reference": "Patient/lea"}})
    targets = ("Patient/p1", "RelatedPerson/rp")
    links = [{"target": {"reference": reference}, "assurance": "level3"} for reference in targets]
    secured.put({"resourceType": "Person", "id": "pe", "link": links})
    return related


def test_a_mother_chooses_her_child_and_acts_as_its_representative(secured: Site) -> None:
    secured.add_patient("dominique")
    related = represent_lea(secured)
    app = to_smart(secured).app()
    _, same, back = sign_in(secured, app, "dominique")
    token = token_of(app, same, back, patient="lea")
    assert token["patient"] == "lea"
    secured.put({**related, "active": False, "patient": {"reference": "Patient/lea"}})
    assert app.refresh(token["refresh_token"]).status_code == 400


def test_a_doctor_acts_in_the_situation_of_the_login(secured: Site) -> None:
    account = secured.add_doctor("martin", Situation("s", "10", organization_name="Cabinet"))
    secured.add_patient("dominique")
    app = to_smart(secured).app()
    _, same, back = sign_in(secured, app, "martin", "openid fhirUser offline_access user/*.rs")
    token = token_of(app, same, back)
    assert read(secured, token, "Practitioner/martin") == 200
    secured.accounts.directory.set_situations(account.id, [], "Martin")
    assert app.refresh(token["refresh_token"]).status_code == 400
