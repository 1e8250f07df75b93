"""From XML nodes to a resource, by the definitions, with every fault named.

Spec: http://hl7.org/fhir/R4/xml.html, http://hl7.org/fhir/R4/json.html#primitive
"""

import re
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from fhir_server.errors import Issue, Structure, Text, Value
from fhir_server.fhir import definitions
from fhir_server.fhir.decimals import parse_number
from fhir_server.fhir.xml_source import FHIR, XHTML, Node

MAX_ISSUES = 100

_SCHEMA_LOCATION = "http://www.w3.org/2001/XMLSchema-instance schemaLocation"
_INTEGERS = frozenset({"integer", "positiveInt", "unsignedInt"})
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)")
_PRIMITIVE_ATTRIBUTES = frozenset({"value", "id"})
_NO_ATTRIBUTES: frozenset[str] = frozenset()
_BOOLEANS = {"true": True, "false": False}

_UNKNOWN_RESOURCE = Text("This is not a resource type of FHIR R4.", "Ceci n’est pas un type de ressource de FHIR R4.")
_UNKNOWN_ELEMENT = Text("This element is not defined here.", "Cet élément n’est pas défini ici.")
_UNKNOWN_ATTRIBUTE = Text("An attribute is not defined here.", "Un attribut n’est pas défini ici.")
_NAMESPACE = Text(
    "This element is in the wrong namespace.",
    "Cet élément est dans un mauvais espace de noms.",
)
_STRAY_TEXT = Text(
    "Text stands in an element; FHIR writes values as attributes.",
    "Du texte figure dans un élément ; FHIR écrit les valeurs en attributs.",
)
_NO_VALUE = Text("This element has neither a value nor content.", "Cet élément n’a ni valeur ni contenu.")
_ORDER = Text("This element is out of order.", "Cet élément n’est pas à sa place.")
_REPEATED = Text("This element occurs more than once.", "Cet élément figure plus d’une fois.")
_ONE_RESOURCE = Text("Exactly one resource is expected here.", "Une seule ressource est attendue ici.")
_MALFORMED = {
    "boolean": Text("A boolean is true or false.", "Un booléen vaut true ou false."),
    "decimal": Text("This is not a decimal number.", "Ceci n’est pas un nombre décimal."),
    "integer": Text("This is not an integer.", "Ceci n’est pas un entier."),
}


@dataclass(frozen=True, slots=True)
class _Property:
    """What reading needs to know of one JSON property."""

    type: str
    order: int
    repeats: bool
    primitive: bool
    path: str


@dataclass(frozen=True, slots=True)
class _Table:
    attributes: frozenset[str]
    properties: dict[str, _Property]


@dataclass(slots=True)
class _Faults:
    """The faults found so far."""

    issues: list[Issue] = field(default_factory=list)

    def add(self, text: Text, path: str, node: Node, code: str = "structure") -> None:
        if len(self.issues) < MAX_ISSUES:
            self.issues.append(Issue(code, text, expression=(path,), diagnostics=node.position))


def read_resource(root: Node) -> dict[str, Any]:
    """Return the resource of a root element; raises ``errors.Structure`` with every fault."""
    faults = _Faults()
    resource = _resource(root, root.name, faults, is_root=True)
    if faults.issues:
        raise Structure(faults.issues)
    return resource


@cache
def _table(name: str) -> _Table:
    structure = definitions.structure(name)
    order = {element.path: index for index, element in enumerate(structure.elements)}
    attributes, properties = set(), {}
    for key, (element, code) in structure.properties.items():
        if element.xml_attribute:
            attributes.add(key)
            continue
        properties[key] = _Property(
            type=code,
            order=order[element.path],
            repeats=element.max is None or element.max > 1,
            primitive=definitions.is_primitive(code),
            path=element.path,
        )
    return _Table(frozenset(attributes), properties)


def _resource(node: Node, path: str, faults: _Faults, *, is_root: bool = False) -> dict[str, Any]:
    if node.namespace != FHIR:
        faults.add(_NAMESPACE, path, node)
        return {}
    if not definitions.is_resource_type(node.name):
        faults.add(_UNKNOWN_RESOURCE, path, node)
        return {}
    if is_root:
        node.attributes.pop(_SCHEMA_LOCATION, None)
    return {"resourceType": node.name} | _complex(node, node.name, path, faults)


