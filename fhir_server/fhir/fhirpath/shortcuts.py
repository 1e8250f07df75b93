"""The short way for what search parameters mostly are: plain paths, straight through the dicts, without nodes.

For one type of resource, the types along such a path are known beforehand. So a branch ``A.x`` of another type falls
away, ``value as Quantity`` is the property ``valueQuantity``, and what remains is a few walks from property to
property. Whatever is not so simple has no short way and is evaluated in full.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from fhir_server.fhir import definitions
from fhir_server.fhir.fhirpath.ast import (
    Binary,
    Call,
    Literal,
    Member,
    Path,
    Step,
    Tree,
    TypeCall,
    TypeName,
    TypeTest,
    Union,
)
from fhir_server.fhir.fhirpath.nodes import RESOURCES, Child, members
from fhir_server.fhir.fhirpath.references import type_of_reference
from fhir_server.fhir.fhirpath.system import TEXT_TYPES
from fhir_server.fhir.fhirpath.type_names import is_known, is_of_type

Value: TypeAlias = tuple[Any, str, Any]
"""Raw JSON value, type code, extras."""
Filter: TypeAlias = Callable[[Any, Any], bool]
"""(value, resource) → whether it stays."""
Walk: TypeAlias = Callable[[Any, Any, list[Value]], None]
"""(value, resource, where to append what is found)."""
Shortcut: TypeAlias = Callable[[dict[str, Any]], list[Value]]


@dataclass(frozen=True, slots=True)
class _Route:
    """From the resource through ``links`` to values of ``type``; a filter applies to what the links before it give."""

    type: str
    links: tuple[Child | Filter, ...] = ()


def build_shortcut(tree: Tree, root_type: str) -> Shortcut | None:
    """Return the short way for resources of a type, or None when the expression is not simple enough.

    It gives what the evaluation gives, except that equal items of a union are not folded into one. It may raise
    ``AttributeError`` or ``TypeError`` on a resource that is not built as R4 says.
    """
    routes = _routes(tree, root_type)
    if routes is None:
        return None
    walks = tuple(_walk(group) for group in _grouped(routes))
    if not walks:
        return lambda resource: []
    if len(walks) == 1:
        only = walks[0]

        def follow_one(resource: dict[str, Any]) -> list[Value]:
            out: list[Value] = []
            only(resource, resource, out)
            return out

        return follow_one

    def follow(resource: dict[str, Any]) -> list[Value]:
        out: list[Value] = []
        for walk in walks:
            walk(resource, resource, out)
        return out

    return follow


def belongs_to(tree: Tree, root_type: str) -> bool:
    """Say whether a branch of a union can give anything for resources of a type."""
    match tree:
        case Path(None, (Member(name), *_)) if name[:1].isupper() and definitions.has_structure(name):
            return definitions.is_subtype(root_type, name)
        case Path(head, _) if head is not None:
            return belongs_to(head, root_type)
        case TypeTest("as", operand, _):
            return belongs_to(operand, root_type)
        case Union(branches):
            return any(belongs_to(branch, root_type) for branch in branches)
        case _:
            return True


def _routes(tree: Tree, root_type: str) -> list[_Route] | None:
    match tree:
        case Union(branches):
            found: list[_Route] = []
            for branch in branches:
                routes = _routes(branch, root_type)
                if routes is None:
                    return None
                found += routes
            return found
        case TypeTest("as", operand, name):
            return _along(_routes(operand, root_type), (TypeCall("as", name),))
        case Path(None, (Member(name), *rest)) if name[:1].isupper() and definitions.has_structure(name):
            return _along([_Route(root_type)] if definitions.is_subtype(root_type, name) else [], tuple(rest))
        case Path(None, steps):
            return _along([_Route(root_type)], steps)
        case Path(head, steps) if head is not None:
            return _along(_routes(head, root_type), steps)
        case _:
            return None


def _along(routes: list[_Route] | None, steps: tuple[Step, ...]) -> list[_Route] | None:
    for step in steps:
        if routes is None:
            return None
        # What follows a resource of any type is known only when it is seen.
        if any(route.links and route.type in RESOURCES for route in routes):
            return None
        routes = _step(routes, step)
    return routes


def _step(routes: list[_Route], step: Step) -> list[_Route] | None:
    match step:
        case Member(name):
            return _members(routes, name)
        case TypeCall("as" | "ofType", name) if is_known(name):
            return [route for route in routes if is_of_type(route.type, name)]
        case Call("extension", (Literal(str(url)),)):
            return _filtered(_members(routes, "extension"), lambda value, _: value.get("url") == url)
        case Call("where", (criterion,)):
            return _where(routes, criterion)
        case _:
            return None


def _members(routes: list[_Route], name: str) -> list[_Route] | None:
    if any(definitions.is_primitive(route.type) for route in routes):
        return None
    return [
        _Route(child.type, (*route.links, child)) for route in routes for child in members(route.type).get(name, ())
    ]


def _where(routes: list[_Route], criterion: Tree) -> list[_Route] | None:
    match criterion:
        case TypeTest("is", Path(None, (Call("resolve", ()),)), name) if is_known(name):
            if any(route.type != "Reference" for route in routes):
                return None
            return _filtered(routes, _refers_to(name))
        case Binary("=", Path(None, (Member(name),)), Literal(str(text))):
            if all(_is_one_text(route.type, name) for route in routes):
                return _filtered(routes, lambda value, _: value.get(name) == text)
    return None


def _filtered(routes: list[_Route] | None, test: Filter) -> list[_Route] | None:
    return None if routes is None else [replace(route, links=(*route.links, test)) for route in routes]


def _refers_to(name: TypeName) -> Filter:
    prefix = f"{name.name}/"

    def refers(value: Any, resource: Any) -> bool:
        text = value.get("reference")
        if type(text) is str and text.startswith(prefix):
            return True
        found = type_of_reference(value, resource)
        return found is not None and is_of_type(found, name)

    return refers


def _is_one_text(type_code: str, name: str) -> bool:
    found = members(type_code).get(name, ())
    if len(found) != 1 or found[0].type not in TEXT_TYPES or not definitions.has_structure(type_code):
        return False
    element, _ = definitions.structure(type_code).properties[found[0].name]
    return element.max == 1


def _grouped(routes: list[_Route]) -> list[list[_Route]]:
    """Put the properties of one choice together: they differ in the last link only."""
    groups: list[list[_Route]] = []
    for route in routes:
        if groups and _are_alternatives(groups[-1][-1], route):
            groups[-1].append(route)
        else:
            groups.append([route])
    return groups


def _are_alternatives(one: _Route, other: _Route) -> bool:
    if not one.links or not other.links or one.links[:-1] != other.links[:-1]:
        return False
    last, other_last = one.links[-1], other.links[-1]
    if not isinstance(last, Child) or not isinstance(other_last, Child):
        return False
    return last.choice is not None and last.choice == other_last.choice


def _walk(group: list[_Route]) -> Walk:
    """Build the walk from its end: each link hands over to the next."""
    route = group[0]
    walk: Walk | None = None
    links = route.links
    if len(group) > 1:
        walk = _choice_leaf(tuple(link for each in group if isinstance(link := each.links[-1], Child)))
        links = links[:-1]
    for link in reversed(links):
        if isinstance(link, Child):
            walk = _leaf(link) if walk is None else _through(link.name, walk)
        else:
            walk = _if(link, walk or _give(route.type))
    return walk or _give(route.type)


def _give(type_code: str) -> Walk:
    return lambda value, resource, out: out.append((value, type_code, None))


def _if(test: Filter, then: Walk) -> Walk:
    def walk(value: Any, resource: Any, out: list[Value]) -> None:
        if test(value, resource):
            then(value, resource, out)

    return walk


def _through(name: str, then: Walk) -> Walk:
    def walk(value: Any, resource: Any, out: list[Value]) -> None:
        found = value.get(name)
        if found is None:
            return
        if type(found) is list:
            for item in found:
                then(item, resource, out)
        else:
            then(found, resource, out)

    return walk


def _leaf(child: Child) -> Walk:
    if child.dynamic:
        return _through(child.name, lambda value, _, out: out.append((value, value["resourceType"], None)))
    name, extras_name, type_code = child.name, child.extras_name, child.type

    def walk(value: Any, resource: Any, out: list[Value]) -> None:
        found = value.get(name)
        if extras_name is not None and extras_name in value:
            out.extend(_with_extras(found, value[extras_name], type_code))
        elif found is None:
            return
        elif type(found) is list:
            out.extend([(item, type_code, None) for item in found])
        else:
            out.append((found, type_code, None))

    return walk


def _choice_leaf(choices: tuple[Child, ...]) -> Walk:
    """The last link when several properties may be there, of which one is: by what is there, not by what may be."""
    by_name = {name: child for child in choices for name in (child.name, child.extras_name) if name is not None}
    names = by_name.keys()

    def walk(value: Any, resource: Any, out: list[Value]) -> None:
        for name in names & value.keys():
            child = by_name[name]
            if name == child.name or child.name not in value:
                extras = None if child.extras_name is None else value.get(child.extras_name)
                out.append((value.get(child.name), child.type, extras))

    return walk


def _with_extras(found: Any, extras: Any, type_code: str) -> list[Value]:
    if type(found) is not list and type(extras) is not list:
        return [(found, type_code, extras)]
    values = found if type(found) is list else []
    siblings = extras if type(extras) is list else []
    count = max(len(values), len(siblings))
    pairs = zip(values + [None] * (count - len(values)), siblings + [None] * (count - len(siblings)), strict=True)
    return [(value, type_code, extra) for value, extra in pairs if value is not None or extra is not None]
