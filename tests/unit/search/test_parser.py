"""The grammar of a whole query: strict and lenient handling, limits, result parameters, system search."""

import pytest

from fhir_server.errors import Invalid, NotSupported, TooCostly, Value
from fhir_server.search.ast import AnyType, Everything, Not, TokenIn, TypeIs
from fhir_server.search.parser import Search, parse_search
from fhir_server.search.results import MAX_COUNT
from fhir_server.search.sorting import SortKey

BASE = "http://here.example/fhir"


def parse(resource_type: str | None, *parameters: tuple[str, str], strict: bool = True) -> Search:
    return parse_search(resource_type, parameters, strict=strict, base_url=BASE)


def test_a_search_without_parameters_is_the_whole_type_and_says_so() -> None:
    assert parse("Patient").tree == TypeIs(("Patient",))
    assert parse(None).tree == AnyType()
    assert not isinstance(parse(None).tree, Everything)


def test_strict_names_every_problem_at_once() -> None:
    with pytest.raises(Invalid) as caught:
        parse("Patient", ("foo", "1"), ("birthdate", "x"), ("name:text", "a"), ("_count", "-1"))
    texts = [issue.text.en for issue in caught.value.issues]
    assert [issue.code for issue in caught.value.issues] == ["not-supported", "value", "not-supported", "value"]
    for name, text in zip(("foo", "birthdate", "name", "_count"), texts, strict=True):
        assert name in text
    assert all(issue.text.fr for issue in caught.value.issues)


def test_lenient_warns_and_uses_the_rest() -> None:
    found = parse("Patient", ("foo", "1"), ("gender", "male"), ("_include", "Patient:x"), strict=False)
    assert found.used == (("gender", "male"),)
    assert [issue.severity for issue in found.warnings] == ["warning", "warning"]
    assert found.tree != TypeIs(("Patient",))


@pytest.mark.parametrize(
    "name",
    [
        "_contained:x",
        "_sort:asc",
        "_query",
        "age",
        "unknown",
    ],
)
def test_what_is_not_built_is_refused_by_name(name: str) -> None:
    with pytest.raises(NotSupported) as caught:
        parse("Patient", (name, "1"))
    assert name.partition(":")[0].partition(".")[0] in caught.value.issues[0].text.en


def test_a_named_query_is_refused_for_there_is_none() -> None:
    with pytest.raises(NotSupported) as caught:
        parse("Patient", ("_query", "current-high-risk"))
    assert "no named query" in caught.value.issues[0].text.en


@pytest.mark.parametrize("name", ["name[$ne]", "name.$where", "a" * 1000, "na\nme", "", ":", "name:exact:exact"])
def test_names_that_are_none_are_refused_without_an_echo(name: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse("Patient", (name, "1"))
    assert "$" not in caught.value.issues[0].text.en
    assert len(caught.value.issues[0].text.en) < 300


def test_values_are_never_quoted_back() -> None:
    with pytest.raises(Invalid) as caught:
        parse("Patient", ("birthdate", "secret"), ("gender:missing", "secret"), ("_id", "se cret"))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("value", ["", ",", "male,", "male,,female"])
def test_empty_values_are_refused(value: str) -> None:
    with pytest.raises(Value):
        parse("Patient", ("gender", value))


@pytest.mark.parametrize("strict", [True, False])
def test_limits_hold_in_both_handlings(strict: bool) -> None:
    with pytest.raises(TooCostly):
        parse("Patient", *[("gender", "male")] * 10_000, strict=strict)
    with pytest.raises(TooCostly):
        parse("Patient", ("gender", ",".join(["male"] * 2_000)), strict=strict)
    with pytest.raises(TooCostly):
        parse("Patient", ("gender", "x" * 1_000_000), strict=strict)
    with pytest.raises(TooCostly):
        parse("List", ("item", ",".join(str(number) for number in range(900))), strict=strict)


def test_count_is_bounded_and_the_self_link_says_so() -> None:
    found = parse("Patient", ("_count", "1000000"))
    assert found.count == MAX_COUNT
    assert found.used == (("_count", str(MAX_COUNT)),)
    assert parse("Patient", ("_count", "0")).count == 0


@pytest.mark.parametrize("value", ["-1", "x", "1.5", "1e9", "", "99999999999", "１"])
def test_a_count_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(Value):
        parse("Patient", ("_count", value))


def test_result_parameters_shape_the_result() -> None:
    found = parse("Patient", ("_total", "accurate"), ("_elements", "name,birthDate"), ("_contained", "false"))
    assert (found.total, found.elements) == ("accurate", ("name", "birthDate"))
    assert parse("Patient", ("_summary", "text")).summary == "text"


def test_what_shapes_exclude_is_left_out_with_its_reason() -> None:
    pairs = (("_include", "Patient:organization"), ("_summary", "text"), ("_elements", "name"))
    with pytest.raises(NotSupported) as caught:
        parse("Patient", *pairs)
    assert len(caught.value.issues) == 2
    found = parse("Patient", *pairs, strict=False)
    assert (found.includes, found.elements, found.used) == ((), (), (("_summary", "text"),))


@pytest.mark.parametrize(
    "pair", [("_total", "all"), ("_summary", "yes"), ("_elements", "nme"), ("_elements", "$where"), ("_elements", "")]
)
def test_result_parameters_of_other_values_are_refused(pair: tuple[str, str]) -> None:
    with pytest.raises(Value):
        parse("Patient", pair)


def test_a_result_parameter_comes_once() -> None:
    with pytest.raises(Value):
        parse("Patient", ("_count", "1"), ("_count", "2"))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("date", (SortKey("ds", 1), SortKey("_id", 1))),
        ("-date", (SortKey("ds", -1), SortKey("_id", -1))),
        ("-_lastUpdated", (SortKey("updated", -1), SortKey("_id", -1))),
        ("_id", (SortKey("_id", 1),)),
        ("-date,_id", (SortKey("ds", -1), SortKey("_id", 1))),
    ],
)
def test_the_order_is_by_date_update_or_id(value: str, expected: tuple[SortKey, ...]) -> None:
    assert parse("Observation", ("_sort", value)).sort == expected


@pytest.mark.parametrize("value", ["nonsense", "code-value-quantity", "-", "date,date", "code:text"])
def test_other_orders_are_refused(value: str) -> None:
    with pytest.raises((NotSupported, Value)):
        parse("Observation", ("_sort", value))


def test_a_system_search_takes_types_and_common_parameters() -> None:
    found = parse(None, ("_type", "Patient,Observation"), ("_tag", "http://t|x"))
    assert found.types == ("Patient", "Observation")
    assert TokenIn(("Patient._tag|http://t|x", "Observation._tag|http://t|x")) in getattr(found.tree, "children", ())
    assert parse(None, ("_id", "1")).types == ()
    with pytest.raises(NotSupported):
        parse(None, ("_type", "Patient,Observation"), ("name", "x"))
    with pytest.raises(Value):
        parse(None, ("_type", "Patient,Foo"))
    with pytest.raises(NotSupported):
        parse("Patient", ("_type", "Patient"))


def test_one_type_of_a_system_search_has_its_own_parameters() -> None:
    assert parse(None, ("_type", "Patient"), ("name", "x")).types == ("Patient",)


def test_not_and_missing_turn_a_condition_round() -> None:
    found = parse("Patient", ("gender:not", "male,female"))
    assert Not(TokenIn(("Patient.gender||male", "Patient.gender||female"))) in getattr(found.tree, "children", ())
    with pytest.raises(Value):
        parse("Patient", ("gender:missing", "maybe"))
