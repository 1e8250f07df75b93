"""What HTTP itself refuses at the endpoints that programs call, in OAuth's words.

Spec: https://www.rfc-editor.org/rfc/rfc6749#section-5.2
"""

import json

from flask import Response
from werkzeug.exceptions import HTTPException

_HEADERS = {"Cache-Control": "no-store", "Pragma": "no-cache"}
_DESCRIPTIONS = {
    405: "The endpoint does not answer to this method; the header Allow has those that it does.",
    413: "The body is too large.",
}


def to_oauth_error(error: HTTPException) -> Response:
    """Return the refusal with its status and ``Allow``, and a body that a client of OAuth can read."""
    status = error.code or 400
    description = _DESCRIPTIONS.get(status, "The request cannot be read.")
    body = json.dumps({"error": "invalid_request", "error_description": description})
    allowed = {name: value for name, value in error.get_headers() if name == "Allow"}
    return Response(body, status, {**allowed, **_HEADERS}, content_type="application/json")
