"""Which codes a value set holds and which code subsumes which, out of R4's definitions and of stored resources."""

from collections.abc import Mapping
from typing import Any

import pytest

from fhir_server.errors import FhirError, NotSupported, TooCostly, Value
from fhir_server.fhir.definitions import artifacts
from fhir_server.search.ast import Chain, Has, InValueSet, KeyBetween, Link, Not, Nothing, Subsumed, TokenIn
from fhir_server.search.building import build_and, build_not
from fhir_server.terminology.code_systems import find_code_system, to_code_system
from fhir_server.terminology.resolving import resolve_terminology
from fhir_server.terminology.value_sets import MOST_CODES, expand

CLINICAL = "http://terminology.hl7.org/CodeSystem/condition-clinical"
ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
ANIMALS = "http://here.example/animals"


def code_system(**more: Any) -> dict[str, Any]:
    """Animals: a cat is a mammal by its place, a dog by a property, a bat by the mammal's."""
    return {
        "resourceType": "CodeSystem",
        "url": ANIMALS,
        "status": "active",
        "content": "complete",
        "concept": [
            {"code": "animal", "concept": [{"code": "mammal", "concept": [{"code": "Cat"}]}]},
            {
                "code": "dog",
                "property": [{"code": "parent", "valueCode": "mammal"}, {"code": "legs", "valueInteger": 4}],
            },
            {"code": "bat", "display": "Bat", "property": [{"code": "legs", "valueInteger": 2}]},
            {"code": "flyer", "property": [{"code": "child", "valueCode": "bat"}]},
        ],
        **more,
    }


def value_set(url: str = "http://here.example/vs", **compose: Any) -> dict[str, Any]:
    return {"resourceType": "ValueSet", "url": url, "status": "active", "compose": compose}


def including(*filters: tuple[str, str, str], **more: Any) -> dict[str, Any]:
    listed = [{"property": name, "op": operator, "value": value} for name, operator, value in filters]
    return value_set(include=[{"system": ANIMALS, **({"filter": listed} if listed else {}), **more}])


class Stored:
    """A look-up among these resources, and what it was asked."""

    def __init__(self, *resources: Mapping[str, Any]) -> None:
        self.resources = resources
        self.asked: list[tuple[str, str]] = []

    def __call__(self, kind: str, canonical: str) -> Mapping[str, Any] | None:
        self.asked.append((kind, canonical))
        found = (one for one in self.resources if (one["resourceType"], one["url"]) == (kind, canonical))
        return next(found, None)


def codes(resource: dict[str, Any], *others: dict[str, Any]) -> set[str]:
    expansion = expand(resource["url"], Stored(resource, code_system(), *others))
    assert not expansion.systems
    return {code for _, code in expansion.pairs}


def test_a_code_is_subsumed_by_place_and_by_property() -> None:
    system = to_code_system(code_system())
    assert system.below("mammal") == {"mammal", "cat", "dog"}
    assert system.below("MAMMAL") == system.below("mammal")
    assert system.above("cat") == {"cat", "mammal", "animal"}
    assert system.above("bat") == {"bat", "flyer"}
    assert system.below("stone") == frozenset()


def test_a_cycle_of_parents_ends() -> None:
    concepts = [{"code": a, "property": [{"code": "parent", "valueCode": b}]} for a, b in ("ab", "bc", "ca")]
    assert to_code_system(code_system(concept=concepts)).below("a") == {"a", "b", "c"}


def test_a_very_deep_hierarchy_needs_no_stack() -> None:
    concept: dict[str, Any] = {"code": "0"}
    for number in range(1, 5_000):
        concept = {"code": str(number), "concept": [concept]}
    assert len(to_code_system(code_system(concept=[concept])).above("0")) == 5_000


