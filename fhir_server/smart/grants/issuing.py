"""What all grants share: how clients prove themselves, and the token that they are answered with."""

from dataclasses import replace
from typing import Any

from authlib.oauth2.rfc6749 import InvalidGrantError, InvalidRequestError

from fhir_server.access.scopes import Scope
from fhir_server.smart.authority import Authority
from fhir_server.smart.clients import Client
from fhir_server.smart.consents import Consent
from fhir_server.smart.iua import NO_CLAIMS, UNKNOWN_PERSON, Claims, parse_claims
from fhir_server.smart.requests import SmartRequest
from fhir_server.smart.server import SmartServer

CLIENT_METHODS = ["private_key_jwt", "client_secret_basic", "client_secret_post", "none"]
SIGNING_METHODS = ["private_key_jwt"]
_REFERRING = (Scope("user", "Patient", "rs"), Scope("system", "Patient", "rs"))


class Issuing:
    """Mixed into Authlib's grants: the authority of the request makes the token."""

    request: SmartRequest
    server: SmartServer

    def generate_token(self, scope: str, include_refresh_token: bool = True, **_: Any) -> dict[str, Any]:
        """Return the token response for the authority that the grant has established."""
        return self.server.build_token(self.request.authority, scope, include_refresh_token)

    def establish(self, client: Client, consent: Consent) -> Authority:
        """Return what a consent is worth now; raises ``InvalidGrantError`` when it is worth nothing any more."""
        account = self.server.parts.tokens.find_account(consent.account, consent.role)
        if account is None:
            raise InvalidGrantError("The account is closed, locked or no longer in this situation.")
        claims = parse_claims(self.request.form)
        if account.kind != "professional" and claims != NO_CLAIMS:
            raise InvalidRequestError("Only professionals and backends state a purpose of use.")
        if claims.mode == "centre_15" and not (account.professional and account.professional.regulation):
            raise InvalidRequestError("centre_15 is for those who regulate emergency calls.")
        authority = Authority(client, consent, account, claims)
        if not authority.holds:
            raise InvalidGrantError("The account no longer acts for this patient.")
        self.request.authority = self.about_person(authority)
        established: Authority = self.request.authority
        return established

    def about_person(self, authority: Authority) -> Authority:
        """Return the authority with the patient whom the claims name in context.

        Raises ``InvalidRequestError``, in the same words for nobody, several, and another one than in context.
        """
        person_id = authority.claims.person_id
        if person_id is None:
            return authority
        system, _, value = person_id.rpartition("|")
        caller = replace(authority.to_caller(), scopes=_REFERRING)
        find = self.server.parts.find_patient
        found = find(caller, person_id, self.request.base_url) if system and value else None
        if found is None or authority.patient not in (None, found):
            raise InvalidRequestError(UNKNOWN_PERSON)
        return replace(authority, about=found)

    def claimed(self) -> Claims:
        """Return the claims of the request."""
        return parse_claims(self.request.form)
