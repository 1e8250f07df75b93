"""UCUM codes in base units: the table and grammar of UCUM, exact arithmetic (https://ucum.org/ucum)."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.fhir.ucum import LONGEST_CODE, Unit, find_unit


def unit(code: str) -> Unit:
    found = find_unit(code)
    assert found is not None, code
    return found


@pytest.mark.parametrize(
    ("first", "number", "second", "same"),
    [
        ("mg", "5.4", "g", "0.0054"),
        ("mg/dL", "90", "g/L", "0.9"),
        ("mmol/L", "5.5", "umol/mL", "5.5"),
        ("10*3/uL", "7.5", "10*9/L", "7.5"),
        ("mm[Hg]", "1", "Pa", "133.322"),
        ("Cel", "37", "[degF]", "98.6"),
        ("Cel", "0", "K", "273.15"),
        ("[lb_av]", "1", "kg", "0.45359237"),
        ("[in_i]", "1", "cm", "2.54"),
        ("h", "1.5", "min", "90"),
        ("a", "1", "d", "365.25"),
        ("%", "5", "1", "0.05"),
        ("{score}", "3", "{count}", "3"),
        ("/min", "60", "Hz", "1"),
        ("kat", "1", "U", "60000000"),
        ("m[IU]/mL", "2", "[iU]/L", "2"),
        ("dB", "30", "B", "3"),
        ("kg.m/s2", "1", "N", "1"),
        ("[Ch]", "3", "mm", "1"),
    ],
)
def test_a_quantity_is_the_same_in_another_unit(first: str, number: str, second: str, same: str) -> None:
    assert unit(first).key == unit(second).key
    assert unit(first).to_base(Decimal(number)) == unit(second).to_base(Decimal(same))


@pytest.mark.parametrize(
    ("first", "second"),
    [("mg", "mL"), ("[iU]", "1"), ("[iU]", "[arb'U]"), ("[iU]/L", "/L"), ("[pH]", "mol/L"), ("B", "1"), ("m", "m2")],
)
def test_units_of_other_kinds_do_not_compare(first: str, second: str) -> None:
    assert unit(first).key != unit(second).key


@pytest.mark.parametrize(
    "code",
    ["", "mmHg", "Mg/DL ", "Cel/min", "Cel2", "0", "/0", "m99999", "m" * 30, "(", "{", "10*99.10*99/", "mg\n", "é"],
)
def test_what_is_no_unit_or_cannot_be_converted_is_none(code: str) -> None:
    assert find_unit(code) is None


def test_a_code_longer_than_the_limit_is_no_unit() -> None:
    assert find_unit("m." * (LONGEST_CODE // 2) + "m") is None


def test_exponents_and_products_are_bounded() -> None:
    assert find_unit(".".join(["Ym99"] * 12)) is None


@given(st.decimals(min_value=-(10**9), max_value=10**9, places=6), st.sampled_from(["mg/dL", "[degF]", "/min", "[Ch]"]))
def test_conversion_is_exact_to_sixty_digits_and_keeps_the_order(number: Decimal, code: str) -> None:
    one, true = unit(code), Fraction(number) * unit(code).factor + unit(code).offset
    assert abs(Fraction(one.to_base(number)) - true) <= abs(true) / 10**59
    assert one.to_base(number + 1) > one.to_base(number)


def test_every_unit_of_the_table_is_known() -> None:
    from ucumvert import xml_util

    assert [code for code in xml_util.get_units() if find_unit(code) is None] == []
