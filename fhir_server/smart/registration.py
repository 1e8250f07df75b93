"""Apps that register themselves, and look after their registration. Off unless the operator wants it.

Whoever registers here may ask people, never act alone; nothing they say of themselves is believed, and the page of
consent says so. Spec: https://www.rfc-editor.org/rfc/rfc7591, https://www.rfc-editor.org/rfc/rfc7592
"""

import re
import unicodedata
from typing import Any

from authlib.oauth2.rfc6749 import InvalidRequestError
from authlib.oauth2.rfc7591 import (
    ClientRegistrationEndpoint,
    InvalidClientMetadataError,
    InvalidRedirectURIError,
    UnapprovedSoftwareStatementError,
)
from authlib.oauth2.rfc7592 import ClientConfigurationEndpoint

from fhir_server.access.scopes import parse_scopes
from fhir_server.audit.security_events import Actor, SecurityCode, SecurityEvent
from fhir_server.egress import FetchRefused
from fhir_server.smart.clients import Client
from fhir_server.smart.endings import end_client
from fhir_server.smart.ground import digest, is_same
from fhir_server.smart.key_sets import KeysRefused, parse_key_set
from fhir_server.smart.keys import ALGORITHMS
from fhir_server.smart.redirects import problem_with
from fhir_server.smart.requests import MetadataRequest
from fhir_server.smart.server import SmartServer
from fhir_server.smart.telling import to_client_actor

DEFAULT_SCOPE = (
    "openid fhirUser profile launch launch/patient launch/encounter offline_access online_access patient/*.rs"
)
_METHODS = ("none", "client_secret_basic", "client_secret_post", "private_key_jwt")
_GRANTS = ("authorization_code", "refresh_token")
_MOST_ADDRESSES = 10
_LONGEST_NAME = 80
_LINKS = ("initiate_login_uri", "client_uri", "logo_uri", "tos_uri", "policy_uri")
_LINK = re.compile(r"https://[A-Za-z0-9.\-]{1,253}(?::\d{1,5})?(?:/[A-Za-z0-9\-._~:/?@!$&()*+=%]*)?")


class Registration(ClientRegistrationEndpoint):
    """``POST /auth/register``."""

    server: SmartServer

    def authenticate_token(self, request: MetadataRequest) -> bool:
        """Say yes: anybody may register, and is trusted with nothing."""
        return True

    def get_server_metadata(self) -> dict[str, Any]:
        """Return what Authlib checks the registration by."""
        return _SERVER

    def extract_client_metadata(self, request: MetadataRequest) -> dict[str, Any]:
        """Return what is asked for, checked; raises ``OAuth2Error``."""
        _check_shape(request.payload.data)
        metadata: dict[str, Any] = super().extract_client_metadata(request)
        request.metadata = check_metadata(self.server, metadata, request.payload.data)
        return request.metadata

    def generate_client_info(self, request: MetadataRequest) -> dict[str, Any]:
        """Return the id, and a secret for those that prove themselves by one; both are shown this once."""
        ground = self.server.parts.ground
        info: dict[str, Any] = {"client_id": ground.identifier(), "client_id_issued_at": int(ground.now().timestamp())}
        if request.metadata["token_endpoint_auth_method"].startswith("client_secret"):
            info |= {"client_secret": ground.secret(), "client_secret_expires_at": 0}
        return info

    def save_client(self, client_info: dict[str, Any], metadata: dict[str, Any], request: MetadataRequest) -> Client:
        """Keep the client."""
        request.management = self.server.parts.ground.secret()
        secret = client_info.get("client_secret")
        client = Client(
            id=client_info["client_id"],
            secret=digest(secret) if secret else "",
            management=digest(request.management),
            registered_itself=True,
            **to_values(metadata),
        )
        self.server.parts.clients.add(client)
        _tell(self.server, "client-added", Actor("unknown", address=request.address), client)
        return client

    def generate_client_registration_info(self, client: Client, request: MetadataRequest) -> dict[str, str]:
        """Return where and with which token the client looks after its registration."""
        return {
            "registration_client_uri": f"{request.issuer}/auth/register/{client.id}",
            "registration_access_token": request.management,
        }


