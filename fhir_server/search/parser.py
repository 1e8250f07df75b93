"""The query string as a search tree and a shape of the result; nothing in it is ever ignored in silence.

Strict: every unknown or unsupported parameter, modifier and value is named in one error. Lenient: they become
warnings, and ``Search.used`` holds only what was used. Limits on size hold in both.
Spec: http://hl7.org/fhir/R4/search.html, http://hl7.org/fhir/R4/search.html#errors
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from fhir_server.errors import FhirError, Invalid, Issue, NotSupported, Processing, Text, TooCostly, Value
from fhir_server.fhir.definitions import is_resource_type, resource_types
from fhir_server.search.ast import (
    And,
    AnyType,
    Node,
    Not,
    Or,
    ReferenceIs,
    RefersTo,
    TokenIn,
    TypeIs,
    WordIn,
)
from fhir_server.search.building import build_and, build_not, build_or
from fhir_server.search.filter_parser import parse_filter
from fhir_server.search.includes import Include
from fhir_server.search.joins import Read, Readings, is_join, parse_join, parse_list
from fhir_server.search.param_types import (
    composite,
    date,
    near,
    number,
    presence,
    quantity,
    reference,
    special,
    string,
    text,
    token,
    uri,
)
from fhir_server.search.parameters import SearchParameter, common_parameter, search_parameter
from fhir_server.search.results import (
    Shape,
    Summary,
    Total,
    is_result_parameter,
    may_repeat,
    parse_result_parameter,
    settle,
    used_value,
)
from fhir_server.search.sorting import SortKey
from fhir_server.search.values import check_value, split_escaped

__all__ = ["Search", "SortKey", "parse_search"]

MAX_PARAMETERS = 100
MAX_VALUES = 1_000
MAX_KEYS = 20_000
"""Index keys that one parameter may come to, a bare id being one per type that it may point to."""
RANGE_KEYS = 20
"""What a range counts for: MongoDB plans thousands of keys at once, and takes a second for a thousand ranges."""

MAX_LENGTH = 200_000
"""Characters of all values together."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}", re.ASCII)
_JOIN = re.compile(r"(?=.*\.|_has:)[A-Za-z0-9_][A-Za-z0-9_.:-]{0,255}", re.ASCII)
_LATER = frozenset({"_include", "_revinclude", "_contained", "_containedType"})
_EMPTY = Text("an empty value", "une valeur vide")
_UNKNOWN_TYPE = Text("an unknown resource type", "un type de ressource inconnu")
_REPEATED = Text("it may be given once only", "il ne peut être donné qu’une fois")
_UNKNOWN = Text("no such search parameter", "aucun paramètre de recherche de ce nom")
_NOT_HERE = Text("this server does not support it", "ce serveur ne le prend pas en charge")
_NOT_ALL = Text("not all of the types searched have it", "tous les types recherchés ne l’ont pas")
_MODIFIERS = Text("more than one modifier", "plus d’un modificateur")


@dataclass(frozen=True, slots=True)
class Search:
    """A search understood.

    ``types`` are the types searched, () for all. ``tree`` includes the condition on the type. ``used`` are the pairs
    that count, for the self link. ``warnings`` is empty in strict handling.
    """

    resource_type: str | None
    types: tuple[str, ...]
    tree: Node
    sort: tuple[SortKey, ...]
    count: int | None = None
    total: Total | None = None
    summary: Summary | None = None
    elements: tuple[str, ...] = ()
    includes: tuple[Include, ...] = ()
    used: tuple[tuple[str, str], ...] = ()
    warnings: tuple[Issue, ...] = ()


@dataclass(frozen=True, slots=True)
class _Reading:
    """What the parameters are read with, and the problems and pairs that come of it."""

    resource_type: str | None
    types: tuple[str, ...]
    base_url: str
    now: datetime
    problems: list[Issue] = field(default_factory=list)
    used: list[tuple[str, str]] = field(default_factory=list)
    readings: Readings = field(default_factory=Readings)


