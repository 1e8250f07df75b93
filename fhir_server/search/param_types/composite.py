"""Composite parameters: several conditions on one and the same element, ``code$value``.

Each element (an Observation, one of its components) leaves entries in ``g`` that hold one value of every component,
so that the conditions cannot be met by two different elements. A first component that is a token is part of the
entry's key, which makes the key selective: ``{p: Observation.code-value-quantity$8480-6, k: system, v: low, w: high}``.
A quantity leaves a second entry in base units (see ``quantity``). A composite over several elements (``combo-…``)
asks the entries of the composites over each, where there are such.
Spec: http://hl7.org/fhir/R4/search.html#composite
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache, lru_cache
from typing import Any

from fhir_server.errors import NotSupported, Text, Value
from fhir_server.fhir.definitions import has_structure, structure
from fhir_server.fhir.fhirpath.expression import compile_expression
from fhir_server.search.ast import GroupIs, Node, Nothing, TokenIn
from fhir_server.search.building import build_and, build_or
from fhir_server.search.entries import Entries, Extract, bounded, escape_system
from fhir_server.search.expressions import element_of, split_union
from fhir_server.search.param_types import date, number, quantity, reference, string, token
from fhir_server.search.parameters import Component, SearchParameter, defined_parameters, search_parameter
from fhir_server.search.ranges import Bounds, Comparison, merge_conditions, on_points, passes, range_key, to_conditions
from fhir_server.search.values import split_escaped, split_prefix, unescape

MOST_COMBINATIONS = 4_000
"""Entries that one element may leave for one parameter: codings times codings."""

_END = "\U0010ffff"
_STEP = re.compile(r"(?P<name>[A-Za-z]+)(?:\.(?:as|ofType)\((?P<cast>[A-Za-z]+)\))?")
_RESOURCE = "%resource."
_PAIR = Text("a token is code, |code, system| or system|code", "un jeton s’écrit code, |code, system| ou system|code")
_FORM = Text(
    "a composite is as many values as it has components, joined by $",
    "une valeur composite joint par $ autant de valeurs qu’elle a de composants",
)


_Cell = tuple[str, dict[str, Any], str]
"""One value of one component: the code that it puts into the entry's key, its fields, what it adds to the parameter."""

Read = Callable[[Any, Entries], Iterable[tuple[Any, str]]]


def build_extractor(parameter: SearchParameter, part: str, base_url: str = "") -> Extract:
    """Return the function that adds the entries of one element that ``part`` of the expression leads to."""
    key = _key(parameter, part)
    kind_of_element = _kind(parameter.resource_type, part)
    readers = [_reader(parameter, component, kind_of_element) for component in parameter.components]
    makers = [_cells(parameter, place, base_url) for place in range(len(parameter.components))]
    columns = tuple(zip(readers, makers, strict=True))
    measured = _is_measured(parameter)

    def extract(value: Any, kind: str, entries: Entries) -> None:
        rows: list[tuple[_Cell, ...]] = [()]
        for read, make in columns:
            cells = [cell for one, code in read(value, entries) for cell in make(one, code, entries)]
            if len(rows) * len(cells) > MOST_COMBINATIONS:
                raise ValueError("too many combinations")
            rows = [(*row, cell) for row in rows for cell in cells]
            if not rows:
                return
        for row in rows:
            suffix, fields = "", dict[str, Any]()
            for _, more, cell_suffix in row:
                suffix += cell_suffix
                fields |= more
            entries.g.append({"p": bounded(f"{key}{suffix}${row[0][0]}"), **fields})
            if measured and fields["v"] != fields["w"]:
                entries.t[range_key(key)] = None

    return extract


def properties(resource_type: str, parameter: SearchParameter) -> tuple[str, ...] | None:
    """Return the JSON properties without which a resource that is itself the element has no entry; None if any may."""
    steps = [_steps(resource_type, component.expression) for component in parameter.components]
    return tuple(name for name, _ in steps[-1]) if steps and steps[-1] else None


def is_shared(parameter: SearchParameter, part: str) -> bool:
    """Say whether another composite leaves the entries of this part."""
    return _key(parameter, part) != parameter.key


