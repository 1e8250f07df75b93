"""Who is asking, established from the request alone, before anything else is done for them.

Spec: http://hl7.org/fhir/R4/security.html#authentication
"""

from collections.abc import Callable
from typing import Any

from fhir_server.access.caller import OPEN_CALLER, Caller
from fhir_server.errors import Login, Text

Authenticate = Callable[[dict[str, Any]], Caller]
"""Returns the caller behind a WSGI request; raises ``Login`` when the request does not say who asks."""


class RefusedToken(Login):
    """Credentials that no longer count, of somebody known: the refusal is noted with their name."""

    def __init__(self, text: Text, *, caller: Caller, headers: dict[str, str] | None = None) -> None:
        super().__init__(text, headers=headers)
        self.caller = caller


def authenticate_nobody(environ: dict[str, Any]) -> Caller:
    """Return the open caller, whatever credentials come along: for a server without authentication."""
    return OPEN_CALLER
