"""What every page of signing in has: its text, its language, its headers, and its proof that a form is ours.

Spec: https://www.w3.org/TR/CSP3/, https://owasp.org/www-project-secure-headers/
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from flask import Response, make_response, redirect, render_template, request

from fhir_server.accounts.account import Account, to_actor
from fhir_server.accounts.accounts import Accounts
from fhir_server.accounts.sessions import Session
from fhir_server.accounts.sign_in import Attempt
from fhir_server.context import RequestContext
from fhir_server.errors import Text
from fhir_server.settings import Settings
from fhir_server.smart.login.browser import AUTHORIZE, Browser, is_own_origin, own_path, read_browser
from fhir_server.smart.login.texts import TEXTS

STEPS = {
    "second-factor": "/auth/login/totp",
    "enrolment": "/auth/login/enrol",
    "situation": "/auth/login/situation",
}
"""Where each unfinished step of signing in goes on."""

_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Permissions-Policy": "publickey-credentials-get=(self), publickey-credentials-create=(self)",
}
_ALONE = {"Cross-Origin-Opener-Policy": "same-origin"}
"""Cuts the page off from whoever has opened its window: they can neither watch it nor send it elsewhere."""
_YEAR = 31_536_000

OpenContext = Callable[[str], RequestContext]
"""Returns a context in which the server itself works, for a language."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What the pages work with."""

    settings: Settings
    open_accounts: Callable[[], Accounts]
    open_context: OpenContext

    @property
    def accounts(self) -> Accounts:
        """The accounts; connects at the first use."""
        return self.open_accounts()

    def browser(self) -> Browser:
        """Return the browser of the present request."""
        return read_browser(request, self.settings, self.accounts, self.accounts.sessions.random(24).hex())

    def session(self, browser: Browser, *steps: str) -> tuple[Session, Account] | None:
        """Return the browser's session and account if it is at one of the steps."""
        found = self.accounts.find_session(browser.session)
        return found if found is not None and found[0].step in steps else None

    def end_former(self, browser: Browser) -> None:
        """End the session that the browser has brought along, if it is one."""
        former = self.accounts.find_session(browser.session)
        if former is not None:
            self.accounts.sign_in.sign_out(*former, to_actor(former[1], browser.address))

    def is_ours(self, browser: Browser, proof: str | None) -> bool:
        """Whether a request that changes something comes from a form of ours in this browser."""
        ours = is_own_origin(request.headers, request.host, self.settings.base_url)
        return ours and proof is not None and browser.has_proof(proof)

    def page(self, browser: Browser, template: str, *, status: int = 200, **values: Any) -> Response:
        """Return a page in the browser's language."""
        values.setdefault("next", own_path(request.values.get("next", "")))
        text = render_template(
            f"login/{template}.html",
            say=lambda name, **words: say(browser, name, **words),
            language=browser.language,
            csrf=browser.csrf,
            brand=self.settings.brand_name,
            here=request.path if request.method == "GET" else "/auth/login",
            **values,
        )
        response = make_response(text, status)
        return self.protect(browser, response, leads_away=is_for_app(values["next"]))

    def go(self, browser: Browser, path: str, *, leads_away: bool = False) -> Response:
        """Return a redirect to one of our paths, or to a provider of identities."""
        return self.protect(browser, make_response(redirect(path, 303)), leads_away=leads_away)

    def expired(self, browser: Browser) -> Response:
        """Return the page for forms that are too old or were never ours."""
        return self.page(browser, "refused", status=403, reason="expired")

    def proceed(self, browser: Browser, attempt: Attempt, next: str) -> Response:
        """Return the way to the next step, with the new session's cookie."""
        step = STEPS.get(str(attempt.step))
        path = next if step is None else f"{step}?{urlencode([('next', next)])}"
        response = self.go(browser, path, leads_away=is_for_app(next))
        browser.cookies.set(response, browser.cookies.session, attempt.token)
        return response

    def protect(self, browser: Browser, response: Response, *, leads_away: bool = False) -> Response:
        """Add what keeps a page from being framed, stored or injected into, and the browser's cookies.

        A form whose end is an app's own address must be allowed to lead there: browsers apply ``form-action`` to the
        whole chain of redirects. Such pages have no ``form-action``; all others send forms to us alone.

        Nor is what lies on an app's way cut off from who has opened its window: an app may ask in a window of its own,
        and wait for the end of that way. One page or redirect with a policy that the app's page does not have, be it
        ``same-origin-allow-popups``, takes the two from each other for good.
        """
        policy, alone = (_POLICY, {}) if leads_away else (f"{_POLICY}; form-action 'self'", _ALONE)
        response.headers.update(
            {**HEADERS, **alone, "Content-Security-Policy": policy, "Vary": "Accept-Language, Cookie"}
        )
        if browser.cookies.secure:
            response.headers["Strict-Transport-Security"] = f"max-age={_YEAR}"
        if browser.new_visit:
            browser.cookies.set(response, browser.cookies.visit, browser.visit)
        if browser.chosen_language:
            browser.cookies.set(response, browser.cookies.language, browser.language)
        return response


def is_for_app(next: str) -> bool:
    """Say whether signing in goes on to what an app has asked for."""
    return next.startswith(AUTHORIZE)


def say(browser: Browser, name: str, **words: str | int) -> str:
    """Return one of the pages' texts in the browser's language."""
    text = TEXTS[name].in_language(browser.language)
    return text.format(**words) if words else text


def to_wait(browser: Browser, seconds: int) -> str:
    """Return a time to wait in words, rounded up to minutes beyond one."""
    minutes = -(-seconds // 60)
    text = Text(f"{seconds} s", f"{seconds} s") if seconds < 60 else Text(f"{minutes} min", f"{minutes} min")
    return text.in_language(browser.language)
