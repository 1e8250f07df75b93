"""Primitive values: what each type takes, and that it is R4's own expression but for what R4's text adds."""

import datetime
import re
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.fhir.decimals import FhirDecimal
from fhir_server.fhir.definitions import primitive_pattern
from fhir_server.validation.primitives import MAX_TEXT, primitive_check

GOOD: list[tuple[str, Any]] = [
    ("string", "a"),
    ("string", " line\r\n\tnext «\N{NO-BREAK SPACE}é\N{NARROW NO-BREAK SPACE}» 😀"),
    ("string", "x" * MAX_TEXT),
    ("markdown", "# Title\n\n* one"),
    ("code", "active"),
    ("code", "two words"),
    ("uri", "urn:oid:1.2.3"),
    ("url", "http://example.org/é"),
    ("canonical", "http://example.org/x|1.0#a"),
    ("id", "A-b.9"),
    ("id", "a" * 64),
    ("oid", "urn:oid:2.16.840.1.113883.6.238"),
    ("uuid", "urn:uuid:c757873d-ec9a-4326-a141-556f43239520"),
    ("date", "2024"),
    ("date", "2024-12"),
    ("date", "2024-02-29"),
    ("date", "2000-02-29"),
    ("date", "0001-01-01"),
    ("dateTime", "2024"),
    ("dateTime", "2015-02-07T13:28:17.239+02:00"),
    ("dateTime", "2016-12-31T23:59:60Z"),
    ("instant", "2015-02-07T13:28:17Z"),
    ("instant", "2015-02-07T13:28:17.123456789-14:00"),
    ("time", "23:59:59.5"),
    ("boolean", True),
    ("boolean", False),
    ("integer", -(2**31)),
    ("integer", 2**31 - 1),
    ("integer", FhirDecimal("-0")),
    ("unsignedInt", 0),
    ("positiveInt", 1),
    ("decimal", 3),
    ("decimal", FhirDecimal("6.30")),
    ("decimal", FhirDecimal("1.0e2")),
    ("decimal", FhirDecimal("0.1234567890123456789012345678901234567890")),
    ("decimal", Decimal("1.5")),
    ("base64Binary", "QUJD"),
    ("base64Binary", "QUJD\r\nQUI=\n"),
    ("base64Binary", "QQ=="),
    ("base64Binary", "QQ = ="),
    ("xhtml", '<div xmlns="http://www.w3.org/1999/xhtml">x</div>'),
]

BAD: list[tuple[str, Any, str]] = [
    *((code, "", "value") for code in ("string", "code", "uri", "id", "date", "base64Binary", "xhtml", "markdown")),
    *((code, None, "structure") for code in ("string", "boolean", "integer", "decimal", "base64Binary", "xhtml")),
    *((code, ["a"], "structure") for code in ("string", "boolean", "integer", "decimal", "base64Binary", "xhtml")),
    *((code, {"a": 1}, "structure") for code in ("string", "boolean", "integer", "decimal", "code", "date")),
    ("string", 1, "structure"),
    ("string", True, "structure"),
    ("string", "a\x00b", "value"),
    ("string", "a\x0bb", "value"),
    ("string", "\ud800", "value"),
    ("string", "\uffff", "value"),
    ("string", "x" * (MAX_TEXT + 1), "value"),
    ("code", " a", "value"),
    ("code", "a ", "value"),
    ("code", "a  b", "value"),
    ("code", "a\n", "value"),
    ("uri", "a b", "value"),
    ("uri", "a\n", "value"),
    ("id", "a" * 65, "value"),
    ("id", "a_b", "value"),
    ("id", "é", "value"),
    ("id", "a\n", "value"),
    ("oid", "urn:oid:3.1", "value"),
    ("oid", "1.2.3", "value"),
    ("uuid", "urn:uuid:C757873D-EC9A-4326-A141-556F43239520", "value"),
    ("date", "0000", "value"),
    ("date", "24", "value"),
    ("date", "2024-13", "value"),
    ("date", "2023-02-29", "value"),
    ("date", "1900-02-29", "value"),
    ("date", "2024-04-31", "value"),
    ("date", "2024-1-1", "value"),
    ("date", "2024-01-01T00:00:00Z", "value"),
    ("date", "٢٠٢٤", "value"),
    ("dateTime", "2024-01-01T10:00Z", "value"),
    ("dateTime", "2024-01-01T10:00:00", "value"),
    ("dateTime", "2024-01-01T24:00:00Z", "value"),
    ("dateTime", "2024-01-01T10:00:00+14:30", "value"),
    ("dateTime", "2023-02-30T10:00:00Z", "value"),
    ("instant", "2024-01-01", "value"),
    ("instant", "2024-04-31T10:00:00Z", "value"),
    ("time", "24:00:00", "value"),
    ("time", "10:00", "value"),
    ("time", "10:00:00Z", "value"),
    ("boolean", "true", "structure"),
    ("boolean", 1, "structure"),
    ("integer", True, "structure"),
    ("integer", "1", "structure"),
    ("integer", FhirDecimal("1.0"), "structure"),
    ("integer", FhirDecimal("1e2"), "structure"),
    ("integer", 2**31, "value"),
    ("integer", FhirDecimal("12345678901234567890"), "value"),
    ("unsignedInt", -1, "value"),
    ("unsignedInt", FhirDecimal("-0"), "value"),
    ("positiveInt", 0, "value"),
    ("decimal", "1.0", "structure"),
    ("decimal", True, "structure"),
    ("decimal", 1.5, "value"),
    ("decimal", Decimal("NaN"), "value"),
    ("decimal", Decimal("Infinity"), "value"),
    ("base64Binary", "QUJ", "value"),
    ("base64Binary", "QUJDQ", "value"),
    ("base64Binary", "Q===", "value"),
    ("base64Binary", "QQ==QUJD", "value"),
    ("base64Binary", "QUJ-", "value"),
    ("base64Binary", "é", "value"),
    ("base64Binary", "  ", "value"),
]


