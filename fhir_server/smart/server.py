"""Authlib's authorization server, on our records and Flask's responses.

Spec: https://www.rfc-editor.org/rfc/rfc6749, https://hl7.org/fhir/smart-app-launch/
"""

import json
from typing import Any

from authlib.oauth2.rfc6749 import AuthorizationServer, InvalidRequestError, OAuth2Error, UnsupportedGrantTypeError
from flask import Response

from fhir_server.smart.authority import Authority
from fhir_server.smart.basic_credentials import authenticate_basic, named_client
from fhir_server.smart.client_assertions import PrivateKeyJwt
from fhir_server.smart.clients import Client
from fhir_server.smart.parts import Parts
from fhir_server.smart.requests import SmartRequest
from fhir_server.smart.telling import tell_issued, tell_refused

TOKEN_PATH = "/auth/token"
_REFRESHABLE = frozenset({"offline_access", "online_access"})
_PROOFS = frozenset({"client_secret", "client_assertion"})
_BASIC = "Basic "


class SmartServer(AuthorizationServer):  # type: ignore[misc,unused-ignore]
    """What Authlib asks of a server; ``parts`` are for the grants and endpoints."""

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self.parts = parts
        self.register_client_auth_method("client_secret_basic", authenticate_basic)
        self.register_client_auth_method("private_key_jwt", PrivateKeyJwt(parts.ground, parts.key_sets))

    def query_client(self, client_id: str) -> Client | None:
        """Return a client by its id."""
        return self.parts.clients.find(client_id)

    def authenticate_client(self, request: Any, methods: list[str], endpoint: str = "token") -> Client:
        """Return the client that has proved itself, and note it in the request.

        Raises ``InvalidClientError``, and ``InvalidRequestError`` for one that does so in more than one way (RFC 6749,
        section 2.3), or says in the form that it is another.
        """
        named = named_client(request.headers)
        if len(_PROOFS & request.form.keys()) + (named is not None) > 1:
            raise InvalidRequestError("The client proves itself in more than one way.")
        if named is not None and request.form.get("client_id", named) != named:
            raise InvalidRequestError("client_id and the Authorization header name different clients.")
        request.client = super().authenticate_client(request, methods, endpoint)
        proven: Client = request.client
        return proven

    def build_token(self, authority: Authority, scope: str, refreshable: bool) -> dict[str, Any]:
        """Return a token response with new secrets, not yet kept; with the launch context if there is one."""
        ground = self.parts.ground
        token: dict[str, Any] = {
            "access_token": ground.secret(),
            "token_type": "Bearer",
            "expires_in": int(self.parts.tokens.lifetimes.of_access(authority)),
            "scope": scope,
        }
        token.update(authority.context)
        consent = authority.consent
        if consent is not None and refreshable and _REFRESHABLE & set(consent.scope.split(" ")):
            token["refresh_token"] = ground.secret()
        return token

    def save_token(self, token: dict[str, Any], request: SmartRequest) -> None:
        """Keep the tokens of a response and tell the audit.

        Raises ``InvalidGrantError`` when what they stand for has just ended, ``StoreUnavailable`` without an audit.
        """
        authority: Authority = request.authority
        lasting = authority.consent.scope if authority.consent is not None else ""
        self.parts.tokens.issue(authority, token["access_token"], token["scope"], token.get("refresh_token"), lasting)
        tell_issued(self.parts.log, authority, token["scope"], request.form["grant_type"], request.address)

    def handle_error_response(self, request: Any, error: OAuth2Error) -> Response:
        """Return the answer to what is refused; of the token endpoint the audit is told."""
        if isinstance(error, UnsupportedGrantTypeError) and not request.form.get("grant_type"):
            error = InvalidRequestError("grant_type is missing.")
        if isinstance(request, SmartRequest) and request.uri == f"{request.issuer}{TOKEN_PATH}":
            tell_refused(self.parts.log, request, error, self._claimed(request))
        response: Response = super().handle_error_response(request, error)
        return response

    def create_oauth2_request(self, request: Any) -> SmartRequest:
        """Return the request as it is: the edge has read it."""
        read: SmartRequest = request
        return read

    def create_json_request(self, request: Any) -> Any:
        """Return the request as it is."""
        return request

    def handle_response(self, status: int, body: Any, headers: list[tuple[str, str]]) -> Response:
        """Return Flask's response."""
        text = json.dumps(body) if isinstance(body, dict) else body
        return Response(text, status, [_with_realm(*each) for each in headers])

    def _claimed(self, request: SmartRequest) -> Client | None:
        """Return the client that a request names, whether it has proved to be it or not."""
        return self.query_client(request.form.get("client_id") or named_client(request.headers) or "")

    def send_signal(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Nothing listens."""


def _with_realm(name: str, value: str) -> tuple[str, str]:
    """Return a header as it is, but a challenge for a secret with the realm that RFC 7617 wants in it."""
    if name != "WWW-Authenticate" or not value.startswith(_BASIC):
        return name, value
    return name, f'{_BASIC}realm="auth", {value.removeprefix(_BASIC)}'
