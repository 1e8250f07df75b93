"""Node: one item of a collection, and the way from it to its children.

Spec: http://hl7.org/fhirpath/N1/#path-selection, http://hl7.org/fhir/R4/fhirpath.html#polymorphism
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from fhir_server.fhir import definitions


class Node:
    """One item: a piece of a resource with its type and its place, or a System value.

    ``value`` is the raw JSON value (None for a primitive that has extensions only) or a System value, ``type`` a FHIR
    type code (``Patient``, ``code``, ``Patient.contact``) or ``System.X``. ``extras`` is the ``_x`` sibling of a
    primitive or None. ``parent`` and ``key`` — the JSON property and the index in its list, or None — say where the
    node stands; a root and a computed value have neither.
    """

    __slots__ = ("extras", "key", "parent", "type", "value")

    def __init__(
        self,
        value: Any,
        type_code: str,
        extras: dict[str, Any] | None = None,
        parent: "Node | None" = None,
        key: tuple[str, int | None] | None = None,
    ) -> None:
        self.value = value
        self.type = type_code
        self.extras = extras
        self.parent = parent
        self.key = key

    def __repr__(self) -> str:
        return f"<Node {self.type} {self.path()}>"

    def path(self) -> str:
        """Return the FHIRPath location: ``Patient.name[0].given[1]``; a choice by its base name."""
        places = []
        node = self
        while node.parent is not None and node.key is not None:
            name, index = node.key
            base = _base_name(node.parent.type, name)
            places.append(base if index is None else f"{base}[{index}]")
            node = node.parent
        return ".".join([node.type, *reversed(places)])


class Child(NamedTuple):
    """How a member of a type is written in JSON.

    ``extras_name`` only for primitives; ``dynamic``: any resource; ``choice``: the name of the element of several types
    that this is one of.
    """

    name: str
    extras_name: str | None
    type: str
    dynamic: bool = False
    choice: str | None = None


TYPE_INFO = "System.SimpleTypeInfo"
RESOURCES = frozenset({"Resource", "DomainResource"})
_PRIMITIVE_MEMBERS: Mapping[str, tuple[Child, ...]] = {
    "id": (Child("id", None, "string"),),
    "extension": (Child("extension", None, "Extension"),),
}
_STATIC: Mapping[str, Mapping[str, tuple[Child, ...]]] = {
    TYPE_INFO: {
        "namespace": (Child("namespace", None, "System.String"),),
        "name": (Child("name", None, "System.String"),),
    }
}
# Filled once per type when first met, then only read: what R4 defines does not change under a running process.
_MEMBERS: dict[str, Mapping[str, tuple[Child, ...]]] = {}
_PROPERTIES: dict[str, Mapping[str, Child]] = {}


def root_node(resource: dict[str, Any]) -> Node:
    """Return a resource as the root of an evaluation."""
    return Node(resource, resource_type_of(resource))


def resource_type_of(resource: Any) -> str:
    """Return the type that a resource says it is of, ``Resource`` when it says none that R4 has."""
    name = resource.get("resourceType") if type(resource) is dict else None
    return name if isinstance(name, str) and definitions.is_resource_type(name) else "Resource"


def members(type_code: str) -> Mapping[str, tuple[Child, ...]]:
    """Return, by member name, the JSON properties that a member of this type may stand in (a choice: several)."""
    found = _MEMBERS.get(type_code)
    if found is None:
        found = _MEMBERS[type_code] = _build_members(type_code)
    return found


def select(node: Node, name: str, out: list[Node]) -> None:
    """Append the children of that name to ``out`` (the hot path: one list for a whole step)."""
    value = node.value
    if type(value) is not dict:
        if node.extras is not None and name in _PRIMITIVE_MEMBERS:
            for child in _PRIMITIVE_MEMBERS[name]:
                _append(node, node.extras.get(name), None, child, out)
        return
    table = _MEMBERS.get(node.type)
    if table is None:
        table = members(node.type)
    for child in table.get(name, ()):
        found = value.get(child.name)
        extras = None if child.extras_name is None else value.get(child.extras_name)
        if found is not None or extras is not None:
            _append(node, found, extras, child, out)


def children(node: Node) -> list[Node]:
    """Return all children, in the order of the JSON; those of a primitive are its id and extensions."""
    out: list[Node] = []
    value = node.value
    if type(value) is not dict:
        for name, primitive_child in _PRIMITIVE_MEMBERS.items():
            if node.extras is not None:
                _append(node, node.extras.get(name), None, primitive_child[0], out)
        return out
    properties = _properties(node.type)
    for name, found in value.items():
        child = properties.get(name)
        if child is not None:
            _append(node, found, None if child.extras_name is None else value.get(child.extras_name), child, out)
        elif name[:1] == "_" and name[1:] not in value and (child := properties.get(name[1:])) is not None:
            _append(node, None, found, child, out)
    return out


def _append(node: Node, found: Any, extras: Any, child: Child, out: list[Node]) -> None:
    name, _, type_code, dynamic, _ = child
    if type(found) is not list and type(extras) is not list:
        if found is not None or extras is not None:
            out.append(Node(found, resource_type_of(found) if dynamic else type_code, extras, node, (name, None)))
        return
    values = found if type(found) is list else []
    siblings = extras if type(extras) is list else []
    for index in range(max(len(values), len(siblings))):
        item = values[index] if index < len(values) else None
        extra = siblings[index] if index < len(siblings) else None
        if item is not None or extra is not None:
            out.append(Node(item, resource_type_of(item) if dynamic else type_code, extra, node, (name, index)))


def _build_members(type_code: str) -> Mapping[str, tuple[Child, ...]]:
    if type_code in _STATIC:
        return _STATIC[type_code]
    if not definitions.has_structure(type_code):
        return {}
    found: dict[str, list[Child]] = {}
    for name, (element, code) in definitions.structure(type_code).properties.items():
        extras_name = f"_{name}" if definitions.is_primitive(code) else None
        found.setdefault(element.name, []).append(
            Child(name, extras_name, code, code in RESOURCES, element.name if element.choice else None)
        )
    return {name: tuple(each) for name, each in found.items()}


def _properties(type_code: str) -> Mapping[str, Child]:
    found = _PROPERTIES.get(type_code)
    if found is None:
        found = {child.name: child for each in members(type_code).values() for child in each}
        _PROPERTIES[type_code] = found
    return found


def _base_name(type_code: str, property_name: str) -> str:
    for name, each in members(type_code).items():
        if any(child.name == property_name for child in each):
            return name
    return property_name
