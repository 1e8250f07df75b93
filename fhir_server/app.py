"""The composition root: settings in, a WSGI application out; the only file that wires the parts together.

Nothing is connected before the first request of a process needs it, so that workers may be forked at any time.
"""

import hashlib
import hmac
import os
import re
import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from argon2 import PasswordHasher
from flask import Blueprint, Flask

from fhir_server.access.caller import LOCAL_CALLER, Caller
from fhir_server.access.policy import Policy
from fhir_server.accounts.accounts import Accounts, build_accounts
from fhir_server.audit.packs import unpack
from fhir_server.audit.repeats import Repeats
from fhir_server.audit.security_events import Actor, SecurityEvent
from fhir_server.audit.security_log import SecurityLog
from fhir_server.audit.templates import Occasion
from fhir_server.audit.trail import Origin as TrailOrigin
from fhir_server.audit.trail import Trail
from fhir_server.context import RequestContext, current_time, random_bytes
from fhir_server.errors import FhirError
from fhir_server.interactions.operation import own_definition_ids
from fhir_server.repository.facts import FactsReader
from fhir_server.repository.open_records import OpenRecords
from fhir_server.repository.repository import Repository
from fhir_server.repository.stored_parameters import ParameterRegistry
from fhir_server.repository.writing import WriteRules
from fhir_server.rest.authentication import Authenticate, authenticate_nobody
from fhir_server.rest.cors import Cors
from fhir_server.rest.elsewhere import install_problem_details
from fhir_server.rest.gateway import FhirGateway
from fhir_server.rest.headers import request_id
from fhir_server.rest.health import ReadinessCheck, health_blueprint
from fhir_server.rest.logs import Log, take_over_library_logs
from fhir_server.rest.negotiation import negotiate_language
from fhir_server.rest.origin import Origin
from fhir_server.search.paging import PageSealer
from fhir_server.search.plans import Limits
from fhir_server.secret_files import make_once
from fhir_server.settings import Settings, SettingsError
from fhir_server.smart.bearer import BearerTokens
from fhir_server.smart.blueprint import smart_blueprint
from fhir_server.smart.edge import Edge
from fhir_server.smart.endings import end_account, end_grant
from fhir_server.smart.launching import open_app
from fhir_server.smart.login.app_pages import App, Apps
from fhir_server.smart.login.blueprint import SignedIn, login_blueprint
from fhir_server.smart.parts import Parts, build_parts
from fhir_server.smart.people import People
from fhir_server.storage.mongo import MongoStore

_KEY_BYTES = 32
_IDENTIFIER = re.compile(r"[A-Za-z0-9:/.\-_|]{1,200}")
_NO_DATABASE = (
    "FHIR_SERVER_MONGODB_URI is not set: give the address of a MongoDB replica set, "
    "or use `fhir-server serve`, which starts a database of its own."
)


