"""``Expression.boolean``: http://hl7.org/fhirpath/N1/#singleton-evaluation-of-collections."""

import pytest

from fhir_server.errors import Processing
from fhir_server.fhir.fhirpath.expression import compile_expression


@pytest.mark.parametrize(
    ("text", "expected"), [("true", True), ("false", False), ("'x'", True), ("birthDate", True), ("active", True)]
)
def test_one_item_is_true_unless_it_is_false(patient, text, expected):
    assert compile_expression(text).boolean(patient) is expected


def test_nothing_is_what_the_caller_wants(patient):
    assert compile_expression("link").boolean(patient) is False
    assert compile_expression("link").boolean(patient, empty=True) is True
    assert compile_expression("false").boolean(patient, empty=True) is False


def test_several_items_are_no_answer(patient):
    with pytest.raises(Processing) as caught:
        compile_expression("name").boolean(patient)
    assert caught.value.issues[0].expression == ("Patient",)
