"""The trail sent on to a repository: each event at least once, whatever breaks on the way."""

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from fhir_server.app import Composition
from fhir_server.audit.dicom import to_dicom, to_syslog
from fhir_server.audit.export import AUDIT_EXPORT, Undelivered, enqueue_export, open_destination
from fhir_server.audit.seals import Sealer
from fhir_server.context import current_time
from fhir_server.fhir.json import parse_json
from fhir_server.jobs import Jobs
from fhir_server.worker import Worker
from tests.access.certificates import self_signed
from tests.access.test_audit_tampering import NOON, put
from tests.trail import stored_events


def frames(data: bytes) -> list[bytes]:
    """Return the messages of RFC 5425 frames."""
    found = []
    while data:
        length, _, rest = data.partition(b" ")
        found.append(rest[: int(length)])
        data = rest[int(length) :]
    return found


@contextmanager
def syslog_server(context: ssl.SSLContext | None) -> Iterator[tuple[int, list[bytes]]]:
    """Take connections until the block ends; give the port and the bytes of each connection."""
    taken: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    plain, _ = listening.accept()
                except OSError:
                    return
                with context.wrap_socket(plain, server_side=True) if context else plain as connection:
                    data = b""
                    while part := connection.recv(65536):
                        data += part
                    taken.append(data)
                    if isinstance(connection, ssl.SSLSocket):
                        connection.unwrap().close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname()[1], taken
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(5)


@contextmanager
def fhir_server(refusing: list[int]) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Take posted AuditEvents; answer with the statuses of ``refusing`` first."""
    taken: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = refusing.pop(0) if refusing else 201
            if status == 201 and self.path == "/fhir/AuditEvent":
                taken.append(json.loads(body))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_port, taken
        server.shutdown()
    thread.join(5)


Make = Callable[..., Composition]


def sealed(composition: Composition, tmp_path: Path, *hours: int) -> list[str]:
    """Put three events in for each hour and seal them."""
    sealer = Sealer(composition.store().audit_log, tmp_path / "heads")
    references: list[str] = []
    for hour in hours:
        references += put(composition.store(), NOON + timedelta(hours=hour), "a", "b", "c")
        sealer.seal(NOON + timedelta(hours=hour, seconds=2))
    return references


def export(composition: Composition) -> Jobs:
    """Enqueue what is due and do it."""
    jobs = Jobs(composition.store().records)
    enqueue_export(composition.store().audit_log, jobs, current_time())
    Worker(composition).run_due()
    return jobs


@pytest.mark.parametrize("secured", [True, False])
def test_syslog_gets_every_event_as_dicom_once(make_composition: Make, tmp_path: Path, secured: bool) -> None:
    certificate = self_signed(tmp_path, "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if secured else None
    if context is not None:
        context.load_cert_chain(certificate)
    with syslog_server(context) as (port, taken):
        scheme = "syslog+tls" if secured else "syslog+tcp"
        composition = make_composition(
            audit_spool=False, audit_repository=f"{scheme}://localhost:{port}", audit_repository_ca=certificate
        )
        first = sealed(composition, tmp_path, 0, 1)
        export(composition)
        second = sealed(composition, tmp_path, 2)
        jobs = export(composition)
        assert enqueue_export(composition.store().audit_log, jobs, current_time()) is None
        assert [job.state for job in jobs.list(AUDIT_EXPORT)] == ["finished", "finished"]
    messages = [message for data in taken for message in frames(data)]
    assert len(messages) == len(first) + len(second)
    head, _, xml = messages[0].partition(b"\xef\xbb\xbf")
    assert head.startswith(b"<85>1 2026-06-14T12:00:00.000Z 127.0.0.1 fhir-server - DICOM+RFC3881 - ")
    message = etree.fromstring(xml)
    assert message.tag == "AuditMessage"
    assert message.find("ActiveParticipant[@UserIsRequestor='true']").get("UserID") == "Practitioner/d"
    told = {one.get("ParticipantObjectID") for one in message.iter("ParticipantObjectIdentification")}
    assert len(told & {"Patient/a", "Patient/b", "Patient/c"}) == 1


EVENT = b'{"recorded": "2026-01-01T00:00:00Z", "type": {"code": "rest"}}'


def test_a_certificate_that_is_not_trusted_gets_nothing(tmp_path: Path) -> None:
    certificate = self_signed(tmp_path, "localhost")
    other = tmp_path / "other"
    other.mkdir()
    trusting_another = self_signed(other, "localhost")
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def refuse() -> None:
            plain, _ = listening.accept()
            with pytest.raises(ssl.SSLError):
                serving.wrap_socket(plain, server_side=True)
            plain.close()

        thread = threading.Thread(target=refuse, daemon=True)
        thread.start()
        url = f"syslog+tls://localhost:{listening.getsockname()[1]}"
        with pytest.raises(Undelivered, match="SSLCertVerificationError"):
            open_destination(url, trusting_another, "x").send([EVENT])
        thread.join(5)


def test_the_fhir_feed_goes_on_after_a_failure_and_leaves_nothing_out(make_composition: Make, tmp_path: Path) -> None:
    with fhir_server([201, 201, 201, 201, 503]) as (port, taken):
        composition = make_composition(audit_spool=False, audit_repository=f"http://127.0.0.1:{port}/fhir")
        expected = sealed(composition, tmp_path, 0, 1, 2)
        jobs = export(composition)
        (job,) = jobs.list(AUDIT_EXPORT)
        assert (job.state, job.problem) == ("queued", "Undelivered")
        assert job.progress["after"].endswith("/00000001")
        composition.store().records.change_many("jobs", {}, [{"$set": {"after": "$$NOW"}}])
        Worker(composition).run_due()
        (job,) = jobs.list(AUDIT_EXPORT)
        assert job.state == "finished"
    stored = stored_events(composition.store())
    assert {f"AuditEvent/{one['id']}" for one in taken} == {one["_id"] for one in stored}
    assert len(taken) == len(expected) + 1, "the one that had arrived before the failure came twice"


def test_a_repository_that_is_away_is_tried_again_later(make_composition: Make, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    composition = make_composition(audit_spool=False, audit_repository=f"http://127.0.0.1:{port}/fhir")
    sealed(composition, tmp_path, 0)
    (job,) = export(composition).list(AUDIT_EXPORT)
    assert (job.state, job.attempts) == ("queued", 1)


def test_what_no_xml_can_carry_is_left_out_of_the_message() -> None:
    event = {
        "recorded": "2026-01-01T00:00:00Z",
        "type": {"code": "rest"},
        "agent": [{"name": 'a"<b>\x00&\ud800', "requestor": True}],
    }
    message = etree.fromstring(to_dicom(event))
    assert message.find("ActiveParticipant").get("UserName") == 'a"<b>&'
    assert b"<85>1 2026-01-01T00:00:00Z - fhir-server" in to_syslog(event, "\u00e9 ")


def test_the_events_of_the_trail_make_good_messages(make_composition: Make, tmp_path: Path) -> None:
    composition = make_composition(audit_spool=False)
    (reference,) = put(composition.store(), NOON, "a")
    (body,) = composition.store().audit_log.bodies([reference])
    message = etree.fromstring(to_dicom(parse_json(body)))
    assert [one.tag for one in message] == [
        "EventIdentification",
        *["ActiveParticipant"] * 3,
        "AuditSourceIdentification",
        *["ParticipantObjectIdentification"] * 3,
    ]