class Composition:
    """The parts of one server in one process, made at their first use and shared by its threads."""

    def __init__(
        self,
        settings: Settings,
        people: People | None = None,
        clock: Callable[[], datetime] = current_time,
        hasher: PasswordHasher | None = None,
    ) -> None:
        self.settings = settings
        self._people: People = people or SignedIn(settings, self.accounts)
        self._clock = clock
        self._hasher = hasher
        self.log = Log(settings.log_level, settings.log_format)
        self._rules = WriteRules(
            update_as_create=settings.update_as_create,
            check_targets=settings.referential_integrity_write,
            check_referrers=settings.referential_integrity_delete,
            joins=Limits(settings.search_join_keys, settings.search_budget, settings.search_join_depth),
            published=frozenset(f"OperationDefinition/{id}" for id in own_definition_ids()),
        )
        self._open_records = OpenRecords()
        self._lock = threading.Lock()
        self._pages: PageSealer | None = None
        self._store: MongoStore | None = None
        self._registry: ParameterRegistry | None = None
        self._smart: Parts | None = None
        self._accounts: Accounts | None = None

    def store(self) -> MongoStore:
        """Return the database, prepared for this version of the server.

        Raises ``StoreUnavailable``, ``UnsuitableDatabase``, or ``SettingsError`` when no database is named.
        """
        if self._store is None:
            with self._lock:
                if self._store is None:
                    self._store = self._open_store()
        return self._store

    def open_context(
        self, caller: Caller, request_id: str, language: str, base_url: str, address: str = ""
    ) -> RequestContext:
        """Return the context of one request by ``caller`` at ``address``; connects when nothing has yet."""
        registry = self.registry()
        registry.use()
        store, now = self.store(), current_time()
        facts = FactsReader(store, store.records, caller, now, base_url, self._open_records)
        policy = Policy(caller, source=facts, failed=partial(self.log.failure, request_id))
        trail = Trail(self._origin(caller, request_id, base_url, address, now))
        repository = Repository(store, policy, self._rules, base_url, current_time, registry, trail)
        return RequestContext(repository, self.settings, self.pages(), caller, request_id, now, language, base_url)

    def open_local_context(self, purpose: str, language: str) -> RequestContext:
        """Return a context for work that comes from the command line of this machine."""
        return self.open_context(LOCAL_CALLER, f"{purpose}-{request_id(None)}", language, self.settings.base_url)

    def find_patient(self, caller: Caller, identifier: str, base_url: str) -> str | None:
        """Return the id of the one patient with an identifier to whom the caller may refer; None for none or more."""
        if not _IDENTIFIER.fullmatch(identifier):
            return None
        repository = self.open_context(caller, request_id(None), self.settings.language, base_url).repository
        try:
            found = repository.match(repository.criteria("Patient", (("identifier", identifier),)), "refer")
        except FhirError:  # what is no identifier is nobody's
            return None
        return found[0].id if len(found) == 1 else None

    def registry(self) -> ParameterRegistry:
        """Return what keeps this process up to date on stored search parameters."""
        store = self.store()
        if self._registry is None:
            self._registry = ParameterRegistry(store)
        return self._registry

    def pages(self) -> PageSealer:
        """Return the sealer of page links, with the key that all workers share."""
        if self._pages is None:
            self._pages = PageSealer(read_or_make_key(self.settings))
        return self._pages

    def smart(self) -> Parts:
        """Return the parts of the authorization server; nothing is connected by that."""
        if self._smart is None:
            self._smart = build_parts(
                self.settings,
                lambda: self.store().records,
                self._people,
                self.security_log(),
                self.find_patient,
                lambda subscriber: self.accounts().registrations.admit(subscriber, self._clock()),
                self._clock,
                random_bytes,
            )
        return self._smart

    def accounts(self) -> Accounts:
        """Return the accounts of people, with the key that all workers share."""
        store = self.store()
        if self._accounts is None:
            key = read_or_make_accounts_key(self.settings)
            ground = self.smart().ground
            self._accounts = build_accounts(
                self.settings,
                store,
                store.records,
                key,
                lambda account: end_account(ground, account),
                self.security_log(),
                self._clock,
                random_bytes,
                self._hasher,
            )
        return self._accounts

    def security_log(self) -> SecurityLog:
        """Return where accounts and the authorization server tell what has happened; nothing is connected by that."""
        return SecurityLog(
            lambda events: self.store().append(events),
            Repeats(lambda: self.store().records, self._clock),
            self.settings.base_url,
            current_time,
            enabled=self.settings.audit != "off",
        )

    def close(self) -> None:
        """Release the connections."""
        if self._store is not None:
            self._store.close()
            self._store = self._registry = self._accounts = None

    def _origin(
        self, caller: Caller, request_id: str, base_url: str, address: str, now: datetime
    ) -> TrailOrigin | None:
        if self.settings.audit == "off" or (self.settings.audit == "auto" and caller.kind == "open"):
            return None
        return TrailOrigin(Occasion(caller, base_url, address), request_id, now, current_time)

    def _open_store(self) -> MongoStore:
        if self.settings.mongodb_uri is None:
            raise SettingsError([_NO_DATABASE])
        seconds = self.settings.request_timeout
        store = MongoStore(
            self.settings.mongodb_uri,
            self.settings.database,
            read_milliseconds=int(seconds * 1000),
            commit_seconds=seconds,
            body_cache=self.settings.body_cache_size,
            audit_spool=self.settings.data_directory / "audit-spool" if self.settings.audit_spool else None,
            unpack=unpack,
        )
        store.prepare()
        return store


