"""Structures compiled to closures: one check per type, built when first met, plain dict walking afterwards.

A check gets a JSON value and returns None or the problems in it, located relative to the value. Hot path: nothing is
allocated, and no location is built, while all is well. Spec: http://hl7.org/fhir/R4/json.html
"""

import re
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from fhir_server.errors import Text
from fhir_server.fhir.definitions import Element, is_primitive, is_resource_type, structure, value_set_codes
from fhir_server.validation.findings import (
    MAX_PROBLEMS,
    Check,
    Problem,
    Problems,
    below,
    required_problem,
    structure_problem,
)
from fhir_server.validation.primitives import primitive_check
from fhir_server.validation.references import reference_check

_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9]{0,63}").fullmatch

_NOT_AN_OBJECT = Text("A JSON object is expected here.", "Un objet JSON est attendu ici.")
_NOT_AN_ARRAY = Text(
    "This element repeats: a JSON array is expected here.", "Cet élément se répète : un tableau JSON est attendu ici."
)
_ONE_ONLY = Text("Only one value is allowed here, not an array.", "Une seule valeur est permise ici, pas un tableau.")
_EMPTY_OBJECT = Text("An object must not be empty.", "Un objet ne doit pas être vide.")
_EMPTY_ARRAY = Text("An array must not be empty.", "Un tableau ne doit pas être vide.")
_ONLY_AN_ID = Text(
    "An element must have a value, content or extensions beside its id.",
    "Un élément doit avoir une valeur, un contenu ou des extensions en plus de son id.",
)
_NULL_ALONE = Text(
    "null is only allowed where the array of extensions beside has an entry.",
    "null n’est permis que là où le tableau voisin des extensions a une entrée.",
)
_UNEQUAL_LENGTHS = Text(
    "The arrays of values and of their extensions must be equally long.",
    "Les tableaux des valeurs et de leurs extensions doivent avoir la même longueur.",
)
_UNKNOWN_ELEMENT = Text("There is no such element here.", "Un tel élément n’existe pas ici.")
_UNKNOWN_TYPE = Text(
    "resourceType must be the name of one of the resource types of FHIR R4.",
    "resourceType doit être le nom d’un des types de ressource de FHIR R4.",
)
_EXTENSION_BOTH = structure_problem(
    Text(
        "An extension has either a value or extensions, not both (ext-1).",
        "Une extension a soit une valeur, soit des extensions, pas les deux (ext-1).",
    )
)
_EXTENSION_NEITHER = required_problem(
    Text(
        "An extension must have a value or extensions (ext-1).",
        "Une extension doit avoir une valeur ou des extensions (ext-1).",
    )
)
_NESTED_CONTAINED = Text(
    "A contained resource must not contain resources.", "Une ressource contenue ne doit pas en contenir d’autres."
)
_CONTAINED_WITHOUT_ID = Text("A contained resource must have an id.", "Une ressource contenue doit avoir un id.")


@cache
def shape_check(name: str) -> Check:
    """Return the check of an object of a structure: a resource type, datatype or backbone element.

    Raises ``KeyError`` for a name that is no structure.
    """
    return _Shape(name).build()


def check_resource(value: Any) -> Problems | None:
    """Check a value that must be a resource of any type."""
    if type(value) is not dict:
        return [structure_problem(_NOT_AN_OBJECT)]
    name = value.get("resourceType")
    if type(name) is not str or not is_resource_type(name):
        return [structure_problem(_UNKNOWN_TYPE, ".resourceType" if "resourceType" in value else "")]
    return shape_check(name)(value)


