"""Every refusal is an OperationOutcome in the caller's format and language, and says no more than it should."""

import json
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import Client

from fhir_server.app import Composition
from fhir_server.rest.authentication import authenticate_nobody
from fhir_server.rest.gateway import FhirGateway
from fhir_server.rest.logs import Log
from fhir_server.settings import Settings
from fhir_server.storage.store import StoreUnavailable

FHIR = "application/fhir+json"
NAMESPACE = b'<Patient xmlns="http://hl7.org/fhir">'


def failing_client(error: Exception) -> Client:
    """Return a client of an edge behind which everything fails with ``error``."""

    def fail(*_: Any) -> Any:
        raise error

    return Client(FhirGateway(Settings.from_environment({}), authenticate_nobody, fail, Log(), fail))


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/fhir/Patient/nobody", 404, "not-found"),
        ("GET", "/fhir/Nothing/1", 404, "not-found"),
        ("GET", "/fhir/a/b/c/d/e/f/g", 404, "not-found"),
        ("GET", "/fhir//Patient", 404, "not-found"),
        ("POST", "/fhir/Patient/1", 405, "not-supported"),
        ("TRACE", "/fhir/Patient/1", 405, "not-supported"),
        ("GET", "/fhir/Patient/%2e%2e%0a", 400, "invalid"),
        ("GET", "/fhir/Patient/" + "a" * 65, 400, "invalid"),
        ("GET", "/fhir/Patient/%ff", 400, "invalid"),
        ("GET", "/fhir/Patient/1?_summary=%ff", 400, "invalid"),
        ("GET", "/fhir/Patient?" + "a=b&" * 1_001, 400, "too-costly"),
        ("GET", "/fhir/Patient?a=" + "b" * 70_000, 400, "too-costly"),
    ],
)
def test_what_cannot_be_answered_is_said_in_an_outcome(
    client: FlaskClient, method: str, path: str, status: int, code: str
) -> None:
    answer = client.open(path, method=method)
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == f"{FHIR};charset=utf-8"
    outcome = json.loads(answer.data)
    assert outcome["resourceType"] == "OperationOutcome"
    assert outcome["issue"][0]["severity"] == "error"
    assert outcome["issue"][0]["code"] == code
    assert outcome["issue"][0]["details"]["text"]


def test_a_refused_method_names_the_allowed_ones(client: FlaskClient) -> None:
    assert "PUT" in client.post("/fhir/Patient/1").headers["Allow"]


def test_an_outcome_comes_in_the_callers_language_and_format(client: FlaskClient) -> None:
    headers = {"Accept-Language": "fr-FR,en;q=0.5", "Accept": "application/fhir+xml"}
    answer = client.get("/fhir/Patient/nobody", headers=headers)
    assert answer.headers["Content-Type"] == "application/fhir+xml;charset=utf-8"
    assert "n’existe pas" in answer.text


def test_malformed_json_is_named_by_line_and_column(client: FlaskClient) -> None:
    answer = client.post("/fhir/Patient", data=b'{"resourceType":\n"Patient",,}', content_type=FHIR)
    assert answer.status_code == 400
    assert "line 2" in answer.json["issue"][0]["diagnostics"]


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 10_000,
        b'{"a":' * 10_000,
        b'{"resourceType":"Patient","resourceType":"Patient"}',
        b'{"resourceType":"Patient","multipleBirthInteger":NaN}',
        b'{"resourceType":"Observation","valueQuantity":{"value":Infinity}}',
        b'{"resourceType":"Patient","gender":"\\ud800"}',
        b'{"resourceType":"Patient","gender":"a\\u0000b"}',
        b'\xef\xbb\xbf{"resourceType":"Patient"}',
        b'{"resourceType":"Patient","gender":"\xff\xfe"}',
        b'{"resourceType":"Patient" /* comment */}',
        b"[]",
        b"null",
        b"{}",
        b'{"resourceType":17}',
        b'{"resourceType":"Observation"}',
        b"\x00",
    ],
)
def test_a_malformed_json_body_is_the_callers_mistake(client: FlaskClient, body: bytes) -> None:
    answer = client.post("/fhir/Patient", data=body, content_type=FHIR)
    assert answer.status_code in (400, 422)
    assert answer.json["resourceType"] == "OperationOutcome"


@pytest.mark.parametrize(
    "body",
    [
        b'<!DOCTYPE p [<!ENTITY e SYSTEM "file:///etc/passwd">]>' + NAMESPACE + b'<id value="&e;"/></Patient>',
        b'<!DOCTYPE p SYSTEM "http://127.0.0.1:1/x.dtd">' + NAMESPACE + b"</Patient>",
        b'<!DOCTYPE p [<!ENTITY % e SYSTEM "http://127.0.0.1:1/x"> %e;]>' + NAMESPACE + b"</Patient>",
        b'<!DOCTYPE p [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>' + NAMESPACE + b'<id value="&b;"/></Patient>',
        NAMESPACE + b'<i:include xmlns:i="http://www.w3.org/2001/XInclude" href="/etc/passwd"/></Patient>',
        b'<?xml version="1.0" encoding="utf-7"?><Patient xmlns="http://hl7.org/fhir"/>',
        b"<Patient",
    ],
)
def test_a_hostile_xml_body_is_refused_and_fetches_nothing(client: FlaskClient, body: bytes) -> None:
    answer = client.post("/fhir/Patient", data=body, content_type="application/fhir+xml")
    assert answer.status_code in (400, 422)
    assert "root:" not in answer.text


def test_a_fault_says_nothing_but_where_to_look(capfd: pytest.CaptureFixture[str]) -> None:
    answer = failing_client(ValueError("Dupont, born 1979")).get("/fhir/Patient/p1", headers={"X-Request-Id": "r-1"})
    assert answer.status_code == 500
    assert "r-1" in answer.text
    log = capfd.readouterr().out
    assert "Dupont" not in answer.text + log
    assert "builtins.ValueError" in log
    assert "test_errors.py" in log


def test_an_absent_database_is_503_and_worth_another_try(capfd: pytest.CaptureFixture[str]) -> None:
    answer = failing_client(StoreUnavailable("host secret:27017")).get("/fhir/Patient/p1")
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "2"
    assert answer.json["issue"][0]["code"] == "transient"
    assert "secret" not in answer.text + capfd.readouterr().out


@pytest.mark.parametrize(("error", "status"), [(RecursionError(), 400), (MemoryError(), 503)])
def test_exhaustion_is_no_fault_of_ours(error: Exception, status: int) -> None:
    assert failing_client(error).get("/fhir/Patient/p1").status_code == status


def test_outside_fhir_a_refusal_is_a_problem_document(client: FlaskClient) -> None:
    for path in ("/nothing", "/fhirx", "/"):
        answer = client.get(path)
        assert answer.status_code == 404
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.get_json(force=True)["status"] == 404
    assert client.delete("/health/live").status_code == 405


def test_a_fault_outside_fhir_says_nothing_either(composition: Composition, capfd: pytest.CaptureFixture[str]) -> None:
    from fhir_server.app import build_app

    app = build_app(composition)
    app.add_url_rule("/broken", view_func=lambda: 1 // 0)
    answer = app.test_client().get("/broken")
    assert answer.status_code == 500
    assert "division" not in answer.text + capfd.readouterr().out


def test_only_what_comes_with_a_body_is_read(client: FlaskClient, patient: str) -> None:
    assert client.get(patient, data=b"not read", content_type="text/plain").status_code == 200
    assert client.delete(patient, data=b"not read", content_type="text/plain").status_code == 204
