"""Joins resolved: how a tree with chains, ``_has`` and ``_list`` is asked of a database that knows single documents.

There are two ways. The inner side's matches are looked up, their keys take the join's place and the database does the
rest (``keys``); or the outer side is walked, candidates in the order of the page, each batch asked for what it points
to (``probe``). Few matches are looked up at once, few candidates probed. Beyond that the two sides are weighed: as many
matches are looked up as ``Limits.worth`` times the candidates that would have to be probed instead, or have been in
vain, and in any case up to ``Limits.keys``. Every hop of a batch is one round trip; whatever is examined is counted
against the budget, and a search that would exceed it is refused, never cut.

The planner has no authority of its own: ``Lookup.visible`` narrows every inner question to what the caller may
search, so that a hidden resource answers as an absent one does.
Spec: http://hl7.org/fhir/R4/search.html#chaining, #has
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

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
)
from fhir_server.search.building import build_and, build_not, build_or
from fhir_server.search.links import is_referred_to, link_fields, link_targets, names_of, refers_to, target_fields
from fhir_server.search.matcher import to_test
from fhir_server.search.measures import fields_of, has_joins, hops_of, merge_fields, most_matches
from fhir_server.search.plans import DEFAULT_LIMITS, IndexDocument, Limits, Lookup, Planned, Step

_FEW = 100
"""Matches of an inner side that are looked up whatever else there is."""

_FEW_CANDIDATES = 50
"""Candidates that are probed in one go: where the other conditions leave fewer, the inner side may be any size."""

_PATIENCE = 2
"""How many candidates for each key that may be looked up are walked before an inner side counts as too large."""

_OUTERMOST = 50
"""How many times as many keys may be asked for where they are asked for once."""

_INNER = 5
"""Candidates for each key that are counted to weigh one side of an inner join against the other."""

_REFERRERS = 2
"""Referrers for each candidate that are read at once to see which candidates they refer to."""


@dataclass(slots=True)
class Planner:
    """Plans one search; counts what it examines. Not for reuse."""

    lookup: Lookup
    limits: Limits = DEFAULT_LIMITS
    examined: int = 0
    steps: list[Step] = field(default_factory=list)
    _known: dict[tuple[Node, tuple[str, ...]], list[IndexDocument]] = field(default_factory=dict)
    """The matches of the inner sides that have been looked up."""
    _beyond: dict[tuple[Node, tuple[str, ...]], int] = field(default_factory=dict)
    """Of inner sides that have not been: how many matches they have at least."""
    _counted: dict[Node, int] = field(default_factory=dict)
    _pointed: dict[Has, Collection[str]] = field(default_factory=dict)
    _dense: set[Has] = field(default_factory=set)
    """Those whose inner side has many matches for each candidate."""
    _candidates: int = 0
    """How many candidates would have to be probed for the search, or have been."""
    _lists: dict[str, Sequence[str]] = field(default_factory=dict)
    _hops: int = 0
    """How far from the resource searched the planner is at work: 1 for the search's own joins."""
    _name: str = ""
    """The parameter that is being resolved, as the caller wrote it."""

    def plan(self, tree: Node, candidates: int = 0) -> Planned:
        """Return the tree with its joins resolved as far as looking up can. Raises ``TooCostly``.

        ``candidates``: how many would have to be probed, or have been; so much looking up is worth while.
        """
        if not has_joins(tree):
            return Planned(tree)
        _check_depth(tree, self.limits.depth)
        self._candidates = candidates
        return self._plan(tree, Everything())

    def settle(self, residual: Node, documents: Sequence[IndexDocument]) -> list[IndexDocument]:
        """Return those documents for which the residual holds; they carry ``fields_of(residual)``."""
        if not documents:
            return []
        with self._at_work_on(residual):
            self._spend(len(documents))
        exact = self._exact(residual, documents)
        return list(filter(to_test(exact), documents))

    def _plan(self, tree: Node, among: Node) -> Planned:
        """Plan a tree; ``among`` is what else the documents must be."""
        match tree:
            case And(children):
                parts = self._plan_all(children, among)
                residuals = [part.residual for part in parts if part.residual is not None]
                return Planned(build_and(part.tree for part in parts), build_and(residuals) if residuals else None)
            case Or(children):
                parts = [self._plan(child, among) for child in children]
                bound = build_or(part.tree for part in parts)
                return Planned(bound, build_or(map(_whole, parts)) if any(part.residual for part in parts) else None)
            case Not(child):
                part = self._plan(child, among)
                if part.residual is None:
                    return Planned(build_not(part.tree))
                return Planned(Everything(), build_not(_whole(part)))
            case Chain() | Has() | ListMember():
                found = self._look_up(tree, among)
                return Planned(found) if found is not None else Planned(Everything(), tree)
            case _:
                return Planned(tree)

    def _plan_all(self, children: Sequence[Node], among: Node) -> list[Planned]:
        """Plan the children of an And, no further than the first that nothing can match."""
        parts: list[Planned] = []
        for child in sorted(children, key=has_joins):
            parts.append(self._plan(child, among))
            if isinstance(parts[-1].tree, Nothing):
                return parts[-1:]
            among = build_and([among, parts[-1].tree])
        return parts

    def _look_up(self, join: Join, among: Node) -> Node | None:
        """Return what the join comes to by its inner side's matches, None where probing promises more."""
        before = self.examined
        with self._at_work_on(join):
            found = self._resolve(join, min(_FEW, self.limits.keys))
            for most in self._worth(among) if found is None else ():
                found = self._resolve(join, most)
                if found is not None:
                    break
        self.steps.append(Step(join.name, "probe" if found is None else "keys", self.examined - before))
        return found

    def _worth(self, among: Node) -> Iterator[int]:
        """Yield how many matches of an inner side to look up, by the candidates that would be probed instead.

        For a page none, until the first candidates have been probed in vain: where most match they are all it takes.
        """
        keys, worth = self.limits.keys, self.limits.worth
        if self._hops == 1:
            if self._candidates >= _FEW_CANDIDATES:
                yield min(max(keys, worth * self._candidates), _OUTERMOST * keys)
            return
        if self._count(among, _FEW_CANDIDATES) < _FEW_CANDIDATES:
            return
        yield keys
        yield max(keys, worth * self._count(among, _INNER * keys))

    def _count(self, among: Node, limit: int) -> int:
        """Return how many there are, or ``limit`` if there are more."""
        counted = self._counted.get(among, 0)
        if among not in self._counted or counted < limit:
            counted = self._counted[among] = self.lookup.count(among, limit)
        return min(counted, limit)

    def _resolve(self, join: Join, most: int) -> Node | None:
        """Return the node that a join comes to, None for more than ``most`` matches of its inner side."""
        match join:
            case Chain(_, link, targets):
                found = self._few(self._targets_tree(join, None), target_fields(kind for kind, _ in targets), most)
                return None if found is None else refers_to(link, found)
            case Has(_, _, types, _):
                pointed = self._few_pointed(join, most)
                return None if pointed is None or self._are_many(pointed, most) else is_referred_to(pointed, types)
            case ListMember(_, _, types):
                members = self._members(join)
                return None if self._are_many(members, most) else is_referred_to(members, types)

    def _few_pointed(self, has: Has, most: int) -> Collection[str] | None:
        """Return all that the inner side of a ``_has`` refers to, None if that is too large to look up."""
        if has not in self._pointed:
            inner = self._narrowed(has.link.resource_type, has.tree)
            found = self._few(inner, link_fields(has.link, has.types), most)
            if found is None:
                return None
            self._pointed[has] = dict.fromkeys(_pointed(has, found))
        return self._pointed[has]

    def _few(self, inner: Node, fields: Sequence[str], most: int) -> list[IndexDocument] | None:
        """Return the matches of an inner side, None if they are more than ``most`` or hard to find."""
        question = inner, tuple(fields)
        if question not in self._known:
            if self._beyond.get(question, -1) >= most:
                return None
            found = self._find_few(self._plan(inner, Everything()), fields, most)
            if found is None:
                self._beyond[question] = most
                return None
            self._known[question] = found
        return self._known[question]

    def _find_few(self, planned: Planned, fields: Sequence[str], most: int) -> list[IndexDocument] | None:
        if isinstance(planned.tree, Nothing):
            return []
        if planned.residual is None:
            most = max(most, most_matches(planned.tree) or 0)  # the keys of a further join, which are known to be there
            if most > self.limits.keys and self.lookup.count(planned.tree, most + 1) > most:
                return None
            found = self.lookup.find(planned.tree, fields, most + 1)
            self._spend(len(found))
            return None if len(found) > most else found
        found, start = [], self.examined
        for batch in self._walk(planned, fields):
            found += batch
            if len(found) > most or self.examined - start > most * _PATIENCE:
                return None
        return found

    def _are_many(self, keys: Collection[str], most: int) -> bool:
        """Say whether the keys are too many to ask for: once for the search itself, again and again within a probe."""
        return len(keys) > max(most, self.limits.keys * (_OUTERMOST if self._hops == 1 else 1))

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
        planned = self._plan(self._targets_tree(chain, tuple(pointed)), Everything())
        return refers_to(chain.link, [one for batch in self._walk(planned, fields) for one in batch])

    def _probe_has(self, has: Has, documents: Sequence[IndexDocument]) -> Node:
        candidates = [one for one in documents if one["_id"].partition("/")[0] in has.types]
        if not candidates:
            return Nothing()
        pointed = self._few_pointed(has, min(_FEW, self.limits.keys))
        if pointed is not None:
            names = {name for one in candidates for name in names_of(one)}
            return is_referred_to(names.intersection(pointed), has.types)
        planned = self._plan(self._narrowed(has.link.resource_type, has.tree), Everything())
        if planned.residual is None:
            found = self._referred_to(has, planned.tree, candidates)
            return ReferenceIs(tuple(one["_id"] for one in found)) if found else Nothing()
        inner = Planned(build_and([refers_to(has.link, candidates), planned.tree]), planned.residual)
        wanted = {name for one in candidates for name in names_of(one)}
        reached: set[str] = set()
        for batch in self._walk(inner, link_fields(has.link, has.types)):
            reached |= wanted.intersection(_pointed(has, batch))
            if reached == wanted:
                break
        return is_referred_to(reached, has.types)

    def _referred_to(self, has: Has, tree: Node, candidates: Sequence[IndexDocument]) -> list[IndexDocument]:
        """Return the candidates to which something that the tree describes refers.

        All referrers at once, as long as they are few; each candidate by itself where one alone may have thousands.
        """
        reached: set[str] = set()
        most = _REFERRERS * len(candidates)
        if has not in self._dense:
            asked = build_and([refers_to(has.link, candidates), tree])
            referrers = self.lookup.find(asked, link_fields(has.link, has.types), most)
            self._spend(len(referrers))
            reached.update(_pointed(has, referrers))
            if len(referrers) < most:
                return [one for one in candidates if not reached.isdisjoint(names_of(one))]
            self._dense.add(has)
        left = [one for one in candidates if reached.isdisjoint(names_of(one))]
        self._spend(len(left))
        exist = self.lookup.exist([build_and([refers_to(has.link, [one]), tree]) for one in left])
        without = {one["_id"] for one, exists in zip(left, exist, strict=True) if not exists}
        return [one for one in candidates if one["_id"] not in without]

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
