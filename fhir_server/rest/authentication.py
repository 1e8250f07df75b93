"""Who is asking, established from the request alone, before anything else is done for them.

Spec: http://hl7.org/fhir/R4/security.html#authentication
"""

from collections.abc import Callable
from typing import Any

from fhir_server.access.caller import OPEN_CALLER, Caller

Authenticate = Callable[[dict[str, Any]], Caller]
"""Returns the caller behind a WSGI request.

Raises ``Login`` when the request does not say who asks, ``Invalid`` when it says so where it must not.
"""


def authenticate_nobody(environ: dict[str, Any]) -> Caller:
    """Return the open caller, whatever credentials come along: for a server without authentication."""
    return OPEN_CALLER
