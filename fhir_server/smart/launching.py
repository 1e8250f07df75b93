"""The launch context with which an app is about to be opened: by an EHR, or by its user's own account.

An EHR (``POST /auth/launch``) is a client with the role ``ehr`` and calls with a token of its own (Backend Services).
Spec: https://hl7.org/fhir/smart-app-launch/app-launch.html#launch-app-ehr-launch
"""

from typing import Any
from urllib.parse import urlencode

from authlib.oauth2.rfc6749 import InvalidRequestError
from authlib.oauth2.rfc6750 import InsufficientScopeError, InvalidTokenError
from marshmallow import ValidationError

from fhir_server.smart.launches import SECONDS, LaunchRequest
from fhir_server.smart.parts import Parts

_SCHEMA = LaunchRequest()


def mint_launch(parts: Parts, authorization: str, data: Any) -> dict[str, Any]:
    """Return the value of ``launch`` and the seconds it is good for; raises ``OAuth2Error``."""
    scheme, _, word = authorization.partition(" ")
    token = parts.tokens.find(word.strip()) if scheme.lower() == "bearer" else None
    if token is None or token.use != "access":
        raise InvalidTokenError()
    client = parts.clients.find(token.client)
    if client is None or token.account is not None or "ehr" not in client.roles:
        raise InsufficientScopeError()
    try:
        context = _SCHEMA.load(data)
    except ValidationError as error:
        names = sorted(str(name) for name in error.messages) if isinstance(error.messages, dict) else []
        raise InvalidRequestError(f"These members cannot be read: {_plain(names)}.") from None
    target, user = context.pop("client_id"), context.pop("user", None)
    if parts.clients.find(target) is None:
        raise InvalidRequestError("client_id is no client of this server.")
    return {"launch": parts.launches.mint(target, user, context), "expires_in": SECONDS}


def open_app(parts: Parts, consent: str, account: str, base_url: str) -> str | None:
    """Return the address that opens an app for who has let it in, in the record that it was let into.

    None when the account has given no such consent, or the app has no address to be opened at. ``base_url`` is FHIR's.
    """
    given = parts.consents.find(consent)
    client = parts.clients.find(given.client) if given is not None and given.account == account else None
    if given is None or client is None or not client.initiate_login_uri:
        return None
    # It is opened in place of our page: nothing of ours shows whose record it is.
    context = {"need_patient_banner": True, **({"patient": given.patient} if given.patient else {})}
    secret = parts.launches.mint(client.id, account, context)
    begin = client.initiate_login_uri
    return f"{begin}{'&' if '?' in begin else '?'}{urlencode([('iss', base_url), ('launch', secret)])}"


def _plain(names: list[str]) -> str:
    known = [name if name in _SCHEMA.fields else "an unknown one" for name in names]
    return ", ".join(dict.fromkeys(known))
