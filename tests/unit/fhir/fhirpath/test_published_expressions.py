"""Every expression that R4 publishes can be compiled, and pruned to one type."""

import pytest

from fhir_server.fhir import definitions
from fhir_server.fhir.fhirpath.ast import Empty, Union
from fhir_server.fhir.fhirpath.expression import Expression, compile_expression


def test_every_search_parameter_can_be_compiled_for_each_of_its_types():
    count = 0
    for parameter in definitions.search_parameter_definitions():
        if "expression" in parameter:
            count += 1
            for base in parameter["base"]:
                assert compile_expression(parameter["expression"], base).text == parameter["expression"]
    assert count > 1000


def test_every_invariant_can_be_compiled():
    names = [*definitions.resource_types(), "HumanName", "Period", "Quantity", "Timing", "ElementDefinition", "Element"]
    expressions = {each.expression for name in names for each in definitions.invariants(name) if each.expression}
    assert len(expressions) > 150
    for expression in sorted(expressions):
        assert isinstance(compile_expression(expression), Expression)


@pytest.mark.parametrize(
    ("root_type", "branches"), [("Patient", 2), ("Observation", 1), ("Group", None), ("Condition", 1)]
)
def test_branches_of_other_types_are_left_out(root_type, branches):
    text = "Patient.name | Person.name | (Observation.value as string) | Patient.id | (Condition.onset).as(string)"
    tree = compile_expression(text, root_type).tree
    assert tree == Empty() if branches is None else isinstance(tree, Union) and len(tree.branches) == branches


def test_a_branch_of_branches_or_of_a_base_type_stays():
    tree = compile_expression("(Patient.name | Person.name) | Resource.id | name | Group.id", "Person").tree
    assert isinstance(tree, Union)
    assert len(tree.branches) == 3
