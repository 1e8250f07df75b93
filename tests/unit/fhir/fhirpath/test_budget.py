"""Nothing that an expression does runs without end: steps, sizes of texts, regular expressions."""

import time

import pytest

from fhir_server.errors import Processing, TooCostly
from fhir_server.fhir.fhirpath.expression import compile_expression

BIG = {
    "resourceType": "Bundle",
    "type": "collection",
    "entry": [
        {"resource": {"resourceType": "Patient", "name": [{"family": str(i)}], "telecom": [{"value": "1"}] * 5}}
        for i in range(400)
    ],
}


@pytest.mark.parametrize(
    "text",
    [
        "descendants().select(descendants()).select(descendants()).select(%resource.descendants())",
        "descendants().where(%resource.descendants().where($this = 1).exists())",
        "entry.resource.select(%resource.entry.resource ~ $this)",
        "entry.resource.select(%resource.entry.resource = %resource.entry.resource.skip(0))",
        "entry.where(%resource.entry.distinct().count() > 1)",
        "entry.repeat(%resource.descendants().repeat(%resource.descendants()))",
        "(1).repeat(iif($this < 2000000, $this + 1, {}))",
        "entry.aggregate($total & $total & 'aaaaaaaaaa', 'a')",
        "entry.aggregate($total.combine($total).combine(1))",
        "entry.aggregate($total.replace('a', 'aaaaaaaaaaaaaaa'), 'a')",
        "entry.aggregate($total.replaceMatches('a', 'aaaaaaaaaaaaaaa'), 'a')",
        "entry.aggregate(($total | 'a').join('aaaa').toChars().join('aaaaaaaaaaaaaaaaaaaaaaaaaa').encode('hex'), 'b')",
        "'a'.replaceMatches('(?s)(.*)', '" + "$0" * 4000 + "').replaceMatches('(?s)(.*)', '" + "$0" * 4000 + "')",
    ],
)
def test_an_expression_that_multiplies_is_too_costly(text):
    started = time.monotonic()
    with pytest.raises(TooCostly) as caught:
        compile_expression(text).evaluate(BIG)
    assert caught.value.issues[0].expression == ("Bundle",)
    assert time.monotonic() - started < 10


def test_the_budget_is_the_callers():
    expression = compile_expression("entry.resource.name.family")
    assert len(expression.evaluate(BIG, budget=5000)) == 400
    with pytest.raises(TooCostly):
        expression.evaluate(BIG, budget=500)
    with pytest.raises(TooCostly):
        expression.boolean(BIG, budget=500)


def test_a_regular_expression_takes_linear_time(patient):
    started = time.monotonic()
    for pattern in ("^(a+)+$", "^(a|aa)+$", "(.*a){20}$", "^(([a-z])+.)+[A-Z]([a-z])+$"):
        assert compile_expression(f"'{'a' * 5000}!'.matches('{pattern}')").boolean(patient) is False
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("pattern", ["(((a{900}){900}){900}){900}", "a" * 3000, "(a)\\\\1", "(?<!a)b", "(?<n", "*"])
def test_a_regular_expression_that_is_too_large_or_not_regular_is_refused(patient, pattern):
    with pytest.raises(Processing):
        compile_expression(f"'aa'.matches('{pattern}')").boolean(patient)


def test_an_error_does_not_quote_the_record(patient):
    with pytest.raises(Processing) as caught:
        compile_expression("name.given + 1").evaluate(patient)
    assert "Peter" not in str(caught.value)
