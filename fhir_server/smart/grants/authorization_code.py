"""The grant ``authorization_code``: an app asks a person, in a browser, and changes the code for tokens.

Spec: https://hl7.org/fhir/smart-app-launch/app-launch.html, https://www.rfc-editor.org/rfc/rfc7636
"""

import re
from typing import Any, ClassVar

from authlib.oauth2.rfc6749 import InvalidRequestError, InvalidScopeError, OAuth2Error
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant
from authlib.oauth2.rfc7636 import CodeChallenge

from fhir_server.audit.security_events import SecurityEvent
from fhir_server.smart.authority import Authority
from fhir_server.smart.clients import Client
from fhir_server.smart.codes import Code
from fhir_server.smart.decisions import Decision
from fhir_server.smart.grants.issuing import CLIENT_METHODS, Issuing
from fhir_server.smart.scope_words import LAUNCH, TRANSACTIONS, grantable_words
from fhir_server.smart.telling import to_account_actor, to_client_actor

FOR_PEOPLE = TRANSACTIONS.union(LAUNCH)
_CHALLENGE = re.compile(r"[A-Za-z0-9\-_]{43}")
_PROMPTS = frozenset({"none", "login", "consent", "select_account"})


class AuthorizationCode(Issuing, AuthorizationCodeGrant):
    """Authlib's grant with what SMART adds: ``aud``, launch contexts, and nothing that is merely recommended."""

    TOKEN_ENDPOINT_AUTH_METHODS = CLIENT_METHODS

    def validate_authorization_request(self) -> str:
        """Return the redirect address of a good request; raises ``OAuth2Error``, with the address once it is sure."""
        redirect_uri: str = super().validate_authorization_request()
        try:
            self._check_audience()
            self._check_openid()
            self._check_launch()
            self.request.scope = self._grantable_scope()
        except OAuth2Error as error:
            error.redirect_uri = redirect_uri
            raise
        return redirect_uri

    @staticmethod
    def validate_authorization_redirect_uri(request: Any, client: Client) -> str:
        """Return the address when it is one of the client's; it must be named, and is never repeated in a message."""
        uri: str | None = request.payload.redirect_uri
        if not uri or not client.check_redirect_uri(uri):
            raise InvalidRequestError("redirect_uri is not one that the client has registered.")
        return uri

    def generate_authorization_code(self) -> str:
        """Return a new code."""
        return self.server.parts.ground.secret()

    def save_authorization_code(self, code: str, request: Any) -> None:
        """Keep the person's consent, and the code that stands for it for a minute; tell the audit."""
        decision: Decision = request.user
        if decision.launch is not None and not self.server.parts.launches.use_up(decision.launch):
            raise InvalidRequestError("The launch was used before.", redirect_uri=request.payload.redirect_uri)
        consent = decision.to_consent(request.client.id)
        self.server.parts.consents.insert(consent)
        data = request.payload.data
        self.server.parts.codes.insert(code, consent, data["redirect_uri"], data["code_challenge"], data.get("nonce"))
        account, client = decision.session.account, to_client_actor(request.client)
        by, details = to_account_actor(account, request.address), (("scope", consent.scope),)
        self.server.parts.log.tell(SecurityEvent("authorization", by, about=client, details=details))

    def query_authorization_code(self, code: str, client: Client) -> Code | None:
        """Return the code, used up by this very call."""
        return self.server.parts.codes.use_up(code, client.id)

    def authenticate_user(self, authorization_code: Code) -> Authority:
        """Return the authority that the code's consent gives."""
        return self.establish(self.request.client, authorization_code.consent)

    def delete_authorization_code(self, authorization_code: Code) -> None:
        """Nothing: a used code is kept for an hour, to know a replay for what it is."""

    def _check_audience(self) -> None:
        audience = self.request.payload.data.get("aud", "")
        if audience.rstrip("/") != self.request.base_url:
            raise InvalidRequestError(f"aud must be the FHIR server to be used: {self.request.base_url}")

    def _check_openid(self) -> None:
        data = self.request.payload.data
        if data.get("request") or data.get("request_uri"):
            raise InvalidRequestError("Request objects are not supported.", error="request_not_supported")
        if data.get("response_mode", "query") != "query":
            raise InvalidRequestError("response_mode is query.")
        prompts = set(data.get("prompt", "").split())
        if not prompts <= _PROMPTS or ("none" in prompts and len(prompts) > 1):
            raise InvalidRequestError("prompt is none, or any of login, consent, select_account.")
        if not data.get("max_age", "0").isdecimal() or len(data.get("max_age", "0")) > 9:
            raise InvalidRequestError("max_age is a number of seconds.")
        if len(data.get("nonce", "")) > 1_000 or len(data.get("state", "")) > 4_000:
            raise InvalidRequestError("nonce or state is too long.")

    def _check_launch(self) -> None:
        """An EHR launch has both the parameter and the scope; what was minted for another app is not there."""
        launch, scopes = self.request.payload.data.get("launch"), self.request.payload.scope.split(" ")
        if (launch is None) != ("launch" not in scopes):
            raise InvalidRequestError("An EHR launch needs both the parameter and the scope launch.")
        if launch is not None and self.server.parts.launches.find(launch, self.request.client.id) is None:
            raise InvalidRequestError("The launch is not known, was used before or is more than five minutes old.")

    def _grantable_scope(self) -> str:
        words = self.request.scope.split(" ")
        granted = grantable_words(words, ("patient", "user"), FOR_PEOPLE, self.request.base_url)
        if not granted:
            raise InvalidScopeError()
        return " ".join(granted)


class S256(CodeChallenge):
    """PKCE, always, and by S256 alone."""

    SUPPORTED_CODE_CHALLENGE_METHOD: ClassVar[list[str]] = ["S256"]

    def validate_code_challenge(self, grant: AuthorizationCode, redirect_uri: str) -> None:
        """Raise ``InvalidRequestError`` when the challenge is none of S256's, or its method is missing or another."""
        data = grant.request.payload.data
        if not data.get("code_challenge") or data.get("code_challenge_method") != "S256":
            raise InvalidRequestError("code_challenge and code_challenge_method=S256 are required.")
        if not _CHALLENGE.fullmatch(data["code_challenge"]):
            raise InvalidRequestError("code_challenge is a SHA-256 digest in base64url without padding.")
        super().validate_code_challenge(grant, redirect_uri)

    def validate_code_verifier(self, grant: AuthorizationCode, result: Any) -> None:
        """Raise ``InvalidRequestError`` for what is no verifier, ``InvalidGrantError`` for one of another request."""
        # Authlib lets a line feed pass at the end.
        if grant.request.form.get("code_verifier", "").endswith("\n"):
            raise InvalidRequestError("Invalid 'code_verifier'")
        super().validate_code_verifier(grant, result)