def create_app(settings: Settings) -> Flask:
    """Return the server's WSGI application."""
    return build_app(Composition(settings))


def build_app(composition: Composition, authenticate: Authenticate | None = None) -> Flask:
    """Return the WSGI application over parts that somebody else also uses (the command line, tests).

    ``authenticate`` is for who vouches for callers otherwise than by tokens.
    """
    log = composition.log
    take_over_library_logs(log)
    app = Flask("fhir_server", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = composition.settings.max_body
    app.register_blueprint(health_blueprint(ReadinessCheck(composition.store)))
    if composition.settings.auth == "smart":
        app.register_blueprint(smart_blueprint(composition.smart(), build_edge(composition)))
        app.register_blueprint(build_login(composition))
    install_problem_details(app, log)
    gateway = FhirGateway(
        composition.settings,
        authenticate or choose_authentication(composition),
        composition.open_context,
        log,
        app.wsgi_app,  # type: ignore[arg-type]
    )
    app.wsgi_app = gateway  # type: ignore[method-assign]
    return app


def choose_authentication(composition: Composition) -> Authenticate:
    """Return how callers are established: by their tokens, or not at all on a server that is open."""
    if composition.settings.auth == "open":
        return authenticate_nobody
    return BearerTokens(composition.smart().tokens).authenticate


def build_login(composition: Composition) -> Blueprint:
    """Return the pages on which people sign in and look after their accounts."""
    smart = composition.smart()

    def apps_of(account: str) -> list[App]:
        consents = smart.consents.of_account(account)
        named = [(consent, smart.clients.find(consent.client)) for consent in consents]
        return [
            App(consent.id, client.id, client.name, consent.created, bool(client.initiate_login_uri))
            for consent, client in named
            if client is not None
        ]

    def end_app(consent: str, client: str, by: Actor) -> None:
        end_grant(smart.ground, consent)
        smart.log.tell(SecurityEvent("token-revoked", by, about=Actor("client", client)))

    def open_granted(consent: str, account: str, environ: Mapping[str, Any]) -> str | None:
        return open_app(smart, consent, account, Origin(composition.settings).base_url(dict(environ)))

    def report(provider: str, reason: str) -> None:
        composition.log.event("warning", "sign-in", provider=provider, reason=reason)

    return login_blueprint(
        composition.settings,
        composition.accounts,
        lambda language: composition.open_local_context("sign-in", language),
        Apps(apps_of, open_granted, end_app),
        report,
    )


def build_edge(composition: Composition) -> Edge:
    """Return what the authorization server shares with the edge of FHIR."""
    settings = composition.settings
    cors = Cors(settings.cors_origins)

    def language(environ: dict[str, Any]) -> str:
        return negotiate_language(environ.get("HTTP_ACCEPT_LANGUAGE", ""), settings.language)

    def open_context(caller: Caller, language: str, base_url: str, address: str) -> RequestContext:
        return composition.open_context(caller, request_id(None), language, base_url, address)

    return Edge(Origin(settings).base_url, language, cors.headers, cors.preflight_headers, open_context)


def read_or_make_key(settings: Settings) -> bytes:
    """Return the key that seals page links; made once, readable by the server alone."""
    path = settings.secret_key_file
    if path is None:
        path = settings.data_directory / "page-links.key"
        make_once(path, lambda: os.urandom(_KEY_BYTES))
    return _checked(path, path.read_bytes())


def read_or_make_accounts_key(settings: Settings) -> bytes:
    """Return the key of the secrets in accounts: derived from the key file that is set, else made once beside it."""
    if settings.secret_key_file is not None:
        return hmac.digest(read_or_make_key(settings), b"accounts", "sha256")
    path = settings.data_directory / "accounts.key"
    make_once(path, lambda: os.urandom(_KEY_BYTES))
    return _checked(path, path.read_bytes())


def _checked(path: Path, key: bytes) -> bytes:
    if len(key) < _KEY_BYTES:
        raise SettingsError([f"The key in {path.name} is shorter than {_KEY_BYTES} bytes."])
    return hashlib.sha256(key).digest()
