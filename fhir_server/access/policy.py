"""What a caller may do, as search trees: a listing uses one as a filter, a read or write as a predicate.

A policy is (what the scopes name) AND (what any rule opens). Closed by default: no scope, no rule, or an error in a
rule, and the tree is Nothing. Labels, consents and the state of the record are part of the rules' trees.
Spec: http://hl7.org/fhir/R4/security.html, https://hl7.org/fhir/smart-app-launch/scopes-and-launch-context.html
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from fhir_server.access.caller import Caller
from fhir_server.access.decision import Decision, Delta
from fhir_server.access.facts import Facts
from fhir_server.access.relabelling import may_relabel
from fhir_server.access.resource_groups import PUBLIC
from fhir_server.access.rule import Action, Rule
from fhir_server.access.rules.catalogue import RULES
from fhir_server.access.scope_tree import scope_tree
from fhir_server.access.scopes import Letter, allows
from fhir_server.fhir.definitions import compartment_definitions, resource_types
from fhir_server.search.ast import (
    And,
    Everything,
    Node,
    Nothing,
    OfNoPatient,
    Or,
    OwnedBy,
    ReferenceIs,
    TypeIs,
)
from fhir_server.search.building import build_and, build_or
from fhir_server.search.matcher import Test, matches, to_test
from fhir_server.search.measures import is_identity

__all__ = ["Action", "FactsSource", "Policy"]

FactsSource = Callable[[Sequence[str] | None], Facts]
"""Returns the facts about the records of some patients (``Patient/id``); None: of those that the caller may know of."""

_NO_SCOPE = Decision(False, missing="scope")
_NO_RULE = Decision(False, missing="rule")
_UNRESTRICTED = ("open", "local")
_SHOWING: tuple[Action, ...] = ("read", "search")
_OF_MANY = ("professional", "system")
_LETTERS: Mapping[Action, Letter] = {
    "read": "r", "vread": "r", "history": "r", "search": "s", "create": "c", "update": "u", "patch": "u", "delete": "d",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Compiled:
    """The policy on one type and action: the scopes' tree, the rules that apply, and an error that closed it.

    ``is_named`` tests a document by the scopes, ``opening`` by each rule, with the decision that it leads to;
    ``by_identity``: what a resource is settles all of it (``measures.is_identity``).
    """

    scopes: Node
    rules: tuple[Rule, ...]
    tree: Node
    error: Exception | None = None
    is_named: Test = field(init=False, repr=False, compare=False)
    opening: tuple[tuple[Test, Rule, Decision], ...] = field(init=False, repr=False, compare=False)
    by_identity: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "is_named", to_test(self.scopes))
        opening = tuple((to_test(rule.tree), rule, Decision(True, rule.name)) for rule in self.rules)
        object.__setattr__(self, "opening", opening)
        object.__setattr__(self, "by_identity", is_identity(self.tree))

    def decide(self, document: Mapping[str, Any]) -> Decision:
        """Return the decision on one index document that the scopes name: that of the first rule that opens it."""
        for opens, _, decision in self.opening:
            if opens(document):
                return decision
        return _NO_RULE


@dataclass(frozen=True, slots=True)
class Policy:
    """The policy of one caller for one request; ``failed`` is told of errors in rules, which have closed them."""

    caller: Caller
    source: FactsSource | None = field(default=None, kw_only=True)
    failed: Callable[[Exception], None] | None = field(default=None, kw_only=True, compare=False)
    patients: tuple[str, ...] | None = field(default=None, kw_only=True)
    """The policy is about these patients' records alone."""
    _known: dict[tuple[str, Action], Compiled] = field(default_factory=dict, init=False, repr=False, compare=False)
    """What it comes to on the types and actions that the request has asked about: its facts stay what they are."""

    @property
    def unrestricted(self) -> bool:
        """Nothing is withheld: a server without authentication, or its own command line."""
        return self.caller.kind in _UNRESTRICTED

    @property
    def is_of_many(self) -> bool:
        """The caller acts for more than one patient: what they may do depends on whose record it is."""
        return self.caller.kind in _OF_MANY and not self.caller.trusted

    def chooses_ids(self, resource_type: str) -> bool:
        """Say whether the caller may give ids to new resources of a type: only who sees all ids that are taken may."""
        if self.unrestricted:
            return True
        if not self.caller.trusted and self.caller.kind != "operator":
            return False
        return any(_is_all(self.filter(resource_type, action), resource_type) for action in ("read", "search"))

    @property
    def explains(self) -> bool:
        """The caller may be told what a search examined: it tells of what was not returned, so nothing is withheld."""
        return self.unrestricted

    @property
    def digest(self) -> str:
        """What page links are bound to: changes whenever the caller's rights do."""
        if self.unrestricted:
            return self.caller.kind
        return _digest(self.caller)

    def about(self, patients: Sequence[str]) -> "Policy":
        """Return the same policy with the facts of these patients' records, ``Patient/id``.

        Who acts for one patient is never told of another's record; to a trusted service facts make no difference.
        """
        if not self.is_of_many or self.source is None:
            return self
        return replace(self, patients=tuple(sorted(set(patients))))

    def filter(self, resource_type: str | None, action: Action) -> Node:
        """Return the tree of what the caller may touch by ``action``; of a type, or of all."""
        if self.unrestricted:
            return Everything()
        if resource_type is not None:
            return self._compiled(resource_type, action).tree
        groups: dict[Node, list[str]] = {}
        for kind in sorted(resource_types()):
            groups.setdefault(self.filter(kind, action), []).append(kind)
        return build_or(build_and([TypeIs(tuple(kinds)), tree]) for tree, kinds in groups.items())

    def is_scoped(self, resource_type: str, action: Action) -> bool:
        """Say whether any scope names the action on the type: a matter of the token, which tells of no resource."""
        return self.unrestricted or not isinstance(self._compiled(resource_type, action).scopes, Nothing)

    def is_by_identity(self, resource_type: str, action: Action) -> bool:
        """Say whether what a resource is (its patient, compartments, labels, owner) settles the action on the type."""
        return self.unrestricted or self._compiled(resource_type, action).by_identity

    def permits(self, action: Action, document: Mapping[str, Any], delta: Delta | None = None) -> Decision:
        """Return the decision on one index document (``matcher.index_document``), and on a change if one is given."""
        if self.unrestricted:
            return Decision(matches(self.filter(str(document["type"]), action), document), self.caller.kind)
        compiled = self._compiled(str(document["type"]), action)
        if compiled.error is not None:
            return Decision(False, missing="error")
        if not compiled.is_named(document):
            return _NO_SCOPE
        if delta is None:
            return compiled.decide(document)
        applying = [rule for opens, rule, _ in compiled.opening if opens(document)]
        return _on_change(self.facts(), applying, delta, document) if applying else _NO_RULE

    def facts(self) -> Facts:
        """Return what the policy is computed from."""
        return Facts(self.caller) if self.source is None else self.source(self.patients)

    def _compiled(self, resource_type: str, action: Action) -> Compiled:
        compiled = self._known.get((resource_type, action))
        if compiled is None:
            compiled = self._known[resource_type, action] = _compile(self.facts(), resource_type, action)
        if compiled.error is not None and self.failed is not None:
            self.failed(compiled.error)
        return compiled