def parse_search(
    resource_type: str | None,
    parameters: Sequence[tuple[str, str]],
    *,
    strict: bool,
    base_url: str,
    now: datetime | None = None,
) -> Search:
    """Return the search that the parameters state; ``resource_type`` None searches all types, or those of ``_type``.

    ``base_url`` is the server's own, without a slash at its end; ``now`` is what ``ap`` measures dates by.
    Raises ``NotSupported``, ``Value`` or, for a mixture, ``Invalid`` with every problem; ``TooCostly`` beyond the
    limits, lenient or not.
    """
    _check_size(parameters)
    reading = _Reading(resource_type, (), base_url.rstrip("/"), now or datetime.now(UTC))
    reading = replace(reading, types=_types(reading, parameters))
    shape = Shape()
    conditions: list[Node] = [TypeIs(reading.types) if reading.types else AnyType()]
    seen: set[str] = set()
    for name, value in parameters:
        if name == "_type" and resource_type is None:
            continue
        try:
            if is_result_parameter(name):
                shape = _shape(shape, name, value, seen, reading)
                reading.used.append((name, used_value(shape, name, value)))
            else:
                conditions.append(_condition(name, value, reading))
                reading.used.append((name, value))
        except TooCostly:
            raise
        except FhirError as error:
            reading.problems.extend(_issue(name, error))
    shape = _settled(shape, reading)
    if strict and reading.problems:
        raise _error(reading.problems)
    return Search(
        resource_type=resource_type,
        types=reading.types,
        tree=build_and(conditions),
        sort=shape.sort,
        count=shape.count,
        total=shape.total,
        summary=shape.summary,
        elements=shape.elements,
        includes=shape.includes,
        used=tuple(reading.used),
        warnings=tuple(replace(one, severity="warning") for one in reading.problems),
    )


def _check_size(parameters: Sequence[tuple[str, str]]) -> None:
    if len(parameters) > MAX_PARAMETERS:
        raise TooCostly(Text(f"More than {MAX_PARAMETERS} parameters.", f"Plus de {MAX_PARAMETERS} paramètres."))
    if sum(len(name) + len(value) for name, value in parameters) > MAX_LENGTH:
        raise TooCostly(
            Text(f"Parameters longer than {MAX_LENGTH} characters.", f"Paramètres de plus de {MAX_LENGTH} caractères.")
        )


