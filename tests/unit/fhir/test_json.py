"""JSON is read strictly and written exactly."""

import json
from decimal import Decimal

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.errors import Structure
from fhir_server.fhir.decimals import FhirDecimal
from fhir_server.fhir.json import MAX_DEPTH, parse_json, parse_resource, to_json, to_pretty_json

TEXTS = st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff"))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**14), 10**14) | TEXTS | st.just(FhirDecimal("6.30")),
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=20,
)


def issues_of(data):
    with pytest.raises(Structure) as caught:
        parse_json(data)
    return caught.value.issues


@given(VALUES)
def test_reading_and_writing_agree(value):
    assert parse_json(to_json(value)) == value
    assert parse_json(to_pretty_json(value)) == value


@given(VALUES)
def test_reading_agrees_with_the_standard_library(value):
    data = to_json(value)
    assert parse_json(data) == json.loads(data, parse_float=Decimal)


def parse_unless_duplicate(data, otherwise):
    try:
        return parse_json(data)
    except Structure as refused:
        duplicates = all("more than once" in issue.text.en for issue in refused.issues)
        return otherwise if duplicates else refused


@given(st.text('{}[]",:\\ a1n'))
def test_any_text_is_read_as_the_standard_library_does_or_refused(text):
    data = text.encode()
    try:
        expected = json.loads(data, parse_float=Decimal)
    except ValueError:
        assert issues_of(data)
    else:
        assert parse_unless_duplicate(data, expected) == expected


@pytest.mark.parametrize("number", ["6.30", "1.0e2", "-0", "-0.00", "1" * 40, "0." + "3" * 400, "9" * 400, "1E-7"])
def test_numbers_come_out_digit_for_digit(number):
    data = f'{{"value":{number}}}'.encode()
    assert to_json(parse_json(data)) == data


def test_stored_bytes_are_spliced_as_they_are():
    assert to_json({"entry": [orjson.Fragment(b'{"value": 6.30}')]}) == b'{"entry":[{"value": 6.30}]}'
    assert to_pretty_json([orjson.Fragment(b"[6.30]")]) == b"[\n  [\n    6.30\n  ]\n]"


def test_every_duplicate_key_is_named_with_line_and_column():
    data = b'{"resourceType":"Patient",\n "name":[{"given":["a"],"given":["b"]}],\n "id":"1","id":"2"}'
    found = [(issue.expression, issue.diagnostics) for issue in issues_of(data)]
    assert found == [(("Patient.name[0].given",), "line 2, column 25"), (("Patient.id",), "line 3, column 11")]


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999999", "1e-999999999999999999999"])
def test_numbers_that_are_none_are_refused_where_they_stand(value):
    (issue,) = issues_of(b'{"resourceType":"Observation","valueQuantity":{"value":%s}}' % value.encode())
    assert issue.code == "value"
    assert issue.expression == ("Observation.valueQuantity.value",)


@pytest.mark.parametrize("text", [r"\ud800", r"\udc00x", r"\u0000", r"\u001F", r"\b", r"\f", r"\uFFFE", "\uffff"])
def test_characters_that_fhir_forbids_are_refused(text):
    (issue,) = issues_of(f'{{"resourceType":"Patient","id":"{text}"}}'.encode())
    assert issue.expression == ("Patient.id",)


@pytest.mark.parametrize("text", [r"\ud83d\ude00", r"\\ud800", r"\\b", r"\\u0000", r"\n\t\r", "\u007f"])
def test_characters_that_fhir_allows_are_not_refused(text):
    data = f'["{text}"]'.encode()
    assert parse_json(data) == json.loads(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b'{"a":1,}',
        b"[1,]",
        b"{'a':1}",
        b'{"a":1 "b":2}',
        b'{"a" 1}',
        b'"open',
        b'"\n"',
        b'"\\x"',
        b'"\\u12"',
        b"1 2",
        b"/* comment */ {}",
        b"{} // comment",
        b"# comment\n{}",
        b"01",
        b"+1",
        b".5",
        b"True",
        b'"\x00"',
        b"{}\x00",
        b"nul",
    ],
)
def test_malformed_json_is_refused_with_line_and_column(data):
    issue = issues_of(data)[-1]
    assert issue.code == "structure"
    assert issue.diagnostics.startswith("line 1, column ")