def parse(parameter: SearchParameter, modifier: str | None, value: str, base_url: str, now: datetime) -> Node:
    """Return the condition of one value, ``a$b``. Raises ``Value``, or ``NotSupported`` for a modifier."""
    if modifier is not None:
        raise NotSupported(Text(f"the modifier :{modifier}", f"le modificateur :{modifier}"))
    texts = split_escaped(value, "$")
    if len(texts) != len(parameter.components) or not all(texts):
        raise Value(_FORM)
    asked = [_ask(parameter, place, text, base_url, now) for place, text in enumerate(texts)]
    if any(one is None for one in asked):
        return Nothing()
    conditions = tuple(one for one in asked if one is not None)
    groups = build_or(_group(parameter, _key(parameter, part), conditions) for part in parameter.parts)
    return build_and([*_implied(parameter, texts[0]), groups])


def present(parameter: SearchParameter) -> tuple[Node, ...]:
    """Return the conditions of which one says that there is a whole value."""
    return tuple(
        GroupIs(f"{key}$", (), f"{key}%") for key in dict.fromkeys(_key(parameter, part) for part in parameter.parts)
    )


def to_filter(leaf: GroupIs) -> dict[str, Any]:
    """Return the leaf as a MongoDB filter: everything of the same entry."""
    key: Any = leaf.key if leaf.until is None else {"$gte": leaf.key, "$lt": leaf.until}
    return {"g": {"$elemMatch": merge_conditions([{"p": key}, *map(to_conditions, leaf.bounds)])}}


def matches(leaf: GroupIs, document: Mapping[str, Any]) -> bool:
    """Say whether one entry of the index document keeps all the bounds."""
    return any(
        (entry["p"] == leaf.key if leaf.until is None else leaf.key <= entry["p"] < leaf.until)
        and all(passes(bounds, entry) for bounds in leaf.bounds)
        for entry in document.get("g", ())
    )


# ---------------------------------------------------------------- asking


@dataclass(frozen=True, slots=True)
class _Asked:
    """What one component's value asks; ``code`` None: any key of the parameter."""

    bounds: tuple[Bounds, ...]
    code: str | None = ""
    suffix: str = ""


def _group(parameter: SearchParameter, key: str, asked: tuple[_Asked, ...]) -> Node:
    start = f"{key}{''.join(one.suffix for one in asked)}$"
    low = start if asked[0].code is None else bounded(start + asked[0].code)
    until = f"{start[:-1]}%" if asked[0].code is None else None
    bounds = tuple(bounds for one in asked for bounds in one.bounds)
    split = [on_points(one, "v", "w") if _is_measured(parameter) else None for one in bounds]
    if not any(split):
        return GroupIs(low, bounds, until)
    points = tuple(point or one for point, one in zip(split, bounds, strict=True))
    ranges = build_and([TokenIn((range_key(key),)), GroupIs(low, bounds, until)])
    return build_or([GroupIs(low, points, until), ranges])


def _is_measured(parameter: SearchParameter) -> bool:
    """Say whether the second component has two ends that are mostly one; a date's never are."""
    return parameter.components[1].type in ("quantity", "number")


def _ask(parameter: SearchParameter, place: int, text: str, base_url: str, now: datetime) -> _Asked | None:
    """Return what the text says of the component; None where nothing can have it."""
    component, (first, second, *unit) = parameter.components[place], _names(place)
    match component.type:
        case "token":
            return _ask_token(parameter, place, text)
        case "quantity":
            suffix, bounds, measure = quantity.parse_measure(text)
            names = {"lo": first, "hi": second, "u": unit[0], "c": unit[1], "n": unit[2]}
            renamed = tuple(_renamed(one, names) for one in (bounds, measure) if one is not None)
            return _Asked(renamed, suffix=suffix)
        case "number":
            prefix, digits = split_prefix(unescape(text))
            return _Asked((_renamed(number.parse_bounds(prefix, digits), {"lo": first, "hi": second}),))
        case "date":
            return _Asked((date.parse_bounds(unescape(text), now, first, second),))
        case "string":
            low = string.normalise(unescape(text))
            if not low or len(low) > string.LONGEST_TEXT:
                raise Value(_FORM)
            return _Asked((Bounds((Comparison(first, "$gte", low), Comparison(first, "$lt", low + _END))),))
        case "reference":
            own = _component_parameter(parameter, component)
            targets = reference.targets_of(own, None, unescape(text), base_url)
            return _Asked((Bounds(some=tuple(Comparison(first, "$eq", one) for one in targets)),))
        case _:
            return _Asked((Bounds((Comparison(first, "$eq", unescape(text)),)),))


