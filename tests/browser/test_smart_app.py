"""HL7's SMART client library, unmodified, in a browser: an app of another origin launches and reads."""

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode, urlsplit

import pyotp
import pytest
from playwright.sync_api import BrowserContext
from werkzeug.serving import make_server

from fhir_server.smart.clients import Client
from fhir_server.smart.consents import Consent
from tests.browser.published import fhir_client
from tests.rest.signing_in import PASSWORD, Site
from tests.rest.smart import Smart, over_http
from tests.rest.smart_apps import App
from tests.rest.smart_people import MARIE
from tests.rest.test_smart_client_libraries import fill

LAUNCH = """<!doctype html><title>launch</title><script src="fhir-client.js"></script>
<script>FHIR.oauth2.authorize({OPTIONS}).catch(e => document.title = "failed: " + e)</script>"""
INDEX = """<!doctype html><title>waiting</title><script src="fhir-client.js"></script><script>
FHIR.oauth2.ready().then(async client => {
  const patient = await client.patient.read();
  const found = await client.request("Observation?patient=" + client.patient.id, { flat: true });
  const before = client.state.tokenResponse.access_token;
  await client.refresh();
  const again = await client.user.read();
  document.title = JSON.stringify({
    patient: patient.name[0].family, observations: found.map(one => one.id), scope: client.state.tokenResponse.scope,
    user: client.user.fhirUser, again: again.id, renewed: client.state.tokenResponse.access_token !== before,
  });
}).catch(e => document.title = "failed: " + e)</script>"""


@contextmanager
def serving(pages: dict[str, bytes]) -> Iterator[str]:
    """Serve an app's pages on a port of their own, and give their origin."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = pages.get(urlsplit(self.path).path.lstrip("/"))
            self.send_response(200 if body is not None else 404)
            self.send_header("Content-Type", "text/javascript" if self.path.endswith(".js") else "text/html")
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_fhirclient_launches_standalone_and_reads(smart_with: Callable[..., Smart], visit: BrowserContext) -> None:
    pages = {"fhir-client.js": fhir_client(), "index.html": INDEX.encode()}
    with serving(pages) as origin:
        smart = smart_with(cors_origins=(origin,))
        fill(smart)
        app = smart.app("browser-app", redirect_uris=(f"{origin}/index.html",))
        with over_http(smart) as base:
            options = {
                "clientId": app.client.id,
                "scope": "openid fhirUser launch/patient offline_access patient/*.rs",
                "iss": base,
                "redirectUri": f"{origin}/index.html",
            }
            pages["launch.html"] = LAUNCH.replace("OPTIONS", json.dumps(options)[1:-1]).encode()
            cookie = {"name": "session", "value": smart.people.sign_in(MARIE), "url": base}
            visit.add_cookies([cookie])  # type: ignore[list-item]
            page = visit.new_page()
            page.goto(f"{origin}/launch.html")
            page.get_by_role("button", name="Allow").wait_for()
            assert page.get_by_role("heading").inner_text() == "The app browser-app asks for access"
            assert page.get_by_role("radio").count() == 2
            page.get_by_role("button", name="Allow").click()
            page.wait_for_function("document.title !== 'waiting'")
            assert not page.title().startswith("failed"), page.title()
            assert json.loads(page.title()) == {
                "patient": "Curie",
                "observations": ["weight"],
                "scope": "openid fhirUser launch/patient offline_access patient/*.rs",
                "user": "Patient/marie",
                "again": "marie",
                "renewed": True,
            }


OPENED = """<!doctype html><title>waiting</title><script src="fhir-client.js"></script><script>
FHIR.oauth2.ready().then(async client => {
  const patient = await client.patient.read();
  document.title = JSON.stringify({patient: patient.id, banner: client.state.tokenResponse.need_patient_banner});
}).catch(e => document.title = "failed: " + e)</script>"""


def test_fhirclient_is_opened_from_the_account_page(make_site: Callable[..., Site], visit: BrowserContext) -> None:
    pages = {"fhir-client.js": fhir_client(), "index.html": OPENED.encode()}
    with serving(pages) as origin, served(make_site, (origin,)) as site:
        options = {"clientId": "browser-app", "scope": "launch patient/*.rs", "redirectUri": f"{origin}/index.html"}
        pages["launch.html"] = LAUNCH.replace("OPTIONS", json.dumps(options)[1:-1]).encode()
        smart, account = site.composition.smart(), site.add_patient("dominique")
        redirects, scope = (f"{origin}/index.html",), "launch launch/patient patient/*.rs"
        begin = f"{origin}/launch.html"
        smart.clients.add(Client("browser-app", "App", "public", "none", scope, redirects, initiate_login_uri=begin))
        now = smart.ground.now()
        smart.consents.insert(Consent("given", "browser-app", account.id, "patient/*.rs", now, now, patient="p1"))
        page = visit.new_page()
        page.goto(site.composition.settings.base_url.removesuffix("/fhir") + "/auth/login?next=/auth/account")
        page.fill("#login", "dominique")
        page.fill("#password", PASSWORD)
        page.click("main button[type=submit]")
        page.get_by_role("button", name="Open : App").click()
        page.get_by_role("button", name="Allow").click()
        page.wait_for_function("document.title !== 'waiting'")
        assert json.loads(page.title()) == {"patient": "p1", "banner": True}


OPENER = """<!doctype html><title>waiting</title><button>Connect</button><script>
addEventListener("message", told => { if (told.origin === location.origin) document.title = told.data });
document.querySelector("button").onclick = () => { window.popup = open(ADDRESS, "login", "width=600,height=700") };
</script>"""
RETURNED = """<!doctype html><title>back</title><script>
if (opener) opener.postMessage(new URLSearchParams(location.search).has("code") ? "got a code" : "refused", origin);
</script>"""


@pytest.mark.parametrize("second_factor", ["optional", "required"])
def test_an_app_that_asks_in_a_window_of_its_own_hears_of_the_end(
    make_site: Callable[..., Site], visit: BrowserContext, second_factor: str
) -> None:
    """The login, its second step and the consent leave the app's page and its window together."""
    pages = {"back.html": RETURNED.encode()}
    with serving(pages) as origin, served(make_site, (origin,), second_factor=second_factor) as site:
        site.add_patient("dominique")
        client = Client("popup", "App", "public", "none", "patient/*.rs", (f"{origin}/back.html",))
        site.composition.smart().clients.add(client)
        base = site.composition.settings.base_url
        asked = App(site, client, redirect_uri=f"{origin}/back.html").parameters("patient/*.rs", aud=base)
        address = f"{base.removesuffix('/fhir')}/auth/authorize?{urlencode(asked)}"
        pages["index.html"] = OPENER.replace("ADDRESS", json.dumps(address)).encode()
        page = visit.new_page()
        page.goto(f"{origin}/index.html")
        with page.expect_popup() as opened:
            page.get_by_role("button", name="Connect").click()
        popup = opened.value
        popup.fill("#login", "dominique")
        popup.fill("#password", PASSWORD)
        popup.click("main button[type=submit]")
        if second_factor == "required":
            secret = popup.inner_text("dd code").replace(" ", "")
            popup.fill("#code", pyotp.TOTP(secret).at(site.clock()))
            popup.click("main button[type=submit]")
            popup.click("main a.button")
        popup.get_by_role("button", name="Allow").click()
        page.wait_for_function("document.title !== 'waiting'")
        assert page.title() == "got a code"
        assert page.evaluate("popup.closed") is False


