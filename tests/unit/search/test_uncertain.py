"""Trees that the database cannot settle: which they are, and what to ask it instead."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.search.ast import Everything, Node, Not, Nothing, RefersTo, TokenIn
from fhir_server.search.building import build_and, build_not, build_or
from fhir_server.search.matcher import index_document, matches
from fhir_server.search.measures import possible_types
from fhir_server.search.parser import parse_search
from fhir_server.search.uncertain import Parameter, is_uncertain, parameters_of, to_upper_bound

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ITEM = RefersTo(("List.item>Binary/1",))
STATUS = TokenIn(("List.status||current",))


def listed(parameter: Parameter) -> bool:
    return parameter == ("List", "item")


@pytest.mark.parametrize(
    ("kind", "query", "expected"),
    [
        ("List", "item=DocumentReference/1", {("List", "item")}),
        ("List", "item:missing=false", {("List", "item")}),
        ("List", "item:identifier=a|b", {("List", "item")}),
        ("List", "status=current", {("List", "status")}),
        ("DocumentReference", "relationship=DocumentReference/1$appends", {("DocumentReference", "relationship")}),
        ("Observation", "value-quantity=gt5", {("Observation", "value-quantity")}),
        ("AuditEvent", "entity-name=x", {("AuditEvent", "entity-name")}),
    ],
)
def test_a_condition_tells_the_parameters_it_looks_at(kind: str, query: str, expected: set[Parameter]) -> None:
    name, _, value = query.partition("=")
    tree = parse_search(kind, [(name, value)], strict=True, base_url="").tree
    assert expected <= set(_all(tree))


def test_words_are_of_the_whole_of_a_type() -> None:
    tree = parse_search("List", [("_content", "glucose")], strict=True, base_url="").tree
    assert ("List", "_content") in set(_all(tree))


def test_the_entry_of_a_whole_text_is_of_any_type() -> None:
    tree = parse_search("List", [("_content", '"glucose à jeun"')], strict=True, base_url="").tree
    assert ("", "_content") in set(_all(tree))


def test_a_tree_that_asks_for_nothing_uncertain_is_asked_as_it_is() -> None:
    tree = build_and([STATUS, build_not(TokenIn(("List.code||x",)))])
    assert not is_uncertain(tree, listed)
    assert to_upper_bound(tree, listed) == tree


def test_what_is_asked_not_to_be_there_is_not_asked_of_the_database() -> None:
    assert is_uncertain(build_and([STATUS, Not(ITEM)]), listed)
    assert to_upper_bound(build_and([STATUS, Not(ITEM)]), listed) == STATUS
    assert to_upper_bound(build_and([STATUS, ITEM]), listed) == build_and([STATUS, ITEM])
    assert to_upper_bound(Not(Not(ITEM)), listed) == ITEM


LEAVES = st.sampled_from([ITEM, STATUS, RefersTo(("List.item>Binary/2",)), TokenIn(("List.code||x",)), Nothing()])
TREES: st.SearchStrategy[Node] = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(build_and), st.lists(inner, max_size=3).map(build_or), inner.map(build_not)
    ),
    max_leaves=8,
)
ITEMS = st.sets(st.sampled_from(["List.item>Binary/1", "List.item>Binary/2"]))


@given(TREES, ITEMS, ITEMS, st.sets(st.sampled_from(["List.status||current", "List.code||x"])))
def test_whatever_is_not_shown_the_bound_finds_what_the_tree_finds(
    tree: Node, stored: set[str], shown: set[str], tokens: set[str]
) -> None:
    def described(items: set[str]) -> dict[str, object]:
        return index_document("List/1", NOW, {"r": sorted(items), "t": sorted(tokens)})

    if matches(tree, described(stored & shown)):
        assert matches(to_upper_bound(tree, listed), described(stored))


def test_the_types_that_a_tree_may_find_are_told_where_it_tells() -> None:
    lists = parse_search("List", [], strict=True, base_url="").tree
    tasks = parse_search("Task", [("status", "requested")], strict=True, base_url="").tree
    assert possible_types(lists) == {"List"}
    assert possible_types(build_or([lists, tasks])) == {"List", "Task"}
    assert possible_types(build_or([lists, STATUS])) is None
    assert possible_types(build_and([lists, build_or([lists, tasks])])) == {"List"}
    assert possible_types(Nothing()) == set()
    assert possible_types(Everything()) is None


def _all(tree: Node) -> list[Parameter]:
    children = getattr(tree, "children", None) or ([tree.child] if isinstance(tree, Not) else [])
    return [*parameters_of(tree), *(one for child in children for one in _all(child))]
