"""read: ``GET [type]/[id]``, conditional and shaped. Spec: http://hl7.org/fhir/R4/http.html#read"""

import base64
from dataclasses import replace

from fhir_server.context import RequestContext
from fhir_server.errors import Invalid, NotSupported, Text
from fhir_server.fhir.json import parse_stored
from fhir_server.interactions.answer import answer_document
from fhir_server.interactions.conditional import is_unchanged
from fhir_server.interactions.request import FhirRequest, FhirResponse
from fhir_server.interactions.routes import Route
from fhir_server.search.shaping import SUMMARY_MODES, select_elements, summarize
from fhir_server.storage.store import Document

_FHIR = ("application/fhir+json", "application/fhir+xml")


def read(ctx: RequestContext, request: FhirRequest, route: Route) -> FhirResponse:
    """Return the current version, or 304 to who has it; a Binary comes in its native type unless FHIR is asked for."""
    assert route.resource_type is not None
    assert route.id is not None
    document = ctx.repository.read(route.resource_type, route.id)
    return answer_read(request, route, document)


def answer_read(request: FhirRequest, route: Route, document: Document) -> FhirResponse:
    """Return the answer to a read or vread of ``document``."""
    if is_unchanged(request, document):
        return replace(answer_document(document, route, 304), body=None)
    answer = answer_document(document, route)
    if request.parameters:
        return _shape(request, answer)
    if route.resource_type == "Binary" and not any(accepted in _FHIR for accepted in request.accept):
        return _native(answer)
    return answer


def _shape(request: FhirRequest, answer: FhirResponse) -> FhirResponse:
    assert isinstance(answer.body, bytes)
    resource = parse_stored(answer.body)
    for name, value in request.parameters:
        if name == "_summary":
            resource = summarize(resource, check_summary(value))
        elif name == "_elements":
            resource = select_elements(resource, tuple(filter(None, value.split(","))))
        else:
            text = Text("A read takes _summary and _elements alone", "Une lecture n’admet que _summary et _elements")
            raise Invalid(text, expression="")
    return replace(answer, body=resource)


def check_summary(value: str) -> str:
    """Return the mode of ``_summary`` for one resource. Raises ``Invalid``, ``NotSupported`` for ``count``."""
    if value == "count":
        raise NotSupported(Text("_summary=count is for searches", "_summary=count est réservé aux recherches"))
    if value not in SUMMARY_MODES:
        listed = ", ".join(SUMMARY_MODES)
        raise Invalid(Text(f"_summary is one of {listed}", f"_summary vaut l’un de {listed}"))
    return value


def _native(answer: FhirResponse) -> FhirResponse:
    assert isinstance(answer.body, bytes)
    binary = parse_stored(answer.body)
    context = binary.get("securityContext", {}).get("reference")
    return replace(
        answer,
        body=base64.b64decode(binary.get("data", "")),
        content_type=binary.get("contentType") or "application/octet-stream",
        headers={"X-Security-Context": context} if context else {},
    )
