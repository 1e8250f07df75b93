"""One reason to allow something: a name, and the tree of the resources on which it allows it.

A rule is a function of (facts, resource type, action) in ``access/rules``: it returns None where it has nothing to
say. All that apply are joined by OR; none: nothing is allowed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from fhir_server.access.facts import Facts
from fhir_server.search.ast import Node

Action = Literal["read", "vread", "search", "history", "create", "update", "patch", "delete", "refer", "define"]

READING = frozenset({"read", "vread", "search", "history"})
CHANGING = frozenset({"update", "patch"})
WRITING = frozenset({"create", "update", "patch", "delete"})


@dataclass(frozen=True, slots=True)
class Rule:
    """``elements``: a change under this rule may touch these top-level elements and no others (None: any).

    ``labels``: it may put on or take off these labels as well as those that the caller may anyway.
    """

    name: str
    tree: Node
    elements: frozenset[str] | None = None
    labels: frozenset[str] = frozenset()


RuleFunction = Callable[[Facts, str, Action], Rule | None]
