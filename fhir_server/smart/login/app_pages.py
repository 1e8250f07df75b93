"""The apps that the owner of an account has let in, looked after by them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask import Blueprint, Response, request

from fhir_server.accounts.account import to_actor
from fhir_server.audit.security_events import Actor
from fhir_server.smart.login.pages import Desk


@dataclass(frozen=True, slots=True)
class App:
    """An app that the account's owner has let in; ``id`` is that of the consent; ``opens``: it can be opened here."""

    id: str
    client: str
    name: str
    created: datetime
    opens: bool = False


@dataclass(frozen=True, slots=True)
class Apps:
    """What these pages need of consents: those of an account, and the end of one of them, to a client, by somebody.

    ``open`` takes a consent, an account and a WSGI request and returns the address that opens the app, or None.
    """

    of_account: Callable[[str], Sequence[App]]
    open: Callable[[str, str, Mapping[str, Any]], str | None]
    end: Callable[[str, str, Actor], None]


@dataclass(frozen=True, slots=True)
class AppPages:
    """The handlers of the forms that stand beside each app on the account's page."""

    desk: Desk
    apps: Apps

    def install(self, blueprint: Blueprint) -> None:
        """Add the routes."""
        blueprint.add_url_rule("/account/app", "end_app", self.end_app, methods=["POST"])
        blueprint.add_url_rule("/account/app/open", "open_app", self.open_app, methods=["POST"])

    def open_app(self) -> Response:
        """Open an app with a launch context of the record that it has been let into.

        Spec: https://hl7.org/fhir/smart-app-launch/app-launch.html#launch-app-ehr-launch
        """
        browser = self.desk.browser()
        found = self.desk.session(browser, "complete")
        if found is None or not self.desk.is_ours(browser, request.form.get("csrf")):
            return self.desk.expired(browser)
        address = self.apps.open(request.form.get("app", ""), found[1].id, request.environ)
        if address is None:
            return self.desk.go(browser, "/auth/account")
        # Not a redirect: browsers would apply the account page's form-action to it.
        return self.desk.page(browser, "open_app", elsewhere=address)

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
