"""The pages of signing in as one Flask blueprint, and what the rest of the server asks of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, jsonify, request
from werkzeug.http import parse_cookie

from fhir_server.accounts.accounts import Accounts, to_origin
from fhir_server.accounts.holders import Holder, Presence
from fhir_server.egress import Fetcher
from fhir_server.settings import Settings
from fhir_server.smart.login.account_pages import AccountPages
from fhir_server.smart.login.app_pages import AppPages, Apps
from fhir_server.smart.login.browser import cookies_of
from fhir_server.smart.login.federation.encryption import EncryptionKeys
from fhir_server.smart.login.federation.exchange import Exchange
from fhir_server.smart.login.federation.providers import Directory, providers_of
from fhir_server.smart.login.federation_pages import FederationPages, Report
from fhir_server.smart.login.pages import Desk, OpenContext
from fhir_server.smart.login.sign_in_pages import SignInPages

_MOST_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Implements ``smart.people.People`` on the accounts of this server."""

    settings: Settings
    open_accounts: Callable[[], Accounts]

    def current_session(self, environ: Mapping[str, Any]) -> Presence | None:
        """Return the session whose cookie a WSGI request brings, None when there is none that is still good."""
        name = cookies_of(self.settings).session
        token = parse_cookie(dict(environ)).get(name, "")
        return self.open_accounts().find_presence(token) if token else None

    def find_account(self, account: str, practitioner_role: str | None) -> Holder | None:
        """Return what is true of an account now, a professional's in the given situation."""
        return self.open_accounts().find_account(account, practitioner_role)


def login_blueprint(
    settings: Settings,
    open_accounts: Callable[[], Accounts],
    open_context: OpenContext,
    apps: Apps,
    report: Report,
) -> Blueprint:
    """Return the pages below ``/auth``; nothing is connected before the first request."""
    blueprint = Blueprint(
        "login",
        "fhir_server.smart.login",
        url_prefix="/auth",
        template_folder="../templates",
        static_folder="../static/login",
        static_url_path="/login/static",
    )
    blueprint.before_request(_bound)
    desk = Desk(settings, open_accounts, open_context)
    providers = providers_of(settings)
    keys = encryption_keys(settings)
    exchanges = _exchanges(settings, open_accounts, providers, keys)
    sign_in = SignInPages(desk, frozenset(providers), exchanges)
    sign_in.install(blueprint)
    AccountPages(desk, sign_in, apps).install(blueprint)
    AppPages(desk, apps).install(blueprint)
    FederationPages(desk, sign_in, exchanges, report).install(blueprint)
    if providers:
        blueprint.add_url_rule("/federation/jwks", "federation_keys", lambda: jsonify(keys.public()))
    return blueprint


def _bound() -> None:
    """Have Flask refuse what is larger than a form: nobody is known yet who could be told to send less."""
    request.max_content_length = _MOST_BYTES


def encryption_keys(settings: Settings) -> EncryptionKeys:
    """Return the keys that identity providers encrypt for."""
    path = settings.encryption_keys_file
    return EncryptionKeys(path or settings.data_directory / "encryption-keys.json", made_here=path is None)


def _exchanges(
    settings: Settings, open_accounts: Callable[[], Accounts], providers: Mapping[str, Any], keys: EncryptionKeys
) -> Callable[[], Mapping[str, Exchange]]:
    """Return a function that gives the exchange with each provider; what they publish is kept between calls."""
    fetcher = Fetcher(loopback=settings.fetch_loopback)
    origin = to_origin(settings.base_url)[0]
    kept: list[Directory] = []

    def exchanges() -> Mapping[str, Exchange]:
        accounts = open_accounts()
        if not kept:
            kept.append(Directory(fetcher, accounts.clock))
        return {
            name: Exchange(
                provider,
                kept[0],
                fetcher,
                accounts.directory.records,
                accounts.sessions.random,
                f"{origin}/auth/federation/{name}/callback",
                f"{origin}/auth/federation/{name}/signed-out",
                keys,
            )
            for name, provider in providers.items()
        }

    return exchanges