class _Shape:
    """The tables behind the check of one structure; filled while checking, as properties are first met."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.structure = structure(name)
        self.is_resource = self.structure.kind == "resource"
        self.checks: dict[str, Check] = {
            property_: self._deferred(property_) for property_ in self.structure.properties
        }
        if self.is_resource:
            self.checks["resourceType"] = _accept
        elements = self.structure.elements
        self.required = tuple(item.name for item in elements if item.min and not item.choice)
        self.choices = tuple((item, _spellings(item)) for item in elements if item.choice)
        self.choice_names = frozenset(name for _, names in self.choices for name in names)
        self.required_choices = tuple((item.name, names) for item, names in self.choices if item.min)

    def build(self) -> Check:
        get, required, required_choices, choice_names = (
            self.checks.get,
            self.required,
            self.required_choices,
            self.choice_names,
        )
        is_extension, bears_type = self.name == "Extension", self.is_resource or self.name == "Element"

        def check(node: Any) -> Problems | None:
            if type(node) is not dict or not node:
                return [_explain_object(node)]
            problems: Problems | None = None
            for name, value in node.items():
                test = get(name)
                found = self.check_other(node, name, value) if test is None else test(value)
                if found is not None:
                    problems = self.add(problems, node, name, found)
                    if len(problems) >= MAX_PROBLEMS:
                        return problems[:MAX_PROBLEMS]
            for name in required:
                if name not in node and f"_{name}" not in node:
                    problems = [*(problems or ()), _missing(self.name, name)]
            for name, names in required_choices:
                if names.isdisjoint(node):
                    problems = [*(problems or ()), _missing(self.name, name)]
            if choice_names:
                chosen = [name for name in node if name in choice_names]
                if len(chosen) > 1:
                    problems = [*(problems or ()), *self.check_choices(chosen)] or None
                if is_extension and bool(chosen) is ("extension" in node):
                    problems = [*(problems or ()), _EXTENSION_BOTH if chosen else _EXTENSION_NEITHER]
            if len(node) == 1 and "id" in node and not bears_type:
                problems = [*(problems or ()), structure_problem(_ONLY_AN_ID)]
            return problems

        return check

    def add(self, problems: Problems | None, node: dict[str, Any], name: str, found: Problems) -> Problems:
        """Return the problems together with those found at a property, as seen from the object."""
        known = self.structure.properties.get(name)
        if known is None:
            return [*(problems or ()), *found]
        sibling = node.get(f"_{name}")
        if type(sibling) is list and type(node[name]) is list and node[name] and is_primitive(known[1]):
            # Here null may stand for a value that has only extensions.
            found = _check_values(self._single(name), node[name], sibling)
        return [*(problems or ()), *below(f".{known[0].name}", found)]

    def check_other(self, node: dict[str, Any], name: str, value: Any) -> Problems | None:
        """Check a property that is no element: ``_x``, the id and extensions of a primitive, or a mistake."""
        known = self.structure.properties.get(name[1:]) if name.startswith("_") else None
        if known is None or not is_primitive(known[1]) or known[0].xml_attribute or known[1] == "xhtml":
            return [_unknown(self.name, name)]
        where = f".{known[0].name}"
        if known[0].max == 1:
            found = _check_sibling(value, has_value=name[1:] in node)
        else:
            found = _check_siblings(value, node.get(name[1:]))
        return list(below(where, found)) if found else None

    def check_choices(self, chosen: list[str]) -> Iterable[Problem]:
        """Yield a problem for every choice that is made more than once."""
        for element, names in self.choices:
            if len({name.removeprefix("_") for name in chosen if name in names}) > 1:
                text = Text(
                    f"Only one type of {element.name}[x] is allowed at a time.",
                    f"Un seul type de {element.name}[x] est permis à la fois.",
                )
                yield structure_problem(text, f".{element.name}")

    def _deferred(self, name: str) -> Check:
        """Return a check that puts the real one into its place: types refer to one another in circles."""

        def check(value: Any) -> Problems | None:
            element = self.structure.properties[name][0]
            one = self._single(name)
            self.checks[name] = one if element.max == 1 else _array_check(one)
            return self.checks[name](value)

        return check

    def _single(self, name: str) -> Check:
        """Return the check of one value of a property."""
        element, code = self.structure.properties[name]
        if is_primitive(code):
            return primitive_check(code, _required_codes(element, code))
        if code == "Resource":
            return _check_contained if element.name == "contained" else check_resource
        if code == "Reference":
            return reference_check(shape_check(code), frozenset(element.targets))
        return shape_check(code)


def _accept(_: Any) -> None:
    """Find nothing: the resource type has been checked before its shape was chosen."""


def _array_check(one: Check) -> Check:
    def check(values: Any) -> Problems | None:
        if type(values) is not list or not values:
            return [_explain_array(values)]
        problems: Problems | None = None
        for index, value in enumerate(values):
            found = one(value)
            if found is not None:
                problems = [*(problems or ()), *below(f"[{index}]", found)]
                if len(problems) >= MAX_PROBLEMS:
                    return problems[:MAX_PROBLEMS]
        return problems

    return check


def _check_contained(value: Any) -> Problems | None:
    problems = list(check_resource(value) or ())
    if type(value) is dict:
        if "contained" in value:
            problems.append(structure_problem(_NESTED_CONTAINED, ".contained"))
        if "id" not in value:
            problems.append(required_problem(_CONTAINED_WITHOUT_ID))
    return problems or None


def _check_values(one: Check, values: list[Any], siblings: list[Any]) -> Problems:
    """Check an array of primitives beside the array of their extensions."""

    def check(index: int, value: Any) -> Iterable[Problem]:
        if value is not None:
            return one(value) or ()
        has_sibling = index < len(siblings) and siblings[index] is not None
        return () if has_sibling else (structure_problem(_NULL_ALONE),)

    return _collect(check, values)


def _check_siblings(siblings: Any, values: Any) -> Problems | None:
    """Check the array of the ids and extensions of an array of primitives."""
    if type(siblings) is not list or not siblings:
        return [_explain_array(siblings)]
    present = values if type(values) is list else []

    def check(index: int, sibling: Any) -> Iterable[Problem]:
        has_value = index < len(present) and present[index] is not None
        if sibling is None:
            return () if has_value or present else (structure_problem(_NULL_ALONE),)
        return _check_sibling(sibling, has_value=has_value) or ()

    problems = _collect(check, siblings)
    if present and len(present) != len(siblings):
        problems.append(structure_problem(_UNEQUAL_LENGTHS))
    return problems or None


def _check_sibling(value: Any, *, has_value: bool) -> Problems | None:
    found = shape_check("Element")(value)
    if found is None and not has_value and "extension" not in value:
        return [structure_problem(_ONLY_AN_ID)]
    return found


def _collect(check: Callable[[int, Any], Iterable[Problem]], values: list[Any]) -> Problems:
    problems: Problems = []
    for index, value in enumerate(values):
        problems.extend(below(f"[{index}]", check(index, value)))
        if len(problems) >= MAX_PROBLEMS:
            break
    return problems


def _required_codes(element: Element, code: str) -> frozenset[str] | None:
    if code != "code" or element.binding is None or element.binding.strength != "required":
        return None
    return value_set_codes(element.binding.value_set)


def _spellings(element: Element) -> frozenset[str]:
    names = [element.name + code[0].upper() + code[1:] for code in element.types]
    return frozenset(names) | frozenset(f"_{name}" for name in names)


def _missing(structure_name: str, name: str) -> Problem:
    return required_problem(
        Text(f"{structure_name} must have the element {name}.", f"{structure_name} doit avoir l’élément {name}."),
        f".{name}",
    )


def _unknown(structure_name: str, name: str) -> Problem:
    """Name the element only when it looks like one: a property's name may be anything, also health data."""
    if not _PLAIN_NAME(name):
        return structure_problem(_UNKNOWN_ELEMENT)
    text = Text(
        f"{structure_name} has no element {name} in FHIR R4.", f"{structure_name} n’a pas d’élément {name} en FHIR R4."
    )
    return structure_problem(text, f".{name}")


def _explain_object(value: Any) -> Problem:
    if type(value) is list:
        return structure_problem(_ONE_ONLY)
    return structure_problem(_EMPTY_OBJECT if type(value) is dict else _NOT_AN_OBJECT)


def _explain_array(value: Any) -> Problem:
    return structure_problem(_EMPTY_ARRAY if type(value) is list else _NOT_AN_ARRAY)
