"""What the planner of joins works by and comes to: limits, the questions it asks of the database, plans."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from fhir_server.search.ast import Node

IndexDocument = Mapping[str, Any]
"""What ``matcher.index_document`` builds, with at least the fields that were asked for."""


@dataclass(frozen=True, slots=True)
class Limits:
    """``keys``: matches of an inner side that are looked up at once; ``budget``: resources that one search may examine
    for its joins; ``depth``: hops from the resource searched; ``worth``: how many matches of an inner side are looked
    up rather than one candidate more is probed.
    """

    keys: int = 1_000
    budget: int = 100_000
    depth: int = 8
    worth: int = 2


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Planned:
    """``tree`` has no join and matches at least what was asked; ``residual``, if any, says what else must hold."""

    tree: Node
    residual: Node | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """How one join was resolved, for ``__explain``: by its inner side's keys or by probing; what it has examined."""

    name: str
    way: Literal["keys", "probe"]
    examined: int


class Lookup(Protocol):
    """What the planner asks of the database, on a caller's behalf."""

    def visible(self, resource_type: str) -> Node:
        """Return the tree of what the caller may find of a type by searching."""

    def readable(self, resource_type: str) -> Node:
        """Return the tree of what the caller may read of a type."""

    def find(self, tree: Node, fields: Sequence[str], limit: int) -> list[IndexDocument]:
        """Return some documents, all if they are fewer than ``limit``; ``*`` means all fields. One round trip."""

    def count(self, tree: Node, limit: int) -> int:
        """Return how many documents there are, counting no further than ``limit``. One round trip."""

    def walk(self, tree: Node, fields: Sequence[str]) -> Iterator[list[IndexDocument]]:
        """Yield all documents in batches, in no order. One round trip for each."""

    def exist(self, trees: Sequence[Node]) -> list[bool]:
        """Return, for each tree, whether there is a document. One round trip."""
