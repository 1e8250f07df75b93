"""Prometheus metrics, summed over all workers when ``PROMETHEUS_MULTIPROC_DIR`` names their common directory.

Labels are method, route template and status: closed sets, nothing of the request's own.
Spec: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

import re
from contextlib import suppress
from pathlib import Path

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    values,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.values import MutexValue

DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
CONTENT_TYPE = CONTENT_TYPE_LATEST

_LABELS = ("method", "route", "status")
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_REQUESTS = Counter("fhir_requests", "Answered requests.", _LABELS)
_SECONDS = Histogram("fhir_request_duration_seconds", "Time to answer.", _LABELS, buckets=_BUCKETS)
_IN_FLIGHT = Gauge("fhir_requests_in_flight", "Requests being answered.", multiprocess_mode="livesum")
_STORE_ERRORS = Counter("fhir_store_errors", "Requests that failed because the database was not there.")
_FAILURES = Counter("fhir_failures", "Requests that failed by a fault of the server.")

_children: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
_LIVE_FILE = re.compile(r"gauge_live\w+_(\d+)\.db\Z")


def begin() -> None:
    """Count a request in."""
    _IN_FLIGHT.inc()


def end(method: str, route: str, status: int, seconds: float) -> None:
    """Count a request out and observe its time; ``method`` and ``route`` come from closed sets."""
    _IN_FLIGHT.dec()
    key = (method, route, status)
    children = _children.get(key)
    if children is None:
        labels = (method, route, str(status))
        children = _children[key] = (_REQUESTS.labels(*labels), _SECONDS.labels(*labels))
    children[0].inc()
    children[1].observe(seconds)


def store_error() -> None:
    """Count a request that the database failed."""
    _STORE_ERRORS.inc()


def failure() -> None:
    """Count a request that our own fault failed."""
    _FAILURES.inc()


def exposition() -> bytes:
    """Return the metrics of all workers as Prometheus reads them."""
    if values.ValueClass is MutexValue:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    # The collector finds the workers' directory by itself, as the library did when it chose its kind of values.
    collector = MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    _forget_the_dead(Path(collector._path))
    return generate_latest(registry)


def _forget_the_dead(directory: Path) -> None:
    """Take killed workers out of the gauges: what they had in flight is no longer."""
    for path in directory.glob("gauge_live*.db"):
        match = _LIVE_FILE.match(path.name)
        if match and not Path(f"/proc/{match[1]}").exists() and Path("/proc/self").exists():
            with suppress(OSError):
                mark_process_dead(int(match[1]), str(directory))  # type: ignore[no-untyped-call]
