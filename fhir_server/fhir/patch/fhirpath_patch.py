"""FHIRPath Patch: a Parameters resource that tells what to add, insert, delete, replace and move, and where.

Decided where R4 is silent: deleting what is not there is no error ("if found"); an insert needs the path of a whole
list, which may be empty. Spec: http://hl7.org/fhir/R4/fhirpatch.html
"""

import re
from typing import Any

from fhir_server.errors import Invalid, Issue, Processing
from fhir_server.fhir.fhirpath.context import DEFAULT_BUDGET
from fhir_server.fhir.fhirpath.expression import compile_expression
from fhir_server.fhir.fhirpath.nodes import Node
from fhir_server.fhir.patch import members
from fhir_server.fhir.patch.fhirpath_operations import Operation, parse_operations
from fhir_server.fhir.patch.members import Member
from fhir_server.fhir.patch.result import copied, finished, unprocessable

_TOTAL_BUDGET = 10 * DEFAULT_BUDGET
_LAST_STEP = re.compile(r"(.+)\.\s*([A-Za-z_][A-Za-z0-9_]*)\s*", re.DOTALL)


def apply_fhirpath_patch(resource: dict[str, Any], parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the patched copy of a resource.

    Raises ``Invalid`` for Parameters that are no FHIRPath Patch, with every fault found; ``Processing`` for the first
    operation whose path does not lead to one element of the resource, whose value is of a wrong type or whose index
    is out of bounds, and when ``id`` or ``resourceType`` changes; ``TooCostly`` for expressions without end.
    """
    operations = parse_operations(parameters)
    budget = min(DEFAULT_BUDGET, _TOTAL_BUDGET // max(1, len(operations)))
    document = copied(resource)
    for operation in operations:
        _Step(document, operation, budget).apply()
    return finished(resource, document)


class _Step:
    """One operation on the patch's own copy of the resource, which it changes in place."""

    __slots__ = ("_budget", "_document", "_operation", "_where")

    def __init__(self, document: dict[str, Any], operation: Operation, budget: int) -> None:
        self._document = document
        self._operation = operation
        self._where = operation.where
        self._budget = budget

    def apply(self) -> None:
        """Carry the operation out."""
        match self._operation.type:
            case "add":
                self._add()
            case "insert":
                self._insert()
            case "delete":
                self._delete()
            case "replace":
                self._replace()
            case "move":
                self._move()

    def _add(self) -> None:
        operation = self._operation
        assert operation.name is not None
        assert operation.value is not None
        node = self._single(self._evaluate(operation.path))
        member, pair = members.fit(node.type, operation.name, operation.value, self._where)
        holder = members.holder(node)
        if not member.repeats and any(members.read(holder, name) for name in member.alternatives):
            raise self._refused(
                "The element exists already and does not repeat", "L’élément existe déjà et ne se répète pas"
            )
        members.write(holder, member, [*members.read(holder, member.name), pair])

    def _insert(self) -> None:
        operation = self._operation
        assert operation.index is not None
        assert operation.value is not None
        parent, name = self._collection()
        member, pair = members.fit(parent.type, name, operation.value, self._where)
        holder = members.holder(parent)
        pairs = members.read(holder, member.name)
        if not member.repeats:
            raise self._refused(
                "The path of an insert must lead to a list", "Le chemin d’une insertion doit mener à une liste"
            )
        self._check_index(operation.index, len(pairs) + 1)
        members.write(holder, member, [*pairs[: operation.index], pair, *pairs[operation.index :]])

    def _delete(self) -> None:
        nodes = self._evaluate(self._operation.path)
        if not nodes:
            return
        parent, member, index = self._place(self._single(nodes))
        pairs = members.read(parent, member.name)
        members.write(parent, member, pairs[:index] + pairs[index + 1 :])

    def _replace(self) -> None:
        operation = self._operation
        assert operation.value is not None
        node = self._single(self._evaluate(operation.path))
        parent, member, index = self._place(node)
        assert node.parent is not None
        fitting, pair = members.fit(node.parent.type, member.element, operation.value, self._where)
        pairs = members.read(parent, member.name)
        if fitting.name == member.name:
            members.write(parent, member, [*pairs[:index], pair, *pairs[index + 1 :]])
        else:
            members.write(parent, member, [])
            members.write(parent, fitting, [pair])

    def _move(self) -> None:
        source, destination = self._operation.source, self._operation.destination
        assert source is not None
        assert destination is not None
        parent, name = self._collection()
        holder = members.holder(parent)
        member = members.member(parent.type, name, self._where)
        pairs = members.read(holder, member.name)
        self._check_index(source, len(pairs))
        self._check_index(destination, len(pairs))
        moved = pairs.pop(source)
        members.write(holder, member, [*pairs[:destination], moved, *pairs[destination:]])

    def _evaluate(self, path: str) -> list[Node]:
        """Return the nodes at the path, all of which stand in the resource."""
        try:
            nodes = compile_expression(path).evaluate(self._document, budget=self._budget)
        except Invalid as error:
            raise type(error)(Issue(each.code, each.text, expression=(self._where,)) for each in error.issues) from None
        if not all(self._is_in_document(node) for node in nodes):
            raise self._refused(
                "The path must lead to elements of the resource itself",
                "Le chemin doit mener à des éléments de la ressource elle-même",
            )
        return nodes

    def _is_in_document(self, node: Node) -> bool:
        while node.parent is not None and node.key is not None:
            node = node.parent
        return node.value is self._document

    def _single(self, nodes: list[Node]) -> Node:
        if len(nodes) != 1:
            raise self._refused(
                f"The path must lead to one element, not to {len(nodes)}",
                f"Le chemin doit mener à un seul élément, et non à {len(nodes)}",
            )
        return nodes[0]

    def _place(self, node: Node) -> tuple[dict[str, Any], Member, int]:
        """Return what holds the node, which member of it the node is in, and its index there."""
        if node.parent is None or node.key is None:
            raise self._refused(
                "The resource itself cannot be deleted or replaced by a patch",
                "Un correctif ne peut ni supprimer ni remplacer la ressource elle-même",
            )
        name, index = node.key
        return members.holder(node.parent), members.member(node.parent.type, name, self._where), index or 0

    def _collection(self) -> tuple[Node, str]:
        """Return the parent and the member's name of the whole list that the path leads to."""
        nodes = self._evaluate(self._operation.path)
        if not nodes:
            return self._empty_collection()
        first = nodes[0]
        if first.parent is not None and first.key is not None:
            holder, name = members.holder(first.parent), first.key[0]
            same = all(
                node.parent is not None and node.key == (name, index) and members.holder(node.parent) is holder
                for index, node in enumerate(nodes)
            )
            if same and len(nodes) == len(members.read(holder, name)):
                return first.parent, name
        raise self._refused(
            "The path of an insert or a move must lead to one whole list",
            "Le chemin d’une insertion ou d’un déplacement doit mener à une liste entière",
        )

    def _empty_collection(self) -> tuple[Node, str]:
        """Return the parent and member of a list without elements: its path less the last step leads to the parent."""
        match = _LAST_STEP.fullmatch(self._operation.path)
        if match is None:
            raise self._refused("The path leads nowhere", "Le chemin ne mène nulle part")
        return self._single(self._evaluate(match[1])), match[2]

    def _check_index(self, index: int, length: int) -> None:
        if not 0 <= index < length:
            raise self._refused("The index is out of bounds", "L’indice est hors limites")

    def _refused(self, en: str, fr: str) -> Processing:
        return unprocessable(en, fr, self._where)
