"""Answers as entries of a batch-response or transaction-response.

Spec: http://hl7.org/fhir/R4/http.html#transaction-response
"""

from http import HTTPStatus
from typing import Any

import orjson

from fhir_server.context import RequestContext
from fhir_server.errors import FhirError
from fhir_server.fhir.datatypes import format_instant
from fhir_server.fhir.outcome import to_outcome
from fhir_server.interactions.request import FhirResponse

_STATUS = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}


def answer_entry(answer: FhirResponse) -> dict[str, Any]:
    """Return the entry for an answer; stored bytes are spliced, not parsed."""
    response: dict[str, Any] = {"status": _STATUS[answer.status]}
    if answer.location is not None:
        response["location"] = answer.location
    if answer.version_id is not None:
        response["etag"] = f'W/"{answer.version_id}"'
    if answer.last_modified is not None:
        response["lastModified"] = format_instant(answer.last_modified)
    body = answer.body
    if body is None or body == b"":
        return {"response": response}
    if isinstance(body, dict) and body.get("resourceType") == "OperationOutcome":
        return {"response": {**response, "outcome": body}}
    return {"resource": orjson.Fragment(body) if isinstance(body, bytes) else body, "response": response}


def refuse_entry(ctx: RequestContext, error: FhirError) -> dict[str, Any]:
    """Return the entry for a failure: its status and its OperationOutcome."""
    return {"response": {"status": _STATUS[error.status], "outcome": to_outcome(error.issues, ctx.language)}}
