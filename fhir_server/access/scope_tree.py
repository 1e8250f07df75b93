"""What a token's scopes open of one type, as a search tree: what the scopes' parameters would find, and no more.

Spec: https://hl7.org/fhir/smart-app-launch/scopes-and-launch-context.html#finer-grained-resource-constraints-using-search-parameters
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import get_args

from fhir_server.access.scopes import ANY, Letter, Scope
from fhir_server.errors import FhirError
from fhir_server.search.ast import And, InCompartment, Join, Node, Not, Nothing, Or, Terminology, TypeIs
from fhir_server.search.building import build_and, build_or
from fhir_server.search.parser import parse_search
from fhir_server.search.results import is_result_parameter
from fhir_server.search.stored import NONE_STORED, stored_parameters_in_force

_UNTREE = get_args(Join) + get_args(Terminology)
_THEN, _NOW = datetime(2000, 1, 1, tzinfo=UTC), datetime(2020, 1, 1, tzinfo=UTC)


@lru_cache(4_096)
def scope_tree(
    scopes: tuple[Scope, ...], resource_type: str, letter: Letter, patient: str | None, base_url: str
) -> Node:
    """Return the tree of the resources of one type on which the scopes allow the action; closed by default.

    Any scope that names the type and the letter opens what its own parameters find; ``patient/`` scopes only within
    the compartment of ``patient``, the id of the patient in context. The scopes are joined by OR: none is widened by
    another. What the search engine cannot decide by itself on one resource opens nothing.
    """
    return build_or(
        _within_patient(scope, _tree(scope.parameters, resource_type, base_url), patient)
        for scope in scopes
        if scope.names(resource_type, letter)
    )


def is_enforceable(scope: Scope, base_url: str) -> bool:
    """Say whether the scope's parameters can be kept to the letter; one that cannot is never granted.

    A scope on all types takes only parameters that all types have.
    """
    return not scope.parameters or not isinstance(_parsed(scope.parameters, scope.resource_type, base_url), Nothing)


def enforceable(scopes: Iterable[Scope], base_url: str) -> tuple[Scope, ...]:
    """Return the scopes that may be granted."""
    return tuple(scope for scope in scopes if is_enforceable(scope, base_url))


def _within_patient(scope: Scope, tree: Node, patient: str | None) -> Node:
    if scope.context != "patient":
        return tree
    return Nothing() if patient is None else build_and((tree, InCompartment("Patient", patient)))


def _tree(parameters: tuple[tuple[str, str], ...], resource_type: str, base_url: str) -> Node:
    return _parsed(parameters, resource_type, base_url) if parameters else TypeIs((resource_type,))


@lru_cache(4_096)
def _parsed(parameters: tuple[tuple[str, str], ...], resource_type: str, base_url: str) -> Node:
    """Return the tree of the parameters; Nothing for what has no meaning on a single resource, at any time."""
    if any(is_result_parameter(name) or name == "_type" for name, _ in parameters):
        return Nothing()
    of = None if resource_type == ANY else resource_type
    try:
        # R4's own parameters alone: who may publish a SearchParameter must not change what tokens mean.
        with stored_parameters_in_force(NONE_STORED):
            trees = [
                parse_search(of, parameters, strict=True, base_url=base_url, now=moment).tree
                for moment in (_THEN, _NOW)
            ]
    except FhirError:
        return Nothing()
    # What is near a date depends on when it is asked (prefix ap): two moments, two scopes.
    return trees[0] if trees[0] == trees[1] and not _is_open(trees[0]) else Nothing()


def _is_open(node: Node) -> bool:
    """Say whether the tree needs another resource, or a code system, to be decided."""
    match node:
        case And(children) | Or(children):
            return any(_is_open(child) for child in children)
        case Not(child):
            return _is_open(child)
        case _:
            return isinstance(node, _UNTREE)
