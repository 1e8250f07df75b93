"""Clients that prove themselves by a secret in the Authorization header (``client_secret_basic``).

Spec: https://www.rfc-editor.org/rfc/rfc6749#section-2.3.1, https://www.rfc-editor.org/rfc/rfc7617
"""

from collections.abc import Callable, Mapping

from authlib.oauth2.rfc6749.authenticate_client import authenticate_client_secret_basic
from authlib.oauth2.rfc6749.util import extract_basic_authorization

from fhir_server.smart.clients import Client
from fhir_server.smart.requests import SmartRequest


def authenticate_basic(query_client: Callable[[str], Client | None], request: SmartRequest) -> Client | None:
    """Return the client that the header proves, or None; raises Authlib's ``InvalidClientError`` for an unknown one."""
    if named_client(request.headers) is None:
        return None
    proven: Client | None = authenticate_client_secret_basic(query_client, request)
    return proven


def named_client(headers: Mapping[str, str]) -> str | None:
    """Return the id in the header, proved or not; None without one, and for a header that nobody can read."""
    try:
        id: str | None = extract_basic_authorization(headers)[0]
    except ValueError:  # not in ASCII, or no UTF-8 within
        return None
    return id
