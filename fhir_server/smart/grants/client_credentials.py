"""The grant ``client_credentials``: SMART Backend Services.

Spec: https://hl7.org/fhir/smart-app-launch/backend-services.html
"""

from authlib.oauth2.rfc6749 import InvalidScopeError
from authlib.oauth2.rfc6749.grants import ClientCredentialsGrant

from fhir_server.smart.authority import Authority
from fhir_server.smart.grants.issuing import SIGNING_METHODS, Issuing
from fhir_server.smart.iua import check_registered
from fhir_server.smart.scope_words import TRANSACTIONS, grantable_words, narrow_words


class ClientCredentials(Issuing, ClientCredentialsGrant):
    """Authlib's grant for clients that sign: what acts without a person proves itself by a key."""

    TOKEN_ENDPOINT_AUTH_METHODS = SIGNING_METHODS

    def validate_token_request(self) -> None:
        """Establish the client's own authority; raises ``OAuth2Error``."""
        super().validate_token_request()
        client = self.request.client
        words = narrow_words(client.scope, self.request.payload.scope or "")
        granted = grantable_words(words, ("system",), TRANSACTIONS, self.request.base_url)
        if not granted:
            raise InvalidScopeError()
        self.request.scope = " ".join(granted)
        claims = self.claimed()
        check_registered(claims, client)
        self.request.authority = self.about_person(Authority(client, claims=claims))

    def generate_token(self, **_: object) -> dict[str, object]:  # type: ignore[override]
        """Return the token response: for the scopes granted, without a refresh token."""
        return self.server.build_token(self.request.authority, self.request.scope, False)