def test_r4s_own_code_systems_are_known() -> None:
    system = find_code_system(CLINICAL, Stored())
    assert system is not None
    assert system.below("active") == {"active", "recurrence", "relapse"}
    assert find_code_system("http://here.example/nothing", Stored()) is None


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ([("concept", "is-a", "mammal")], {"mammal", "cat", "dog"}),
        ([("concept", "descendent-of", "mammal")], {"cat", "dog"}),
        ([("concept", "is-not-a", "mammal")], {"animal", "bat", "flyer"}),
        ([("concept", "generalizes", "dog")], {"dog", "mammal", "animal"}),
        ([("concept", "in", "dog, bat")], {"dog", "bat"}),
        ([("concept", "not-in", "dog,bat,Cat")], {"animal", "mammal", "flyer"}),
        ([("legs", "=", "4")], {"dog"}),
        ([("legs", "exists", "true")], {"dog", "bat"}),
        ([("display", "=", "Bat")], {"bat"}),
        ([("parent", "=", "mammal")], {"cat", "dog"}),
        ([("child", "=", "bat")], {"flyer"}),
        ([("concept", "is-a", "mammal"), ("legs", "=", "4")], {"dog"}),
    ],
)
def test_filters_choose_codes(filters: list[tuple[str, str, str]], expected: set[str]) -> None:
    assert codes(including(*filters)) == expected


def test_sets_are_joined_crossed_and_subtracted() -> None:
    listed = value_set("http://here.example/list", include=[{"system": ANIMALS, "concept": [{"code": "dog"}]}])
    mammals = including(("concept", "is-a", "mammal"), valueSet=[listed["url"]])
    assert codes(mammals, listed) == {"dog"}
    both = value_set(include=[{"valueSet": [listed["url"]]}, {"system": ANIMALS, "concept": [{"code": "bat"}]}])
    assert codes(both, listed) == {"dog", "bat"}
    less = value_set(
        include=[{"system": ANIMALS}],
        exclude=[{"valueSet": [listed["url"]]}, {"system": ANIMALS, "concept": [{"code": "animal"}]}],
    )
    assert codes(less, listed) == {"mammal", "cat", "bat", "flyer"}


def test_a_whole_system_need_not_be_here() -> None:
    whole = value_set(include=[{"system": "http://loinc.org"}])
    assert expand(whole["url"], Stored(whole)).systems == {"http://loinc.org"}
    assert expand("http://snomed.info/sct?fhir_vs", Stored()).systems == {"http://snomed.info/sct"}


def test_a_complete_expansion_stands_in_for_what_cannot_be_computed() -> None:
    entries = [{"system": "http://elsewhere", "code": "A", "contains": [{"system": "http://elsewhere", "code": "B"}]}]
    resource = value_set(
        include=[{"system": "http://elsewhere", "filter": [{"property": "p", "op": "=", "value": "v"}]}]
    )
    expanded = {**resource, "expansion": {"timestamp": "2020", "total": 2, "contains": entries}}
    assert codes(expanded) == {"a", "b"}
    for part in ({"total": 3}, {"offset": 1}, {"parameter": [{"name": "filter", "valueString": "x"}]}):
        with pytest.raises(NotSupported):
            codes({**expanded, "expansion": {**expanded["expansion"], **part}})


REGEX = {"property": "code", "op": "regex", "value": "(a+)+$"}
UNKNOWN = {"property": "c", "op": "=", "value": ""}
LOINC = {"system": "http://loinc.org"}


@pytest.mark.parametrize(
    ("compose", "error"),
    [
        ({"include": [{"system": ANIMALS, "filter": [REGEX]}]}, NotSupported),
        ({"include": [{"system": "http://elsewhere", "filter": [UNKNOWN]}]}, NotSupported),
        ({"include": [{"valueSet": ["http://here.example/vs"]}]}, NotSupported),
        ({"include": [{"valueSet": ["http://here.example/nothing"]}]}, NotSupported),
        ({"include": [LOINC], "exclude": [{**LOINC, "concept": [{"code": "1"}]}]}, NotSupported),
        ({"include": [{**LOINC, "concept": [{"code": str(n)} for n in range(MOST_CODES + 1)]}]}, TooCostly),
    ],
)
def test_what_cannot_be_told_completely_is_refused(compose: dict[str, Any], error: type[FhirError]) -> None:
    with pytest.raises(error):
        codes(value_set(**compose))
    with pytest.raises(Value):
        expand("http://here.example/unknown", Stored())