@lru_cache(maxsize=4_096)
def _digest(caller: Caller) -> str:
    return blake2b(repr(replace(caller, token="")).encode(), digest_size=16).hexdigest()


def _is_all(tree: Node, resource_type: str) -> bool:
    """Say whether the tree leaves out nothing of the type, as far as can be told without looking at any resource."""
    match tree:
        case And(children):
            return all(_is_all(child, resource_type) for child in children)
        case Or(children):
            return any(_is_all(child, resource_type) for child in children)
        case TypeIs(types):
            return resource_type in types
        case OfNoPatient():
            return not compartment_definitions()["Patient"].get(resource_type)
        case _:
            return isinstance(tree, Everything)


def _on_change(facts: Facts, applying: Sequence[Rule], delta: Delta, document: Mapping[str, Any]) -> Decision:
    fitting = [rule for rule in applying if rule.elements is None or delta.elements <= rule.elements]
    if not fitting or (delta.moves and not facts.caller.trusted):
        return Decision(False, missing="rights")
    for rule in fitting:
        if may_relabel(facts, document, delta.labels - rule.labels):
            return Decision(True, rule.name)
    return Decision(False, missing="labels")


@lru_cache(maxsize=4_096)
def _compile(facts: Facts, resource_type: str, action: Action) -> Compiled:
    try:
        scopes = _scopes(facts, resource_type, action)
        found = (rule(facts, resource_type, action) for rule in RULES)
        rules = tuple(rule for rule in found if rule is not None and not isinstance(rule.tree, Nothing))
        return Compiled(scopes, rules, build_and([scopes, build_or(_widest([rule.tree for rule in rules]))]))
    except Exception as error:  # whatever it is: a policy that cannot be computed lets nothing through
        return Compiled(Nothing(), (), Nothing(), error)


def _widest(trees: Sequence[Node]) -> list[Node]:
    """Return the alternatives without those that only add conditions to another, which finds all that they do."""
    conditions = [frozenset(one.children) if isinstance(one, And) else frozenset((one,)) for one in trees]
    return [one for one, own in zip(trees, conditions, strict=True) if not any(other < own for other in conditions)]


def _scopes(facts: Facts, resource_type: str, action: Action) -> Node:
    """Return what the token's scopes name; defining needs a rule alone."""
    if action == "refer":
        return _referable(facts, resource_type)
    letter = _LETTERS.get(action)
    if letter is None:
        return Everything()
    caller = facts.caller
    if resource_type == "Binary" or (resource_type in PUBLIC and letter in "rs"):
        # In no compartment: for a Binary its carriers tell whose it is, the directory is everybody's.
        return TypeIs((resource_type,)) if allows(caller.scopes, resource_type, letter) else Nothing()
    return scope_tree(caller.scopes, resource_type, letter, caller.patient, facts.base_url)


def _referable(facts: Facts, resource_type: str) -> Node:
    """Return what may be referred to: what the scopes let the caller read or find, and whom the token itself names.

    Otherwise a reference, or the criteria of a conditional one, would tell of what the scopes do not show. Identities
    are a rule's matter, and so is content: it goes where its depositor says.
    """
    caller = facts.caller
    if resource_type in PUBLIC or (resource_type == "Patient" and caller.kind in _OF_MANY):
        return Everything()
    named = [one for one in (f"Patient/{caller.patient}", f"Encounter/{caller.encounter}", caller.user) if one]
    own = OwnedBy(facts.own_keys) if resource_type == "Binary" else Nothing()
    readable = (_scopes(facts, resource_type, action) for action in _SHOWING)
    return build_or([*readable, own, ReferenceIs(tuple(named))])