@pytest.mark.parametrize(("code", "value"), GOOD)
def test_a_value_that_the_type_takes_has_no_problem(code: str, value: Any) -> None:
    assert primitive_check(code)(value) is None


@pytest.mark.parametrize(("code", "value", "issue"), BAD)
def test_a_value_that_the_type_does_not_take_is_one_problem_at_its_place(code: str, value: Any, issue: str) -> None:
    problems = primitive_check(code)(value)
    assert problems is not None
    assert [(where, found) for where, found, _ in problems] == [("", issue)]


def test_a_required_code_must_be_one_of_the_value_set() -> None:
    check = primitive_check("code", frozenset({"male"}))
    assert check("male") is None
    assert [(code, text.fr[:7]) for _, code, text in check("homme") or ()] == [("code-invalid", "Ce code")]
    assert [code for _, code, _ in check(" ") or ()] == ["value"]
    assert [code for _, code, _ in check(["male"]) or ()] == ["structure"]


def test_no_text_repeats_the_value() -> None:
    for code, value, _ in BAD:
        if isinstance(value, str) and len(value) > 3 and value.strip() and code != "boolean":
            for _, _, text in primitive_check(code)(value) or ():
                assert value not in text.en + text.fr


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("code", "a " * 2_000_000),
        ("oid", "urn:oid:1" + ".1" * 2_000_000 + "x"),
        ("uri", "x" * 4_000_000 + " "),
        ("base64Binary", "QUJD " * 1_000_000 + "!"),
        ("dateTime", "2024-01-01T00:00:00." + "0" * 4_000_000),
        ("xhtml", '<div xmlns="http://www.w3.org/1999/xhtml"><p style="' + "url(" * 500_000 + '@"/></div>'),
    ],
)
def test_long_mistakes_take_linear_time(code: str, value: str) -> None:
    start = datetime.datetime.now(datetime.UTC)
    assert primitive_check(code)(value) is not None
    assert (datetime.datetime.now(datetime.UTC) - start).total_seconds() < 10


WITH_PATTERN = ["code", "uri", "url", "canonical", "id", "oid", "uuid", "string", "markdown", "time"]


@pytest.mark.parametrize("code", WITH_PATTERN)
@given(data=st.data())
def test_the_check_agrees_with_the_expression_that_hl7_publishes(code: str, data: st.DataObject) -> None:
    pattern = primitive_pattern(code)
    assert pattern is not None
    texts = st.text(alphabet=st.characters(min_codepoint=0x20, exclude_categories=["Cs", "Cn"]), min_size=1)
    value = data.draw(st.one_of(texts, st.from_regex(pattern.pattern)))
    if re.search(r"[\x00-\x08\x0b-\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]|^$", value):
        return  # R4 forbids these in its text, not in its expressions.
    assert (primitive_check(code)(value) is None) is (pattern.match(value) is not None)


@given(year=st.integers(0, 9999), month=st.integers(0, 13), day=st.integers(0, 32))
def test_a_date_is_accepted_exactly_when_the_calendar_has_it(year: int, month: int, day: int) -> None:
    text = f"{year:04}-{month:02}-{day:02}"
    try:
        datetime.date(year, month, day)
        exists = True
    except ValueError:
        exists = False
    assert (primitive_check("date")(text) is None) is exists
    assert (primitive_check("dateTime")(f"{text}T00:00:00Z") is None) is exists
    assert (primitive_check("instant")(f"{text}T00:00:00Z") is None) is exists


@pytest.mark.parametrize("code", ["date", "dateTime", "instant"])
@given(data=st.data())
def test_dates_are_never_wider_than_the_expression_that_hl7_publishes(code: str, data: st.DataObject) -> None:
    pattern = primitive_pattern(code)
    assert pattern is not None
    value = data.draw(st.from_regex(pattern.pattern))
    fits_calendar = primitive_check("date")(value[:10]) is None
    assert (primitive_check(code)(value) is None) is fits_calendar
