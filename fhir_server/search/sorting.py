"""``_sort``: which keys there are, and how a page is found in an order that no index has.

The primary date, ``_lastUpdated`` and ``_id`` have indexes in their order. Every other key is computed by the database
from the index entries of each candidate: of several values the least where the order ascends and the greatest where it
descends; of a date its start, of a range its end on that side. Text is compared as it is indexed, without case and
accents; tokens by their code, references by their text; quantities with UCUM units by base unit and number in it,
before the others, which go by their number. A resource without a value comes last in either direction, and equal ones
are in order of ``_id``.
Spec: http://hl7.org/fhir/R4/search.html#sort
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fhir_server.errors import NotSupported, Processing, Text, Value
from fhir_server.search.parameters import SearchParameter, search_parameter

Field = Literal["ds", "updated", "_id", "t", "r", "s", "d", "n", "q"]

MAX_KEYS = 10

_COMPUTED: Mapping[str, tuple[Field, str]] = {
    "string": ("s", ":"),
    "token": ("t", "||"),
    "uri": ("t", "|"),
    "reference": ("r", ">"),
    "date": ("d", ""),
    "number": ("n", ""),
    "quantity": ("q", ""),
}
"""The field that a parameter's entries are in, and what stands between its key and the value."""

_WORDS = ("_text", "_content")
"""Found by their words, of which none is the first."""
_INDEXED = ("ds", "updated", "_id")
_END = "\U0010ffff"
_EMPTY = Text("an empty sort key", "une clé de tri vide")
_REPEATED = Text("the same sort key twice", "deux fois la même clé de tri")
_TOO_MANY = Text(f"more than {MAX_KEYS} sort keys", f"plus de {MAX_KEYS} clés de tri")
_MODIFIED = Text("a sort key takes no modifier", "une clé de tri n’admet pas de modificateur")
_NO_SUCH_KEY = Text(
    "a sort key is no search parameter of the type", "une clé de tri n’est pas un paramètre de recherche de ce type"
)
_NOT_OF_ALL = Text(
    "a sort key is not a parameter that all the types searched have alike",
    "une clé de tri n’est pas un paramètre que tous les types recherchés ont de la même façon",
)
_NO_ORDER = Text(
    "parameters of the types composite and special have no order",
    "les paramètres des types composite et special n’ont pas d’ordre",
)


@dataclass(frozen=True, slots=True)
class SortKey:
    """One key of the order: where its value is, and a direction, 1 or -1.

    For a computed key ``code`` is the parameter's and ``mark`` what stands before its values; ``resource_type`` is the
    type searched, empty where there are several.
    """

    field: Field
    direction: int
    code: str = ""
    mark: str = ""
    resource_type: str = ""


DEFAULT_SORT = (SortKey("ds", -1), SortKey("_id", -1))
"""Newest first; documents without a primary date last."""


def parse_sort(value: str, types: Sequence[str]) -> tuple[SortKey, ...]:
    """Return the order that ``_sort`` states, with ``_id`` at its end; ``types`` are those searched, () for all.

    Raises ``Value``, ``NotSupported``, or ``Processing`` for a parameter that is still being indexed.
    """
    texts = value.split(",")
    if len(texts) > MAX_KEYS:
        raise Value(_TOO_MANY)
    codes = [text.removeprefix("-") for text in texts]
    if len(set(codes)) < len(codes):
        raise Value(_REPEATED)
    keys = [_sort_key(code, -1 if text.startswith("-") else 1, types) for text, code in zip(texts, codes, strict=True)]
    if keys[-1].field != "_id":
        keys.append(SortKey("_id", keys[0].direction))
    position = next(number for number, key in enumerate(keys) if key.field == "_id")
    return tuple(keys[: position + 1])  # nothing is left to order once the ids have been compared


def has_index(keys: Sequence[SortKey]) -> bool:
    """Say whether indexes have documents in this order: one key, after which only ``_id`` follows."""
    return keys[0].field in _INDEXED and (len(keys) == 1 or (len(keys) == 2 and keys[1].field == "_id"))


def order(keys: Sequence[SortKey], *, backward: bool = False) -> tuple[tuple[str, int], ...]:
    """Return the fields that ``computed_fields`` sets, and ``_id``, with their directions."""
    return tuple((name, -key.direction if backward else key.direction) for name, key in _named(keys))


def computed_fields(keys: Sequence[SortKey]) -> dict[str, Any]:
    """Return MongoDB expressions by the name of the field to set, ``k0`` for the first key.

    Nothing of a request is in them but codes of parameters that are defined. They give numbers and texts; an absent
    value is true where the order ascends and null where it descends, which sort after and before all of those.
    """
    return {
        name: {"$ifNull": [_expression(key), _absent(key.direction)]} for name, key in _named(keys) if name != "_id"
    }