def _inner_resource(node: Node, path: str, faults: _Faults) -> dict[str, Any]:
    _check_attributes(node, _NO_ATTRIBUTES, path, faults)
    if len(node.children) != 1:
        faults.add(_ONE_RESOURCE, path, node)
        return {}
    return _resource(node.children[0], path, faults)


def _complex(node: Node, type_name: str, path: str, faults: _Faults) -> dict[str, Any]:
    table = _table(type_name)
    _check_attributes(node, table.attributes, path, faults)
    if not node.children and not node.attributes:
        faults.add(_NO_VALUE, path, node)
    result: dict[str, Any] = {key: node.attributes[key] for key in node.attributes if key in table.attributes}
    last = -1
    for key, children in _by_name(node).items():
        found = table.properties.get(key)
        if found is None:
            for child in children:
                faults.add(_UNKNOWN_ELEMENT, f"{path}.{key}", child)
            continue
        if found.order < last:
            faults.add(_ORDER, f"{path}.{key}", children[0])
        last = max(last, found.order)
        _take(result, key, children, found, path, faults)
    return result


def _by_name(node: Node) -> dict[str, list[Node]]:
    groups: dict[str, list[Node]] = {}
    for child in node.children:
        groups.setdefault(child.name, []).append(child)
    return groups


def _take(result: dict[str, Any], key: str, children: list[Node], found: _Property, path: str, faults: _Faults) -> None:
    """Read all the elements of one name into their property, and its ``_`` sibling if they are primitives."""
    if len(children) > 1 and not found.repeats:
        faults.add(_REPEATED, f"{path}.{key}", children[1])
    values, extras = [], []
    for index, child in enumerate(children):
        where = f"{path}.{key}[{index}]" if found.repeats else f"{path}.{key}"
        if child.namespace != (XHTML if found.type == "xhtml" else FHIR):
            faults.add(_NAMESPACE, where, child)
            continue
        value, extra = _value(child, found, where, faults)
        values.append(value)
        extras.append(extra)
    if not values:
        return
    if any(value is not None for value in values):
        result[key] = values if found.repeats else values[0]
    if any(extras):
        result[f"_{key}"] = extras if found.repeats else extras[0]


def _value(node: Node, found: _Property, path: str, faults: _Faults) -> tuple[Any, dict[str, Any] | None]:
    if found.type == "xhtml":
        return node.narrative, None
    if found.primitive:
        return _primitive(node, found.type, path, faults)
    if found.type == "Resource":
        return _inner_resource(node, path, faults), None
    return _complex(node, found.type, path, faults), None


def _primitive(node: Node, type_name: str, path: str, faults: _Faults) -> tuple[Any, dict[str, Any] | None]:
    _check_attributes(node, _PRIMITIVE_ATTRIBUTES, path, faults)
    text = node.attributes.get("value")
    extra = {"id": node.attributes["id"]} if "id" in node.attributes else {}
    for key, children in _by_name(node).items() if node.children else ():
        if key == "extension":
            _take(extra, key, children, _table("Element").properties[key], path, faults)
        else:
            faults.add(_UNKNOWN_ELEMENT, f"{path}.{key}", children[0])
    if text == "" or (text is None and not extra):
        faults.add(_NO_VALUE, path, node)
    return (None if text is None else _convert(text, type_name, path, node, faults)), extra or None


def _convert(text: str, type_name: str, path: str, node: Node, faults: _Faults) -> Any:
    try:
        if type_name == "boolean":
            return _BOOLEANS[text]
        if type_name == "decimal":
            return parse_number(text)
        if type_name in _INTEGERS:
            return parse_number(text if _INTEGER.fullmatch(text) else "")
    except (KeyError, Value):
        kind = "integer" if type_name in _INTEGERS else type_name
        faults.add(_MALFORMED[kind], path, node, "value")
    return text


def _check_attributes(node: Node, allowed: frozenset[str], path: str, faults: _Faults) -> None:
    if node.has_text:
        faults.add(_STRAY_TEXT, path, node)
    for name in node.attributes:
        if name not in allowed:
            faults.add(_UNKNOWN_ATTRIBUTE, path, node)
