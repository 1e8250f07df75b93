"""Conditional interactions: criteria instead of an id, ETags, and conditional reads.

Spec: http://hl7.org/fhir/R4/http.html#concurrency, #cread, #cond-update, #ccreate, #cdelete
"""

import re
from urllib.parse import parse_qsl

from fhir_server.context import RequestContext
from fhir_server.errors import Invalid, Text
from fhir_server.interactions.request import FhirRequest
from fhir_server.interactions.routes import Route
from fhir_server.repository.change import Criteria
from fhir_server.repository.planning import names_version
from fhir_server.storage.store import Document

_ETAG = re.compile(r'(?:W/)?"([^"]{1,64})"')


def parse_etag(text: str, expression: str) -> str:
    """Return the version id in ``W/"3"`` or ``"3"``, ``*`` for ``*``; raise ``Invalid`` for anything else."""
    if text == "*":
        return text
    match = _ETAG.fullmatch(text.strip())
    if match is None:
        raise Invalid(Text('An ETag looks like W/"3"', 'Un ETag s’écrit W/"3"'), expression=expression)
    return match[1]


def criteria_of(ctx: RequestContext, request: FhirRequest, route: Route) -> Criteria | None:
    """Return the criteria of the URL when it names no id, else ``None``.

    Raises ``Invalid`` when an id comes with criteria, or when there is neither.
    """
    assert route.resource_type is not None
    if route.id is None:
        return ctx.repository.criteria(route.resource_type, request.parameters)
    if request.parameters:
        text = Text(
            "Parameters and an id exclude one another here", "Les paramètres et un identifiant s’excluent mutuellement"
        )
        raise Invalid(text)
    return None


def none_exist_criteria(ctx: RequestContext, request: FhirRequest, route: Route) -> Criteria | None:
    """Return the criteria of ``If-None-Exist``, written as a query with or without the type before it."""
    text = request.if_none_exist
    if text is None:
        return None
    assert route.resource_type is not None
    query = text.partition("?")[2] if "?" in text else text
    return ctx.repository.criteria(route.resource_type, parse_qsl(query, keep_blank_values=True))


def is_unchanged(request: FhirRequest, document: Document) -> bool:
    """Return whether the caller has this version already (``If-None-Match`` wins over ``If-Modified-Since``)."""
    if request.if_none_match is not None:
        return names_version(request.if_none_match, document.version)
    if request.if_modified_since is not None:
        return document.updated.replace(microsecond=0) <= request.if_modified_since
    return False
