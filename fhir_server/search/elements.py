"""What the elements that a search parameter's expression leads to tell of the parameter.

Spec: http://hl7.org/fhir/R4/searchparameter-definitions.html#SearchParameter.expression
"""

from functools import cache

from fhir_server.fhir.definitions import artifact, is_primitive, structure
from fhir_server.fhir.fhirpath.result_types import result_types
from fhir_server.search.expressions import cast_of, element_of, elements_of, resolved_type_of, steps_of

_BY_URL = (frozenset({"canonical"}), frozenset({"canonical", "uri"}))


def are_found_by_url(resource_type: str, parts: tuple[str, ...]) -> bool:
    """Say whether the expression gives canonicals alone."""
    return all(result_types(part, resource_type) in _BY_URL for part in parts)


def bears_url(resource_type: str) -> bool:
    """Say whether resources of a type have a canonical url of their own."""
    return "url" in structure(resource_type).properties


def has_canonicals(resource_type: str, parts: tuple[str, ...]) -> bool:
    """Say whether one of the elements may be a canonical, which has a version."""
    elements = [element_of(resource_type, part) for part in parts if cast_of(part) in (None, "canonical")]
    return any(element is not None and "canonical" in element.types for element in elements)


@cache
def may_be(resource_type: str, parts: tuple[str, ...], kind: str) -> bool:
    """Say whether the expression may give values of a type: an extension's may be of any."""
    types = [result_types(part, resource_type) for part in parts]
    return any(one is None or kind in one or "Extension" in one for one in types)


def targets_of(resource_type: str, part: str) -> frozenset[str] | None:
    """Return the types that one member of the expression can point to; None when they cannot be told."""
    only = resolved_type_of(part)
    if only is not None:
        return frozenset({only})
    element = element_of(resource_type, part)
    if element is None or not element.targets or "Resource" in element.targets:
        return None
    return frozenset(element.targets)


def is_single(resource_type: str, parts: tuple[str, ...]) -> bool:
    """Say whether the expression can give no more than one value, by the cardinalities on its one path."""
    paths = {steps_of(part) for part in parts}
    if len(paths) != 1:
        return False
    steps = paths.pop()
    if not steps or steps[0] != resource_type:
        return False
    elements = elements_of(resource_type, steps)
    return elements is not None and all(element.max == 1 for element in elements)


def implicit_system(resource_type: str, parts: tuple[str, ...]) -> str | None:
    """Return the code system of codes whose required value set draws on one only; empty where no element has a place
    for a system; None where elements write their system, or differ.
    """
    systems = {_system_of(resource_type, part) for part in parts}
    return systems.pop() if len(systems) == 1 else None


def _system_of(resource_type: str, part: str) -> str | None:
    element = element_of(resource_type, part)
    if element is None or cast_of(part) is not None:
        return "" if result_types(part, resource_type) == frozenset({"System.Boolean"}) else None
    if not all(is_primitive(kind) or kind == "ContactPoint" for kind in element.types):
        return None
    if element.types != ("code",) or element.binding is None or element.binding.strength != "required":
        return ""
    return _only_system(element.binding.value_set.partition("|")[0])


@cache
def _only_system(value_set: str) -> str:
    compose = (artifact("ValueSet", value_set) or {}).get("compose", {})
    systems = {include.get("system") for include in compose.get("include", ())}
    return (systems.pop() or "") if len(systems) == 1 else ""
