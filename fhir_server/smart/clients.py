"""Clients: the apps and backends that the operator knows, or that have registered themselves.

A secret is kept as its hash, keys as public JWKs or as the address of a set. A client that ends stays, marked.
Spec: https://www.rfc-editor.org/rfc/rfc6749#section-2, https://hl7.org/fhir/smart-app-launch/client-confidential-asymmetric.html
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from authlib.oauth2.rfc6749 import ClientMixin

from fhir_server.smart.ground import Ground, aware, is_same
from fhir_server.smart.redirects import is_registered
from fhir_server.smart.scope_words import narrow_words

ClientKind = Literal["public", "confidential", "backend"]
AuthMethod = Literal["none", "client_secret_basic", "private_key_jwt"]
Role = Literal["trusted", "ehr", "auditor"]

CLIENTS = "smart_clients"
ROLES: tuple[str, ...] = get_args(Role)
_METHODS: dict[str, tuple[str, ...]] = {
    "none": ("none",),
    "client_secret_basic": ("client_secret_basic", "client_secret_post"),
    "private_key_jwt": ("private_key_jwt",),
}


@dataclass(frozen=True)
class Client(ClientMixin):
    """One client.

    ``scope`` is the most it may be granted. ``roles``: ``trusted`` (all records that its scopes name), ``ehr`` (may
    mint launch contexts and introspect), ``auditor``. ``organization`` is ``Organization/id``;
    ``organization_identifiers`` are ``system|value``. ``purposes`` are those besides ``normal`` that a backend may
    state, ``secret_connections`` whether it may keep its traces from representatives. ``initiate_login_uri`` is SMART's
    launch URL: where the app is opened with a launch context.
    """

    id: str
    name: str
    kind: ClientKind
    auth_method: AuthMethod
    scope: str
    redirect_uris: tuple[str, ...] = ()
    secret: str = ""
    jwks: Mapping[str, Any] | None = None
    jwks_uri: str = ""
    roles: tuple[str, ...] = ()
    organization: str | None = None
    organization_identifiers: tuple[str, ...] = ()
    purposes: tuple[str, ...] = ()
    secret_connections: bool = False
    id_token_alg: str = "RS256"
    initiate_login_uri: str = ""
    client_uri: str = ""
    logo_uri: str = ""
    tos_uri: str = ""
    policy_uri: str = ""
    contacts: tuple[str, ...] = ()
    registered_itself: bool = False
    management: str = ""
    """The digest of the registration access token (RFC 7592)."""
    created: Any = None

    @property
    def id_token_signed_response_alg(self) -> str:
        """OIDC's name of ``id_token_alg``."""
        return self.id_token_alg

    @property
    def grant_types(self) -> tuple[str, ...]:
        """The grants that it may use: a backend acts alone, all others for people."""
        return ("client_credentials",) if self.kind == "backend" else ("authorization_code", "refresh_token")

    def get_client_id(self) -> str:
        """Return the id."""
        return self.id

    def get_default_redirect_uri(self) -> str | None:
        """Return None: SMART has the address named in each request."""
        return None

    def get_allowed_scope(self, scope: str | None) -> str | None:
        """Return what of the scopes it may be granted, None when nothing is asked for or nothing is left."""
        return " ".join(narrow_words(self.scope, scope or "")) or None

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        """Say whether the address is registered."""
        return is_registered(redirect_uri, self.redirect_uris)

    def check_client_secret(self, client_secret: str) -> bool:
        """Say whether the secret is the client's."""
        return bool(self.secret) and is_same(client_secret, self.secret)

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        """Say whether the client proves itself by this method, and so at every endpoint."""
        return method in _METHODS[self.auth_method]

    def check_response_type(self, response_type: str) -> bool:
        """Say whether it may ask people."""
        return response_type == "code" and self.kind != "backend"

    def check_grant_type(self, grant_type: str) -> bool:
        """Say whether it may use the grant."""
        return grant_type in self.grant_types


_TUPLES = frozenset(each.name for each in fields(Client) if str(each.type).startswith("tuple"))


@dataclass(frozen=True, slots=True)
class Clients:
    """The clients of one deployment."""

    ground: Ground

    def find(self, id: str) -> Client | None:
        """Return a client that has not ended, or None."""
        if not isinstance(id, str) or len(id) > 200:
            return None
        found = self.ground.find_one(CLIENTS, {"_id": id, "ended": None})
        return None if found is None else _to_client(found)

    def all(self) -> list[Client]:
        """Return those that have not ended, by id."""
        return [_to_client(one) for one in self.ground.records.find(CLIENTS, {"ended": None})]

    def add(self, client: Client) -> bool:
        """Insert a client; False when there is, or was, one of that id."""
        document = {**asdict(client), "created": self.ground.now(), "ended": None}
        return self.ground.records.insert(CLIENTS, {"_id": document.pop("id"), **document})

    def change(self, id: str, **values: Any) -> Client | None:
        """Change attributes and return the client; None when it is not there (any more)."""
        changed = {name: {"$literal": value} for name, value in values.items()}
        found = self.ground.records.change(CLIENTS, {"_id": id, "ended": None}, [{"$set": changed}])
        return None if found is None else _to_client(found)


def _to_client(document: Mapping[str, Any]) -> Client:
    known = {each.name for each in fields(Client)}
    values = {name: tuple(v) if name in _TUPLES else v for name, v in document.items() if name in known}
    return Client(**{**values, "id": document["_id"], "created": aware(document["created"])})
