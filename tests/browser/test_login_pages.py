"""The pages of signing in as people meet them: in a real browser, with a security key, and without JavaScript."""

import threading
from collections.abc import Callable, Iterator

import pyotp
import pytest
from playwright.sync_api import Browser, BrowserContext, Page
from werkzeug.serving import make_server

from tests.rest.signing_in import PASSWORD, Site


@pytest.fixture
def served(make_site: Callable[..., Site]) -> Iterator[Site]:
    """A site that a browser can go to, where a second factor is required."""
    server = make_server("localhost", 0, lambda environ, start: site.application(environ, start), threaded=True)
    site = make_site(base_url=f"http://localhost:{server.server_port}/fhir", second_factor="required")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    site.add_patient("dominique")
    yield site
    server.shutdown()
    thread.join()
    server.server_close()


def address(site: Site, path: str) -> str:
    """Return the address of a page."""
    return site.composition.settings.base_url.removesuffix("/fhir") + path


def sign_in(page: Page, site: Site) -> None:
    """Fill in the first form; the next page is there, its script too."""
    page.goto(address(site, "/auth/login"))
    page.fill("#login", "dominique")
    page.fill("#password", PASSWORD)
    with page.expect_navigation():
        page.click("main button[type=submit]")


def test_a_security_key_is_set_up_and_opens_the_account_again(served: Site, visit: BrowserContext) -> None:
    page = visit.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    session = visit.new_cdp_session(page)
    session.send("WebAuthn.enable")
    key = {"protocol": "ctap2", "transport": "usb", "hasUserVerification": True, "isUserVerified": True}
    session.send("WebAuthn.addVirtualAuthenticator", {"options": {**key, "automaticPresenceSimulation": True}})
    sign_in(page, served)
    page.fill("#key-name", "My key")
    page.click("[data-security-key]")
    page.wait_for_selector(".codes")
    assert page.locator(".codes li").count() == 10
    page.click("main a.button")
    assert page.locator("#factors ~ ul").inner_text().startswith("Security key « My key »")
    page.goto(address(served, "/auth/logout"))
    page.click("main button[type=submit]")
    sign_in(page, served)
    page.click("[data-security-key]")
    page.wait_for_url("**/auth/account")
    # Neither the policy nor the script has anything to complain about.
    assert complaints == []


def test_a_refused_key_is_said_on_the_page(served: Site, visit: BrowserContext) -> None:
    page = visit.new_page()
    session = visit.new_cdp_session(page)
    session.send("WebAuthn.enable")
    key = {"protocol": "ctap2", "transport": "usb", "hasUserVerification": True, "isUserVerified": True}
    options = {**key, "automaticPresenceSimulation": True}
    added = session.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    sign_in(page, served)
    page.click("[data-security-key]")
    page.wait_for_selector(".codes")
    page.goto(address(served, "/auth/logout"))
    page.click("main button[type=submit]")
    sign_in(page, served)
    session.send("WebAuthn.clearCredentials", {"authenticatorId": added["authenticatorId"]})
    page.click("[data-security-key]")
    page.wait_for_selector(".outcome:not(:empty)")
    assert "has not been accepted" in page.inner_text(".outcome")
    assert page.is_enabled("[data-security-key]")


def test_without_javascript_an_app_is_set_up_and_used(served: Site, chromium: Browser) -> None:
    context = chromium.new_context(locale="fr-FR", java_script_enabled=False)
    page = context.new_page()
    sign_in(page, served)
    assert page.inner_text("h1") == "Protégez votre compte"
    box = page.locator("img[alt]").bounding_box()
    assert box is not None
    assert box["width"] > 100
    secret = page.inner_text("dd code").replace(" ", "")
    page.fill("#code", pyotp.TOTP(secret).at(served.clock()))
    page.click("main button[type=submit]")
    page.click("main a.button")
    assert "/auth/account" in page.url
    served.clock.turn(seconds=30)
    page.goto(address(served, "/auth/logout"))
    page.click("main button[type=submit]")
    sign_in(page, served)
    page.fill("#code", pyotp.TOTP(secret).at(served.clock()))
    page.click("main button[type=submit]")
    assert page.inner_text("h1") == "Votre compte"
    context.close()


def test_every_field_has_a_label_and_the_keyboard_reaches_all(served: Site, visit: BrowserContext) -> None:
    page = visit.new_page()
    page.goto(address(served, "/auth/login"))
    unnamed = "[...document.querySelectorAll('input:not([type=hidden])')].filter(i => !i.labels.length).length"
    assert page.evaluate(unnamed) == 0
    page.evaluate("document.activeElement.blur()")
    reached = []
    for _ in range(8):  # it begins at the first field, and goes round through the browser's own
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))
    assert set(reached) >= {"Skip to content", "Français", "English", "login", "password", "Sign in"}


def test_the_page_fits_a_narrow_screen(served: Site, chromium: Browser) -> None:
    context = chromium.new_context(viewport={"width": 320, "height": 640})
    page = context.new_page()
    page.goto(address(served, "/auth/login"))
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    context.close()