def beyond(keys: Sequence[SortKey], values: Sequence[Any], *, backward: bool, inclusive: bool) -> dict[str, Any]:
    """Return the expression over the computed fields that holds for what follows ``values`` in the order.

    ``backward``: for what precedes them; ``inclusive``: for what is equal to them as well.
    """
    condition: dict[str, Any] | None = None
    fields = order(keys, backward=backward)
    for (name, direction), value in reversed(list(zip(fields, values, strict=True))):
        operand: list[Any] = [f"${name}", {"$literal": value}]
        operator = "$gt" if direction > 0 else "$lt"
        if condition is None:
            condition = {f"{operator}e" if inclusive else operator: operand}
        else:
            condition = {"$or": [{operator: operand}, {"$and": [{"$eq": operand}, condition]}]}
    assert condition is not None
    return condition


def _named(keys: Sequence[SortKey]) -> list[tuple[str, SortKey]]:
    return [("_id" if key.field == "_id" else f"k{number}", key) for number, key in enumerate(keys)]


def _absent(direction: int) -> bool | None:
    return True if direction > 0 else None


def _expression(key: SortKey) -> dict[str, Any]:
    least = key.direction > 0
    match key.field:
        case "ds" | "updated" | "_id":
            return {"$toLong": f"${key.field}"}
        case "t" | "r" | "s":
            found = _texts(key)
        case "d":
            found = _entries(key, {"$toLong": "$$this.s"})
        case "n":
            found = _entries(key, "$$this.lo" if least else "$$this.hi")
        case "q":
            found = _quantities(key, "$$this.lo" if least else "$$this.hi")
    return {"$min" if least else "$max": found}


def _texts(key: SortKey) -> dict[str, Any]:
    """Return the keys of the parameter; where there are several types, without the type that they begin with."""
    held = {"$ifNull": [f"${key.field}", []]}
    if key.resource_type:
        start = f"{key.resource_type}.{key.code}{key.mark}"
        return _between(held, {"$literal": start}, {"$literal": start + _END})
    start = f".{key.code}{key.mark}"
    low = {"$concat": ["$type", {"$literal": start}]}
    high = {"$concat": ["$type", {"$literal": start + _END}]}
    bare = {"$substrBytes": ["$$this", {"$strLenBytes": "$type"}, -1]}
    return {"$map": {"input": _between(held, low, high), "in": bare}}


def _between(held: Any, low: Any, high: Any) -> dict[str, Any]:
    return {"$filter": {"input": held, "cond": {"$and": [{"$gte": ["$$this", low]}, {"$lt": ["$$this", high]}]}}}


def _entries(key: SortKey, value: Any) -> dict[str, Any]:
    """Return ``value`` of each entry of the parameter."""
    return _mapped(key.field, {"$eq": ["$$this.p", _name(key)]}, value)


def _quantities(key: SortKey, bound: str) -> dict[str, Any]:
    """Return the numbers in base units after the units' own key, or where there is none the numbers as written."""
    start: Any = {"$concat": [_name(key), "~"]}
    end: Any = {"$concat": [_name(key), "~" + _END]}
    converted = {"$and": [{"$gte": ["$$this.p", start]}, {"$lt": ["$$this.p", end]}]}
    with_units = {"$concat": ["$$this.p", " ", bound]}
    return {
        "$let": {
            "vars": {"found": _mapped("q", converted, with_units)},
            "in": {"$cond": [{"$eq": ["$$found", []]}, _entries(key, bound), "$$found"]},
        }
    }


def _mapped(name: str, condition: Any, value: Any) -> dict[str, Any]:
    held = {"$ifNull": [f"${name}", []]}
    return {"$map": {"input": {"$filter": {"input": held, "cond": condition}}, "in": value}}


def _name(key: SortKey) -> dict[str, Any]:
    """Return the parameter's key; where there are several types, with that of the document."""
    if key.resource_type:
        return {"$literal": f"{key.resource_type}.{key.code}"}
    return {"$concat": ["$type", {"$literal": f".{key.code}"}]}


def _sort_key(code: str, direction: int, types: Sequence[str]) -> SortKey:
    if not code:
        raise Value(_EMPTY)
    if ":" in code:
        raise NotSupported(_MODIFIED)
    if code == "_id":
        return SortKey("_id", direction)
    if code == "_lastUpdated":
        return SortKey("updated", direction)
    found = [_sortable(one, code) for one in types or ("Resource",)]
    if all(one.primary for one in found):
        return SortKey("ds", direction)
    if any(one.primary for one in found) or len({one.type for one in found}) > 1:
        raise NotSupported(_NOT_OF_ALL)
    field, mark = _COMPUTED[found[0].type]
    return SortKey(field, direction, code, mark, types[0] if len(types) == 1 else "")


def _sortable(resource_type: str, code: str) -> SearchParameter:
    parameter = search_parameter(resource_type, code)
    if parameter is None:
        raise NotSupported(_NO_SUCH_KEY)
    if parameter.refusal is not None and parameter.pending:
        raise Processing(parameter.refusal)
    if parameter.type not in _COMPUTED or code in _WORDS:
        raise NotSupported(_NO_ORDER)
    if parameter.refusal is not None:
        raise NotSupported(parameter.refusal)
    return parameter
