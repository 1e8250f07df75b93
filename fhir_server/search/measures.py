"""What can be told of a tree with joins by looking at it: whether, how far, by which fields, with how many keys."""

from collections.abc import Iterator, Sequence

from fhir_server.search.ast import (
    And,
    AnyType,
    Chain,
    Everything,
    Has,
    HasLabel,
    InCompartment,
    ListMember,
    Node,
    Not,
    Nothing,
    OfNoPatient,
    Or,
    OwnedBy,
    PatientIs,
    ReferenceIs,
    RefersTo,
    TokenIn,
    TypeIs,
)
from fhir_server.search.links import link_fields, target_fields

ALL_FIELDS = ("*",)
"""In place of the names of index fields."""


def has_joins(tree: Node) -> bool:
    """Say whether there is a join in the tree."""
    match tree:
        case And(children) | Or(children):
            return any(map(has_joins, children))
        case Not(child):
            return has_joins(child)
        case Chain() | Has() | ListMember():
            return True
        case _:
            return False


def fields_of(residual: Node) -> tuple[str, ...]:
    """Return the index fields by which a residual is settled; ``*`` for all of them."""
    match residual:
        case And(children) | Or(children):
            return merge_fields(*map(fields_of, children))
        case Not(child):
            return fields_of(child)
        case Chain(_, link, targets):
            return link_fields(link, [kind for kind, _ in targets])
        case Has(_, _, types, _) | ListMember(_, _, types):
            return target_fields(types)
        case TypeIs() | ReferenceIs() | Everything() | Nothing():
            return ()
        case _:
            return ALL_FIELDS


def is_identity(tree: Node) -> bool:
    """Say whether a tree is settled by what a resource is: id, type, patient, compartments, labels, owner.

    Not by the state of its record, which changes while the resource does not.
    """
    match tree:
        case And(children) | Or(children):
            return all(map(is_identity, children))
        case Not(child):
            return is_identity(child)
        case Everything() | Nothing() | TypeIs() | ReferenceIs() | AnyType() | InCompartment() | HasLabel():
            return True
        case _:
            return isinstance(tree, PatientIs | OfNoPatient | OwnedBy)


def count_keys(tree: Node) -> int:
    """Return about how many keys the tree asks for."""
    match tree:
        case And(children) | Or(children):
            return sum(map(count_keys, children))
        case Not(child):
            return count_keys(child)
        case TokenIn(keys) | RefersTo(keys):
            return len(keys)
        case ReferenceIs(references):
            return len(references)
        case _:
            return 1


def most_matches(tree: Node) -> int | None:
    """Return how many resources match at the most, by the ids that the tree names; None where it names none."""
    match tree:
        case ReferenceIs(references):
            return len(references)
        case And(children):
            known = [most for child in children if (most := most_matches(child)) is not None]
            return min(known) if known else None
        case _:
            return None


def merge_fields(*fields: Sequence[str]) -> tuple[str, ...]:
    """Return each field once; ``*`` stands for all."""
    merged = tuple(dict.fromkeys(name for each in fields for name in each))
    return ALL_FIELDS if "*" in merged else merged


def hops_of(tree: Node) -> Iterator[tuple[str, int]]:
    """Yield the name of each of the tree's outermost joins, and how many hops it goes."""
    match tree:
        case And(children) | Or(children):
            for child in children:
                yield from hops_of(child)
        case Not(child):
            yield from hops_of(child)
        case Chain(name, _, targets):
            yield name, 1 + max((depth for _, inner in targets for _, depth in hops_of(inner)), default=0)
        case Has(name, _, _, inner):
            yield name, 1 + max((depth for _, depth in hops_of(inner)), default=0)
        case ListMember(name):
            yield name, 1


def types_of(tree: Node) -> tuple[str, ...]:
    """Return the types that a tree is limited to at its top, () where it names none."""
    for child in tree.children if isinstance(tree, And) else (tree,):
        if isinstance(child, TypeIs):
            return child.names
    return ()


def possible_types(tree: Node) -> frozenset[str] | None:
    """Return the types that a match may be of, None where the tree does not tell."""
    match tree:
        case TypeIs(names):
            return frozenset(names)
        case ReferenceIs(references):
            return frozenset(one.partition("/")[0] for one in references)
        case Nothing():
            return frozenset()
        case And(children):
            known = [found for child in children if (found := possible_types(child)) is not None]
            return frozenset.intersection(*known) if known else None
        case Or(children):
            told = [found for child in children if (found := possible_types(child)) is not None]
            return frozenset[str]().union(*told) if len(told) == len(children) else None
        case _:
            return None
