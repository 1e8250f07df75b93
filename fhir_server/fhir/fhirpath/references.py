"""What a Reference points to, as far as its own text says: nothing is fetched here.

Spec: http://hl7.org/fhir/R4/references.html#literal, http://hl7.org/fhir/R4/fhirpath.html#functions (resolve)
"""

from typing import Any

from fhir_server.fhir.definitions import is_resource_type
from fhir_server.fhir.fhirpath.nodes import resource_type_of


def type_of_reference(reference: Any, container: Any) -> str | None:
    """Return the resource type that a Reference (or canonical, or uri) points to, or None when it does not say.

    ``container`` is the resource whose ``contained`` a ``#id`` is looked up in.
    """
    text = reference.get("reference") if type(reference) is dict else reference
    if isinstance(text, str):
        if text.startswith("#"):
            found = contained_resource(text[1:], container)
            return None if found is None else resource_type_of(found)
        name = _type_in(text)
        if name is not None:
            return name
    declared = reference.get("type") if type(reference) is dict else None
    return declared if isinstance(declared, str) and is_resource_type(declared) else None


def contained_resource(identifier: str, container: Any) -> dict[str, Any] | None:
    """Return the contained resource of that id; the container itself for the empty one; None when there is none."""
    if type(container) is not dict:
        return None
    if not identifier:
        return container
    contained = container.get("contained")
    for resource in contained if isinstance(contained, list) else ():
        if type(resource) is dict and resource.get("id") == identifier:
            return resource
    return None


def id_of_reference(text: str) -> str | None:
    """Return the id in a reference such as ``Patient/1`` or ``http://a.org/fhir/Patient/1/_history/2``."""
    parts = text.partition("/_history/")[0].rsplit("/", 1)
    return parts[1] if len(parts) == 2 and _type_in(text) is not None else None


def _type_in(text: str) -> str | None:
    name, slash, _ = text.partition("/")
    if slash and is_resource_type(name):
        return name
    if "?" in name:
        conditional = name.partition("?")[0]
        return conditional if is_resource_type(conditional) else None
    parts = text.partition("/_history/")[0].rsplit("/", 2)
    return parts[1] if len(parts) == 3 and is_resource_type(parts[1]) else None
