"""The composition root: settings in, a WSGI application out; the only file that wires the parts together.

Nothing is connected before the first request of a process needs it, so that workers may be forked at any time.
"""

import hashlib
import os
import threading
from datetime import datetime
from functools import partial
from pathlib import Path

from flask import Flask

from fhir_server.access.caller import LOCAL_CALLER, Caller
from fhir_server.access.policy import Policy
from fhir_server.audit.frames import Occasion
from fhir_server.audit.trail import Origin, Trail
from fhir_server.context import RequestContext, current_time
from fhir_server.repository.facts import FactsReader
from fhir_server.repository.repository import Repository
from fhir_server.repository.stored_parameters import ParameterRegistry
from fhir_server.repository.writing import WriteRules
from fhir_server.rest.authentication import Authenticate, authenticate_nobody
from fhir_server.rest.elsewhere import install_problem_details
from fhir_server.rest.gateway import FhirGateway
from fhir_server.rest.headers import request_id
from fhir_server.rest.health import ReadinessCheck, health_blueprint
from fhir_server.rest.logs import Log, take_over_library_logs
from fhir_server.search.paging import PageSealer
from fhir_server.search.plans import Limits
from fhir_server.settings import Settings, SettingsError
from fhir_server.storage.mongo import MongoStore

_KEY_BYTES = 32
_NO_DATABASE = (
    "FHIR_SERVER_MONGODB_URI is not set: give the address of a MongoDB replica set, "
    "or use `fhir-server serve`, which starts a database of its own."
)


class Composition:
    """The parts of one server in one process, made at their first use and shared by its threads."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.log = Log(settings.log_level, settings.log_format)
        self._rules = WriteRules(
            update_as_create=settings.update_as_create,
            check_targets=settings.referential_integrity_write,
            check_referrers=settings.referential_integrity_delete,
            joins=Limits(settings.search_join_keys, settings.search_budget, settings.search_join_depth),
        )
        self._lock = threading.Lock()
        self._pages: PageSealer | None = None
        self._store: MongoStore | None = None
        self._registry: ParameterRegistry | None = None

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
        facts = FactsReader(store, store.records, caller, now, base_url)
        policy = Policy(caller, source=facts, failed=partial(self.log.failure, request_id))
        trail = Trail(self._origin(caller, request_id, base_url, address, now))
        repository = Repository(store, policy, self._rules, base_url, current_time, registry, trail)
        return RequestContext(repository, self.settings, self.pages(), caller, request_id, now, language, base_url)

    def open_local_context(self, purpose: str, language: str) -> RequestContext:
        """Return a context for work that comes from the command line of this machine."""
        return self.open_context(LOCAL_CALLER, f"{purpose}-{request_id(None)}", language, self.settings.base_url)

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

    def close(self) -> None:
        """Release the connections."""
        if self._store is not None:
            self._store.close()
            self._store = self._registry = None

    def _origin(self, caller: Caller, request_id: str, base_url: str, address: str, now: datetime) -> Origin | None:
        if self.settings.audit == "off" or (self.settings.audit == "auto" and caller.kind == "open"):
            return None
        return Origin(Occasion(caller, base_url, address), request_id, now, current_time)

    def _open_store(self) -> MongoStore:
        if self.settings.mongodb_uri is None:
            raise SettingsError([_NO_DATABASE])
        seconds = self.settings.request_timeout
        store = MongoStore(
            self.settings.mongodb_uri,
            self.settings.database,
            read_milliseconds=int(seconds * 1000),
            commit_seconds=seconds,
            audit_spool=self.settings.data_directory / "audit-spool" if self.settings.audit_spool else None,
        )
        store.prepare()
        return store


def create_app(settings: Settings) -> Flask:
    """Return the server's WSGI application."""
    return build_app(Composition(settings))


def build_app(composition: Composition, authenticate: Authenticate = authenticate_nobody) -> Flask:
    """Return the WSGI application over parts that somebody else also uses (the command line, tests)."""
    log = composition.log
    take_over_library_logs(log)
    app = Flask("fhir_server", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = composition.settings.max_body
    app.register_blueprint(health_blueprint(ReadinessCheck(composition.store)))
    install_problem_details(app, log)
    gateway = FhirGateway(
        composition.settings,
        authenticate,
        composition.open_context,
        log,
        app.wsgi_app,  # type: ignore[arg-type]
    )
    app.wsgi_app = gateway  # type: ignore[method-assign]
    return app


def read_or_make_key(settings: Settings) -> bytes:
    """Return the key that seals page links; made once, readable by the server alone."""
    path = settings.secret_key_file
    if path is not None:
        return _checked(path, path.read_bytes())
    path = settings.data_directory / "page-links.key"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not path.exists():
        _make_key(path)
    return _checked(path, path.read_bytes())


def _make_key(path: Path) -> None:
    """Write a new key beside and link it into place: of several workers at once, the first one's key stays."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, os.urandom(_KEY_BYTES))
        os.fsync(descriptor)
        os.link(draft, path)
    except FileExistsError:
        return
    finally:
        os.close(descriptor)
        draft.unlink()


def _checked(path: Path, key: bytes) -> bytes:
    if len(key) < _KEY_BYTES:
        raise SettingsError([f"The key in {path.name} is shorter than {_KEY_BYTES} bytes."])
    return hashlib.sha256(key).digest()
