"""Escapes, separators and prefixes of query values, and numbers as sortable texts."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.errors import Value
from fhir_server.search.sortable import HIGHEST, LOWEST, sortable
from fhir_server.search.values import check_value, escape, split_escaped, split_prefix, unescape


@given(st.lists(st.text(), min_size=1))
def test_escaped_values_come_apart_as_they_were_put_together(values: list[str]) -> None:
    joined = ",".join(escape(value) for value in values)
    assert [unescape(part) for part in split_escaped(joined, ",")] == values


@pytest.mark.parametrize("text", ["a\\", "a\\b", "\\n"])
def test_a_backslash_before_anything_else_is_refused(text: str) -> None:
    with pytest.raises(Value):
        split_escaped(text, ",")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("2020", ("eq", "2020")), ("gt5", ("gt", "5")), ("ap-3", ("ap", "-3")), ("gtx", ("eq", "gtx")), ("", ("eq", ""))],
)
def test_a_prefix_is_one_only_before_a_number(text: str, expected: tuple[str, str]) -> None:
    assert split_prefix(text) == expected


@pytest.mark.parametrize("text", ["a\x00b", "\ud800", "x" * 3000, "a\nb"])
def test_control_characters_and_long_texts_are_refused(text: str) -> None:
    with pytest.raises(Value):
        check_value(text)


decimals = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**60), max_value=10**60)


@given(decimals, decimals)
def test_sortable_texts_are_ordered_as_the_numbers(one: Decimal, other: Decimal) -> None:
    assert (sortable(one) < sortable(other)) == (one < other)
    assert (sortable(one) == sortable(other)) == (one == other)
    assert LOWEST < sortable(one) < HIGHEST


@pytest.mark.parametrize("number", [Decimal("NaN"), Decimal("Infinity"), Decimal("1e50000")])
def test_what_has_no_place_in_the_order_is_refused(number: Decimal) -> None:
    with pytest.raises(ValueError, match=r"finite|range"):
        sortable(number)


def test_forty_digits_are_kept_apart() -> None:
    assert sortable(Decimal("1.000000000000000000000000000000000000001")) > sortable(1)
    assert sortable(Decimal("6.30")) == sortable(Decimal("6.3"))
