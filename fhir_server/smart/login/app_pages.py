"""The apps that the owner of an account has let in, looked after by them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from flask import Blueprint, Response, request

from fhir_server.accounts.account import to_actor
from fhir_server.audit.security_events import Actor
from fhir_server.smart.login.pages import Desk


@dataclass(frozen=True, slots=True)
class App:
    """An app that the account's owner has let in; ``id`` is that of the consent."""

    id: str
    client: str
    name: str
    created: datetime


@dataclass(frozen=True, slots=True)
class Apps:
    """What this page needs of consents: those of an account, and the end of one of them, to a client, by somebody."""

    of_account: Callable[[str], Sequence[App]]
    end: Callable[[str, str, Actor], None]


@dataclass(frozen=True, slots=True)
class AppPages:
    """The handlers of the forms that stand beside each app on the account's page."""

    desk: Desk
    apps: Apps

    def install(self, blueprint: Blueprint) -> None:
        """Add the routes."""
        blueprint.add_url_rule("/account/app", "end_app", self.end_app, methods=["POST"])

    def end_app(self) -> Response:
        """Withdraw what an app has been given; its tokens end with it."""
        browser = self.desk.browser()
        found = self.desk.session(browser, "complete")
        if found is None or not self.desk.is_ours(browser, request.form.get("csrf")):
            return self.desk.expired(browser)
        account = found[1]
        wanted = [app for app in self.apps.of_account(account.id) if app.id == request.form.get("app")]
        for app in wanted:
            self.apps.end(app.id, app.client, to_actor(account, browser.address))
        return self.desk.go(browser, "/auth/account")