def _ask_token(parameter: SearchParameter, place: int, text: str) -> _Asked | None:
    first, second, *_ = _names(place)
    system, code = _pair(text)
    implicit = _component_parameter(parameter, parameter.components[place]).system
    if implicit is not None and system is not None:
        if system != implicit:
            return None
        system = None
    folded = code.casefold() if code else None
    bounds: tuple[Bounds, ...] = ()
    if system is not None and code is not None:
        bounds = (Bounds((Comparison(second, "$eq", _coded(system, code)[1]),)),)
    elif system is not None:
        start = escape_system(system)
        bounds = (Bounds((Comparison(second, "$gte", f"{start}|"), Comparison(second, "$lt", f"{start}}}"))),)
    if place == 0:
        return _Asked(bounds, folded)
    if folded is not None:
        bounds = (*bounds, Bounds((Comparison(first, "$eq", folded),)))
    return _Asked(bounds)


def _pair(text: str) -> tuple[str | None, str | None]:
    """Return system (None: any, empty: none) and code (None: any)."""
    match [unescape(part) for part in split_escaped(text, "|")]:
        case [code] if code:
            return None, code
        case [system, code] if system or code:
            return system, code or None
        case _:
            raise Value(_PAIR)


def _implied(parameter: SearchParameter, text: str) -> Iterator[Node]:
    """Give the condition on the first component alone, where it follows: its index keeps the order of dates."""
    component = parameter.components[0]
    own = search_parameter(parameter.resource_type, component.code)
    if component.type != "token" or own is None or own.url != component.url or own.refusal is not None:
        return
    paths = {_path(parameter.resource_type, part, component.expression) for part in parameter.parts}
    if paths <= set(own.parts):
        yield token.parse(own, None, text)


def _path(resource_type: str, part: str, expression: str) -> str:
    if expression.startswith(_RESOURCE):
        return f"{resource_type}.{expression[len(_RESOURCE) :]}"
    return f"{part}.{expression}"


def _renamed(bounds: Bounds, names: Mapping[str, str]) -> Bounds:
    every = tuple(Comparison(names[one.field], one.operator, one.value) for one in bounds.every)
    return Bounds(every, tuple(Comparison(names[one.field], one.operator, one.value) for one in bounds.some))


# ---------------------------------------------------------------- indexing


def _cells(parameter: SearchParameter, place: int, base_url: str) -> Callable[[Any, str, Entries], Iterable[_Cell]]:
    """Return what makes the cells of one value of the component."""
    component, (first, second, *unit) = parameter.components[place], _names(place)
    own = _component_parameter(parameter, component)

    def of_token(value: Any, kind: str, entries: Entries) -> list[_Cell]:
        pairs = _pairs(value, kind)
        if own.system is not None:
            pairs = [("", code) for _, code in pairs]
        held = [_coded(system, code) for system, code in pairs]
        if place == 0:
            return [(folded, {second: coded}, "") for folded, coded in held]
        return [("", {first: folded, second: coded}, "") for folded, coded in held]

    def of_quantity(value: Any, kind: str, entries: Entries) -> list[_Cell]:
        found: list[_Cell] = []
        for suffix, low, high, *named in quantity.measures_of(value, kind, entries):
            fields = {name: said for name, said in zip(unit, named, strict=True) if said is not None}
            found.append(("", {first: low, second: high, **fields}, suffix))
        return found

    def of_range(value: Any, kind: str, entries: Entries) -> Iterator[_Cell]:
        found = date.range_of(value, kind) if component.type == "date" else number.range_of(value, kind)
        if found is not None:
            yield "", {first: found[0], second: found[1]}, ""

    def of_string(value: Any, kind: str, entries: Entries) -> Iterator[_Cell]:
        for text in string._texts(value, kind):
            yield "", {first: string.normalise(text)[: string.LONGEST_TEXT]}, ""

    def of_reference(value: Any, kind: str, entries: Entries) -> Iterator[_Cell]:
        for target in reference.names_in(own, value, kind, base_url):
            yield "", {first: target}, ""

    def of_uri(value: Any, kind: str, entries: Entries) -> Iterator[_Cell]:
        if isinstance(value, str):
            yield "", {first: value}, ""

    makers = {
        "token": of_token,
        "quantity": of_quantity,
        "number": of_range,
        "date": of_range,
        "string": of_string,
        "reference": of_reference,
        "uri": of_uri,
    }
    return makers[component.type]


