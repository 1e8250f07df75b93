"""What a request's body holds: a resource, a form, a patch, or a Binary's native content.

Spec: http://hl7.org/fhir/R4/http.html#mime-type, http://hl7.org/fhir/R4/binary.html#rest
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from fhir_server.errors import FhirError, Text, UnsupportedMediaType
from fhir_server.fhir.json import parse_resource
from fhir_server.fhir.xml import parse_xml
from fhir_server.rest.negotiation import JSON_TYPE, XML_TYPE, ContentType, parse_content_type

Resource = dict[str, Any]

_LONGEST_HEADER = 1_000

# R4 wants the correct media type sent; guessing one would also let a web page's plain form post records.
_NO_TYPE = Text(
    "The body has no Content-Type; send application/fhir+json or application/fhir+xml.",
    "Le corps n’a pas de Content-Type ; envoyez application/fhir+json ou application/fhir+xml.",
)
_TYPE = Text(
    "This Content-Type cannot be used here; FHIR content is application/fhir+json or application/fhir+xml.",
    "Ce Content-Type n’est pas utilisable ici ; un contenu FHIR est en application/fhir+json ou application/fhir+xml.",
)


class Content(NamedTuple):
    """A body understood: one of ``resource``, ``form`` (the raw bytes) and ``native`` (with its ``content_type``)."""

    resource: Resource | None = None
    form: bytes | None = None
    native: bytes | None = None
    content_type: str | None = None
    size: int = 0


NO_CONTENT = Content()


def parse_content(body: bytes, header: str, method: str, segments: tuple[str, ...]) -> Content:
    """Return what ``body`` holds, by its ``Content-Type`` and by where it is sent.

    Raises ``UnsupportedMediaType`` for a missing type or one that has no meaning there, and what the parsers raise.
    """
    if not body:
        return NO_CONTENT
    if not header:
        raise UnsupportedMediaType(_NO_TYPE)
    content_type = parse_content_type(header[:_LONGEST_HEADER])
    parse = {"json": parse_resource, "xml": parse_xml}.get(content_type.kind)
    if is_binary(segments) and method in ("POST", "PUT") and len(segments) <= 2 and segments[-1] != "_search":
        return _parse_binary(body, header, content_type, parse)
    if parse is not None:
        return Content(resource=parse(body), size=len(body))
    if content_type.kind == "form" and segments[-1:] == ("_search",):
        return Content(form=body, size=len(body))
    if content_type.kind == "patch" and method == "PATCH":
        return Content(native=body, content_type=content_type.media_type, size=len(body))
    raise UnsupportedMediaType(_TYPE)


def is_binary(segments: tuple[str, ...]) -> bool:
    """Return whether the path is about Binary, which has content types of its own."""
    return segments[:1] == ("Binary",)


def _parse_binary(
    body: bytes, header: str, content_type: ContentType, parse: Callable[[bytes], Resource] | None
) -> Content:
    """Return the Binary resource; all other content is a Binary's native content, even what looks like FHIR.

    What calls itself FHIR but is not well-formed is refused: a Binary that lost a bracket must not be kept as a file.
    """
    resource: Resource = {}
    if parse is not None:
        try:
            resource = parse(body)
        except FhirError:
            if content_type.media_type in (JSON_TYPE, XML_TYPE):
                raise
    if resource.get("resourceType") == "Binary":
        return Content(resource=resource, size=len(body))
    return Content(native=body, content_type=header[:_LONGEST_HEADER].strip(), size=len(body))
