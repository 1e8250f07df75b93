"""Introspection: what a token stands for, told to clients that may know.

A client may ask about its own tokens, one with the role ``ehr`` about all. Spec:
https://www.rfc-editor.org/rfc/rfc7662, https://hl7.org/fhir/smart-app-launch/token-introspection.html,
https://profiles.ihe.net/ITI/IUA/index.html#3102-introspect-token-iti-102
"""

from typing import Any

from authlib.consts import default_json_headers
from authlib.oauth2.rfc6749 import InvalidRequestError
from authlib.oauth2.rfc7662 import IntrospectionEndpoint

from fhir_server.access.caller import Caller
from fhir_server.audit.security_events import Actor, SecurityEvent
from fhir_server.smart.clients import Client
from fhir_server.smart.iua import purpose_coding
from fhir_server.smart.requests import SmartRequest
from fhir_server.smart.server import SmartServer
from fhir_server.smart.telling import to_client_actor
from fhir_server.smart.tokens import Token

PROFESSIONS = "urn:oid:1.2.250.1.71.1.2.7"
SPECIALTIES = "urn:oid:1.2.250.1.71.4.2.5"
PROVING_METHODS = ["private_key_jwt", "client_secret_basic", "client_secret_post"]


class Introspection(IntrospectionEndpoint):
    """Authlib's endpoint over our tokens."""

    server: SmartServer
    CLIENT_AUTH_METHODS = PROVING_METHODS

    def create_endpoint_response(self, request: SmartRequest) -> tuple[int, dict[str, Any], Any]:
        """Return the answer; an unknown, ended or foreign token is ``active: false`` and nothing else."""
        request.check_singles()
        client = self.authenticate_endpoint_client(request)
        token = self.authenticate_token(request, client)
        if token is None:
            return 200, {"active": False}, default_json_headers
        self._tell(token, client, request)
        return 200, describe(token, request), default_json_headers

    def query_token(self, token_string: str, token_type_hint: str | None) -> Token | None:
        """Return the token, unless it was used up; the hint is not needed."""
        found = self.server.parts.tokens.find(token_string)
        return found if found is None or found.document["used"] is None else None

    def check_params(self, request: SmartRequest, client: Client) -> None:
        """Raise ``InvalidRequestError`` without a token; whatever the hint says, all kinds are looked for."""
        if "token" not in request.form:
            raise InvalidRequestError("token is missing.")

    def check_permission(self, token: Token, client: Client, request: SmartRequest) -> bool:
        """Say whether the client may know; to one that may not, the token does not exist."""
        return token.check_client(client) or "ehr" in client.roles

    def _tell(self, token: Token, client: Client, request: SmartRequest) -> None:
        about = Actor("account", token.account) if token.account is not None else Actor("client", token.client)
        by = to_client_actor(client, request.address)
        details = (("client", token.client), ("use", token.use))
        self.server.parts.log.tell(SecurityEvent("token-introspected", by, about=about, details=details))


def describe(token: Token, request: SmartRequest) -> dict[str, Any]:
    """Return RFC 7662's members, and for an access token SMART's launch context and IUA's claims."""
    body: dict[str, Any] = {
        "active": True,
        "iss": request.issuer,
        "aud": request.base_url,
        "client_id": token.client,
        "scope": token.scope,
        "iat": int(token.issued.timestamp()),
        "exp": int(token.expires.timestamp()),
    }
    if token.use == "refresh":
        return body
    caller = token.to_caller()
    body |= {"token_type": "Bearer", "sub": token.document["subject"], **token.document["context"]}
    if caller.user is not None:
        body["fhirUser"] = f"{request.base_url}/{caller.user}"
    if caller.kind in ("professional", "system"):
        body["extensions"] = {"ihe_iua": _iua(token, caller)}
        body["secret_connection"] = caller.secret
    return body


def _iua(token: Token, caller: Caller) -> dict[str, Any]:
    """Return IUA's members: what the client states, overruled by what the login has established."""
    roles = [
        {"system": system, "code": code}
        for system, code in ((PROFESSIONS, caller.profession), (SPECIALTIES, caller.specialty))
        if code
    ]
    known = {
        "subject_name": caller.user_name,
        "subject_organization_id": next(iter(caller.organization_identifiers), ""),
        "national_provider_identifier": next(iter(caller.identifiers), "").rpartition("|")[2],
        "subject_role": roles,
    }
    established = {name: value for name, value in known.items() if value}
    return {**token.document["iua"], **established, "purpose_of_use": purpose_coding(caller.mode)}