def _pairs(value: Any, kind: str) -> list[tuple[str, str]]:
    """Return the system, empty for none, and the code of each coding of a value."""
    if kind == "CodeableConcept":
        return [(one.get("system") or "", one["code"]) for one in value.get("coding", ()) if one.get("code")]
    if isinstance(value, Mapping):
        code = value.get("code" if kind == "Coding" else "value") if kind in _CODED else None
        return [("" if kind == "ContactPoint" else value.get("system") or "", str(code))] if code else []
    return [("", ("true" if value else "false") if isinstance(value, bool) else str(value))]


@lru_cache(maxsize=4_096)
def _coded(system: str, code: str) -> tuple[str, str]:
    """Return the code in one case, and the pair as it is compared."""
    return code.casefold(), f"{escape_system(system)}|{token.fold(system, code)}"


_CODED = frozenset({"Coding", "Identifier", "ContactPoint"})


def _reader(parameter: SearchParameter, component: Component, kind: str) -> Read:
    """Return what reads the component's values off an element of a type, or off the whole resource."""
    if component.expression.startswith(_RESOURCE):
        path = _path(parameter.resource_type, "", component.expression)
        values = compile_expression(path, root_type=parameter.resource_type).values
        return lambda _, entries: [(one, code) for one, code, _ in values(entries.resource) if one is not None]
    steps = _steps(kind, component.expression)

    def of_element(value: Any, entries: Entries) -> list[tuple[Any, str]]:
        found = []
        for name, code in steps:
            held = value.get(name)
            if isinstance(held, list):
                found += [(one, code) for one in held if one is not None]
            elif held is not None:
                found.append((held, code))
        return found

    return of_element


def _kind(resource_type: str, part: str) -> str:
    """Return the type of the elements that a part of the expression leads to."""
    element = element_of(resource_type, part)
    return resource_type if element is None else element.types[0]


@cache
def _steps(kind: str, expression: str) -> tuple[tuple[str, str], ...]:
    """Return the JSON properties and their types that ``value.as(Quantity) | value.as(Range)`` means on a type.

    R4 writes ``as(DateTime)`` for ``dateTime``.
    """
    if not has_structure(kind):
        return ()
    found: dict[tuple[str, str], None] = {}
    for step in split_union(expression):
        match = _STEP.fullmatch(step)
        for name, (element, code) in structure(kind).properties.items() if match else ():
            if match and element.name == match["name"] and (match["cast"] or code).lower() == code.lower():
                found[name, code] = None
    return tuple(found)


def _names(place: int) -> tuple[str, ...]:
    """Return the fields of a component in an entry; the index looks at ``v``, the second's."""
    return (
        ("k0", "k", "u0", "c0", "n0")
        if place == 0
        else tuple(name if place == 1 else f"{name}{place}" for name in "vwucn")
    )


@cache
def _key(parameter: SearchParameter, part: str) -> str:
    """Return the key of the composite that has just this part and the same components, or else the parameter's own."""
    if len(parameter.parts) > 1:
        expressions = tuple(one.expression for one in parameter.components)
        for other in defined_parameters(parameter.resource_type):
            alike = other.type == "composite" and other.parts == (part,) and other.refusal is None
            if alike and tuple(one.expression for one in other.components) == expressions:
                return other.key
    return parameter.key


def _component_parameter(parameter: SearchParameter, component: Component) -> SearchParameter:
    """Return the component's own parameter on the type: what its values are, and what they may point to."""
    own = search_parameter(parameter.resource_type, component.code)
    if own is not None and own.url == component.url:
        return own
    return SearchParameter(parameter.resource_type, component.code, component.type, component.url, (), (), None)
