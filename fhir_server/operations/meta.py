"""``$meta``, ``$meta-add`` and ``$meta-delete``: the profiles, tags and security labels of a resource.

Spec: http://hl7.org/fhir/R4/resource-operation-meta.html
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from fhir_server.context import RequestContext
from fhir_server.errors import Text
from fhir_server.fhir.json import parse_stored
from fhir_server.interactions.answer import answer_document
from fhir_server.interactions.operation import operation
from fhir_server.interactions.parameters import Parameter, parse_parameters
from fhir_server.interactions.request import FhirRequest, FhirResponse
from fhir_server.interactions.routes import Route
from fhir_server.interactions.vread import parse_version
from fhir_server.repository.change import Proposal, Resource
from fhir_server.repository.versions import subtract_labels, unite_labels
from fhir_server.storage.store import Document

_BASE = "http://hl7.org/fhir/OperationDefinition/Resource-"
_GIVEN = (Parameter("meta", "Meta", Text("Profiles, tags and labels", "Profils, tags et labels"), min=1),)
_LABELS = ("profile", "security", "tag")


@operation("meta", f"{_BASE}meta", levels={"instance"})
def meta(ctx: RequestContext, request: FhirRequest, route: Route) -> FhirResponse:
    """Return the meta of the current version, or of the version in the path."""
    assert route.resource_type is not None
    assert route.id is not None
    parse_parameters(request, ())
    if route.version_id is not None:
        document = ctx.repository.vread(route.resource_type, route.id, parse_version(route.version_id))
    else:
        document = ctx.repository.read(route.resource_type, route.id)
    return _answer(document, route)


@operation("meta-add", f"{_BASE}meta-add", levels={"instance"}, affects_state=True)
def meta_add(ctx: RequestContext, request: FhirRequest, route: Route) -> FhirResponse:
    """Add profiles, tags and labels; the resource gets a new version, so that its history tells."""
    return _change(ctx, request, route, unite_labels)


@operation("meta-delete", f"{_BASE}meta-delete", levels={"instance"}, affects_state=True)
def meta_delete(ctx: RequestContext, request: FhirRequest, route: Route) -> FhirResponse:
    """Take profiles, tags and labels away; those that are not there are no error."""
    return _change(ctx, request, route, subtract_labels)


def _change(
    ctx: RequestContext, request: FhirRequest, route: Route, combine: Callable[[Any, Any], list[Any]]
) -> FhirResponse:
    assert route.resource_type is not None
    given = parse_parameters(request, _GIVEN)["meta"]

    def patch(resource: Resource) -> Resource:
        changed = dict(resource.get("meta") or {})
        for name in _LABELS:
            labels = combine(changed.get(name, ()), given.get(name, ()))
            changed = {**changed, name: labels} if labels else {k: v for k, v in changed.items() if k != name}
        return {**resource, "meta": changed}

    proposal = Proposal("patch", "PATCH", route.resource_type, route.id, patch=patch, if_match=request.if_match)
    written = ctx.repository.write([proposal])[0]
    assert written.document is not None
    return _answer(written.document, route)


def _answer(document: Document, route: Route) -> FhirResponse:
    assert document.body is not None
    value = parse_stored(document.body).get("meta", {})
    body = {"resourceType": "Parameters", "parameter": [{"name": "return", "valueMeta": value}]}
    return replace(answer_document(document, route), body=body)
