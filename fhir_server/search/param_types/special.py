"""Parameters that ask the document itself rather than an index entry: its id, type, compartment, labels.

Spec: http://hl7.org/fhir/R4/search.html#all, http://hl7.org/fhir/R4/compartmentdefinition.html
"""

import re
from collections.abc import Mapping
from typing import Any

from fhir_server.errors import NotSupported, Text, Value
from fhir_server.search.ast import AnyType, HasLabel, InCompartment, Node, ReferenceIs, TypeIs
from fhir_server.search.values import unescape

_ID = re.compile(r"[A-Za-z0-9.-]{1,64}")
_NOT_AN_ID = Text("not an id", "pas un identifiant")


def parse_id(resource_types: tuple[str, ...], modifier: str | None, value: str) -> Node:
    """Return the condition ``_id=value`` on resources of these types. Raises ``Value``, ``NotSupported``."""
    if modifier is not None:
        raise NotSupported(Text(f"the modifier :{modifier}", f"le modificateur :{modifier}"))
    text = unescape(value)
    if not _ID.fullmatch(text):
        raise Value(_NOT_AN_ID)
    return ReferenceIs(tuple(f"{name}/{text}" for name in resource_types))


def to_filter(leaf: AnyType | TypeIs | ReferenceIs | InCompartment | HasLabel) -> dict[str, Any]:
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


def matches(leaf: AnyType | TypeIs | ReferenceIs | InCompartment | HasLabel, document: Mapping[str, Any]) -> bool:
    """Say whether the index document is what the leaf says."""
    match leaf:
        case AnyType():
            return bool(document.get("type"))
        case TypeIs(names):
            return document.get("type") in names
        case ReferenceIs(references):
            return document.get("_id") in references
        case InCompartment(compartment, id):
            return f"{compartment}/{id}" in document.get("c", ())
        case HasLabel(labels):
            held = document.get("l", ())
            return any(label in held for label in labels)


def _one_or_any(values: tuple[str, ...]) -> Any:
    return values[0] if len(values) == 1 else {"$in": list(values)}