def _types(reading: _Reading, parameters: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Return the types to search: that of the URL, or those that every ``_type`` names."""
    if reading.resource_type is not None:
        return (reading.resource_type,)
    found: tuple[str, ...] = ()
    for name, value in parameters:
        if name != "_type":
            continue
        names = tuple(dict.fromkeys(value.split(",")))
        if all(is_resource_type(one) for one in names):
            found = tuple(one for one in found if one in names) if found else names
            reading.used.append((name, value))
        else:
            reading.problems.extend(_issue(name, Value(_UNKNOWN_TYPE)))
    return found


def _shape(shape: Shape, name: str, value: str, seen: set[str], reading: _Reading) -> Shape:
    if name in seen and not may_repeat(name):
        raise Value(_REPEATED)
    seen.add(name)
    check_value(value)
    return parse_result_parameter(shape, name, value, reading.types)


def _settled(shape: Shape, reading: _Reading) -> Shape:
    """Return the shape without what its other parameters exclude."""
    settled, excluded = settle(shape)
    if excluded:
        dropped = [pair for pair in reading.used if pair[0].partition(":")[0] in excluded]
        for name, _ in dropped:
            reading.problems.extend(_issue(name, NotSupported(excluded[name.partition(":")[0]])))
        reading.used[:] = [pair for pair in reading.used if pair not in dropped]
    return settled


def _condition(name: str, value: str, reading: _Reading) -> Node:
    """Return the node of one parameter: any of its values, on any of the types searched."""
    if is_join(name):
        return parse_join(name, value, reading.types, _reader(reading))
    code, modifier = _split_name(name)
    if name == "_filter":
        return parse_filter(value, reading.types, _reader(reading))
    values = split_escaped(value, ",")
    if len(values) > MAX_VALUES:
        raise TooCostly(Text(f"More than {MAX_VALUES} values.", f"Plus de {MAX_VALUES} valeurs."))
    if code == "_list":
        return build_or(parse_list(name, _checked(one), reading.types) for one in values)
    parameters = _parameters(code, reading)
    for parameter in parameters:
        _check_modifier(parameter, modifier)
    if modifier == "missing":
        if parameters[0].in_document:
            return special.parse_missing(_types_or_all(reading), code, value)
        return presence.parse(parameters, value)
    negative = modifier in ("not", "not-in")
    positive = {"not": None, "not-in": "in"}.get(modifier, modifier) if modifier else None
    node = build_or(_leaf(parameter, positive, _checked(one), reading) for one in values for parameter in parameters)
    _check_keys(node)
    return build_not(node) if negative else node


def _reader(reading: _Reading) -> Read:
    """Return what reads a parameter of the resource at the other end of a join."""

    def read(types: tuple[str, ...], name: str, value: str) -> Node:
        reading.readings.check()
        return _condition(name, value, replace(reading, resource_type=None, types=types))

    return read


def _checked(value: str) -> str:
    if not value:
        raise Value(_EMPTY)
    check_value(value)
    return value


def _split_name(name: str) -> tuple[str, str | None]:
    code, *modifiers = name.split(":")
    if code in _LATER:
        raise NotSupported(_NOT_HERE)
    if len(modifiers) > 1 or (code == "_list" and modifiers):
        raise Value(_MODIFIERS)
    return code, modifiers[0] if modifiers else None


def _parameters(code: str, reading: _Reading) -> tuple[SearchParameter, ...]:
    """Return the parameter on each type searched, all of which must have it; without types only common ones exist."""
    if not reading.types:
        return _common_parameters(code)
    found = [search_parameter(one, code) for one in reading.types]
    if any(one is None for one in found):
        raise NotSupported(_UNKNOWN if len(found) == 1 else _NOT_ALL)
    parameters = tuple(one for one in found if one is not None)
    for one in parameters:
        one.check_usable()
    return parameters[:1] if parameters[0].in_document else parameters


def _common_parameters(code: str) -> tuple[SearchParameter, ...]:
    common = common_parameter(code)
    if common is None:
        raise NotSupported(_UNKNOWN)
    common.check_usable()
    if common.in_document:
        return (replace(common, resource_type="Resource"),)
    return tuple(found for one in sorted(resource_types()) if (found := search_parameter(one, code)) is not None)


def _check_modifier(parameter: SearchParameter, modifier: str | None) -> None:
    if modifier is None or modifier in parameter.modifiers:
        return
    if parameter.type == "reference" and is_resource_type(modifier):
        return
    shown = f":{modifier}" if _NAME.fullmatch(modifier) else ":…"
    kind = parameter.type
    raise NotSupported(
        Text(
            f"the modifier {shown} is not supported on this {kind} parameter",
            f"le modificateur {shown} n’est pas pris en charge sur ce paramètre de type {kind}",
        )
    )


def _leaf(parameter: SearchParameter, modifier: str | None, value: str, reading: _Reading) -> Node:
    if parameter.code == "_id":
        return special.parse_id(_types_or_all(reading), modifier, value)
    if parameter.code in text.KINDS:
        return text.parse(_types_or_all(reading), parameter.code, value)
    match parameter.type:
        case "token":
            return token.parse(parameter, modifier, value, reading.base_url)
        case "reference":
            return reference.parse(parameter, modifier, value, reading.base_url)
        case "string":
            return string.parse(parameter, modifier, value)
        case "date":
            return date.parse(parameter, modifier, value, reading.now)
        case "number":
            return number.parse(parameter, modifier, value)
        case "quantity":
            return quantity.parse(parameter, modifier, value)
        case "uri":
            return uri.parse(parameter, modifier, value)
        case "composite":
            return composite.parse(parameter, modifier, value, reading.base_url, reading.now)
        case "special" if parameter.code == "near":
            return near.parse(parameter, modifier, value)
        case "special":
            raise NotSupported(_NOT_HERE)


def _types_or_all(reading: _Reading) -> tuple[str, ...]:
    return reading.types or tuple(sorted(resource_types()))


def _check_keys(node: Node) -> None:
    keys, waiting = 0, [node]
    while waiting:
        one = waiting.pop()
        match one:
            case And(children) | Or(children):
                waiting += children
            case Not(child):
                waiting.append(child)
            case TokenIn(found) | RefersTo(found) | WordIn(found) | ReferenceIs(found):
                keys += len(found)
            case _:
                keys += RANGE_KEYS
    if keys > MAX_KEYS:
        raise TooCostly(Text("The values come to too many index keys.", "Les valeurs donnent trop de clés d’index."))


def _issue(name: str, error: FhirError) -> list[Issue]:
    """Return the error's issues with the parameter's name before them; a name that cannot be one is not repeated."""
    code = name if _JOIN.fullmatch(name) else name.partition(":")[0].partition(".")[0]
    shown = code if _JOIN.fullmatch(code) or _NAME.fullmatch(code) else "?"
    return [
        replace(
            one,
            text=Text(
                f"The search parameter {shown} cannot be used: {one.text.en.rstrip('.')}.",
                f"Le paramètre de recherche {shown} est inutilisable : {one.text.fr.rstrip('.')}.",
            ),
            expression=(f"http.{shown}",) if shown != "?" else (),
        )
        for one in error.issues
    ]


def _error(problems: Sequence[Issue]) -> FhirError:
    codes = {one.code for one in problems}
    if codes == {"processing"}:
        return Processing(problems)  # a parameter that is still being indexed: the same search will do later
    if codes == {"not-supported"}:
        return NotSupported(problems)
    return Value(problems) if codes == {"value"} else Invalid(problems)
