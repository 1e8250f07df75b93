"""Joins resolved: how a tree with chains, ``_has`` and ``_list`` is asked of a database that knows single documents.

The cheap question comes first: the inner side's matches, one more than are worth looking up. Where that is all there
are, their keys take the join's place and the database does the rest (``keys``). Where there are more, the outer side
is walked instead: candidates in the order of the page, each batch asked for what it points to (``probe``). Every hop
of a batch is one round trip; whatever is examined is counted against the budget, and a search that would exceed it
is refused, never cut.

The planner has no authority of its own: ``Lookup.visible`` narrows every inner question to what the caller may
search, so that a hidden resource answers as an absent one does.
Spec: http://hl7.org/fhir/R4/search.html#chaining, #has
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from fhir_server.errors import Issue, Text, TooCostly
from fhir_server.search.ast import (
    And,
    Chain,
    Everything,
    Has,
    Join,
    ListMember,
    Node,
    Not,
    Nothing,
    Or,
    ReferenceIs,
    TypeIs,
    build_and,
    build_not,
    build_or,
)
from fhir_server.search.links import is_referred_to, link_fields, link_targets, names_of, refers_to, target_fields
from fhir_server.search.matcher import matches
from fhir_server.search.measures import fields_of, has_joins, hops_of, merge_fields

IndexDocument = Mapping[str, Any]
"""What ``matcher.index_document`` builds, with at least the fields that were asked for."""

_PATIENCE = 2
"""How many candidates for each key that may be looked up are walked before an inner side counts as too large."""

_OUTERMOST = 50
"""How many times as many keys may be asked for where they are asked for once."""


@dataclass(frozen=True, slots=True)
class Limits:
    """``keys``: matches of an inner side that are looked up at once; ``budget``: resources that one search may examine
    for its joins; ``depth``: hops from the resource searched.
    """

    keys: int = 1_000
    budget: int = 100_000
    depth: int = 8


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

    def walk(self, tree: Node, fields: Sequence[str]) -> Iterator[list[IndexDocument]]:
        """Yield all documents in batches, in no order. One round trip for each."""

    def exist(self, trees: Sequence[Node]) -> list[bool]:
        """Return, for each tree, whether there is a document. One round trip."""


@dataclass(slots=True)
class Planner:
    """Plans one search; counts what it examines. Not for reuse."""

    lookup: Lookup
    limits: Limits = DEFAULT_LIMITS
    examined: int = 0
    steps: list[Step] = field(default_factory=list)
    _known: dict[tuple[Node, tuple[str, ...]], list[IndexDocument] | None] = field(default_factory=dict)
    """The matches of the inner sides that have been looked up, None for too many."""
    _pointed: dict[Has, Collection[str] | None] = field(default_factory=dict)
    _lists: dict[str, Sequence[str]] = field(default_factory=dict)
    _hops: int = 0
    """How far from the resource searched the planner is at work: 1 for the search's own joins."""
    _name: str = ""
    """The parameter that is being resolved, as the caller wrote it."""

    def plan(self, tree: Node) -> Planned:
        """Return the tree with its joins resolved as far as looking up can. Raises ``TooCostly``."""
        if not has_joins(tree):
            return Planned(tree)
        _check_depth(tree, self.limits.depth)
        return self._plan(tree)

    def settle(self, residual: Node, documents: Sequence[IndexDocument]) -> list[IndexDocument]:
        """Return those documents for which the residual holds; they carry ``fields_of(residual)``."""
        if not documents:
            return []
        with self._at_work_on(residual):
            self._spend(len(documents))
        exact = self._exact(residual, documents)
        return [one for one in documents if matches(exact, one)]

    def _plan(self, tree: Node) -> Planned:
        match tree:
            case And(children):
                parts = self._plan_all(children)
                residuals = [part.residual for part in parts if part.residual is not None]
                return Planned(build_and(part.tree for part in parts), build_and(residuals) if residuals else None)
            case Or(children):
                parts = [self._plan(child) for child in children]
                bound = build_or(part.tree for part in parts)
                return Planned(bound, build_or(map(_whole, parts)) if any(part.residual for part in parts) else None)
            case Not(child):
                part = self._plan(child)
                if part.residual is None:
                    return Planned(build_not(part.tree))
                return Planned(Everything(), build_not(_whole(part)))
            case Chain() | Has() | ListMember():
                found = self._look_up(tree)
                return Planned(found) if found is not None else Planned(Everything(), tree)
            case _:
                return Planned(tree)

    def _plan_all(self, children: Sequence[Node]) -> list[Planned]:
        """Plan the children of an And, no further than the first that nothing can match."""
        parts: list[Planned] = []
        for child in sorted(children, key=has_joins):
            parts.append(self._plan(child))
            if isinstance(parts[-1].tree, Nothing):
                return parts[-1:]
        return parts

    def _look_up(self, join: Join) -> Node | None:
        """Return what the join comes to by its inner side's matches, None if they are too many."""
        before = self.examined
        with self._at_work_on(join):
            found = self._resolve(join)
        self.steps.append(Step(join.name, "probe" if found is None else "keys", self.examined - before))
        return found

    def _resolve(self, join: Join) -> Node | None:
        match join:
            case Chain(_, link, targets):
                found = self._few(self._targets_tree(join, None), target_fields(kind for kind, _ in targets))
                return None if found is None else refers_to(link, found)
            case Has(_, _, types, _):
                pointed = self._few_pointed(join)
                return None if pointed is None or self._are_many(pointed) else is_referred_to(pointed, types)
            case ListMember(_, _, types):
                members = self._members(join)
                return None if self._are_many(members) else is_referred_to(members, types)

    def _few_pointed(self, has: Has) -> Collection[str] | None:
        """Return all that the inner side of a ``_has`` refers to, None if that is too large to look up."""
        if has not in self._pointed:
            inner = self._narrowed(has.link.resource_type, has.tree)
            found = self._few(inner, link_fields(has.link, has.types))
            self._pointed[has] = None if found is None else dict.fromkeys(_pointed(has, found))
        return self._pointed[has]

    def _few(self, inner: Node, fields: Sequence[str]) -> list[IndexDocument] | None:
        """Return the matches of an inner side, None if they are more than ``Limits.keys`` or hard to find."""
        question = inner, tuple(fields)
        if question not in self._known:
            self._known[question] = self._find_few(self._plan(inner), fields)
        return self._known[question]

    def _find_few(self, planned: Planned, fields: Sequence[str]) -> list[IndexDocument] | None:
        if isinstance(planned.tree, Nothing):
            return []
        most = self.limits.keys
        if planned.residual is None:
            found = self.lookup.find(planned.tree, fields, most + 1)
            self._spend(len(found))
            return None if len(found) > most else found
        found, start = [], self.examined
        for batch in self._walk(planned, fields):
            found += batch
            if len(found) > most or self.examined - start > most * _PATIENCE:
                return None
        return found

    def _are_many(self, keys: Collection[str]) -> bool:
        """Say whether the keys are too many to ask for: once for the search itself, again and again within a probe."""
        return len(keys) > self.limits.keys * (_OUTERMOST if self._hops == 1 else 1)

    def _members(self, member: ListMember) -> Sequence[str]:
        """Return what the entries of a list refer to."""
        if member.id not in self._lists:
            self._lists[member.id] = self._find_members(member)
        return self._lists[member.id]

    def _find_members(self, member: ListMember) -> Sequence[str]:
        reference = ReferenceIs((f"List/{member.id}",))
        found = self.lookup.find(build_and([reference, self.lookup.readable("List")]), ("r",), 1)
        start = "List.item>"
        keys = [key[len(start) :] for one in found for key in one.get("r", ()) if key.startswith(start)]
        self._spend(1 + len(keys))
        return keys

    def _walk(self, planned: Planned, fields: Sequence[str]) -> Iterator[list[IndexDocument]]:
        """Yield the matches among one batch of candidates after another."""
        if isinstance(planned.tree, Nothing):
            return
        residual = planned.residual
        wanted = fields if residual is None else merge_fields(fields, fields_of(residual))
        for batch in self.lookup.walk(planned.tree, wanted):
            if residual is None:
                self._spend(len(batch))
            yield batch if residual is None else self.settle(residual, batch)

    def _exact(self, residual: Node, documents: Sequence[IndexDocument]) -> Node:
        """Return the residual with each join replaced by what it comes to for these documents."""
        match residual:
            case And(children):
                return build_and(self._exact(child, documents) for child in children)
            case Or(children):
                return build_or(self._exact(child, documents) for child in children)
            case Not(child):
                return build_not(self._exact(child, documents))
            case Chain() | Has() | ListMember():
                with self._at_work_on(residual):
                    return self._probe(residual, documents)
            case _:
                return residual

    def _probe(self, join: Join, documents: Sequence[IndexDocument]) -> Node:
        match join:
            case Chain():
                return self._probe_chain(join, documents)
            case Has():
                return self._probe_has(join, documents)
            case ListMember(_, _, types):
                names = {name for one in documents for name in names_of(one)}
                return is_referred_to(names.intersection(self._members(join)), types)

    def _probe_chain(self, chain: Chain, documents: Sequence[IndexDocument]) -> Node:
        types = [kind for kind, _ in chain.targets]
        pointed = dict.fromkeys(target for one in documents for target in link_targets(chain.link, types, one))
        if not pointed:
            return Nothing()
        fields = target_fields(types)
        planned = self._plan(self._targets_tree(chain, tuple(pointed)))
        return refers_to(chain.link, [one for batch in self._walk(planned, fields) for one in batch])

    def _probe_has(self, has: Has, documents: Sequence[IndexDocument]) -> Node:
        candidates = [one for one in documents if one["_id"].partition("/")[0] in has.types]
        if not candidates:
            return Nothing()
        pointed = self._few_pointed(has)
        if pointed is not None:
            names = {name for one in candidates for name in names_of(one)}
            return is_referred_to(names.intersection(pointed), has.types)
        planned = self._plan(self._narrowed(has.link.resource_type, has.tree))
        if planned.residual is None:
            trees = [build_and([refers_to(has.link, [one]), planned.tree]) for one in candidates]
            self._spend(len(trees))
            found = [one for one, exists in zip(candidates, self.lookup.exist(trees), strict=True) if exists]
            return ReferenceIs(tuple(one["_id"] for one in found)) if found else Nothing()
        inner = Planned(build_and([refers_to(has.link, candidates), planned.tree]), planned.residual)
        wanted = {name for one in candidates for name in names_of(one)}
        reached: set[str] = set()
        for batch in self._walk(inner, link_fields(has.link, has.types)):
            reached |= wanted.intersection(_pointed(has, batch))
            if reached == wanted:
                break
        return is_referred_to(reached, has.types)

    def _targets_tree(self, chain: Chain, pointed: Sequence[str] | None) -> Node:
        """Return what a chain asks of the types it leads to, of those resources alone if some are given."""
        return build_or(
            build_and(
                [self._narrowed(kind, tree), Everything() if pointed is None else is_referred_to(pointed, (kind,))]
            )
            for kind, tree in chain.targets
        )

    def _narrowed(self, resource_type: str, tree: Node) -> Node:
        return build_and([TypeIs((resource_type,)), tree, self.lookup.visible(resource_type)])

    @contextmanager
    def _at_work_on(self, node: Node) -> Iterator[None]:
        """Name, within the block, the outermost join by its parameter."""
        before = self._name
        self._name = before or next((name for name, _ in hops_of(node)), "")
        self._hops += 1
        try:
            yield
        finally:
            self._name = before
            self._hops -= 1

    def _spend(self, count: int) -> None:
        self.examined += count
        budget = self.limits.budget
        if self.examined > budget:
            reason = Text(
                f"more than {budget} resources would have to be examined for it: narrow the search",
                f"il faudrait examiner plus de {budget} ressources : précisez la recherche",
            )
            raise TooCostly([_issue(self._name, reason)])


def _whole(part: Planned) -> Node:
    return part.tree if part.residual is None else build_and([part.tree, part.residual])


def _pointed(has: Has, documents: Sequence[IndexDocument]) -> list[str]:
    return list(dict.fromkeys(target for one in documents for target in link_targets(has.link, has.types, one)))


def _check_depth(tree: Node, most: int) -> None:
    for name, depth in hops_of(tree):
        if depth > most:
            raise TooCostly([_issue(name, Text(f"it has more than {most} hops", f"il compte plus de {most} étapes"))])


def _issue(name: str, reason: Text) -> Issue:
    text = Text(
        f"The search parameter {name} cannot be used: {reason.en}.",
        f"Le paramètre de recherche {name} est inutilisable : {reason.fr}.",
    )
    return Issue("too-costly", text, "error", (f"http.{name}",))
