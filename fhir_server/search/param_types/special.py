"""Parameters that ask the document itself rather than an index entry: its id, type, compartment, labels.

``_id`` is a token whose elements have no system: ``_id=42`` and ``_id=|42``, each with ``:not``.

Spec: http://hl7.org/fhir/R4/search.html#all, http://hl7.org/fhir/R4/compartmentdefinition.html
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from fhir_server.errors import NotSupported, Text, Value
from fhir_server.search.ast import (
    AnyType,
    Everything,
    HasLabel,
    InCompartment,
    InOpenRecord,
    Node,
    OfNoPatient,
    OwnedBy,
    PatientIs,
    PointsTo,
    ReferenceIs,
    TypeIs,
)
from fhir_server.search.building import build_not
from fhir_server.search.closed import CLOSED
from fhir_server.search.param_types import text
from fhir_server.search.values import unescape

_ID = re.compile(r"[A-Za-z0-9.-]{1,64}")
_NOT_BOOLEAN = Text(":missing takes true or false", ":missing prend true ou false")
_NOT_AN_ID = Text("not an id", "pas un identifiant")


def parse_id(resource_types: tuple[str, ...], modifier: str | None, value: str) -> Node:
    """Return the condition ``_id=value`` on resources of these types. Raises ``Value``, ``NotSupported``."""
    if modifier is not None:
        raise NotSupported(Text(f"the modifier :{modifier}", f"le modificateur :{modifier}"))
    id = unescape(value).removeprefix("|")
    if not _ID.fullmatch(id):
        raise Value(_NOT_AN_ID)
    return ReferenceIs(tuple(f"{name}/{id}" for name in resource_types))


def parse_missing(resource_types: tuple[str, ...], code: str, value: str) -> Node:
    """Return the condition ``:missing=value`` on such a parameter, only one of which may be. Raises ``Value``."""
    if value not in ("true", "false"):
        raise Value(_NOT_BOOLEAN)
    present = text.narrative_present(resource_types) if code == "_text" else Everything()
    return build_not(present) if value == "true" else present


Own = (
    AnyType
    | TypeIs
    | ReferenceIs
    | InCompartment
    | HasLabel
    | PatientIs
    | OfNoPatient
    | OwnedBy
    | InOpenRecord
    | PointsTo
)
"""The leaves that ask for what a resource is, not for what an index entry says."""

_PATIENTS = ("Patient/", "Patient0")


def to_filter(leaf: Own) -> dict[str, Any]:
    """Return the leaf as a MongoDB filter."""
    match leaf:
        case AnyType():
            return {"type": {"$gt": ""}}
        case TypeIs(names):
            return {"type": _one_or_any(names)}
        case ReferenceIs(references):
            return {"_id": _one_or_any(references)}
        case InCompartment(compartment, id):
            return {"c": f"{compartment}/{id}"}
        case HasLabel(labels):
            return {"l": _one_or_any(labels)}
        case PatientIs(patients):
            return {"pt": _one_or_any(patients)}
        case OwnedBy(keys):
            return {"o": _one_or_any(keys)}
        case InOpenRecord():
            return {CLOSED: None}
        case PointsTo(targets):
            return {"x": _one_or_any(targets)}
        case OfNoPatient():
            return {"c": {"$not": {"$elemMatch": {"$gte": _PATIENTS[0], "$lt": _PATIENTS[1]}}}}


def to_test(leaf: Own) -> Callable[[Mapping[str, Any]], bool]:
    """Return what says of an index document whether it is what the leaf says."""
    match leaf:
        case AnyType():
            return lambda document: bool(document.get("type"))
        case TypeIs(names):
            return lambda document: document.get("type") in names
        case ReferenceIs(references):
            return lambda document: document.get("_id") in references
        case InCompartment(compartment, id):
            return _holds("c", (f"{compartment}/{id}",))
        case HasLabel(labels):
            return _holds("l", labels)
        case PatientIs(patients):
            return lambda document: document.get("pt") in patients
        case OwnedBy(keys):
            return _holds("o", keys)
        case InOpenRecord():
            return lambda document: CLOSED not in document
        case PointsTo(targets):
            return _holds("x", targets)
        case OfNoPatient():
            return lambda document: not any(one.startswith(_PATIENTS[0]) for one in document.get("c", ()))


def _holds(field: str, keys: tuple[str, ...]) -> Callable[[Mapping[str, Any]], bool]:
    wanted = frozenset(keys)
    return lambda document: not wanted.isdisjoint(document.get(field, ()))


def _one_or_any(values: tuple[str, ...]) -> Any:
    return values[0] if len(values) == 1 else {"$in": list(values)}
