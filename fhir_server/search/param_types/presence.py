"""``:missing``: whether a parameter has a value, answered by the entries that its values leave.

Every key of a parameter begins alike, so a range of keys says whether there is one. A value that leaves no entry (a
CodeableConcept of text only, a reference of a display only) leaves the token ``Observation.code:present`` instead.
Spec: http://hl7.org/fhir/R4/search.html#modifiers
"""

from collections.abc import Mapping
from typing import Any

from fhir_server.errors import Text, Value
from fhir_server.search.ast import DatePresent, EntryPresent, KeyBetween, Node, TokenIn
from fhir_server.search.building import build_not, build_or
from fhir_server.search.param_types import composite
from fhir_server.search.param_types.date import FIRST
from fhir_server.search.parameters import SearchParameter

_FIELDS = {"reference": "r", "string": "s", "date": "d", "number": "n", "quantity": "q"}
_NOT_BOOLEAN = Text(":missing takes true or false", ":missing prend true ou false")


def parse(parameters: tuple[SearchParameter, ...], value: str) -> Node:
    """Return the condition ``:missing=value`` on any of the parameters (one per type). Raises ``Value``."""
    if value not in ("true", "false"):
        raise Value(_NOT_BOOLEAN)
    present = build_or(node for parameter in parameters for node in _present(parameter))
    return build_not(present) if value == "true" else present


def to_filter(leaf: DatePresent | EntryPresent | KeyBetween) -> dict[str, Any]:
    """Return the leaf as a MongoDB filter: ranges of one element, never a regular expression."""
    match leaf:
        case DatePresent(resource_type):
            return {"type": resource_type, "ds": {"$gte": FIRST}}
        case EntryPresent(field, key):
            return {field: {"$elemMatch": {"p": key}}}
        case KeyBetween(field, low, high):
            return {field: {"$elemMatch": {"$gte": low, "$lt": high}}}


def matches(leaf: DatePresent | EntryPresent | KeyBetween, document: Mapping[str, Any]) -> bool:
    """Say whether the index document has such an entry."""
    match leaf:
        case DatePresent(resource_type):
            return document.get("type") == resource_type and document.get("ds") is not None
        case EntryPresent(field, key):
            return any(entry["p"] == key for entry in document.get(field, ()))
        case KeyBetween(field, low, high):
            return any(low <= held < high for held in document.get(field, ()))


def present_key(parameter: SearchParameter) -> str:
    """Return the token that stands for values which leave no other entry."""
    return f"{parameter.key}:present"


def entries_field(parameter: SearchParameter) -> str:
    """Return where a parameter's values leave their entries."""
    if parameter.primary:
        return "primary"
    return _FIELDS.get(parameter.type, "t")


def _present(parameter: SearchParameter) -> tuple[Node, ...]:
    key, fallback = parameter.key, TokenIn((present_key(parameter),))
    match parameter.type:
        case "reference":
            return KeyBetween("r", f"{key}>", f"{key}?"), fallback
        case "string":
            return KeyBetween("s", f"{key}:", f"{key};"), fallback
        case "date":
            return (DatePresent(parameter.resource_type) if parameter.primary else EntryPresent("d", key)), fallback
        case "number":
            return EntryPresent("n", key), fallback
        case "quantity":
            return EntryPresent("q", key), fallback
        case "composite":
            return composite.present(parameter)
        case _:
            return KeyBetween("t", f"{key}|", f"{key}}}"), fallback
