"""Whether the process lives, whether it can work, and its metrics: for operators and orchestrators, not for callers.

Spec: https://kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes/
"""

from collections.abc import Callable
from time import monotonic
from typing import NamedTuple

from flask import Blueprint, Response, jsonify

from fhir_server.rest import metrics
from fhir_server.storage.store import Store

_INDEX_CHECK_SECONDS = 60.0


class Readiness(NamedTuple):
    """Whether requests can be served, and if not, why."""

    ready: bool
    reason: str = ""


class ReadinessCheck:
    """Asks the store; the state of the indexes is asked for once a minute only, or again while it is not well."""

    def __init__(self, get_store: Callable[[], Store]) -> None:
        self._get_store = get_store
        self._indexes_well_until = 0.0

    def __call__(self) -> Readiness:
        """Return the present readiness; never raises."""
        try:
            store = self._get_store()
            status = store.status()
            if not status.ready:
                return Readiness(False, "the database does not answer, or has no primary")
            if monotonic() > self._indexes_well_until:
                if store.check_indexes():
                    return Readiness(False, "indexes are missing or still being built")
                self._indexes_well_until = monotonic() + _INDEX_CHECK_SECONDS
        except Exception:
            return Readiness(False, "the database cannot be reached")
        return Readiness(True)


def health_blueprint(check: ReadinessCheck) -> Blueprint:
    """Return ``/health/live``, ``/health/ready`` and ``/metrics``."""
    blueprint = Blueprint("health", __name__)

    @blueprint.get("/health/live")
    def live() -> Response:
        return jsonify(status="live")

    @blueprint.get("/health/ready")
    def ready() -> Response:
        readiness = check()
        if readiness.ready:
            return jsonify(status="ready")
        response = jsonify(status="not ready", reason=readiness.reason)
        response.status_code = 503
        response.headers["Retry-After"] = "2"
        return response

    @blueprint.get("/metrics")
    def show_metrics() -> Response:
        return Response(metrics.exposition(), content_type=metrics.CONTENT_TYPE)

    return blueprint
