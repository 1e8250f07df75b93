"""Who came through an identity provider signs out there too, and comes back."""

from urllib.parse import parse_qsl, urlsplit

import pytest
from lxml import html

from tests.rest.federating import PATIENT, Federation
from tests.rest.identity_provider import CLIENT_ID
from tests.rest.security_audit import told
from tests.rest.signing_in import Browser


def signed_in(federation: Federation, name: str) -> Browser:
    browser = federation.site.browser()
    if name == "franceconnect":
        federation.site.put(PATIENT)
    assert federation.sign_in(name, browser).status_code == 303
    return browser


def sign_out(browser: Browser) -> str:
    """Sign out, and return where the page leads."""
    browser.get("/auth/logout")
    answer = browser.post("/auth/logout")
    assert not browser.is_signed_in
    if answer.status_code == 303:
        return str(answer.headers["Location"])
    page = html.fromstring(answer.get_data(as_text=True))
    (link,) = page.xpath("//a[@class='button']/@href")
    (refresh,) = page.xpath("//meta[@http-equiv='refresh']/@content")
    assert refresh == f"0; url={link}"
    assert "form-action 'self'" in answer.headers["Content-Security-Policy"]
    return str(link)


@pytest.mark.parametrize("name", ["psc", "franceconnect"])
def test_a_sign_out_ends_the_session_with_the_provider(federation: Federation, name: str) -> None:
    provider = federation.provider(name)
    browser = signed_in(federation, name)
    url = urlsplit(sign_out(browser))
    assert f"{url.scheme}://{url.netloc}{url.path}" == f"{provider.issuer}/session/end"
    asked = dict(parse_qsl(url.query))
    assert asked["id_token_hint"] == provider.given[-1]
    assert asked["post_logout_redirect_uri"] == f"http://localhost:8000/auth/federation/{name}/signed-out"
    assert asked["client_id"] == CLIENT_ID
    back = browser.get(f"/auth/federation/{name}/signed-out?state={asked['state']}")
    assert back.headers["Location"] == "/auth/login?signed-out=1"
    again = browser.get(f"/auth/federation/{name}/signed-out?state={asked['state']}")
    assert again.headers["Location"] == "/auth/login", "a state is good once"
    assert [one.code for one in told(federation.site.composition, "sign-out")] == ["sign-out"]


def test_a_provider_that_ends_no_sessions_is_left_alone(federation: Federation) -> None:
    federation.franceconnect.announced = {"end_session_endpoint": ""}
    assert sign_out(signed_in(federation, "franceconnect")) == "/auth/login?signed-out=1"


def test_an_address_with_a_query_keeps_it(federation: Federation) -> None:
    federation.psc.announced = {"end_session_endpoint": f"{federation.psc.issuer}/end?realm=x"}
    assert sign_out(signed_in(federation, "psc")).startswith(f"{federation.psc.issuer}/end?realm=x&id_token_hint=")


def test_a_provider_that_does_not_answer_keeps_nobody_signed_in(federation: Federation) -> None:
    browser = signed_in(federation, "psc")
    federation.psc.statuses = {"metadata": 503}
    federation.site.clock.turn(minutes=11)
    assert sign_out(browser) == "/auth/login?signed-out=1"


def test_who_signed_in_with_a_password_goes_nowhere_else(federation: Federation) -> None:
    federation.site.add_patient("dominique", "p9")
    browser = federation.site.browser()
    browser.sign_in("dominique")
    assert sign_out(browser) == "/auth/login?signed-out=1"


def test_the_id_token_is_sealed_at_rest(federation: Federation) -> None:
    signed_in(federation, "franceconnect")
    kept = repr(federation.site.records.find("sessions", {}))
    assert federation.franceconnect.given[-1] not in kept
    assert federation.franceconnect.given[-1].split(".")[1] not in kept
