"""Events sent on to an audit record repository (IHE ATNA, ITI-20), as a job: resumable, each at least once.

It follows the seals, so that what came late is sent too and nothing is left out. Syslog has no receipt: what counts is
that the other side has taken the connection's last byte and closed it in good order.
Spec: https://profiles.ihe.net/ITI/TF/Volume2/ITI-20.html
"""

import http.client
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from fhir_server.audit.dicom import to_syslog
from fhir_server.audit.seals import SealLog, entries_of
from fhir_server.fhir.json import parse_json
from fhir_server.jobs import COLLECTION, Job, Jobs, build_job

AUDIT_EXPORT = "audit-export"
SCHEMES = ("syslog+tls", "syslog+tcp", "https", "http")
_SYSLOG_PORT = 6514
_TIMEOUT = 20.0
_BATCH = 500


class Undelivered(Exception):
    """The repository has not taken the events; they are sent again."""


class Destination(Protocol):
    """Takes events over; raises ``Undelivered``."""

    def send(self, bodies: Sequence[bytes]) -> None:
        """Return once the other side has them."""


@dataclass(frozen=True, slots=True)
class SyslogRepository:
    """Syslog over TLS, or over plain TCP where the network is protected by other means."""

    host: str
    port: int
    context: ssl.SSLContext | None
    source: str

    def send(self, bodies: Sequence[bytes]) -> None:
        """Send one frame for each event and wait for the other side to close. Raises ``Undelivered``."""
        try:
            with socket.create_connection((self.host, self.port), _TIMEOUT) as plain:
                self._deliver(plain, b"".join(to_syslog(parse_json(body), self.source) for body in bodies))
        except OSError as error:
            raise Undelivered(type(error).__name__) from error

    def _deliver(self, plain: socket.socket, frames: bytes) -> None:
        if self.context is None:
            plain.sendall(frames)
            plain.shutdown(socket.SHUT_WR)
            while plain.recv(4096):
                continue
            return
        with self.context.wrap_socket(plain, server_hostname=self.host) as secured:
            secured.sendall(frames)
            secured.unwrap()


@dataclass(frozen=True, slots=True)
class FhirRepository:
    """The RESTful feed: ``POST [base]/AuditEvent`` for each event."""

    base: str
    context: ssl.SSLContext | None

    def send(self, bodies: Sequence[bytes]) -> None:
        """Post the events one after the other on one connection. Raises ``Undelivered``."""
        parts = urlsplit(self.base)
        host = parts.hostname or ""
        connection = (
            http.client.HTTPConnection(host, parts.port, timeout=_TIMEOUT)
            if self.context is None
            else http.client.HTTPSConnection(host, parts.port, timeout=_TIMEOUT, context=self.context)
        )
        try:
            for body in bodies:
                headers = {"Content-Type": "application/fhir+json", "Prefer": "return=minimal"}
                connection.request("POST", f"{parts.path.rstrip('/')}/AuditEvent", body, headers)
                answer = connection.getresponse()
                answer.read()
                if answer.status not in (200, 201, 202, 204):
                    raise Undelivered(f"HTTP {answer.status}")
        except (OSError, http.client.HTTPException) as error:
            raise Undelivered(type(error).__name__) from error
        finally:
            connection.close()


def open_destination(url: str, authorities: Path | None, source: str) -> Destination:
    """Return what the url names; ``authorities`` is a PEM file to trust in place of the system's."""
    parts = urlsplit(url)
    secured = parts.scheme in ("syslog+tls", "https")
    context = ssl.create_default_context(cafile=authorities) if secured else None
    if parts.scheme in ("https", "http"):
        return FhirRepository(url, context)
    return SyslogRepository(parts.hostname or "", parts.port or _SYSLOG_PORT, context, source)


def enqueue_export(log: SealLog, jobs: Jobs, now: Any) -> str | None:
    """Enqueue what has been sealed since the last export that succeeded; None if there is nothing, or one is due."""
    last = log.last_seal()
    if last is None or jobs.list(AUDIT_EXPORT, unfinished=True):
        return None
    done = [str(job.input["upto"]) for job in jobs.list(AUDIT_EXPORT) if job.state == "finished"]
    after = max(done, default="")
    if after >= last["_id"]:
        return None
    job = build_job(AUDIT_EXPORT, {"after": after, "upto": last["_id"]}, now)
    return jobs.enqueue(job)


@dataclass(frozen=True, slots=True)
class AuditExport:
    """Does an export job; ``stopping`` ends it between two batches."""

    log: SealLog
    jobs: Jobs
    destination: Destination
    stopping: Callable[[], bool] = lambda: False

    def run(self, job: Job) -> bool:
        """Send what the job names from where it is; return False when it was told to stop. Raises ``Undelivered``."""
        after = str(job.progress.get("after", job.input["after"]))
        sent = int(job.progress.get("sent", 0))
        for seal in self.log.seals(after, str(job.input["upto"])):
            if seal["_id"] == after:
                continue
            if self.stopping():
                return False
            sent += self._send(seal)
            progress = {"after": seal["_id"], "sent": sent}
            if self.jobs.records.change(COLLECTION, self.jobs.held_by(job), self.jobs.step(progress)) is None:
                return True  # another worker has taken it over
        self.jobs.finish(job, {"after": job.input["upto"], "sent": sent})
        return True

    def _send(self, seal: Mapping[str, Any]) -> int:
        references = [reference for reference, _ in entries_of(seal)]
        count = 0
        for start in range(0, len(references), _BATCH):
            part = references[start : start + _BATCH]
            bodies = self.log.bodies(part)
            if bodies:
                self.destination.send(bodies)
            count += len(bodies)
        return count