class Configuration(ClientConfigurationEndpoint):
    """``GET``, ``PUT`` and ``DELETE /auth/register/<client>``."""

    server: SmartServer

    def authenticate_token(self, request: MetadataRequest) -> "Management | None":
        """Return the proof that the caller brings, None without one."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        return Management(token.strip()) if scheme.lower() == "bearer" and token else None

    def authenticate_client(self, request: MetadataRequest) -> Client | None:
        """Return the client that the address names, when it has registered itself."""
        found: Client | None = self.server.query_client(request.uri.rpartition("/")[2])
        return found if found is not None and found.registered_itself else None

    def revoke_access_token(self, request: MetadataRequest, token: "Management") -> None:
        """Nothing: the token of a client that is not there is good for nothing."""

    def check_permission(self, client: Client, request: MetadataRequest) -> bool:
        """Say yes: who has the token may."""
        return True

    def get_server_metadata(self) -> dict[str, Any]:
        """Return what Authlib checks the registration by."""
        return _SERVER

    def extract_client_metadata(self, request: MetadataRequest) -> dict[str, Any]:
        """Return what is asked for, checked; raises ``OAuth2Error``, also for another way to prove itself."""
        _check_shape(request.payload.data)
        metadata: dict[str, Any] = super().extract_client_metadata(request)
        checked = check_metadata(self.server, metadata, request.payload.data)
        if to_values(checked)["auth_method"] != request.client.auth_method:
            raise InvalidClientMetadataError("The way to prove itself cannot be changed: register anew.")
        return checked

    def introspect_client(self, client: Client) -> dict[str, Any]:
        """Return the registration."""
        values = {
            "client_id": client.id,
            "client_id_issued_at": int(client.created.timestamp()),
            "client_name": client.name,
            "redirect_uris": list(client.redirect_uris),
            "token_endpoint_auth_method": client.auth_method,
            "grant_types": list(client.grant_types),
            "response_types": ["code"],
            "scope": client.scope,
            "id_token_signed_response_alg": client.id_token_alg,
            "jwks": client.jwks,
            "contacts": list(client.contacts),
            **{name: getattr(client, name) for name in ("jwks_uri", *_LINKS)},
        }
        return {name: value for name, value in values.items() if value}

    def generate_client_registration_info(self, client: Client, request: MetadataRequest) -> dict[str, str]:
        """Return where the registration is, and the token that the request has brought: RFC 7592 wants both told."""
        brought: Management = request.credential
        return {
            "registration_client_uri": f"{request.issuer}/auth/register/{client.id}",
            "registration_access_token": brought.token,
        }

    def update_client(self, client: Client, metadata: dict[str, Any], request: MetadataRequest) -> Client:
        """Replace the registration; what has been granted is cut to the new scopes when it is next renewed."""
        changed = self.server.parts.clients.change(client.id, **to_values(metadata))
        assert changed is not None
        _tell(self.server, "client-changed", to_client_actor(changed, request.address), changed)
        return changed

    def delete_client(self, client: Client, request: MetadataRequest) -> None:
        """End the client and all that it has been given."""
        end_client(self.server.parts.ground, client.id)
        _tell(self.server, "client-removed", to_client_actor(client, request.address), client)


def _tell(server: SmartServer, code: SecurityCode, by: Actor, client: Client) -> None:
    about = None if by.id == client.id else to_client_actor(client)
    server.parts.log.tell(SecurityEvent(code, by, about=about, details=(("registered", "by itself"),)))


class Management:
    """The registration access token that a request brings."""

    def __init__(self, token: str) -> None:
        self.token = token

    def check_client(self, client: Client) -> bool:
        """Say whether it is this client's."""
        return bool(client.management) and is_same(self.token, client.management)


_SERVER = {
    "token_endpoint_auth_methods_supported": list(_METHODS),
    "grant_types_supported": list(_GRANTS),
    "response_types_supported": ["code"],
}


