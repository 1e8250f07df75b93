"""Decimals keep the digits they came with."""

import copy
import pickle
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.errors import Value
from fhir_server.fhir.decimals import FhirDecimal, parse_number, to_digits

NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,40})(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?", fullmatch=True).filter(
    str.isascii
)


@given(NUMBERS)
def test_every_number_prints_the_digits_it_was_written_with(text):
    assert to_digits(parse_number(text)) == text


@pytest.mark.parametrize("text", ["6.30", "1.0e2", "-0", "0.0", "1" * 40, "0." + "1" * 400, "9" * 400, "1E+0005"])
def test_the_exact_digits_are_kept(text):
    number = FhirDecimal(text)
    assert (number.text, str(number)) == (text, text)


@pytest.mark.parametrize("text", ["1e6145", "1e-6145", "1e999999", "1e99999999999999999999", "1e" + "9" * 100_000])
def test_exponents_out_of_range_are_refused_without_computing_them(text):
    with pytest.raises(Value):
        FhirDecimal(text)


@pytest.mark.parametrize("text", ["", "NaN", "1_000", "-01", ".5", "5.", "+1", "0x1", " 1", "1\n", "١"])
def test_what_is_not_of_the_grammar_is_refused(text):
    with pytest.raises(Value):
        parse_number(text)


def test_an_integer_is_an_int_as_long_as_int_prints_it_again():
    assert type(parse_number("999999999999999")) is int
    assert type(parse_number("-12")) is int
    assert type(parse_number("-0")) is FhirDecimal
    assert type(parse_number("1" * 16)) is FhirDecimal


def test_a_decimal_survives_pickling_and_copying():
    number = FhirDecimal("6.30")
    assert pickle.loads(pickle.dumps(number)).text == "6.30"
    assert copy.deepcopy(number).text == "6.30"


def test_arithmetic_and_comparison_are_those_of_decimal():
    assert type(FhirDecimal("1.10") + 1) is Decimal
    assert FhirDecimal("1.10") == Decimal("1.1")
    assert hash(FhirDecimal("1.10")) == hash(Decimal("1.1"))


def test_not_a_number_cannot_be_written():
    with pytest.raises(Value):
        to_digits(Decimal("NaN"))
