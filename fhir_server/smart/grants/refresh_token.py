"""The grant ``refresh_token``: each refresh token is good once and gives the next; a second use ends them all.

Spec: https://www.rfc-editor.org/rfc/rfc6749#section-6, https://www.rfc-editor.org/rfc/rfc9700#section-4.14.2
"""

from typing import Any

from authlib.oauth2.rfc6749 import InvalidGrantError, InvalidScopeError
from authlib.oauth2.rfc6749.grants import RefreshTokenGrant

from fhir_server.smart.authority import Authority
from fhir_server.smart.clients import Client
from fhir_server.smart.grants.issuing import CLIENT_METHODS, Issuing
from fhir_server.smart.scope_words import is_within, narrow_words
from fhir_server.smart.tokens import Token


class RefreshToken(Issuing, RefreshTokenGrant):
    """Authlib's grant with rotation."""

    TOKEN_ENDPOINT_AUTH_METHODS = CLIENT_METHODS
    INCLUDE_NEW_REFRESH_TOKEN = True

    def authenticate_token_endpoint_client(self) -> Client:
        """Return the client; a public one may leave its id out, as HL7's own library does: the token says it."""
        form = self.request.form
        silent = "Authorization" not in self.request.headers and not {"client_id", "client_assertion"} & form.keys()
        token = self.authenticate_refresh_token(form.get("refresh_token", "")) if silent else None
        client = self.server.query_client(token.client) if token is not None else None
        if client is not None and client.auth_method == "none":
            self.request.auth_method, self.request.client = "none", client
            return client
        proven: Client = super().authenticate_token_endpoint_client()
        return proven

    def authenticate_refresh_token(self, refresh_token: str) -> Token | None:
        """Return the token, used or not; None for what is no refresh token here."""
        found = self.server.parts.tokens.find(refresh_token)
        return found if found is not None and found.use == "refresh" else None

    def authenticate_user(self, refresh_token: Token) -> Authority:
        """Return what the consent gives now; raises ``InvalidGrantError``."""
        consent = self.server.parts.consents.find(refresh_token.grant or "")
        if consent is None:
            raise InvalidGrantError("The consent has ended.")
        return self.establish(self.request.client, consent)

    def issue_token(self, user: Authority, refresh_token: Token) -> dict[str, Any]:
        """Return the new tokens: for what was asked, at most for what was consented and the client may still have.

        Only now, when nothing is wrong with the request, the old one is used up: what was refused may be asked anew.
        Raises ``InvalidGrantError`` if it has been before, and ends what it stands for.
        """
        asked = self.request.payload.scope or refresh_token.scope
        scope = " ".join(narrow_words(user.client.scope, asked))
        if not scope:
            raise InvalidScopeError()
        self.server.parts.tokens.consume(refresh_token)
        return self.generate_token(scope)

    def revoke_old_credential(self, refresh_token: Token) -> None:
        """Nothing: the old token was used up before the new one was made."""

    def _validate_token_scope(self, token: Token) -> None:
        asked = self.request.payload.scope
        if asked and not is_within(asked, token.scope):
            raise InvalidScopeError()
