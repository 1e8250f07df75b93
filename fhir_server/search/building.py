"""How trees are put together: joins flattened and without repeats, trivial ones resolved, leaves merged."""

from collections.abc import Iterable

from fhir_server.search.ast import And, Everything, Node, Not, Nothing, Or, RefersTo, TokenIn


def build_and(nodes: Iterable[Node]) -> Node:
    """Return the conjunction, flattened and without repeats; of no node at all: Everything."""
    children: dict[Node, None] = {}
    for node in nodes:
        if isinstance(node, Nothing):
            return node
        if isinstance(node, And):
            children |= dict.fromkeys(node.children)
        elif not isinstance(node, Everything):
            children[node] = None
    return _joined(And, tuple(children), Everything())


def build_or(nodes: Iterable[Node]) -> Node:
    """Return the disjunction, flattened, with leaves on ``t`` and on ``r`` merged; of no node at all: Nothing."""
    children: dict[Node, None] = {}
    for node in nodes:
        if isinstance(node, Everything):
            return node
        if isinstance(node, Or):
            children |= dict.fromkeys(node.children)
        elif not isinstance(node, Nothing):
            children[node] = None
    return _joined(Or, _merged(tuple(children)), Nothing())


def build_not(node: Node) -> Node:
    """Return the negation."""
    match node:
        case Everything():
            return Nothing()
        case Nothing():
            return Everything()
        case Not(child):
            return child
        case _:
            return Not(node)


def _joined(join: type[And] | type[Or], children: "tuple[Node, ...]", empty: Node) -> Node:
    if not children:
        return empty
    return children[0] if len(children) == 1 else join(children)


def _merged(nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    """Return the nodes with those that ask the same array for other keys made one: ``$in`` instead of ``$or``."""
    tokens: list[str] = []
    references: dict[tuple[str, bool], list[RefersTo]] = {}
    others: list[Node] = []
    for node in nodes:
        match node:
            case TokenIn(keys):
                tokens += keys
            case RefersTo(_, resource_type, patients):
                references.setdefault((resource_type, bool(patients)), []).append(node)
            case _:
                others.append(node)
    if tokens:
        others.append(TokenIn(tuple(dict.fromkeys(tokens))))
    return (*others, *(_one_reference(same) for same in references.values()))


def _one_reference(nodes: list[RefersTo]) -> RefersTo:
    keys = tuple(dict.fromkeys(key for node in nodes for key in node.keys))
    patients = tuple(dict.fromkeys(patient for node in nodes for patient in node.patients))
    return RefersTo(keys, nodes[0].resource_type, patients)
