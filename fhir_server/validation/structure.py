"""Is this JSON value a resource as R4 defines it? Every deviation is told, with the place where it stands.

Checked: element names, JSON types, formats and ranges of primitives, cardinality, choices, extensions of primitives,
required codes, contained resources, references' types, narratives. Not checked here: profiles, invariants (but for
ele-1 and ext-1), other bindings, whether referenced resources exist.
Spec: http://hl7.org/fhir/R4/json.html, http://hl7.org/fhir/R4/datatypes.html, http://hl7.org/fhir/R4/validation.html
"""

from typing import Any

from fhir_server.errors import Issue, Structure, Text
from fhir_server.fhir.definitions import is_resource_type
from fhir_server.validation.findings import MAX_PROBLEMS, Problems, structure_problem
from fhir_server.validation.shapes import check_resource


def check_structure(resource: Any, *, expected_type: str | None = None) -> list[Issue]:
    """Return what is wrong with the structure of a resource: at most 100 issues, none when it is acceptable.

    ``resource`` is a value as ``fhir.json.parse_json`` gives it. Codes are ``structure``, ``value``, ``required`` and
    ``code-invalid``; expressions such as ``Patient.contact[0].name``. With ``expected_type``, another resource type is
    an issue as well.
    """
    problems = check_resource(resource)
    if problems is None and (expected_type is None or resource["resourceType"] == expected_type):
        return []
    found = [*_check_type(resource, expected_type), *(problems or ())]
    root = _root(resource)
    return [Issue(code, text, expression=_expression(root, where)) for where, code, text in found[:MAX_PROBLEMS]]


def require_structure(resource: Any, *, expected_type: str | None = None) -> None:
    """Raise ``errors.Structure`` with all the issues that ``check_structure`` finds, or return."""
    if issues := check_structure(resource, expected_type=expected_type):
        raise Structure(issues)


def _check_type(resource: Any, expected_type: str | None) -> Problems:
    if expected_type is None or type(resource) is not dict or resource.get("resourceType") == expected_type:
        return []
    text = Text(
        f"A resource of type {expected_type} is expected here.",
        f"Une ressource de type {expected_type} est attendue ici.",
    )
    return [structure_problem(text, ".resourceType")]


def _root(resource: Any) -> str:
    """Return the resource type when there is one; another text is not repeated, it could be anything."""
    name = resource.get("resourceType") if type(resource) is dict else None
    return name if type(name) is str and is_resource_type(name) else ""


def _expression(root: str, where: str) -> tuple[str, ...]:
    expression = f"{root}{where}" if root else where.removeprefix(".")
    return (expression,) if expression else ()
