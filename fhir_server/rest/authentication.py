"""Who is asking, established from the request alone, before anything else is done for them.

The server is open for now: whoever reaches it is the open caller, whatever credentials come along.
Spec: http://hl7.org/fhir/R4/security.html#authentication
"""

from typing import Any

from fhir_server.access.caller import OPEN_CALLER, Caller


def authenticate(environ: dict[str, Any]) -> Caller:
    """Return the caller behind a WSGI request."""
    return OPEN_CALLER
