"""The door: text of an expression → ``Expression`` → what it gives on a resource.

Spec: http://hl7.org/fhirpath/N1/, http://hl7.org/fhir/R4/fhirpath.html
"""

import datetime
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from fhir_server.fhir.fhirpath.ast import Empty, Tree, Union
from fhir_server.fhir.fhirpath.compiler import compile_tree
from fhir_server.fhir.fhirpath.context import DEFAULT_BUDGET, ConformsTo, Context, MemberOf, Resolver, Services
from fhir_server.fhir.fhirpath.nodes import Node, resource_type_of, root_node
from fhir_server.fhir.fhirpath.parser import parse
from fhir_server.fhir.fhirpath.shortcuts import Shortcut, Value, belongs_to, build_shortcut
from fhir_server.fhir.fhirpath.system import truth

_NO_VARIABLES: Mapping[str, Any] = {}
_NO_SERVICES = Services()


class Expression:
    """A compiled expression: immutable to its users, safe to share between threads.

    ``text`` is what it was compiled from, ``tree`` its syntax tree.
    """

    __slots__ = ("_evaluate", "_shortcuts", "text", "tree")

    def __init__(self, text: str, tree: Tree) -> None:
        self.text = text
        self.tree = tree
        self._evaluate = compile_tree(tree)
        self._shortcuts: dict[Any, Shortcut | None] = {}

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"

    def evaluate(
        self,
        focus: "dict[str, Any] | Node",
        *,
        variables: Mapping[str, Any] | None = None,
        resolver: Resolver | None = None,
        member_of: MemberOf | None = None,
        conforms_to: ConformsTo | None = None,
        now: datetime.datetime | None = None,
        budget: int = DEFAULT_BUDGET,
    ) -> list[Node]:
        """Return the items that the expression gives on a resource, or on a node in one.

        ``variables`` maps names without ``%`` to nodes, resources, System values or lists of these. The callbacks and
        ``now`` are those of ``context.Services``. Raises ``errors.Processing`` where N1 has evaluation fail (several
        items where one is needed, operands of wrong types) and ``errors.TooCostly`` when the budget is used up.
        """
        services = Services(resolver, member_of, conforms_to, now)
        return list(self._evaluate(Context(_node(focus), variables or _NO_VARIABLES, services, budget)))

    def boolean(
        self,
        focus: "dict[str, Any] | Node",
        *,
        variables: Mapping[str, Any] | None = None,
        resolver: Resolver | None = None,
        member_of: MemberOf | None = None,
        conforms_to: ConformsTo | None = None,
        now: datetime.datetime | None = None,
        budget: int = DEFAULT_BUDGET,
        empty: bool = False,
    ) -> bool:
        """Return whether the expression holds: true, or one item that is no Boolean.

        ``empty`` is the answer for the empty collection: give True for invariants, which R4 writes so that they say
        nothing where there is nothing (``fullUrl.contains('/_history/').not()``). Other arguments and errors as for
        ``evaluate``; several items are an ``errors.Processing``.
        """
        services = Services(resolver, member_of, conforms_to, now)
        context = Context(_node(focus), variables or _NO_VARIABLES, services, budget)
        answer = truth(context, self._evaluate(context))
        return empty if answer is None else answer

    def values(self, resource: dict[str, Any]) -> list[Value]:
        """Return (raw JSON value, type code, extras) of each item, fast: what search indexes are made of.

        ``extras`` is the ``_x`` sibling of a primitive or None; the value of a primitive that has only extensions is
        None. Computed values have a ``System.`` type. References are not fetched. The items are those of ``evaluate``,
        except that a union may give equal items more than once. Raises as ``evaluate`` does.
        """
        try:
            shortcut = self._shortcuts[resource["resourceType"]]
        except (KeyError, TypeError):
            shortcut = self._remember_shortcut(resource)
        if shortcut is not None:
            try:
                return shortcut(resource)
            except (AttributeError, TypeError, KeyError):
                pass  # not built as R4 says: the full evaluation takes what it can
        context = Context(root_node(resource), _NO_VARIABLES, _NO_SERVICES, DEFAULT_BUDGET)
        return [(node.value, node.type, node.extras) for node in self._evaluate(context)]

    def _remember_shortcut(self, resource: dict[str, Any]) -> Shortcut | None:
        resource_type = resource_type_of(resource)
        if resource_type != resource.get("resourceType"):
            return None
        shortcut = self._shortcuts[resource_type] = build_shortcut(self.tree, resource_type)
        return shortcut


def compile_expression(text: str, root_type: str | None = None) -> Expression:
    """Return the compiled expression; short ones come from a cache, but who uses one all the time should keep it.

    With ``root_type`` the branches of a top-level union that start at another type are left out. Raises
    ``errors.Invalid`` with the place of the fault for what is not FHIRPath, for unknown functions and types, and for
    expressions beyond ``lexer.MAX_LENGTH``, ``parser.MAX_NESTING`` or ``parser.MAX_DEPTH``.
    """
    return (_compile_short if len(text) <= _MAX_CACHED_TEXT else _compile)(text, root_type)


def _compile(text: str, root_type: str | None) -> Expression:
    tree = parse(text)
    return Expression(text, tree if root_type is None else _pruned(tree, root_type))


# An expression takes some 250 bytes for each character, and anyone may send one: the cache is bounded in both.
_MAX_CACHED_TEXT = 400
_compile_short = lru_cache(maxsize=512)(_compile)


def _pruned(tree: Tree, root_type: str) -> Tree:
    if not isinstance(tree, Union):
        return tree
    branches = tuple(branch for branch in tree.branches if belongs_to(branch, root_type))
    return Union(branches) if branches else Empty()


def _node(focus: "dict[str, Any] | Node") -> Node:
    return focus if isinstance(focus, Node) else root_node(focus)
