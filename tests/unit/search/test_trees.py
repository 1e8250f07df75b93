"""Trees, filters and queries: what is built on purpose and what can never be built by accident."""

from datetime import UTC, datetime

import pytest

from fhir_server.search.ast import (
    And,
    Everything,
    HasLabel,
    InCompartment,
    ListMember,
    Not,
    Nothing,
    Or,
    RefersTo,
    TokenIn,
    TypeIs,
)
from fhir_server.search.building import build_and, build_not, build_or
from fhir_server.search.compiler import PATIENT_TOKEN, TOKEN, to_filter, to_query
from fhir_server.search.matcher import matches, to_test
from fhir_server.search.parser import parse_search
from fhir_server.search.ranges import Bounds

A, B = TokenIn(("A.a||1",)), TypeIs(("B",))


def test_joins_of_nothing_are_said_on_purpose() -> None:
    assert build_and([]) == Everything()
    assert build_or([]) == Nothing()
    for join in (And, Or):
        with pytest.raises(ValueError, match="fewer than two"):
            join((A,))
    with pytest.raises(ValueError, match="without a bound"):
        Bounds()


def test_joins_are_flat_and_absorb() -> None:
    assert build_and([A, Everything()]) == A
    assert build_and([A, Nothing()]) == Nothing()
    assert build_or([A, Everything()]) == Everything()
    assert build_or([A, Nothing()]) == A
    assert build_and([And((A, B)), A]) == And((A, B))
    assert build_not(build_not(A)) == A
    assert build_not(Everything()) == Nothing()
    assert build_not(Nothing()) == Everything()


def test_tokens_of_a_disjunction_become_one() -> None:
    assert build_or([A, TokenIn(("A.b||2",)), A]) == TokenIn(("A.a||1", "A.b||2"))
    one, two = RefersTo(("A.p>Patient/1",), "A", ("Patient/1",)), RefersTo(("A.p>Patient/2",), "A", ("Patient/2",))
    assert build_or([one, two]) == RefersTo(("A.p>Patient/1", "A.p>Patient/2"), "A", ("Patient/1", "Patient/2"))
    group = RefersTo(("A.p>Group/2",), "A")
    assert to_filter(build_or([one, group]))["$or"]


def test_nothing_matches_nothing_and_everything_is_the_only_empty_filter() -> None:
    assert to_filter(Nothing()) == {"_id": {"$in": []}}
    assert not matches(Nothing(), {"_id": "A/1"})
    assert to_filter(Everything()) == {}
    assert matches(Everything(), {})
    assert to_filter(Not(A)) == {"$nor": [{"t": "A.a||1"}]}


def test_compartments_and_labels_are_asked_by_value() -> None:
    tree = build_and([InCompartment("Patient", "42"), build_not(HasLabel(("s|R",)))])
    assert to_filter(tree) == {"c": "Patient/42", "$nor": [{"l": "s|R"}]}
    assert matches(tree, {"c": ["Patient/42"]})
    assert not matches(tree, {"c": ["Patient/42"], "l": ["s|R"]})


def test_a_tree_is_read_once_for_many_documents() -> None:
    documents = [{"type": kind, "t": [key]} for kind in ("A", "B") for key in ("A.a||1", "A.a||2")]
    holds = to_test(build_and([A, B, build_not(HasLabel(("s|R",)))]))
    assert [holds(one) for one in documents] == [False, False, True, False]
    assert not holds({**documents[2], "l": ["s|R"]})
    any_of_three = to_test(build_or([A, B, HasLabel(("s|R",))]))
    assert [any_of_three(one) for one in documents] == [True, False, True, True]


def test_a_join_that_nobody_planned_is_no_answer_where_it_is_asked() -> None:
    tree = Or((B, ListMember("_list", "1", ())))
    assert matches(tree, {"type": "B"})
    with pytest.raises(AssertionError, match="nobody planned: _list"):
        matches(tree, {"type": "A"})


def search(*parameters: tuple[str, str]):  # type: ignore[no-untyped-def]
    return parse_search("Observation", parameters, strict=True, base_url="http://here.example")


def test_hints_are_given_where_there_is_one_choice_only() -> None:
    assert to_query(search(("code", "x")), None, 10).hint == TOKEN
    assert to_query(search(("patient", "Patient/1"), ("code", "x")), None, 10).hint == PATIENT_TOKEN
    assert to_query(search(("code", "x"), ("status", "final")), None, 10).hint is None
    assert to_query(search(("code", "x"), ("_sort", "_id")), None, 10).hint is None
    tree = build_and([search(("code", "x")).tree, InCompartment("Patient", "1")])
    assert to_query(search(("code", "x")), None, 10, tree).hint is None


def test_known_frequencies_put_the_rarest_token_first() -> None:
    counts = {"Observation.code||x": 5, "Observation.status||final": 1000}
    query = to_query(search(("status", "final"), ("code", "x")), None, 10, frequency=counts.get)
    assert query.hint == TOKEN
    assert query.filter["$and"][0] == {"t": "Observation.code||x"}


def test_a_page_asks_for_one_more_than_it_shows() -> None:
    assert to_query(search(("code", "x")), None, 10).limit == 11


def test_bounds_do_not_hold_on_absent_fields() -> None:
    tree = search(("date", "ne2020")).tree
    assert not matches(tree, {"_id": "Observation/1", "type": "Observation", "updated": datetime.now(UTC)})
