"""Value sets and hierarchies in a search tree, replaced by the codes that they come to.

Spec: http://hl7.org/fhir/R4/search.html#token (modifiers in, not-in, above, below)
"""

from dataclasses import dataclass, field, replace

from fhir_server.errors import FhirError, Issue, NotSupported, Text, Value
from fhir_server.search.ast import (
    And,
    Chain,
    Has,
    InValueSet,
    KeyBetween,
    Node,
    Not,
    Nothing,
    Or,
    Subsumed,
    TokenIn,
)
from fhir_server.search.building import build_and, build_not, build_or
from fhir_server.search.param_types.token import code_key, coded_key, fold, system_node
from fhir_server.terminology.code_systems import Lookup, Resource, find_code_system
from fhir_server.terminology.value_sets import Codes, expand

_NO_SYSTEM = Text(
    "this server does not have the whole hierarchy of the code system",
    "ce serveur n’a pas toute la hiérarchie de ce système de codes",
)
_NOT_IS_A = Text(
    "the hierarchy of the code system does not mean that one code subsumes another",
    "la hiérarchie de ce système de codes ne signifie pas qu’un code en subsume un autre",
)
_NO_CODE = Text("the code system does not have the code", "le système de codes n’a pas ce code")


def resolve_terminology(tree: Node, lookup: Lookup) -> Node:
    """Return the tree with tokens in place of each ``InValueSet`` and ``Subsumed``; the same one if it has none.

    Raises ``Value``, ``NotSupported`` or ``TooCostly`` naming the parameter whose codes cannot be told completely.
    """
    return _resolve(tree, _Memory(lookup)) if _has_any(tree) else tree


@dataclass(frozen=True, slots=True)
class _Memory:
    """Asks the look-up once for each resource."""

    lookup: Lookup
    known: dict[tuple[str, str], Resource | None] = field(default_factory=dict)

    def __call__(self, kind: str, canonical: str) -> Resource | None:
        if (kind, canonical) not in self.known:
            self.known[kind, canonical] = self.lookup(kind, canonical)
        return self.known[kind, canonical]


def _has_any(tree: Node) -> bool:
    match tree:
        case And(children) | Or(children):
            return any(map(_has_any, children))
        case Not(child):
            return _has_any(child)
        case Chain(_, _, targets):
            return any(_has_any(inner) for _, inner in targets)
        case Has():
            return _has_any(tree.tree)
        case _:
            return isinstance(tree, InValueSet | Subsumed)


def _resolve(tree: Node, lookup: Lookup) -> Node:
    match tree:
        case And(children):
            return build_and([_resolve(child, lookup) for child in children])
        case Or(children):
            return build_or([_resolve(child, lookup) for child in children])
        case Not(child):
            return build_not(_resolve(child, lookup))
        case Chain(_, _, targets):
            return replace(tree, targets=tuple((kind, _resolve(inner, lookup)) for kind, inner in targets))
        case Has():
            return replace(tree, tree=_resolve(tree.tree, lookup))
        case InValueSet() | Subsumed():
            try:
                return _to_node(tree, _codes(tree, lookup))
            except FhirError as error:
                raise type(error)([_named(tree.name, issue) for issue in error.issues]) from None
        case _:
            return tree


def _codes(node: InValueSet | Subsumed, lookup: Lookup) -> Codes:
    if isinstance(node, InValueSet):
        return expand(node.value_set, lookup)
    system = find_code_system(node.code_system, lookup)
    if system is None or not system.complete:
        raise NotSupported(_NO_SYSTEM)
    if not system.subsumes:
        raise NotSupported(_NOT_IS_A)
    found = system.below(node.code) if node.direction == "below" else system.above(node.code)
    if not found:
        raise Value(_NO_CODE)
    return Codes(frozenset((node.code_system, fold(node.code_system, code)) for code in found))


def _to_node(node: InValueSet | Subsumed, codes: Codes) -> Node:
    """Return the condition that an element has one of the codes, in the form in which the parameter indexes them."""
    pairs = sorted(codes.pairs)
    if node.system is None:
        keys = tuple(coded_key(node.key, system, code) for system, code in pairs)
        return build_or([_tokens(keys), *(system_node(node.key, system) for system in sorted(codes.systems))])
    if node.system in codes.systems:
        return KeyBetween("t", f"{node.key}|", f"{node.key}}}")
    return _tokens(tuple(dict.fromkeys(code_key(node.key, code) for system, code in pairs if system == node.system)))


def _tokens(keys: tuple[str, ...]) -> Node:
    return TokenIn(keys) if keys else Nothing()


def _named(name: str, issue: Issue) -> Issue:
    text = Text(
        f"The search parameter {name} cannot be used: {issue.text.en}.",
        f"Le paramètre de recherche {name} est inutilisable : {issue.text.fr}.",
    )
    return replace(issue, text=text, expression=(f"http.{name}",))
