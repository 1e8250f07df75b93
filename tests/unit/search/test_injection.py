"""Attacks 8 to 11 and 14: whatever is asked, the filter holds our own names and operators, and 400 is the worst."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fhir_server.errors import FhirError
from fhir_server.search.ast import Chain, Has
from fhir_server.search.compiler import Keyset, Query, to_filter, to_query
from fhir_server.search.indexer import to_index
from fhir_server.search.matcher import matches
from fhir_server.search.parameters import search_parameters
from fhir_server.search.parser import parse_search

OPERATORS = {"$and", "$or", "$nor", "$not", "$in", "$elemMatch", "$eq", "$lt", "$lte", "$gt", "$gte"}
FIELDS = {"_id", "type", "updated", "pt", "ds", "de", *"trsednqclfwvgku", "p", "lo", "hi", "nx", "ny", "nz"}
EXPRESSIONS = {
    *("$anyElementTrue", "$map", "input", "in", "$and", "$or", "$ifNull", "$gte", "$lt", "$lte", "$eq", "$max", "$add"),
    *("$indexOfBytes", "$indexOfCP", "$strLenCP", "$subtract", "$multiply"),
}
BASE = "http://here.example/fhir"

OBSERVATION: dict[str, Any] = {
    "resourceType": "Observation",
    "id": "1",
    "status": "final",
    "code": {"coding": [{"system": "http://loinc.org", "code": "1-2"}]},
    "subject": {"reference": "Patient/1"},
    "effectivePeriod": {"start": "2020-01-01", "end": "2020-03-01"},
    "valueQuantity": {"value": 5, "code": "mg"},
}
names = st.one_of(
    st.sampled_from([parameter.code for parameter in search_parameters("Observation")]),
    st.sampled_from(["_count", "_sort", "_text", "_content", "_total", "_summary", "_elements", "_type"]),
    st.sampled_from(["_page", "name[$ne]", "$where"]),
    st.text(max_size=20),
)
modifiers = st.sampled_from(
    ["", ":not", ":missing", ":exact", ":identifier", ":Patient", ":of-type", ":contains", ":text", ":above", ":"]
)
values = st.one_of(
    st.sampled_from(
        ["2020", "ge2020-01-01", "5||mg", "http://loinc.org|1-2", "Patient/1", "true", "date", "-_lastUpdated"]
    ),
    st.sampled_from(
        ['{"$ne": 1}', "$where", ".*", "(a+)+$", "\\", "\\,", ",", "|", "||", "a|b|c|d", "1$2", "ap0", "gt"]
    ),
    st.text(max_size=40),
)
pairs = st.lists(st.tuples(st.builds("{}{}".format, names, modifiers), values), max_size=4)


@given(pairs, st.booleans(), st.sampled_from(["Observation", "Patient", None]))
@example([("date", "ge2020"), ("_sort", "date"), ("code:not", "x")], True, "Observation")
def test_no_query_makes_another_error_or_a_filter_of_its_own(
    parameters: list[tuple[str, str]], strict: bool, resource_type: str | None
) -> None:
    try:
        search = parse_search(resource_type, parameters, strict=strict, base_url=BASE)
    except FhirError as error:
        assert error.status == 400  # noqa: PT017
        return
    query: Query | None = to_query(search, None, 10)
    while query is not None:
        check(query.filter)
        query = query.then


@pytest.mark.parametrize(
    "parameter",
    [
        ("date", "ge2020"),
        ("date", "ap2020"),
        ("date", "ne2020"),
        ("date:missing", "false"),
        ("value-date", "le2020"),
        ("value-date:missing", "true"),
        ("value-quantity", "le5||mg"),
        ("value-quantity", "5|http://u|mg"),
        ("value-quantity:missing", "false"),
        ("subject", "Device/1"),
        ("subject:missing", "false"),
        ("value-string", "x"),
        ("value-string:exact", "x"),
        ("_lastUpdated", "eb2020"),
        ("_id", "1,2"),
        ("category", "http://c|"),
        ("_profile", "http://p"),
        ("_profile:below", "http://p/q"),
        ("_source:above", "http://p/q"),
        ("value-string:contains", "$where.*"),
        ("value-string:contains", "x"),
        ("code:text", "$$ROOT body"),
        ("_text", '("$ne" OR $gt) NOT a*'),
        ("_content", '$where "(a+)+$" x*'),
        ("code-value-quantity", "http://loinc.org|1-2$gt5|http://unitsofmeasure.org|mg"),
        ("code-value-quantity", "http://loinc.org|$5||mg"),
        ("combo-code-value-concept", r"\$where$http://a|"),
        ("code-value-date", "1-2$ge2020"),
        ("code-value-string:missing", "true"),
        ("_filter", 'value-string ew "$where" and not (code ne $ne) or value-string ne x.* and value-date po 2020'),
    ],
)
def test_every_kind_of_condition_compiles_and_has_an_answer(parameter: tuple[str, str]) -> None:
    search = parse_search("Observation", [parameter], strict=True, base_url=BASE)
    check(to_filter(search.tree))
    assert matches(search.tree, {**to_index(OBSERVATION), "_id": "Observation/1", "type": "Observation"}) in (
        True,
        False,
    )


def test_keysets_of_every_order_stay_within_the_grammar() -> None:
    for sort in ("date", "-date", "_lastUpdated", "_id"):
        search = parse_search("Observation", [("_sort", sort), ("date", "ge2020")], strict=True, base_url=BASE)
        for backward in (False, True):
            for first in (None, "2020"):
                keyset = Keyset((first, "Observation/1")[-len(search.sort) :], backward)
                check(to_query(search, keyset, 10).filter)


@pytest.mark.parametrize("value", ["48.8|2.3|5|km", "0|180|1|$where,1|2"])
def test_a_position_compiles_or_is_refused(value: str) -> None:
    try:
        search = parse_search("Location", [("near", value)], strict=True, base_url=BASE)
    except FhirError as error:
        assert error.status == 400  # noqa: PT017
        return
    check(to_filter(search.tree))


words = st.sampled_from(
    (
        *(
            "code",
            "status",
            "value-quantity",
            "value-string",
            "subject",
            "subject.name",
            "date",
            "eq",
            "ne",
            "co",
            "ew",
        ),
        *("po", "pr", "true", "and", "or", "not", "(", ")", "[", "]", ".", '"', '"a b"', "\\", "$ne", "5", "a$b", ","),
        "http://a|b",
    )
)


@given(st.lists(st.one_of(words, st.text(max_size=6)), max_size=24).map(" ".join))
@example("(" * 5_000)
@example("not (" * 2_000)
@example("subject[" * 1_000)
@example("code eq x and " * 500 + "code eq x")
@example("subject." * 900 + "code eq x")
@example('value-string eq "' + "\\" * 4_000)
def test_no_filter_makes_another_error_or_a_filter_of_its_own(text: str) -> None:
    try:
        search = parse_search("Observation", [("_filter", text)], strict=True, base_url=BASE)
    except FhirError as error:
        assert error.status in (400, 403)  # noqa: PT017
        return
    if not has_join(search.tree):
        check(to_filter(search.tree))


@given(st.text(alphabet="a1|$,\\.-e<{[( é", max_size=30))
def test_no_value_of_a_composite_or_quantity_makes_another_error(value: str) -> None:
    for code in ("code-value-quantity", "combo-code-value-concept", "value-quantity", "code-value-date"):
        try:
            search = parse_search("Observation", [(code, value)], strict=True, base_url=BASE)
        except FhirError as error:
            assert error.status == 400  # noqa: PT017
            continue
        check(to_filter(search.tree))


def has_join(node: Any) -> bool:
    children = (*getattr(node, "children", ()), *([node.child] if hasattr(node, "child") else []))
    return isinstance(node, Chain | Has) or any(has_join(one) for one in children)


def check(condition: Any) -> None:
    if isinstance(condition, dict):
        for name, inner in condition.items():
            if name == "$expr":
                check_expression(inner)
                continue
            assert name in OPERATORS or name in FIELDS
            check(inner)
    elif isinstance(condition, list):
        for inner in condition:
            check(inner)


def check_expression(expression: Any) -> None:
    """Whatever comes from outside stands under ``$literal``; paths are our own."""
    if isinstance(expression, dict):
        for name, inner in expression.items():
            if name != "$literal":
                assert name in EXPRESSIONS
                check_expression(inner)
    elif isinstance(expression, list):
        for inner in expression:
            check_expression(inner)
    elif isinstance(expression, str):
        assert expression in ("$$this", "$s", "$v", "$nx", "$ny", "$nz")
