"""R4's own invariants hold on R4's own examples: a check of the FHIRPath engine by content that it has not seen.

The errors only: the warnings (dom-6, names of artifacts) are about style, and the examples often have none.
"""

from functools import cache

import pytest

from fhir_server.fhir import definitions
from fhir_server.fhir.fhirpath.expression import compile_expression
from fhir_server.fhir.fhirpath.nodes import children, root_node
from fhir_server.fhir.json import parse_json
from tests.conformance.examples import example_paths

SLICES = range(6)
MAX_SIZE = 400_000
BUDGET = 1_000_000
"""dom-3 goes through the whole resource for each contained one; the largest example takes 170,000 steps."""
EMPTY_NARRATIVES = {
    "ActivityDefinition-blood-tubes-supply.json",
    "ActivityDefinition-heart-valve-replacement.json",
    "EventDefinition-example.json",
    "Questionnaire-zika-virus-exposure-assessment.json",
}
"""Their narrative is an empty div, which txt-2 forbids; txt-1 has the same expression."""
NOT_AS_MEANT = {"que-7"}
"""``answer is Boolean`` names the System type, which no FHIR boolean is; R5 writes ``boolean``."""


@cache
def invariants_at(type_code, path):
    """Return the compiled errors that a type or an element of a type has, by key."""
    root = type_code.partition(".")[0]
    if not definitions.has_structure(root):
        return ()
    return tuple(
        (each.key, compile_expression(each.expression))
        for each in definitions.invariants(root)
        if each.path == path and each.severity == "error" and each.expression and each.key not in NOT_AS_MEANT
    )


def invariants_of(node):
    yield from invariants_at(node.type, node.type)
    if node.parent is not None:
        name = node.path().rpartition(".")[2].partition("[")[0]
        for path in {f"{node.parent.type}.{name}", f"{node.parent.type}.{name}[x]"} - {node.type}:
            yield from invariants_at(node.parent.type, path)


def broken_invariants(node):
    for key, expression in invariants_of(node):
        if not expression.boolean(node, empty=True, budget=BUDGET):
            yield key, node.path()
    for child in children(node):
        yield from broken_invariants(child)


@pytest.mark.parametrize("part", SLICES)
def test_the_examples_keep_all_invariants(part):
    paths = [path for path in example_paths()[part :: len(SLICES)] if path.stat().st_size < MAX_SIZE]
    found = {
        (key, path.name): place
        for path in paths
        for key, place in broken_invariants(root_node(parse_json(path.read_bytes())))
    }
    empty = {
        (key, name): f"{name.partition('-')[0]}.text.div" for key in ("txt-1", "txt-2") for name in EMPTY_NARRATIVES
    }
    assert found.items() - empty.items() == set()
    assert len(paths) > 100
