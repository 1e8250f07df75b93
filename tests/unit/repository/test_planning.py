"""Which resource a proposal means, and whether its conditions hold."""

from datetime import UTC, datetime

import pytest

from fhir_server.errors import (
    Deleted,
    Duplicate,
    Invalid,
    MethodNotAllowed,
    MultipleMatches,
    NotFound,
    PreconditionFailed,
)
from fhir_server.repository.change import Criteria, Known, Proposal
from fhir_server.repository.planning import Step, check_conditions, identify_steps
from fhir_server.search.ast import Everything
from fhir_server.storage.store import Document, VersionConflict

NOW = datetime(2026, 1, 2, tzinfo=UTC)
CRITERIA = Criteria("Patient", "Patient?identifier=x", Everything())


def document(id: str, version: int = 1, *, deleted: bool = False) -> Document:
    return Document(f"Patient/{id}", version, NOW, deleted, None if deleted else b"{}")


def matches(*ids: str) -> Known:
    return Known(matches={CRITERIA.key: tuple(document(id) for id in ids)})


def known(*documents: Document) -> Known:
    return Known({one.reference: one for one in documents})


def update(id: str, **more: object) -> Proposal:
    return Proposal("update", "PUT", "Patient", id, {"resourceType": "Patient", "id": id}, **more)  # type: ignore[arg-type]


def test_a_create_gets_a_fresh_id() -> None:
    first, second = identify_steps([Proposal("create", "POST", "Patient", resource={})] * 2, Known())
    assert first.fresh
    assert first.reference != second.reference


def test_a_conditional_create_keeps_its_only_match() -> None:
    (step,) = identify_steps([Proposal("create", "POST", "Patient", criteria=CRITERIA)], matches("1"))
    assert step.keep
    assert step.reference == "Patient/1"


def test_a_conditional_create_without_match_is_guarded() -> None:
    (step,) = identify_steps([Proposal("create", "POST", "Patient", criteria=CRITERIA)], matches())
    assert step.guarded
    assert step.fresh


def test_two_conditional_creates_with_the_same_criteria_make_one_resource() -> None:
    proposals = [Proposal("create", "POST", "Patient", criteria=CRITERIA, position=n) for n in range(2)]
    first, second = identify_steps(proposals, matches())
    assert second.keep
    assert first.reference == second.reference


@pytest.mark.parametrize("action", ["create", "update", "patch", "delete"])
def test_more_than_one_match_is_refused(action: str) -> None:
    proposal = Proposal(action, "X", "Patient", criteria=CRITERIA)  # type: ignore[arg-type]
    with pytest.raises(MultipleMatches):
        identify_steps([proposal], matches("1", "2"))


def test_a_multiple_delete_takes_every_match() -> None:
    proposal = Proposal("delete", "DELETE", "Patient", criteria=CRITERIA, multiple=True)
    assert [step.reference for step in identify_steps([proposal], matches("1", "2"))] == ["Patient/1", "Patient/2"]


def test_a_conditional_patch_without_match_is_not_found() -> None:
    with pytest.raises(NotFound):
        identify_steps([Proposal("patch", "PATCH", "Patient", criteria=CRITERIA)], matches())


def test_a_conditional_update_takes_the_id_of_its_match() -> None:
    proposal = Proposal("update", "PUT", "Patient", resource={"resourceType": "Patient"}, criteria=CRITERIA)
    assert identify_steps([proposal], matches("7"))[0].reference == "Patient/7"


def test_a_conditional_update_refuses_another_id_than_that_of_its_match() -> None:
    proposal = Proposal("update", "PUT", "Patient", resource={"id": "8"}, criteria=CRITERIA)
    with pytest.raises(Invalid) as raised:
        identify_steps([proposal], matches("7"))
    assert raised.value.issues[0].expression == ("Patient.id",)


def test_a_conditional_update_without_match_creates_under_the_given_id() -> None:
    proposal = Proposal("update", "PUT", "Patient", resource={"id": "8"}, criteria=CRITERIA)
    (step,) = identify_steps([proposal], matches())
    assert step.reference == "Patient/8"
    assert step.guarded


def test_one_resource_named_by_two_entries_is_refused_with_both_places() -> None:
    proposals = [
        update("1", location="Bundle.entry[0].resource"),
        Proposal("delete", "DELETE", "Patient", "1", location="Bundle.entry[1].resource"),
    ]
    with pytest.raises(Invalid) as raised:
        identify_steps(proposals, Known())
    assert raised.value.issues[0].expression == ("Bundle.entry[0].resource", "Bundle.entry[1].resource")
    assert raised.value.issues[0].code == "duplicate"


@pytest.mark.parametrize(
    ("before", "if_match", "fails"),
    [
        (None, "1", True),
        (document("1", 2), "1", True),
        (document("1", 2), "2", False),
        (document("1", 2), "*", False),
        (document("1", 2, deleted=True), "2", True),
        (None, "*", True),
    ],
)
def test_if_match_names_the_live_version(before: Document | None, if_match: str, fails: bool) -> None:
    steps = identify_steps([update("1", if_match=if_match)], Known())
    state = known(before) if before else Known()
    if fails:
        with pytest.raises(PreconditionFailed):
            check_conditions(steps, state, lambda kind: True)
    else:
        assert check_conditions(steps, state, lambda kind: True)[0].before == before


@pytest.mark.parametrize(
    ("before", "fails"), [(document("1"), True), (document("1", deleted=True), False), (None, False)]
)
def test_if_none_match_star_only_creates(before: Document | None, fails: bool) -> None:
    steps = identify_steps([update("1", if_none_match="*")], Known())
    state = known(before) if before else Known()
    if fails:
        with pytest.raises(PreconditionFailed):
            check_conditions(steps, state, lambda kind: True)
    else:
        check_conditions(steps, state, lambda kind: True)


def test_update_as_create_can_be_switched_off() -> None:
    with pytest.raises(MethodNotAllowed):
        check_conditions(identify_steps([update("1")], Known()), Known(), lambda kind: False)


@pytest.mark.parametrize(("before", "error"), [(None, NotFound), (document("1", deleted=True), Deleted)])
def test_a_patch_needs_a_live_resource(before: Document | None, error: type[Exception]) -> None:
    steps = [Step(Proposal("patch", "PATCH", "Patient", "1"), "Patient/1")]
    with pytest.raises(error):
        check_conditions(steps, known(before) if before else Known(), lambda kind: True)


def test_a_create_never_overwrites() -> None:
    steps = [Step(Proposal("create", "POST", "Patient"), "Patient/1")]
    with pytest.raises(Duplicate):
        check_conditions(steps, known(document("1")), lambda kind: True)


@pytest.mark.parametrize("now", [Known(), known(document("7", 2, deleted=True))])
def test_a_match_that_has_gone_in_the_meantime_is_looked_for_again(now: Known) -> None:
    proposal = Proposal("update", "PUT", "Patient", resource={"resourceType": "Patient"}, criteria=CRITERIA)
    with pytest.raises(VersionConflict):
        check_conditions(identify_steps([proposal], matches("7")), now, lambda kind: True)


def test_the_problems_of_all_proposals_are_told_at_once() -> None:
    proposals = [
        update("1", if_match="9", location="Bundle.entry[0].resource"),
        update("2", if_match="9", location="Bundle.entry[1].resource"),
    ]
    with pytest.raises(PreconditionFailed) as raised:
        check_conditions(identify_steps(proposals, Known()), Known(), lambda kind: True)
    assert [issue.expression for issue in raised.value.issues] == [
        ("Bundle.entry[0].resource",),
        ("Bundle.entry[1].resource",),
    ]