def test_long_chains_of_value_sets_are_refused() -> None:
    chain = [
        value_set(f"http://here.example/{n}", include=[{"valueSet": [f"http://here.example/{n + 1}"]}])
        for n in range(40)
    ]
    with pytest.raises(TooCostly):
        codes(chain[0], *chain)


def test_every_value_set_of_r4_is_expanded_or_refused() -> None:
    expanded = refused = 0
    for url in artifacts("ValueSet"):
        try:
            expansion = expand(url, Stored())
            expanded += bool(expansion.pairs or expansion.systems)
        except (NotSupported, TooCostly):
            refused += 1
    assert expanded > 1_000
    assert refused < 150


def test_nodes_become_tokens_wherever_they_stand() -> None:
    stored = Stored(code_system(), including(("concept", "is-a", "mammal")))
    node = InValueSet("code", "Condition.code", None, "http://here.example/vs")
    tokens = TokenIn(tuple(f"Condition.code|{ANIMALS}|{code}" for code in ("cat", "dog", "mammal")))
    type_is = TokenIn(("Condition",))
    assert resolve_terminology(build_and([type_is, build_not(node)]), stored) == build_and([type_is, Not(tokens)])
    link = Link("Encounter", "diagnosis")
    assert resolve_terminology(Chain("x", link, (("Condition", node),)), stored) == Chain(
        "x", link, (("Condition", tokens),)
    )
    assert resolve_terminology(Has("x", link, ("Patient",), node), stored) == Has("x", link, ("Patient",), tokens)
    assert stored.asked.count(("ValueSet", "http://here.example/vs")) == 3
    assert resolve_terminology(type_is, stored) is type_is


def test_an_element_with_an_implicit_system_is_asked_by_its_code_alone() -> None:
    url = "http://hl7.org/fhir/ValueSet/administrative-gender"
    system = "http://hl7.org/fhir/administrative-gender"
    assert resolve_terminology(InValueSet("gender", "Patient.gender", system, url), Stored()) == KeyBetween(
        "t", "Patient.gender|", "Patient.gender}"
    )
    assert resolve_terminology(InValueSet("gender", "Patient.gender", "http://other", url), Stored()) == Nothing()


@pytest.mark.parametrize(
    ("node", "error"),
    [
        (Subsumed("code", "Condition.code", None, "http://snomed.info/sct", "126851005", "below"), NotSupported),
        (Subsumed("code", "Condition.code", None, CLINICAL, "nothing", "below"), Value),
        (Subsumed("code", "Condition.code", None, ANIMALS, "dog", "above"), NotSupported),
        (InValueSet("code", "Condition.code", None, "http://nowhere.example"), Value),
    ],
)
def test_refusals_name_the_parameter_and_no_value(node: InValueSet | Subsumed, error: type[FhirError]) -> None:
    stored = Stored(code_system(hierarchyMeaning="part-of"))
    with pytest.raises(error) as caught:
        resolve_terminology(node, stored)
    (issue,) = caught.value.issues
    assert issue.expression == ("http.code",)
    assert issue.text.en.startswith("The search parameter code cannot be used")
    assert "example" not in str(caught.value)


def test_r4s_hierarchies_answer_in_both_directions() -> None:
    below = resolve_terminology(
        Subsumed("class", "Encounter.class", None, ACT_CODE, "_ActEncounterCode", "below"), Stored()
    )
    assert isinstance(below, TokenIn)
    assert f"Encounter.class|{ACT_CODE}|AMB" in below.keys
    above = resolve_terminology(Subsumed("class", "Encounter.class", None, ACT_CODE, "AMB", "above"), Stored())
    assert isinstance(above, TokenIn)
    assert f"Encounter.class|{ACT_CODE}|_ActEncounterCode" in above.keys
