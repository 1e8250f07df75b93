"""To the identity provider and back: two addresses for each, and a page for those who are not let in."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from flask import Blueprint, Response, abort, request

from fhir_server.accounts.account import Account
from fhir_server.accounts.professions import parse_professional
from fhir_server.accounts.sessions import Proofs
from fhir_server.audit.security_events import Actor
from fhir_server.smart.login.browser import Browser, own_path
from fhir_server.smart.login.federation.exchange import Exchange, Vouched
from fhir_server.smart.login.federation.providers import ProviderUnavailable
from fhir_server.smart.login.federation.tokens import Unverified
from fhir_server.smart.login.pages import Desk, is_for_app
from fhir_server.smart.login.sign_in_pages import SignInPages

AMR = ("fed",)
"""That another provider has authenticated them; how, only it knows."""

Report = Callable[[str, str], None]
"""Writes to the log why a provider's sign-in came to nothing: its name and a reason of ours."""


@dataclass(frozen=True, slots=True)
class FederationPages:
    """The handlers. ``open_exchanges`` returns the exchange with each provider that is set up."""

    desk: Desk
    sign_in: SignInPages
    open_exchanges: Callable[[], Mapping[str, Exchange]]
    report: Report

    def install(self, blueprint: Blueprint) -> None:
        """Add the routes."""
        blueprint.add_url_rule("/federation/<provider>", "federation", self.begin)
        blueprint.add_url_rule("/federation/<provider>/callback", "federation_callback", self.finish)
        blueprint.add_url_rule("/federation/<provider>/signed-out", "federation_signed_out", self.signed_out)

    def begin(self, provider: str) -> Response:
        """Send the browser to a provider."""
        exchange = self._exchange(provider)
        browser = self.desk.browser()
        next = own_path(request.args.get("next", ""))
        try:
            url = exchange.begin(browser.visit, next, self.desk.accounts.clock(), fresh="fresh" in request.args)
        except ProviderUnavailable as problem:
            return self._refused(browser, provider, "unavailable", str(problem), 503)
        return self.desk.go(browser, url, leads_away=is_for_app(next))

    def finish(self, provider: str) -> Response:
        """Verify what a provider has sent back, and sign the person in."""
        exchange = self._exchange(provider)
        browser = self.desk.browser()
        try:
            vouched = exchange.finish(request.args.to_dict(), browser.visit, self.desk.accounts.clock())
        except ProviderUnavailable as problem:
            return self._refused(browser, provider, "unavailable", str(problem), 503)
        except Unverified as problem:
            self._tell_refused(browser)
            return self._refused(browser, provider, "refused-provider", str(problem), 403)
        account = self._recognise(browser, provider, vouched)
        if account is None:
            self._tell_refused(browser)
            kind = "patient" if provider == "franceconnect" else "professional"
            return self._refused(browser, provider, f"refused-{kind}", "nobody known", 403)
        return self._open(browser, provider, account, vouched)

    def signed_out(self, provider: str) -> Response:
        """Greet who comes back from signing out at a provider, if this browser was sent there."""
        exchange = self._exchange(provider)
        browser = self.desk.browser()
        left = exchange.has_left(request.args.get("state", ""), browser.visit, self.desk.accounts.clock())
        return self.desk.go(browser, "/auth/login?signed-out=1" if left else "/auth/login")

    def _open(self, browser: Browser, provider: str, account: Account, vouched: Vouched) -> Response:
        accounts = self.desk.accounts
        self.desk.end_former(browser)
        proofs = Proofs(
            vouched.auth_time,
            AMR,
            vouched.acr,
            agent=browser.agent,
            address=browser.address,
            provider=provider,
            id_token=accounts.sealer.seal(vouched.id_token.encode(), account.id),
        )
        return self.sign_in.go_on(browser, accounts.sign_in.federated(account, proofs), vouched.next)

    def _recognise(self, browser: Browser, provider: str, vouched: Vouched) -> Account | None:
        accounts = self.desk.accounts
        if provider == "franceconnect":
            return accounts.recognition.patient(vouched.subject, vouched.claims, accounts.clock())
        professional = parse_professional(vouched.claims)
        if professional is None:
            return None
        ctx = self.desk.open_context(browser.language)
        return accounts.recognition.professional(ctx, vouched.subject, professional, accounts.clock())

    def _exchange(self, provider: str) -> Exchange:
        exchange = self.open_exchanges().get(provider)
        if exchange is None:
            abort(404)
        return exchange

    def _tell_refused(self, browser: Browser) -> None:
        by = Actor("unknown", address=browser.address)
        self.desk.accounts.sign_in.tell_refused("refused", browser.subscriber, by)

    def _refused(self, browser: Browser, provider: str, reason: str, detail: str, status: int) -> Response:
        self.report(provider, detail)
        return self.desk.page(browser, "refused", status=status, reason=reason)
