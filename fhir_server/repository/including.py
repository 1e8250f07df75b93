"""What comes along with a page: ``_include`` and ``_revinclude``, each level in one query, each type by its own policy.

A version that a reference names is narrowed as history is, and where it is not to be had the current one stands in.
Spec: http://hl7.org/fhir/R4/search.html#include
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fhir_server.access.policy import Policy
from fhir_server.fhir.json import parse_json
from fhir_server.repository.sight import Sight
from fhir_server.search.apart import APART_TYPES
from fhir_server.search.ast import Everything, Node, Nothing, Or, ReferenceIs, TypeIs
from fhir_server.search.building import build_and, build_or
from fhir_server.search.compiler import to_filter
from fhir_server.search.history_filter import to_history_filter
from fhir_server.search.includes import Include, Pointers, fields_for, find_pointers
from fhir_server.search.indexer import to_index
from fhir_server.storage.documents import collection_of, to_version_key
from fhir_server.storage.store import Document, Query, Store

MAX_LEVELS = 16
"""How often ``:iterate`` goes further: every level is a round trip."""
MAX_KEYS = 20_000
"""What one level may ask for, in index keys."""


@dataclass(slots=True)
class Included:
    """The resources that come along, each once, in the order of their references.

    ``cut`` says that there are more than the limits allow, ``unreadable`` that a reference could not be followed.
    """

    documents: list[Document] = field(default_factory=list)
    cut: bool = False
    unreadable: bool = False


def find_included(
    store: Store, sight: Sight, includes: Sequence[Include], matches: Sequence[Document], limit: int
) -> Included:
    """Return what the includes bring along with the matches, which have the fields that ``fields_for`` names."""
    found = Included()
    seen = {(one.reference, one.version) for one in matches}
    iterated = tuple(one for one in includes if one.iterate)
    level = _Level(store, sight.authority.policy, fields_for(iterated, ()))
    frontier: Sequence[Document] = matches
    levels = 0
    while True:
        pointers = find_pointers(includes, [(one.reference, one.index) for one in frontier])
        found.unreadable |= pointers.unreadable
        _forget(pointers, seen)
        if not pointers.size:
            break
        if levels == MAX_LEVELS or pointers.size > MAX_KEYS:
            found.cut = True
            break
        room = limit - len(found.documents)
        frontier = [
            one for one in level.find(pointers, room + len(seen) + 1) if (one.reference, one.version) not in seen
        ]
        if len(frontier) > room:
            found.cut, frontier = True, frontier[:room]
        # What is not shown leads on to nothing either.
        frontier = sight.shown(frontier)
        found.documents += frontier
        seen |= {(one.reference, one.version) for one in frontier}
        if found.cut or not frontier or not iterated:
            break
        includes, levels = iterated, levels + 1
    found.documents.sort(key=lambda one: (one.reference, one.version))
    return found


def _forget(pointers: Pointers, seen: Collection[tuple[str, int]]) -> None:
    """Take out what is there already; a version only where that very one is."""
    for reference, version in seen:
        pointers.resources.pop(reference, None)
        pointers.versions.pop((reference, str(version)), None)


@dataclass(frozen=True, slots=True)
class _Level:
    """Asks for one level; ``fields`` are what the next one needs of its documents."""

    store: Store
    policy: Policy
    fields: tuple[str, ...]

    def find(self, pointers: Pointers, limit: int) -> list[Document]:
        """Return the documents that the caller may see, each once; more than ``limit`` are not all there."""
        for_want_of_version = {reference for reference, _ in pointers.versions if reference not in pointers.resources}
        pointers.resources.update(dict.fromkeys(for_want_of_version))
        asked = pointers.by_type()
        tree = self._visible({kind: node for kind, node in asked.items() if kind not in APART_TYPES})
        most = limit + len(for_want_of_version)
        events = self._apart({kind: node for kind, node in asked.items() if kind in APART_TYPES}, most)
        keys = [
            to_version_key(reference, int(version)) for reference, version in pointers.versions if _is_number(version)
        ]
        if isinstance(tree, Nothing) and not keys:
            return events
        query = Query(to_filter(tree), (), most, index_fields=self.fields)
        current, versions = self.store.find_included(query, keys, self._restriction(pointers))
        return [*self._chosen(current, versions, for_want_of_version), *events]

    def _apart(self, asked: Mapping[str, Node], limit: int) -> list[Document]:
        """Return what is asked for of types that have a collection of their own; +1 round trip."""
        tree = self._visible(asked)
        if isinstance(tree, Nothing):
            return []
        collection = collection_of(next(iter(asked)))
        return self.store.find(Query(to_filter(tree), (), limit, index_fields=self.fields, collection=collection))

    def _visible(self, asked: Mapping[str, Node]) -> Node:
        """Return the condition of what is asked for, types of one policy together."""
        groups: dict[Node, list[Node]] = {}
        for kind, node in asked.items():
            groups.setdefault(self.policy.filter(kind, "search"), []).append(node)
        return build_or(build_and([_joined(nodes), narrowing]) for narrowing, nodes in groups.items())

    def _restriction(self, pointers: Pointers) -> Mapping[str, Any]:
        kinds = dict.fromkeys(reference.partition("/")[0] for reference, _ in pointers.versions)
        trees = {kind: self.policy.filter(kind, "history") for kind in kinds}
        if all(isinstance(tree, Everything) for tree in trees.values()):
            return {}
        return to_history_filter(build_or(build_and([TypeIs((kind,)), tree]) for kind, tree in trees.items()))

    def _chosen(
        self, current: Sequence[Document], versions: Sequence[Document], for_want_of_version: Collection[str]
    ) -> list[Document]:
        """Return the versions and the current documents, without those that only stood in for a version found."""
        there = {(one.reference, one.version) for one in current}
        older = [self._indexed(one) for one in versions if (one.reference, one.version) not in there]
        replaced = {one.reference for one in versions} & set(for_want_of_version)
        named = {(one.reference, one.version) for one in versions}
        return [
            *(one for one in current if one.reference not in replaced or (one.reference, one.version) in named),
            *older,
        ]

    def _indexed(self, version: Document) -> Document:
        """Return the version with the fields that history does not keep, if they are needed."""
        if not self.fields:
            return version
        index = to_index(parse_json(version.body or b""))
        return replace(version, index={**version.index, **{one: index[one] for one in self.fields if one in index}})


def _joined(nodes: Iterable[Node]) -> Node:
    """Return the disjunction, with all that are sought by their reference in one condition."""
    parts = [part for node in nodes for part in (node.children if isinstance(node, Or) else (node,))]
    references = [one for part in parts if isinstance(part, ReferenceIs) for one in part.references]
    others = [part for part in parts if not isinstance(part, ReferenceIs)]
    return build_or([*([ReferenceIs(tuple(references))] if references else []), *others])


def _is_number(version: str) -> bool:
    return version.isascii() and version.isdigit() and len(version) <= 9