def check_metadata(server: SmartServer, metadata: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    """Return a registration with its defaults; raises ``OAuth2Error`` with the first thing that is wrong."""
    if asked.get("software_statement"):
        raise UnapprovedSoftwareStatementError("No issuer of software statements is approved here.")
    if "initiate_login_uri" in asked:  # OpenID Connect's, of which Authlib's RFC 7591 knows nothing
        metadata = {**metadata, "initiate_login_uri": asked["initiate_login_uri"]}
    _check_addresses(metadata.get("redirect_uris"))
    _check_name(metadata.get("client_name"))
    for name in _LINKS:
        if metadata.get(name) and not (isinstance(metadata[name], str) and _LINK.fullmatch(metadata[name])):
            raise InvalidClientMetadataError(f"{name} must be a plain https address.")
    scope = metadata.get("scope") or DEFAULT_SCOPE
    understood = parse_scopes(scope)
    if understood.refused or any(one.context == "system" for one in understood.scopes):
        raise InvalidClientMetadataError("scope has words that an app for people cannot be granted.")
    alg = asked.get("id_token_signed_response_alg", "RS256")
    if alg not in ALGORITHMS:
        raise InvalidClientMetadataError("id_token_signed_response_alg is RS256 or ES256.")
    _check_keys(server, metadata)
    grants = {"grant_types": list(_GRANTS), "response_types": ["code"]}
    return {**metadata, **grants, "scope": scope, "id_token_signed_response_alg": alg}


def to_values(metadata: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes of ``Client`` that a checked registration sets."""
    method = metadata["token_endpoint_auth_method"]
    proves = "client_secret_basic" if method.startswith("client_secret") else method
    return {
        "name": metadata["client_name"],
        "kind": "public" if method == "none" else "confidential",
        "auth_method": proves,
        "scope": metadata["scope"],
        "redirect_uris": tuple(metadata["redirect_uris"]),
        "jwks": metadata.get("jwks"),
        "jwks_uri": metadata.get("jwks_uri", ""),
        "id_token_alg": metadata["id_token_signed_response_alg"],
        "contacts": tuple(metadata.get("contacts", ())),
        **{name: metadata.get(name, "") for name in _LINKS},
    }


def _check_shape(data: dict[str, Any]) -> None:
    """Raise before Authlib reads members whose types it takes for granted."""
    for name in ("redirect_uris", "grant_types", "response_types", "contacts"):
        value = data.get(name, [])
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise InvalidClientMetadataError(f"{name} must be a list of texts.")
    texts = ("token_endpoint_auth_method", "client_name", "scope", "jwks_uri", *_LINKS)
    if not all(isinstance(data.get(name, ""), str) for name in texts):
        raise InvalidClientMetadataError("A member that is a text has another type.")
    if not isinstance(data.get("jwks", {}), dict):
        raise InvalidClientMetadataError("jwks must be a JWK set.")


def _check_addresses(addresses: Any) -> None:
    if not addresses or len(addresses) > _MOST_ADDRESSES:
        raise InvalidRedirectURIError(f"redirect_uris must be one to {_MOST_ADDRESSES} addresses.")
    for position, address in enumerate(addresses):
        problem = problem_with(address)
        if problem is not None:
            raise InvalidRedirectURIError(f"redirect_uris[{position}]: {problem}.")


def _check_name(name: Any) -> None:
    """Refuse names that could rewrite the page that shows them: control, invisible and direction characters."""
    if not isinstance(name, str) or not 1 <= len(name.strip()) <= _LONGEST_NAME:
        raise InvalidClientMetadataError(f"client_name must be a text of 1 to {_LONGEST_NAME} characters.")
    if any(unicodedata.category(letter)[0] in "CZ" and letter != " " for letter in name):
        raise InvalidClientMetadataError("client_name must have visible characters and blanks alone.")


def _check_keys(server: SmartServer, metadata: dict[str, Any]) -> None:
    jwks, jwks_uri = metadata.get("jwks"), metadata.get("jwks_uri")
    signs = metadata["token_endpoint_auth_method"] == "private_key_jwt"
    if signs != (bool(jwks) != bool(jwks_uri)) or (jwks and jwks_uri):
        raise InvalidClientMetadataError("private_key_jwt, and only it, needs either jwks or jwks_uri.")
    try:
        if jwks and not parse_key_set(jwks):
            raise InvalidClientMetadataError("jwks has no key for RS384 or ES384 with a kid.")
        if jwks_uri:
            server.parts.key_sets.fetcher.check(jwks_uri)
    except (KeysRefused, FetchRefused) as error:
        raise InvalidClientMetadataError(f"The keys are refused: {error}.") from None


def read_metadata(data: Any) -> dict[str, Any]:
    """Return the JSON object of a registration; raises ``InvalidRequestError`` for anything else."""
    if not isinstance(data, dict) or not data:
        raise InvalidRequestError("The body must be a JSON object with the registration.")
    return data