def test_faults_of_meaning_and_of_syntax_are_reported_together():
    issues = issues_of(b'{"resourceType":"Patient","id":"1","id":"2",\n"multipleBirthInteger":NaN,\n"active":tru}')
    assert [issue.expression[0] for issue in issues] == [
        "Patient.id",
        "Patient.multipleBirthInteger",
        "Patient.active",
    ]


def test_no_message_quotes_the_content():
    secret = "Jean-Dupont 1"
    issues = issues_of(f'{{"{secret}":{{"a":"{secret}","a":NaN,"{secret}":1}},"{secret}":"\\u0000{secret}"}}'.encode())
    assert len(issues) == 4
    assert secret not in repr(issues)


def test_a_byte_order_mark_is_named():
    for mark in (b"\xef\xbb\xbf{}", "{}".encode("utf-16")):
        assert "byte order mark" in issues_of(mark)[0].text.en


def test_invalid_utf_8_is_refused_where_it_stands():
    assert issues_of(b'{"a":\n "\xff"}')[0].diagnostics == "line 2, column 3"
    assert issues_of(b'"\xed\xa0\x80"')


def nested(levels):
    return b"[" * levels + b"]" * levels


def test_the_depth_is_bounded_exactly():
    assert parse_json(nested(MAX_DEPTH))
    assert issues_of(nested(MAX_DEPTH + 1))
    assert parse_json(b"[%s,%s]" % (nested(MAX_DEPTH - 1), nested(MAX_DEPTH - 1)))
    assert issues_of(b"[%s,%s]" % (nested(MAX_DEPTH - 1), nested(MAX_DEPTH)))


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"a":', b'[{"a":"]}","b":'])
def test_ten_thousand_levels_are_refused_quickly(opening):
    assert "nested" in issues_of(opening * 10_000)[0].text.en


def test_brackets_within_texts_do_not_count_as_depth():
    value = ["[" * 100, '"[' * 100, "\\[" * 100, '\\"[{' * 100, "", ""]
    assert parse_json(to_json(value)) == value


@given(st.lists(st.text('"\\[]{}')))
def test_depth_is_counted_right_whatever_the_texts_hold(texts):
    data = to_json([*texts, json.loads(nested(MAX_DEPTH - 1))])
    assert parse_json(data) == json.loads(data)
    with pytest.raises(Structure):
        parse_json(b"[%s]" % data)


def test_a_text_of_a_hundred_megabytes_is_only_long():
    assert len(parse_json(b'"' + b"a" * 100_000_000 + b'"')) == 100_000_000


@pytest.mark.parametrize("fault", [b'"\\u0000"', b'"\\ud800"', b'{"a":1,"a":1}', b"NaN"])
def test_a_fault_too_far_away_to_be_located_is_refused_all_the_same(fault):
    (issue,) = issues_of(b'["' + b"a" * 2_500_000 + b'",' + fault + b"]")
    assert issue.diagnostics is None


@given(
    st.lists(st.sampled_from(["\\\\", "\\u", "\\b", "b", "0000", "u0041", "ud83d", "\\ude00", "\\ud83d", "f", '\\"']))
)
def test_escapes_are_judged_by_what_they_mean(parts):
    data = f'["{"".join(parts)}"]'.encode()
    try:
        (text,) = json.loads(data)
    except ValueError:
        allowed = False
    else:
        allowed = not any(character < " " or "\ud800" <= character <= "\udfff" for character in text)
    if allowed:
        assert parse_json(data) == [text]
    else:
        assert issues_of(data)


def test_many_faults_are_reported_up_to_a_bound():
    assert len(issues_of(b"[" + b"NaN," * 1000 + b"1]")) == 100


@pytest.mark.parametrize("data", [b"[]", b'"Patient"', b"1", b"null", b"{}", b'{"resourceType":1}'])
def test_a_resource_is_an_object_with_its_type(data):
    with pytest.raises(Structure):
        parse_resource(data)


def test_what_json_cannot_carry_is_an_error_of_structure():
    for value in ({1: 2}, "\ud800", object(), {"a": {1, 2}}):
        for write in (to_json, to_pretty_json):
            with pytest.raises(Structure):
                write(value)
