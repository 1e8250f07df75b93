"""Revocation: a client gives a token back. A refresh token takes its whole consent along.

Spec: https://www.rfc-editor.org/rfc/rfc7009
"""

from typing import Any

from authlib.oauth2.rfc6749 import InvalidRequestError
from authlib.oauth2.rfc7009 import RevocationEndpoint

from fhir_server.audit.security_events import Actor, SecurityEvent
from fhir_server.smart.clients import Client
from fhir_server.smart.grants.issuing import CLIENT_METHODS
from fhir_server.smart.requests import SmartRequest
from fhir_server.smart.server import SmartServer
from fhir_server.smart.telling import to_client_actor
from fhir_server.smart.tokens import Token


class Revocation(RevocationEndpoint):
    """Authlib's endpoint over our tokens."""

    server: SmartServer
    CLIENT_AUTH_METHODS = CLIENT_METHODS

    def authenticate_token(self, request: SmartRequest, client: Client) -> Token | None:
        """Return the client's token; another's is as unknown as one that is none."""
        request.check_singles()
        self.check_params(request, client)
        found = self.server.parts.tokens.find(request.form["token"])
        return found if found is not None and found.check_client(client) else None

    def check_params(self, request: SmartRequest, client: Client) -> None:
        """Raise ``InvalidRequestError`` without a token; whatever the hint says, all kinds are looked for."""
        if "token" not in request.form:
            raise InvalidRequestError("token is missing.")

    def revoke_token(self, token: Token, request: Any) -> None:
        """End the token at once, and tell the audit."""
        self.server.parts.tokens.end(token)
        by = to_client_actor(request.client, request.address)
        about = Actor("account", token.account) if token.account is not None else None
        self.server.parts.log.tell(SecurityEvent("token-revoked", by, about=about, details=(("use", token.use),)))
