"""patch: ``PATCH [type]/[id]`` and conditional, in the three formats. Spec: http://hl7.org/fhir/R4/http.html#patch"""

import base64
import binascii
from collections.abc import Callable
from functools import partial
from typing import Any

from fhir_server.context import RequestContext
from fhir_server.errors import Invalid, Required, Text, UnsupportedMediaType
from fhir_server.fhir.patch.fhirpath_patch import apply_fhirpath_patch
from fhir_server.fhir.patch.json_patch import apply_json_patch
from fhir_server.fhir.patch.xml_patch import apply_xml_patch
from fhir_server.interactions.conditional import criteria_of
from fhir_server.interactions.request import FhirRequest
from fhir_server.interactions.routes import Route
from fhir_server.repository.change import Proposal, Resource
from fhir_server.validation.structure import require_structure

JSON_PATCH = "application/json-patch+json"
XML_PATCH = "application/xml-patch+xml"
ACCEPTED = (JSON_PATCH, XML_PATCH, "application/fhir+json", "application/fhir+xml")


def propose_patch(ctx: RequestContext, request: FhirRequest, route: Route) -> Proposal:
    """Return the proposal, its patch yet to be applied. Raises ``UnsupportedMediaType`` or ``Invalid``."""
    assert route.resource_type is not None
    return Proposal(
        "patch",
        "PATCH",
        route.resource_type,
        id=route.id,
        patch=_patch_of(request),
        criteria=criteria_of(ctx, request, route),
        if_match=request.if_match,
    )


def _patch_of(request: FhirRequest) -> Callable[[Resource], Resource]:
    resource = request.resource
    if resource is None:
        return _native(request.content, request.content_type)
    if resource.get("resourceType") == "Binary":
        return _native(_decoded(resource), resource.get("contentType"))
    if resource.get("resourceType") != "Parameters":
        raise Invalid(
            Text(
                "A FHIRPath Patch is a Parameters resource", "Un correctif FHIRPath Patch est une ressource Parameters"
            ),
            expression="resourceType",
        )
    require_structure(resource)
    return partial(_flip(apply_fhirpath_patch), resource)


def _native(content: bytes | None, content_type: str | None) -> Callable[[Resource], Resource]:
    if not content:
        raise Required(Text("A patch needs a body", "Un correctif exige un corps"))
    if content_type == JSON_PATCH:
        return partial(_flip(apply_json_patch), content)
    if content_type == XML_PATCH:
        return partial(_flip(apply_xml_patch), content)
    listed = ", ".join(ACCEPTED)
    raise UnsupportedMediaType(
        Text(f"A patch comes as one of {listed}", f"Un correctif se présente sous l’une des formes {listed}"),
        headers={"Accept-Patch": listed},
    )


def _flip(apply: Callable[[Resource, Any], Resource]) -> Callable[[Any, Resource], Resource]:
    return lambda patch, resource: apply(resource, patch)


def _decoded(binary: Resource) -> bytes:
    try:
        return base64.b64decode(str(binary.get("data", "")), validate=False)
    except (binascii.Error, ValueError):
        raise Invalid(
            Text("The data is not base64", "Les données ne sont pas en base64"), expression="Binary.data"
        ) from None
