"""The text of expressions: literals, comments, precedence, and what is not FHIRPath."""

import contextlib
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.errors import Invalid
from fhir_server.fhir.fhirpath.expression import Expression, compile_expression
from fhir_server.fhir.fhirpath.parser import parse


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2 + 2 // to the end of the line", [4]),
        ("// first\n2 // second\n/ 2", [Decimal(1)]),
        ("2 + /* in $@%^ between */ 2", [4]),
        ("{}", []),
        ("true", [True]),
        ("'it\\'s'", ["it's"]),
        (r"'\\\/\f\r\n\t\"\`\'*'", ["\\/\f\r\n\t\"`'*"]),
        (r"'\ud83d\ude00'", ["😀"]),
        ("1", [1]),
        ("1.50", [Decimal("1.50")]),
        ("2147483648", [Decimal(2147483648)]),
        ("`Patient`.name.`given`.first()", ["Peter"]),
        ("Patient.name.given.first() // comment", ["Peter"]),
        ("1+2*3+4", [11]),
        ("(1+2)*3", [9]),
        ("-Patient.name.count()", [-3]),
        ("+1", [1]),
        ("- -1", [1]),
        ("1 | 1 is Integer", [1, True]),
        ("true or true and false", [True]),
        ("false implies false or true", [True]),
        ("5 - 2 - 1", [2]),
        ("'a' & 'b' = 'ab'", [True]),
        ("1 in (1 | 2) and true", [True]),
        ("%`vs-administrative-gender`", ["http://hl7.org/fhir/ValueSet/administrative-gender"]),
        ("%vs-administrative-gender", ["http://hl7.org/fhir/ValueSet/administrative-gender"]),
        ("%'ext-x'", ["http://hl7.org/fhir/StructureDefinition/x"]),
    ],
)
def test_an_expression_reads_as_the_grammar_says(outcome, text, expected):
    assert outcome(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2 + 2 /",
        "2 + 2 /* not finished",
        "'not finished",
        "`not finished",
        "name.",
        "name..given",
        "name.given(",
        "name[",
        "name[0",
        "{1}",
        "1 2",
        "a b",
        "$that",
        "name.$this",
        "#",
        "is(Patient",
        "name is",
        "name as 1",
        r"'\q'",
        r"'\ud83d'",
        "@2015-13",
        "@2015-02-30",
        "@T25",
        "@2015-02T10",
        "@T14:34:28Z",
        "nofunction()",
        "exists(1, 2)",
        "where()",
        "name.is(NoSuchType)",
        "name.ofType(FHIR.NoSuchType)",
    ],
)
def test_what_is_not_fhirpath_is_invalid(text):
    with pytest.raises(Invalid):
        compile_expression(text)


def test_a_syntax_error_says_where_in_both_languages():
    with pytest.raises(Invalid) as caught:
        compile_expression("name.given +")
    (issue,) = caught.value.issues
    assert "character 13" in issue.text.en
    assert "caractère 13" in issue.text.fr


@pytest.mark.parametrize(
    "text",
    [
        "(" * 500 + "1" + ")" * 500,
        "-" * 5000 + "1",
        "1" + "+1" * 5000,
        "a" + ".where(a" * 300 + ")" * 300,
        "a[" * 300 + "0" + "]" * 300,
        "1" + " implies 1" * 1000,
        "a or (" * 200 + "b" + ")" * 200,
        "'" + "x" * 30_000 + "'",
    ],
)
def test_an_expression_that_is_too_deep_or_too_long_is_invalid(text):
    with pytest.raises(Invalid):
        compile_expression(text)


def test_the_deepest_expression_allowed_can_be_evaluated(outcome):
    assert outcome("1" + "+1" * 99) == [100]
    assert outcome("(" * 78 + "1" + ")" * 78) == [1]
    assert outcome("name" + ".where($this.exists()" * 30 + ")" * 30 + ".count()") == [3]


def test_a_long_union_is_not_deep(outcome):
    assert outcome(" | ".join(map(str, range(1000))) + " | 5") == list(range(1000))


def test_position_does_not_tell_trees_apart():
    assert parse("name . first()") == parse("name.first()")


def test_short_expressions_are_compiled_once():
    assert compile_expression("Patient.name") is compile_expression("Patient.name")
    assert repr(compile_expression("Patient.name")) == "Expression('Patient.name')"


@given(st.text(alphabet="ab1.'`()[]{}|&+-*/=~!<>%$@T:, \n\\isandor", max_size=40))
def test_any_text_is_an_expression_or_invalid(text):
    with contextlib.suppress(Invalid):
        assert isinstance(compile_expression(text), Expression)
