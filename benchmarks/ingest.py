"""Loading: the files as they are, as transactions over HTTP, so many connections at a time."""

import bz2
import gzip
import http.client
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

_OPENERS: dict[str, Callable[[bytes], bytes]] = {".bz2": bz2.decompress, ".gz": gzip.decompress}
_FIRST = ("hospital", "practitioner")
_HEADERS = {"Content-Type": "application/fhir+json", "Accept": "application/fhir+json", "Prefer": "return=minimal"}


@dataclass(frozen=True, slots=True)
class Loaded:
    """What loading came to; latencies in milliseconds per bundle."""

    resources: int
    bundles: int
    failed: int
    seconds: float
    p50: float
    p99: float

    @property
    def rate(self) -> float:
        """Resources per second."""
        return self.resources / self.seconds if self.seconds else 0.0


def load(base: str, directory: Path, connections: int) -> Loaded:
    """Post every bundle of the directory; those first that the others refer to."""
    files = sorted(path for path in directory.iterdir() if ".json" in path.suffixes)
    if not files:
        raise FileNotFoundError(f"no .json files in {directory}")
    first = [path for path in files if any(word in path.name for word in _FIRST)]
    started = time.perf_counter()
    answers = _post_all(base, first, 1) + _post_all(base, [path for path in files if path not in first], connections)
    seconds = time.perf_counter() - started
    latencies = sorted(latency for _, latency, _ in answers)
    return Loaded(
        sum(count for count, _, well in answers if well),
        len(answers),
        sum(not well for _, _, well in answers),
        seconds,
        latencies[len(latencies) // 2] * 1e3,
        latencies[len(latencies) * 99 // 100] * 1e3,
    )


def _post_all(base: str, files: Sequence[Path], connections: int) -> list[tuple[int, float, bool]]:
    with ThreadPoolExecutor(connections) as executor:
        return list(executor.map(lambda path: _post(base, path), files))


def _post(base: str, path: Path) -> tuple[int, float, bool]:
    """Return how many resources the file holds, how long its answer took and whether it was a success."""
    content = _OPENERS.get(path.suffix, bytes)(path.read_bytes())
    parts = urlsplit(base)
    connection = http.client.HTTPConnection(parts.netloc, timeout=600)
    started = time.perf_counter()
    try:
        connection.request("POST", parts.path.rstrip("/") or "/", content, _HEADERS)
        answer = connection.getresponse()
        answer.read()
        return content.count(b'"fullUrl"'), time.perf_counter() - started, answer.status == 200
    finally:
        connection.close()
