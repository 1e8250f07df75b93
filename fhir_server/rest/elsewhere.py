"""What Flask answers outside ``/fhir`` when nothing is there or something breaks: problem details as JSON.

Spec: https://www.rfc-editor.org/rfc/rfc9457
"""

from flask import Flask, Response, json
from werkzeug.exceptions import HTTPException

from fhir_server.rest import metrics
from fhir_server.rest.headers import request_id
from fhir_server.rest.logs import Log
from fhir_server.storage.store import StoreUnavailable

_TYPE = "application/problem+json"


def install_problem_details(app: Flask, log: Log) -> None:
    """Make every error of the app's own routes a problem document without details of the inside."""

    @app.errorhandler(HTTPException)
    def refused(error: HTTPException) -> Response:
        status = error.code or 500
        body = json.dumps({"type": "about:blank", "title": error.name, "status": status})
        headers = {name: value for name, value in error.get_headers() if name in ("Allow", "Retry-After")}
        return Response(body, status, headers, content_type=_TYPE)

    @app.errorhandler(StoreUnavailable)
    def unavailable(error: StoreUnavailable) -> Response:
        body = json.dumps({"type": "about:blank", "title": "Service Unavailable", "status": 503})
        return Response(body, 503, {"Retry-After": "2"}, content_type=_TYPE)

    @app.errorhandler(Exception)
    def broken(error: Exception) -> Response:
        identifier = request_id(None)
        metrics.failure()
        log.failure(identifier, error)
        body = {"type": "about:blank", "title": "Internal Server Error", "status": 500, "request_id": identifier}
        return Response(json.dumps(body), 500, content_type=_TYPE)
