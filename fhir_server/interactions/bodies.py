"""The resource that a write brings: a FHIR body, or native content that becomes a Binary.

Spec: http://hl7.org/fhir/R4/binary.html#rest
"""

import base64
from typing import Any

from fhir_server.context import RequestContext
from fhir_server.errors import Invalid, Required, Text, TooLong, UnsupportedMediaType
from fhir_server.interactions.request import FhirRequest
from fhir_server.repository.change import Resource


def body_of(ctx: RequestContext, request: FhirRequest, resource_type: str) -> Resource:
    """Return the resource. Raises ``Required``, ``Invalid`` (another type), ``UnsupportedMediaType`` or ``TooLong``."""
    resource = request.resource
    if resource is None:
        resource = _native(request, resource_type)
    elif resource.get("resourceType") != resource_type:
        text = Text(
            f"The body must be a {resource_type}, as the address says",
            f"Le corps doit être une ressource {resource_type}, comme le dit l’adresse",
        )
        raise Invalid(text, expression="resourceType")
    if request.size > ctx.settings.max_attachment:
        _check_attachments(resource, resource_type, ctx.settings.max_attachment)
    return resource


def _native(request: FhirRequest, resource_type: str) -> Resource:
    if request.content is None:
        raise Required(Text("The request needs a body", "La requête doit avoir un corps"))
    if resource_type != "Binary":
        raise UnsupportedMediaType(
            Text(
                "A resource comes as application/fhir+json or application/fhir+xml",
                "Une ressource se présente en application/fhir+json ou application/fhir+xml",
            )
        )
    binary: Resource = {
        "resourceType": "Binary",
        "contentType": request.content_type or "application/octet-stream",
        "data": base64.b64encode(request.content).decode("ascii"),
    }
    context = request.headers.get("x-security-context")
    if context:
        binary["securityContext"] = {"reference": context}
    return binary


def _check_attachments(resource: Resource, path: str, limit: int) -> None:
    """Raise ``TooLong`` when decoded base64 content exceeds the limit; only large bodies are looked through."""
    stack: list[tuple[Any, str]] = [(resource, path)]
    while stack:
        value, where = stack.pop()
        if isinstance(value, dict):
            stack.extend((inner, f"{where}.{name}") for name, inner in value.items())
        elif isinstance(value, list):
            stack.extend((inner, f"{where}[{number}]") for number, inner in enumerate(value))
        elif isinstance(value, str) and len(value) * 3 // 4 > limit + 2:
            text = Text(
                f"The content is larger than the {limit} bytes that this server keeps",
                f"Le contenu dépasse les {limit} octets que ce serveur conserve",
            )
            raise TooLong(text, expression=where)