@pytest.mark.parametrize("path", ["/auth/login", "/auth/account", "/auth/logout"])
def test_no_other_page_keeps_hold_of_a_window_with_an_account(
    make_site: Callable[..., Site], visit: BrowserContext, path: str
) -> None:
    pages = dict[str, bytes]()
    with serving(pages) as origin, served(make_site, ()) as site:
        address = site.composition.settings.base_url.removesuffix("/fhir") + path
        pages["index.html"] = OPENER.replace("ADDRESS", json.dumps(address)).encode()
        page = visit.new_page()
        page.goto(f"{origin}/index.html")
        with page.expect_popup() as opened:
            page.get_by_role("button", name="Connect").click()
        opened.value.get_by_role("main").wait_for()
        assert opened.value.evaluate("opener") is None
        assert page.evaluate("popup.closed") is True, "as if it were gone"


@contextmanager
def served(make_site: Callable[..., Site], origins: tuple[str, ...], **given: Any) -> Iterator[Site]:
    """Give a site with accounts of its own, at an address that a browser can go to."""
    server = make_server("localhost", 0, lambda environ, start: site.application(environ, start), threaded=True)
    site = make_site(base_url=f"http://localhost:{server.server_port}/fhir", cors_origins=origins, **given)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield site
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_refusal_comes_back_to_the_app(smart_with: Callable[..., Smart], visit: BrowserContext) -> None:
    with serving({"index.html": b"<!doctype html><title>back</title>"}) as origin:
        smart = smart_with(cors_origins=(origin,))
        app = smart.app("browser-app", redirect_uris=(f"{origin}/index.html",))
        app.redirect_uri = f"{origin}/index.html"
        with over_http(smart) as base:
            visit.add_cookies([{"name": "session", "value": smart.people.sign_in(MARIE), "url": base}])
            page = visit.new_page()
            given = app.parameters("patient/*.rs", aud=base, ui_locales="fr")
            address = base.removesuffix("/fhir") + "/auth/authorize?" + "&".join(f"{a}={b}" for a, b in given.items())
            page.goto(address)
            page.get_by_role("button", name="Refuser").click()
            page.wait_for_url(f"{origin}/index.html?*")
            assert "error=access_denied" in page.url


def test_another_site_cannot_frame_the_page(smart: Smart, visit: BrowserContext) -> None:
    app = smart.app()
    with over_http(smart) as base:
        visit.add_cookies([{"name": "session", "value": smart.people.sign_in(MARIE), "url": base}])
        given = app.parameters("patient/*.rs", aud=base)
        address = base.removesuffix("/fhir") + "/auth/authorize?" + "&".join(f"{a}={b}" for a, b in given.items())
        frame = f"<!doctype html><title>evil</title><iframe src='{address}'></iframe>".encode()
        with serving({"index.html": frame}) as origin:
            page = visit.new_page()
            page.goto(f"{origin}/index.html")
            page.wait_for_timeout(1_000)
            assert all("form_token" not in one.content() for one in page.frames)
