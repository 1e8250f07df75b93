"""The members of an element by R4's definitions: the property that a value goes into, lists with their ``_x`` siblings.

``write`` and ``holder`` change the resource that they are given: it is the patch's own copy.
Spec: http://hl7.org/fhir/R4/json.html#primitive
"""

from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from fhir_server.fhir import definitions
from fhir_server.fhir.fhirpath.nodes import Node
from fhir_server.fhir.patch.fhirpath_operations import Given
from fhir_server.fhir.patch.result import copied, unprocessable

Pair = tuple[Any, dict[str, Any] | None]
"""A value and its ``_x`` sibling."""

_FAMILIES = ("string", "uri", "integer")


@dataclass(frozen=True, slots=True)
class Member:
    """A JSON property of an element: ``valueQuantity`` of element ``value``, with all its ``alternatives``."""

    name: str
    element: str
    type: str
    repeats: bool
    alternatives: tuple[str, ...]


def member(type_code: str, name: str, where: str) -> Member:
    """Return the member in which a node was found; raises ``Processing`` when R4 does not know it."""
    for each in _members(type_code, name):
        if each.name == name:
            return each
    raise unprocessable("There is no such element", "Il n’existe pas de tel élément", where)


def fit(type_code: str, name: str, given: Given, where: str) -> tuple[Member, Pair]:
    """Return the member of that name that takes the value's type, and the value in its JSON form.

    ``name`` is that of the element (``value`` or ``value[x]``) or of the property (``valueQuantity``). Raises
    ``Processing`` when there is no such element or the value is of another type.
    """
    candidates = _members(type_code, name.removesuffix("[x]"))
    if not candidates:
        raise unprocessable("There is no such element", "Il n’existe pas de tel élément", where)
    exact = [each for each in candidates if each.type == given.type]
    accepted = exact or [each for each in candidates if _accepts(each.type, given)]
    if not accepted or (given.parts is not None and len(accepted) > 1):
        raise unprocessable(
            "The value is not of a type that this element takes",
            "La valeur n’est pas d’un type que cet élément accepte",
            where,
        )
    return accepted[0], _pair(accepted[0].type, given, where)


def read(holder: dict[str, Any], name: str) -> list[Pair]:
    """Return the values of a property with their siblings, a single one as a list of one."""
    values, extras = holder.get(name), holder.get(f"_{name}")
    if not isinstance(values, list) and not isinstance(extras, list):
        return [] if values is None and extras is None else [(values, extras)]
    return list(zip_longest(values if isinstance(values, list) else [], extras if isinstance(extras, list) else []))


def write(holder: dict[str, Any], target: Member, pairs: list[Pair]) -> None:
    """Set the property and its sibling to these pairs, or take away what would be empty."""
    for name, found in (
        (target.name, [value for value, _ in pairs]),
        (f"_{target.name}", [extras for _, extras in pairs]),
    ):
        if all(each is None for each in found):
            holder.pop(name, None)
        else:
            holder[name] = found if target.repeats else found[0]


def holder(node: Node) -> dict[str, Any]:
    """Return the object that holds a node's members; for a primitive its ``_x`` sibling, made if there is none."""
    if isinstance(node.value, dict):
        return node.value
    if node.extras is None:
        node.extras = {}
        assert node.parent is not None
        assert node.key is not None
        name, index = node.key
        above = holder(node.parent)
        pairs = read(above, name)
        pairs[index or 0] = (node.value, node.extras)
        write(above, Member(name, name, node.type, index is not None, (name,)), pairs)
    return node.extras


def _members(type_code: str, name: str) -> list[Member]:
    if not definitions.has_structure(type_code):
        return []
    found = [
        (property_name, element, code)
        for property_name, (element, code) in definitions.structure(type_code).properties.items()
        if name in (element.name, property_name)
        and not (element.name == "value" and definitions.is_primitive(type_code))
    ]
    if not found:
        return []
    alternatives = tuple(
        property_name
        for property_name, (element, _) in definitions.structure(type_code).properties.items()
        if element.name == found[0][1].name
    )
    return [
        Member(property_name, element.name, code, element.max != 1, alternatives)
        for property_name, element, code in found
    ]


def _accepts(type_code: str, given: Given) -> bool:
    """Return whether the value may stand in an element of that type; what it says is left to the validation."""
    if given.parts is not None:
        return not definitions.is_primitive(type_code) and type_code != "Resource"
    if type_code == "xhtml":
        return given.type == "string"
    if not definitions.is_primitive(type_code):
        return False
    return any(
        definitions.is_subtype(type_code, family) and definitions.is_subtype(given.type, family) for family in _FAMILIES
    )


def _pair(type_code: str, given: Given, where: str) -> Pair:
    if given.parts is None:
        return copied(given.value), copied(given.extras)
    built: dict[str, Any] = {}
    for name, part in given.parts:
        target, pair = fit(type_code, name, part, where)
        before = [each for alternative in target.alternatives for each in read(built, alternative)]
        if before and not target.repeats:
            raise unprocessable(
                "An element that does not repeat is given twice",
                "Un élément qui ne se répète pas est donné deux fois",
                where,
            )
        write(built, target, [*before, pair])
    return built, None
