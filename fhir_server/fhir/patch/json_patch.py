"""JSON Patch on a resource's JSON form.

Numbers are compared by value (``1.0`` is ``1``), true is not 1. Spec: RFC 6902, RFC 6901 (pointers)
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from fhir_server.errors import Invalid, Issue
from fhir_server.fhir.json import parse_json
from fhir_server.fhir.patch.result import (
    check_count,
    check_growth,
    copied,
    count_values,
    finished,
    malformed,
    unprocessable,
)

_NEEDS = {
    "add": ("path", "value"),
    "copy": ("from", "path"),
    "move": ("from", "path"),
    "remove": ("path",),
    "replace": ("path", "value"),
    "test": ("path", "value"),
}
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")
_POINTER = re.compile(r"(?:/(?:[^~/]|~[01])*)*")


@dataclass(frozen=True, slots=True)
class _Operation:
    """One operation; ``where`` names it in errors (``operation[2]``)."""

    name: str
    path: tuple[str, ...]
    source: tuple[str, ...]
    value: Any
    where: str


def apply_json_patch(resource: dict[str, Any], operations: bytes | Sequence[Any]) -> dict[str, Any]:
    """Return the patched copy of a resource; ``operations`` is the JSON document or the array that it holds.

    Raises ``Structure`` or ``Invalid`` for a document that is not a JSON Patch, with every fault found; ``Processing``
    for the first operation whose path leads nowhere or whose test fails, and when ``id`` or ``resourceType`` changes;
    ``TooCostly`` for what would grow beyond measure.
    """
    parsed = _parse_operations(parse_json(operations) if isinstance(operations, bytes) else operations)
    document = copied(resource)
    inserted = 0
    for operation in parsed:
        if operation.name == "copy":
            inserted += count_values(_find(document, operation.source, operation))
            check_growth(inserted)
        document = _APPLY[operation.name](document, operation)
    return finished(resource, document)


def equal(one: Any, other: Any) -> bool:
    """Return whether two JSON values are equal as RFC 6902 §4.6 says: numbers numerically, objects in any order."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(equal(each, other[name]) for name, each in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(equal, one, other))
    if _is_number(one) and _is_number(other):
        return bool(one == other)
    return type(one) is type(other) and bool(one == other)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def _parse_operations(document: Any) -> list[_Operation]:
    if not isinstance(document, Sequence) or isinstance(document, str):
        raise malformed("A JSON Patch is an array of operations", "Un JSON Patch est un tableau d’opérations")
    check_count(len(document))
    issues: list[Issue] = []
    operations = []
    for index, each in enumerate(document):
        try:
            operations.append(_parse_operation(each, f"operation[{index}]"))
        except Invalid as error:
            issues.extend(error.issues)
    if issues:
        raise Invalid(issues)
    return operations


def _parse_operation(document: Any, where: str) -> _Operation:
    name = document.get("op") if isinstance(document, Mapping) else None
    if not isinstance(name, str) or name not in _NEEDS:
        listed = ", ".join(_NEEDS)
        raise malformed(f"op must be one of {listed}", f"op doit être l’un de {listed}", where)
    for member in _NEEDS[name]:
        if member not in document:
            raise malformed(f"An operation {name} needs {member}", f"Une opération {name} exige {member}", where)
    return _Operation(
        name,
        _parse_pointer(document["path"], "path", where),
        _parse_pointer(document.get("from", "") if name in ("copy", "move") else "", "from", where),
        document.get("value"),
        where,
    )


def _parse_pointer(text: Any, member: str, where: str) -> tuple[str, ...]:
    if not isinstance(text, str) or not _POINTER.fullmatch(text):
        raise malformed(f"{member} must be a JSON Pointer", f"{member} doit être un pointeur JSON", where)
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:])


def _add(document: Any, operation: _Operation) -> Any:
    return _insert(document, operation, copied(operation.value))


def _remove(document: Any, operation: _Operation) -> Any:
    return _take(document, operation.path, operation)


def _replace(document: Any, operation: _Operation) -> Any:
    if not operation.path:
        return copied(operation.value)
    parent, key = _place(document, operation.path, operation)
    parent[key] = copied(operation.value)
    return document


def _move(document: Any, operation: _Operation) -> Any:
    if operation.path[: len(operation.source)] == operation.source and operation.path != operation.source:
        raise unprocessable(
            "Nothing can be moved into itself", "Rien ne peut être déplacé en soi-même", operation.where
        )
    value = _find(document, operation.source, operation)
    if operation.path == operation.source:
        return document
    return _insert(_take(document, operation.source, operation), operation, value)


def _copy(document: Any, operation: _Operation) -> Any:
    return _insert(document, operation, copied(_find(document, operation.source, operation)))


def _test(document: Any, operation: _Operation) -> Any:
    if not equal(_find(document, operation.path, operation), operation.value):
        raise unprocessable("The test fails", "Le test échoue", operation.where)
    return document


_APPLY = {"add": _add, "copy": _copy, "move": _move, "remove": _remove, "replace": _replace, "test": _test}


def _insert(document: Any, operation: _Operation, value: Any) -> Any:
    if not operation.path:
        return value
    parent = _find(document, operation.path[:-1], operation)
    last = operation.path[-1]
    if isinstance(parent, dict):
        parent[last] = value
    elif isinstance(parent, list):
        parent.insert(len(parent) if last == "-" else _index(last, len(parent) + 1, operation), value)
    else:
        raise _nowhere(operation)
    return document


def _take(document: Any, path: tuple[str, ...], operation: _Operation) -> Any:
    if not path:
        raise unprocessable(
            "The whole resource cannot be removed", "La ressource entière ne peut être retirée", operation.where
        )
    parent, key = _place(document, path, operation)
    del parent[key]
    return document


def _find(document: Any, path: tuple[str, ...], operation: _Operation) -> Any:
    """Return the value at the path; raises ``Processing`` when there is none."""
    if not path:
        return document
    parent, key = _place(document, path, operation)
    return parent[key]


def _place(document: Any, path: tuple[str, ...], operation: _Operation) -> tuple[Any, Any]:
    """Return the container of an existing value and its key in it; ``path`` is not empty."""
    parent: Any = None
    value = document
    key: str | int = ""
    for part in path:
        parent = value
        if isinstance(parent, dict) and part in parent:
            key = part
        elif isinstance(parent, list):
            key = _index(part, len(parent), operation)
        else:
            raise _nowhere(operation)
        value = parent[key]
    return parent, key


def _index(text: str, length: int, operation: _Operation) -> int:
    if not _INDEX.fullmatch(text) or int(text) >= length:
        raise _nowhere(operation)
    return int(text)


def _nowhere(operation: _Operation) -> Exception:
    return unprocessable(
        f"The path of this operation {operation.name} leads nowhere",
        f"Le chemin de cette opération {operation.name} ne mène nulle part",
        operation.where,
    )
