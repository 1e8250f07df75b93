"""How joins are resolved: by keys where the inner side is small, by probing where it is not; within limits."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from fhir_server.errors import TooCostly
from fhir_server.search.ast import (
    Chain,
    Everything,
    Has,
    Link,
    ListMember,
    Node,
    Nothing,
    ReferenceIs,
    RefersTo,
    TokenIn,
    TypeIs,
)
from fhir_server.search.building import build_and, build_not, build_or
from fhir_server.search.indexer import to_index
from fhir_server.search.matcher import index_document, matches
from fhir_server.search.measures import fields_of, has_joins
from fhir_server.search.parser import parse_search
from fhir_server.search.planner import Planner
from fhir_server.search.plans import DEFAULT_LIMITS, IndexDocument, Limits

NOW = datetime(2024, 1, 1, tzinfo=UTC)
SUBJECT = Link("Observation", "subject", patient=True)
FEMALE = TokenIn(("Patient.gender||female",))
NOBODY = Nothing()
OF_FEMALES = Chain("subject:Patient.gender", SUBJECT, (("Patient", FEMALE),))


class Shelf:
    """A lookup over resources in memory that counts what it is asked and hides what ``hidden`` matches."""

    def __init__(self, *resources: dict[str, Any], hidden: Node = NOBODY) -> None:
        self.documents = [index_document(f"{one['resourceType']}/{one['id']}", NOW, to_index(one)) for one in resources]
        self.hidden = hidden
        self.asked: list[str] = []

    def visible(self, resource_type: str) -> Node:
        return build_not(self.hidden)

    readable = visible

    def find(self, tree: Node, fields: Sequence[str], limit: int) -> list[IndexDocument]:
        self.asked.append("find")
        return self._matching(tree, fields)[:limit]

    def count(self, tree: Node, limit: int) -> int:
        self.asked.append("count")
        return min(len(self._matching(tree, ())), limit)

    def walk(self, tree: Node, fields: Sequence[str]) -> Iterator[list[IndexDocument]]:
        found = self._matching(tree, fields)
        for start in range(0, max(len(found), 1), 3):
            self.asked.append("walk")
            yield found[start : start + 3]

    def exist(self, trees: Sequence[Node]) -> list[bool]:
        self.asked.append("exist")
        return [bool(self._matching(tree, ())) for tree in trees]

    def _matching(self, tree: Node, fields: Sequence[str]) -> list[IndexDocument]:
        assert not has_joins(tree)
        kept = {"_id", "type", "updated", *fields}
        found = [one for one in self.documents if matches(tree, one)]
        return found if "*" in fields else [{k: v for k, v in one.items() if k in kept} for one in found]


def patient(id: str, gender: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": id, "gender": gender, **more}


def observation(id: str, subject: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", "id": id, "status": "final", "subject": {"reference": subject}, **more}


def people(count: int) -> list[dict[str, Any]]:
    return [patient(str(number), "female" if number % 2 else "male") for number in range(count)] + [
        observation(f"o{number}", f"Patient/{number}") for number in range(count)
    ]


def found_by(shelf: Shelf, tree: Node, limits: Limits = DEFAULT_LIMITS) -> set[str]:
    planner = Planner(shelf, limits)
    planned = planner.plan(tree)
    assert not has_joins(planned.tree)
    candidates = [one for one in shelf.documents if matches(planned.tree, one)]
    if planned.residual is not None:
        candidates = planner.settle(planned.residual, candidates)
    return {one["_id"] for one in candidates}


def tree_of(kind: str, name: str, value: str) -> Node:
    return parse_search(kind, [(name, value)], strict=True, base_url="http://here.example/fhir").tree


def test_a_tree_without_joins_costs_nothing() -> None:
    shelf = Shelf(*people(4))
    tree = build_and([TypeIs(("Patient",)), FEMALE])
    planned = Planner(shelf).plan(tree)
    assert (planned.tree, planned.residual, shelf.asked) == (tree, None, [])


def test_a_small_inner_side_becomes_keys_in_one_look_up() -> None:
    shelf = Shelf(*people(4))
    planner = Planner(shelf)
    planned = planner.plan(build_and([TypeIs(("Observation",)), OF_FEMALES]))
    assert planned.residual is None
    keys = ("Observation.subject>Patient/1", "Observation.subject>Patient/3")
    assert planned.tree == build_and(
        [TypeIs(("Observation",)), RefersTo(keys, "Observation", ("Patient/1", "Patient/3"))]
    )
    assert shelf.asked == ["find"]
    assert [(step.name, step.way, step.examined) for step in planner.steps] == [("subject:Patient.gender", "keys", 2)]


def test_a_large_inner_side_is_left_to_probe() -> None:
    planner = Planner(Shelf(*people(20)), Limits(keys=3))
    planned = planner.plan(build_and([TypeIs(("Observation",)), OF_FEMALES]))
    assert (planned.tree, planned.residual) == (TypeIs(("Observation",)), OF_FEMALES)
    assert fields_of(OF_FEMALES) == ("pt",)
    assert [step.way for step in planner.steps] == ["probe"]


def test_probing_in_vain_makes_a_larger_inner_side_worth_looking_up() -> None:
    planner = Planner(Shelf(*people(160)), Limits(keys=3, worth=2))
    tree = build_and([TypeIs(("Observation",)), OF_FEMALES])
    assert planner.plan(tree).residual == OF_FEMALES
    assert planner.plan(tree, 39).residual == OF_FEMALES
    planned = planner.plan(tree, 60)
    assert planned.residual is None
    assert len([one for one in planner.lookup.find(planned.tree, (), 200) if one["type"] == "Observation"]) == 80


def test_a_further_join_weighs_its_candidates_against_its_inner_side() -> None:
    shelf = Shelf(*people(120))
    tree = tree_of("Patient", "_has:Observation:patient:subject:Patient.gender", "female")
    assert found_by(shelf, tree, Limits(keys=10, worth=2)) == {f"Patient/{number}" for number in range(1, 120, 2)}
    assert shelf.asked.count("walk") == 0
    few = build_and([ReferenceIs(("Observation/o1",)), OF_FEMALES])
    shelf.asked.clear()
    assert found_by(shelf, Has("_has", SUBJECT, ("Patient",), few), Limits(keys=2)) == {"Patient/1"}
    assert shelf.asked[:3] == ["find", "count", "walk"]  # three females, one candidate: that one is asked


def test_referrers_are_read_together_unless_one_candidate_has_many() -> None:
    tree = tree_of("Patient", "_has:Observation:patient:status", "final")
    shelf = Shelf(*people(20))
    assert len(found_by(shelf, tree, Limits(keys=3))) == 20
    assert "exist" not in shelf.asked
    crowd = [observation(f"x{number}", "Patient/0") for number in range(90)]
    shelf = Shelf(*crowd, *people(20))
    assert len(found_by(shelf, tree, Limits(keys=3))) == 20
    assert shelf.asked.count("exist") == 1


def test_an_inner_side_is_looked_up_once_however_often_it_stands_there() -> None:
    shelf = Shelf(*people(4))
    other = Chain("encounter.gender", Link("Observation", "performer"), OF_FEMALES.targets)
    found_by(shelf, build_or([OF_FEMALES, build_not(OF_FEMALES), other]))
    assert shelf.asked == ["find"]


def test_nothing_more_is_asked_once_nothing_can_match() -> None:
    shelf = Shelf(*people(4))
    nobody = Chain("patient.gender", SUBJECT, (("Patient", TokenIn(("Patient.gender||unknown",))),))
    assert found_by(shelf, build_and([nobody, OF_FEMALES, ListMember("_list", "1", ())])) == set()
    assert shelf.asked == ["find"]


def test_each_hop_is_one_look_up() -> None:
    organization = {"resourceType": "Organization", "id": "x", "name": "Bichat"}
    ward = [organization, patient("p", "female", managingOrganization={"reference": "Organization/x"})]
    shelf = Shelf(*ward, observation("o", "Patient/p"))
    assert found_by(shelf, tree_of("Observation", "patient.organization.name", "bichat")) == {"Observation/o"}
    assert shelf.asked == ["find", "find"]
    shelf.asked.clear()
    nested = tree_of("Organization", "_has:Patient:organization:_has:Observation:patient:status", "final")
    assert found_by(shelf, nested) == {"Organization/x"}
    assert shelf.asked == ["find", "find"]


@pytest.mark.parametrize("keys", [1, 3, 100])
@pytest.mark.parametrize(
    ("kind", "name", "value", "expected"),
    [
        ("Observation", "subject.gender", "female", {f"Observation/o{n}" for n in (1, 3, 5, 7)}),
        ("Observation", "subject:Patient.gender:not", "female", {f"Observation/o{n}" for n in (0, 2, 4, 6)}),
        ("Observation", "patient._has:Observation:patient:_id", "o1,o2", {"Observation/o1", "Observation/o2"}),
        ("Patient", "_has:Observation:patient:status", "final", {f"Patient/{n}" for n in range(8)}),
        ("Patient", "_has:Observation:patient:subject:Patient.gender", "male", {f"Patient/{n}" for n in (0, 2, 4, 6)}),
        ("Patient", "_has:Observation:patient:patient._has:Observation:subject:status", "amended", set()),
    ],
)
def test_keys_and_probes_agree(kind: str, name: str, value: str, expected: set[str], keys: int) -> None:
    shelf = Shelf(*people(8))
    assert found_by(shelf, tree_of(kind, name, value), Limits(keys=keys)) == expected
    tree = tree_of(kind, name, value)
    others = {one["_id"] for one in shelf.documents if one["type"] == kind} - expected
    negated = build_and([TypeIs((kind,)), build_not(tree)])
    assert found_by(shelf, negated, Limits(keys=keys)) == others
    either = build_or([tree, ReferenceIs((min(others),))]) if others else tree
    assert found_by(shelf, either, Limits(keys=keys)) == expected | ({min(others)} if others else set())


@pytest.mark.parametrize("keys", [1, 100])
def test_what_is_hidden_is_as_if_it_were_not_there(keys: int) -> None:
    hidden = ReferenceIs(("Patient/1", "Observation/o3", "List/l"))
    listed = {"resourceType": "List", "id": "l", "entry": [{"item": {"reference": "Patient/2"}}]}
    shelf = Shelf(*people(8), listed, hidden=hidden)
    without = Shelf(*(one for one in people(8) if one["id"] not in ("1", "o3")))
    for kind, name, value in (
        ("Observation", "subject.gender", "female"),
        ("Observation", "subject:Patient.gender:not", "male"),
        ("Patient", "_has:Observation:patient:status", "final"),
        ("Patient", "_list", "l"),
        ("Observation", "subject._has:Observation:patient:status", "final"),
    ):
        tree = tree_of(kind, name, value)
        seen = found_by(shelf, build_and([tree, build_not(hidden)]), Limits(keys=keys))
        assert seen == found_by(without, tree, Limits(keys=keys)), name


def test_more_than_the_budget_is_refused_by_the_name_as_written() -> None:
    shelf = Shelf(*people(20))
    tree = tree_of("Observation", "subject:Patient._has:Observation:patient:status", "final")
    with pytest.raises(TooCostly) as refused:
        found_by(shelf, tree, Limits(keys=3, budget=30))
    (issue,) = refused.value.issues
    assert "subject:Patient._has:Observation:patient:status" in issue.text.en
    assert "subject:Patient._has:Observation:patient:status" in issue.text.fr
    assert "30" in issue.text.en
    assert issue.expression == ("http.subject:Patient._has:Observation:patient:status",)


def test_hops_have_a_limit() -> None:
    tree = tree_of("Organization", "partof.partof.partof.name", "x")
    Planner(Shelf(), Limits(depth=3)).plan(tree)
    with pytest.raises(TooCostly, match="more than 2 hops"):
        Planner(Shelf(), Limits(depth=2)).plan(tree)


def test_a_residual_of_other_conditions_asks_for_all_fields() -> None:
    assert fields_of(build_or([OF_FEMALES, FEMALE])) == ("*",)
    assert fields_of(build_not(OF_FEMALES)) == ("pt",)
    assert fields_of(Chain("subject.name", SUBJECT, (("Patient", FEMALE), ("Location", FEMALE)))) == ("r", "pt")
    assert fields_of(Has("_has", Link("Observation", "subject"), ("Patient",), Everything())) == ()
    assert fields_of(Has("_has", Link("X", "y"), ("Questionnaire",), Everything())) == ("t",)
