"""The Parameters of a FHIRPath Patch, read into operations. Spec: http://hl7.org/fhir/R4/fhirpatch.html"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from fhir_server.errors import Invalid, Issue, Text
from fhir_server.fhir import definitions
from fhir_server.fhir.patch.result import check_count, malformed

OperationType = Literal["add", "insert", "delete", "replace", "move"]

_NEEDS: dict[str, tuple[str, ...]] = {
    "add": ("path", "name", "value"),
    "insert": ("path", "index", "value"),
    "delete": ("path",),
    "replace": ("path", "value"),
    "move": ("path", "source", "destination"),
}
_TYPES: dict[str, tuple[str, ...]] = {
    "type": ("code", "string"),
    "path": ("string",),
    "name": ("string",),
    "index": ("integer", "unsignedInt", "positiveInt"),
    "source": ("integer", "unsignedInt", "positiveInt"),
    "destination": ("integer", "unsignedInt", "positiveInt"),
}


@dataclass(frozen=True, slots=True)
class Given:
    """A value that a patch brings: of a type with its ``_x`` sibling, or a resource, or named ``parts`` of no type."""

    type: str
    value: Any
    extras: dict[str, Any] | None = None
    parts: tuple[tuple[str, "Given"], ...] | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation with what it needs; ``where`` names it in errors (``Parameters.parameter[2]``)."""

    type: OperationType
    path: str
    name: str | None
    value: Given | None
    index: int | None
    source: int | None
    destination: int | None
    where: str


def parse_operations(parameters: dict[str, Any]) -> list[Operation]:
    """Return the operations in order; raises ``Invalid`` with every fault found, ``TooCostly`` for too many."""
    listed = parameters.get("parameter", []) if parameters.get("resourceType") == "Parameters" else None
    if not isinstance(listed, list):
        raise malformed("A FHIRPath Patch is a Parameters resource", "Un FHIRPath Patch est une ressource Parameters")
    check_count(len(listed))
    issues: list[Issue] = []
    operations = []
    for index, each in enumerate(listed):
        where = f"Parameters.parameter[{index}]"
        try:
            operations.append(_parse_operation(each, where))
        except Invalid as error:
            issues.extend(error.issues)
    if issues:
        raise Invalid(issues)
    return operations


def _parse_operation(parameter: Any, where: str) -> Operation:
    if not isinstance(parameter, dict) or parameter.get("name") != "operation":
        raise malformed("Each parameter must be named operation", "Chaque paramètre doit se nommer operation", where)
    found: dict[str, Given] = {}
    for name, part in _named_parts(parameter, where):
        if name in found or (name not in _TYPES and name != "value"):
            raise malformed(
                "A part is unknown or given twice", "Une partie est inconnue ou donnée deux fois", f"{where}.part"
            )
        found[name] = _parse_value(part, f"{where}.part")
    kind = found.pop("type", Given("code", None)).value
    if kind not in get_args(OperationType):
        listed = ", ".join(get_args(OperationType))
        raise malformed(f"type must be one of {listed}", f"type doit être l’un de {listed}", where)
    _check_parts(kind, found, where)
    value = found.pop("value", None)
    plain = {name: each.value for name, each in found.items()}
    return Operation(
        cast(OperationType, kind),
        plain["path"],
        plain.get("name"),
        value,
        plain.get("index"),
        plain.get("source"),
        plain.get("destination"),
        where,
    )


def _check_parts(kind: str, found: dict[str, Given], where: str) -> None:
    issues = [
        Issue(
            "required",
            Text(f"An operation {kind} needs a part {name}", f"Une opération {kind} exige une partie {name}"),
            expression=(where,),
        )
        for name in _NEEDS[kind]
        if name not in found
    ]
    issues += [
        Issue(
            "value",
            Text(f"The part {name} is not of its type", f"La partie {name} n’est pas de son type"),
            expression=(where,),
        )
        for name, given in found.items()
        if name != "value" and not _is_plain(name, given)
    ]
    if issues:
        raise Invalid(issues)


def _is_plain(name: str, given: Given) -> bool:
    if given.type not in _TYPES[name] or isinstance(given.value, bool):
        return False
    return isinstance(given.value, int if "integer" in _TYPES[name] else str)


def _named_parts(parameter: dict[str, Any], where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    parts = parameter.get("part", [])
    for part in parts if isinstance(parts, list) else [None]:
        if not isinstance(part, dict) or not isinstance(name := part.get("name"), str):
            raise malformed("Each part must have a name", "Chaque partie doit avoir un nom", f"{where}.part")
        yield name, part


def _parse_value(part: dict[str, Any], where: str) -> Given:
    if "part" in part:
        inner = tuple((name, _parse_value(each, where)) for name, each in _named_parts(part, where))
        return Given("", None, None, inner)
    if isinstance(part.get("resource"), dict):
        return Given("Resource", part["resource"])
    properties = definitions.structure("Parameters.parameter").properties
    names = {name.removeprefix("_") for name in part}
    values = [name for name in names if name in properties and properties[name][0].name == "value"]
    if len(values) != 1:
        raise malformed("A part must have one value", "Une partie doit avoir une valeur", where)
    (name,) = values
    extras = part.get(f"_{name}")
    return Given(properties[name][1], part.get(name), extras if isinstance(extras, dict) else None)
