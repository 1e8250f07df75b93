"""Access and refresh tokens: opaque words of 256 bits, of which only the hash is stored.

A token's document has all that a request needs, so that a request costs one look by ``_id``.
Spec: https://www.rfc-editor.org/rfc/rfc6749#section-5, https://www.rfc-editor.org/rfc/rfc9700#section-4.14
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from authlib.oauth2.rfc6749 import InvalidGrantError, TokenMixin

from fhir_server.access.caller import Caller
from fhir_server.smart.authority import Authority, to_caller, to_document
from fhir_server.smart.clients import Client, Clients
from fhir_server.smart.consents import Consents
from fhir_server.smart.endings import TOKENS, delete_tokens, end_grant
from fhir_server.smart.ground import Ground, aware, digest
from fhir_server.smart.people import Account, People
from fhir_server.smart.reuse import Reused

Use = Literal["access", "refresh"]

ONLINE_HOURS = 12
"""A refresh token without ``offline_access`` lasts a working day, counted from the login."""
BREAK_GLASS_SECONDS = 900
"""An emergency access lasts a quarter of an hour, whatever else is set, and must be claimed again then."""
_USED_BEFORE = "The refresh token has been used before: everything that came of it is ended."
_ENDED = "What the token stands for has ended."


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """Seconds that tokens are good for."""

    access: float
    professional: float
    refresh: float

    def of_access(self, authority: Authority) -> float:
        """Return the seconds of an access token; shorter where more than one record may be read."""
        if authority.claims.mode == "bris_de_glace":
            return min(self.professional, self.access, BREAK_GLASS_SECONDS)
        alone = authority.account is None or authority.account.kind != "patient"
        return min(self.professional, self.access) if alone else self.access


@dataclass(frozen=True)
class Token(TokenMixin):
    """A token as it is stored; ``id`` is the digest."""

    id: str
    use: Use
    client: str
    account: str | None
    grant: str | None
    scope: str
    issued: datetime
    expires: datetime
    document: Mapping[str, Any]

    def check_client(self, client: Client) -> bool:
        """Say whether it was given to this client."""
        return self.client == client.id

    def to_caller(self) -> Caller:
        """Return who the requests with this token are from."""
        return to_caller(self.document["caller"], self.scope, self.id)


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of one deployment."""

    ground: Ground
    clients: Clients
    consents: Consents
    people: People
    lifetimes: Lifetimes

    def find(self, token: str) -> Token | None:
        """Return a token that is good now, or None. One round trip."""
        found = self.look_up(token)
        return None if found is None or found.expires <= self.ground.now() else found

    def look_up(self, token: str) -> Token | None:
        """Return a token that was once given, whether it has expired or not, as long as it is remembered."""
        found = self.ground.get(TOKENS, digest(token))
        return None if found is None else _to_token(found)

    def issue(self, authority: Authority, access: str, scope: str, refresh: str | None, refresh_scope: str) -> None:
        """Keep an access token and perhaps a refresh token.

        Raises ``InvalidGrantError``, and leaves none behind, when the client, the account or the consent has ended in
        the meantime.
        """
        now = self.ground.now()
        seconds = self.lifetimes.of_access(authority)
        kept = [self._insert(authority, access, "access", scope, now + timedelta(seconds=seconds))]
        if refresh is not None:
            kept.append(self._insert(authority, refresh, "refresh", refresh_scope, self._refreshable(authority, now)))
        if not self._stands(authority):
            self.ground.records.delete(TOKENS, {"_id": {"$in": kept}})
            raise InvalidGrantError(_ENDED)

    def consume(self, token: Token) -> None:
        """Use a refresh token up; raises ``Reused`` when it has been used before: then all is ended."""
        unused = {"_id": token.id, "use": "refresh", "used": None}
        if self.ground.records.change(TOKENS, unused, [{"$set": {"used": "$$NOW"}}]) is None:
            self.end(token)
            raise Reused(_USED_BEFORE, "refresh_token", token.grant or "", token.client, token.account)

    def end(self, token: Token) -> None:
        """End a token: a refresh token with its consent, an access token alone."""
        if token.use == "refresh" and token.grant is not None:
            end_grant(self.ground, token.grant)
        delete_tokens(self.ground, {"_id": token.id})

    def find_account(self, account: str, role: str | None) -> Account | None:
        """Return what is true of an account now, None when nothing may be issued for it."""
        return self.people.find_account(account, role)

    def _insert(self, authority: Authority, token: str, use: Use, scope: str, expires: datetime) -> str:
        consent, account = authority.consent, authority.account
        document: dict[str, Any] = {
            "_id": digest(token),
            "use": use,
            "client": authority.client.id,
            "account": account.id if account is not None else None,
            "grant": consent.id if consent is not None else None,
            "scope": scope,
            "issued": self.ground.now(),
            "expires": expires,
            "used": None,
        }
        if use == "access":
            document["caller"] = to_document(authority.to_caller())
            document["subject"] = authority.subject
            document["context"] = authority.context
            document["iua"] = dict(authority.claims.stated)
        self.ground.records.insert(TOKENS, document)
        return str(document["_id"])

    def _refreshable(self, authority: Authority, now: datetime) -> datetime:
        consent = authority.consent
        assert consent is not None  # only consents have refresh tokens
        if "offline_access" in consent.scope.split(" "):
            return now + timedelta(seconds=self.lifetimes.refresh)
        return consent.auth_time + timedelta(hours=ONLINE_HOURS)

    def _stands(self, authority: Authority) -> bool:
        """Say whether client, consent and account are (still) there; asked after the tokens are."""
        if self.clients.find(authority.client.id) is None:
            return False
        consent, account = authority.consent, authority.account
        if consent is not None and self.consents.find(consent.id) is None:
            return False
        role = consent.role if consent is not None else None
        return account is None or self.find_account(account.id, role) is not None


def _to_token(document: Mapping[str, Any]) -> Token:
    return Token(
        document["_id"],
        document["use"],
        document["client"],
        document["account"],
        document["grant"],
        document["scope"],
        aware(document["issued"]),
        aware(document["expires"]),
        document,
    )
