"""The only place that catches everything: every error becomes an OperationOutcome, and none says too much.

Spec: http://hl7.org/fhir/R4/operationoutcome.html, http://hl7.org/fhir/R4/http.html#Status-Codes
"""

from fhir_server.errors import FhirError, ServerError, Text, TooCostly, Transient
from fhir_server.fhir.outcome import to_outcome
from fhir_server.interactions.request import FhirResponse
from fhir_server.interactions.routes import match_route
from fhir_server.rest import metrics
from fhir_server.rest.logs import Log
from fhir_server.rest.requests import Exchange
from fhir_server.storage.store import StoreUnavailable

RETRY_AFTER = "2"
UNMATCHED = "unmatched"
"""The route template of what leads nowhere."""

_UNAVAILABLE = Text(
    "The database cannot be reached at the moment; try again shortly.",
    "La base de données est momentanément inaccessible ; réessayez dans un instant.",
)
_TOO_DEEP = Text(
    "The request is nested too deeply to be processed.",
    "La requête est trop imbriquée pour être traitée.",
)
_NO_MEMORY = Text(
    "The request needs more memory than there is at the moment.",
    "La requête demande plus de mémoire qu’il n’y en a en ce moment.",
)
_FAULT = Text(
    "The server failed; its operator finds the reason by the request id.",
    "Le serveur a échoué ; son exploitant trouvera la raison grâce à l’identifiant de la requête.",
)


def to_response(error: Exception, exchange: Exchange, log: Log) -> FhirResponse:
    """Return the answer to an error, after logging what is the server's own fault."""
    known = understand(error, exchange.request_id)
    if known.status >= 500:
        _record(error, exchange.request_id, log)
    outcome = to_outcome(known.issues, exchange.language)
    return FhirResponse(known.status, outcome, headers=known.headers, route=known.route or _template(exchange))


def understand(error: Exception, request_id: str) -> FhirError:
    """Return the ``FhirError`` that says to a caller what happened, without saying how."""
    if isinstance(error, FhirError):
        return error
    if isinstance(error, StoreUnavailable):
        return Transient(_UNAVAILABLE, headers={"Retry-After": RETRY_AFTER})
    if isinstance(error, RecursionError):
        return TooCostly(_TOO_DEEP)
    if isinstance(error, MemoryError):
        return Transient(_NO_MEMORY, headers={"Retry-After": RETRY_AFTER})
    return ServerError(_FAULT, diagnostics=f"X-Request-Id: {request_id}")


def _record(error: Exception, request_id: str, log: Log) -> None:
    if isinstance(error, StoreUnavailable):
        metrics.store_error()
        log.failure(request_id, error, "warning")
    elif not isinstance(error, FhirError) or type(error) is ServerError:
        metrics.failure()
        log.failure(request_id, error)


def _template(exchange: Exchange) -> str:
    """Return the template that the path matches; raw paths never get into logs and metrics."""
    try:
        return match_route(exchange.method, exchange.segments).template
    except FhirError:
        return UNMATCHED
