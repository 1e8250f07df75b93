"""Logs and metrics say what happened, and nothing of what was said."""

import json
import logging
from typing import Any

import pytest
from flask.testing import FlaskClient

from fhir_server.rest.logs import JsonHandler, Log, describe_causes
from tests.rest.conftest import MakeClient

SECRET = "Dupont-279035121518989"


def lines(capfd: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """Return what has been logged since the last call."""
    return [json.loads(line) for line in capfd.readouterr().out.splitlines()]


def test_a_request_is_one_line_with_its_template(
    client: FlaskClient, patient: str, capfd: pytest.CaptureFixture[str]
) -> None:
    lines(capfd)
    answer = client.get(patient, headers={"X-Request-Id": "trace-7"})
    (line,) = lines(capfd)
    assert answer.headers["X-Request-Id"] == "trace-7"
    assert line["duration_ms"] >= 0
    assert line["time"].endswith("Z")
    fixed = ("event", "level", "request_id", "method", "route", "status", "bytes")
    assert [line[name] for name in fixed] == [
        "request",
        "info",
        "trace-7",
        "GET",
        "/{type}/{id}",
        200,
        len(answer.data),
    ]


@pytest.mark.parametrize(
    ("method", "path", "form"),
    [
        ("GET", f"/fhir/Patient?identifier={SECRET}", None),
        ("POST", "/fhir/Patient/_search", {"identifier": SECRET}),
        ("GET", f"/fhir/Patient/{SECRET}", None),
        ("GET", f"/fhir/{SECRET}/1", None),
        ("GET", f"/fhir/Patient/1/${SECRET}", None),
        ("PUT", f"/fhir/Patient/{SECRET}?a={SECRET}", None),
        (SECRET.upper().replace("-", ""), "/fhir/Patient", None),
    ],
)
def test_neither_log_nor_metrics_repeat_the_caller(
    client: FlaskClient, capfd: pytest.CaptureFixture[str], method: str, path: str, form: dict[str, str] | None
) -> None:
    client.open(path, method=method, data=form)
    log = capfd.readouterr().out
    assert '"event":"request"' in log
    metrics = client.get("/metrics").text
    assert not [word for word in ("dupont", "279035121518989") if word in (log + metrics).lower()]


def test_a_hostile_request_id_cannot_add_a_line(client: FlaskClient, capfd: pytest.CaptureFixture[str]) -> None:
    client.get("/fhir/Patient/1", headers={"X-Request-Id": '{"level":"error"}'})
    (line,) = lines(capfd)
    assert line["request_id"].isalnum()


def test_text_logs_are_one_line_each_too(make_client: MakeClient, capfd: pytest.CaptureFixture[str]) -> None:
    make_client(log_format="text").get("/fhir/Patient/1")
    log = capfd.readouterr().out
    assert log.count("\n") == 1
    assert "route=/{type}/{id} status=404" in log


def test_a_level_silences_what_is_below_it(make_client: MakeClient, capfd: pytest.CaptureFixture[str]) -> None:
    make_client(log_level="error").get("/fhir/Patient/1")
    log = Log("error")
    log.event("info", "nothing")
    log.failure("r", ValueError(), "warning")
    assert capfd.readouterr().out == ""


def test_a_log_that_nobody_reads_breaks_nothing() -> None:
    Log(descriptor=10_000).event("info", "unheard")


def test_what_libraries_log_loses_its_values(capfd: pytest.CaptureFixture[str]) -> None:
    logger = logging.Logger("library")
    logger.addHandler(JsonHandler())
    try:
        raise ValueError(SECRET)
    except ValueError:
        logger.exception("failed for %s", SECRET)
    (line,) = lines(capfd)
    assert line["template"] == "failed for %s"
    assert SECRET not in str(line)


def test_causes_are_types_and_places_without_messages() -> None:
    try:
        try:
            raise KeyError(SECRET)
        except KeyError as error:
            raise RuntimeError(SECRET) from error
    except RuntimeError as error:
        causes = describe_causes(error)
    assert [cause["type"] for cause in causes] == ["builtins.RuntimeError", "builtins.KeyError"]
    assert "test_logging.py" in causes[0]["frames"][0]
    assert SECRET not in str(causes)


def test_metrics_count_by_method_template_and_status(client: FlaskClient, patient: str) -> None:
    client.get(patient)
    text = client.get("/metrics").text
    assert 'fhir_requests_total{method="GET",route="/{type}/{id}",status="200"}' in text
    assert 'fhir_request_duration_seconds_bucket{le="0.005",method="GET",route="/{type}/{id}",status="200"}' in text
    assert "fhir_requests_in_flight 0.0" in text
    assert "fhir_store_errors_total" in text
