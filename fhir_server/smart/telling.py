"""What the authorization server tells the audit: as whom and through which client something was given or refused.

Spec: https://profiles.ihe.net/ITI/BALP/StructureDefinition-IHE.IUA.71.html
"""

from urllib.parse import urlencode

from authlib.oauth2.rfc6749 import OAuth2Error

from fhir_server.audit import codes
from fhir_server.audit.security_events import Actor, SecurityEvent
from fhir_server.audit.security_log import SecurityLog
from fhir_server.smart.addresses import to_subscriber
from fhir_server.smart.authority import Authority
from fhir_server.smart.clients import Client
from fhir_server.smart.people import Account
from fhir_server.smart.requests import SmartRequest
from fhir_server.smart.reuse import Reused

_GRANTS = ("authorization_code", "refresh_token", "client_credentials")


def to_client_actor(client: Client, address: str = "") -> Actor:
    """Return a client as the audit names it."""
    return Actor("client", client.id, client.name, "system" if client.kind == "backend" else "", address)


def to_account_actor(account: Account, address: str = "") -> Actor:
    """Return an account as the audit names it: by its id alone."""
    return Actor("account", account.id, role=account.kind, address=address)


def tell_issued(log: SecurityLog, authority: Authority, scope: str, how: str, address: str) -> None:
    """Tell that tokens were issued; ``how``: the grant, or the command. Raises ``StoreUnavailable``."""
    client = to_client_actor(authority.client, address)
    caller = authority.to_caller()
    log.tell(
        SecurityEvent(
            "access-token",
            to_account_actor(authority.account) if authority.account is not None else client,
            client,
            request=urlencode((("grant_type", how), ("client_id", client.id), ("scope", scope))),
            purposes=tuple(codes.purposes_of(caller)),
        )
    )


def tell_refused(log: SecurityLog, request: SmartRequest, error: OAuth2Error, claimed: Client | None) -> None:
    """Tell that a token was refused; ``claimed`` is whom the request has named without having proved it.

    A code or refresh token that was used before is told as what it is: somebody has stolen it, before or now.
    """
    proven: Client | None = request.client
    client = to_client_actor(proven, request.address) if proven is not None else None
    if isinstance(error, Reused):
        _tell_reused(log, error, client or Actor("unknown", address=request.address))
        return
    grant = request.form.get("grant_type", "")
    event = SecurityEvent(
        "access-token",
        client or Actor("unknown", address=request.address),
        problem=error.error or "",
        request=urlencode((("grant_type", grant if grant in _GRANTS else "unknown"),)),
        details=(("claimed", claimed.id),) if client is None and claimed is not None else (),
    )
    named = proven or claimed
    log.tell_refused(event, named.id if named is not None else to_subscriber(request.address))


def _tell_reused(log: SecurityLog, error: Reused, by: Actor) -> None:
    owner = Actor("account", error.account) if error.account is not None else None
    event = SecurityEvent(
        "credential-reused",
        by,
        about=owner,
        outcome=codes.SERIOUS_FAILURE,
        problem=error.credential,
        details=(("client", error.client),),
    )
    log.tell_refused(event, error.grant)
