"""Who takes part in a patient's care, when, and who is the attending doctor."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from fhir_server.access.care_circle import is_attending, members_in_force
from fhir_server.access.periods import covers

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
DOCTOR = {"member": {"reference": "Practitioner/d"}, "role": [{"coding": [{"code": "PCP"}]}]}
FOR_CLINIC = {"member": {"reference": "Practitioner/x"}, "onBehalfOf": {"reference": "Organization/c"}}


def circle(*participants: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {"resourceType": "CareTeam", "status": "active", "participant": list(participants), **more}


def named(*references: str) -> Any:
    return lambda reference: reference.get("reference") in references


def test_members_are_found_in_person_and_by_the_structure_they_act_for() -> None:
    both = circle(DOCTOR, FOR_CLINIC)
    assert members_in_force(both, named("Practitioner/d"), NOW) == [DOCTOR]
    assert members_in_force(both, named("Organization/c"), NOW) == [FOR_CLINIC]
    assert members_in_force(both, named("Practitioner/nobody"), NOW) == []


@pytest.mark.parametrize(
    "ended",
    [
        circle(DOCTOR, status="inactive"),
        circle(DOCTOR, period={"end": "2026-05-03"}),
        circle({**DOCTOR, "period": {"start": "2026-05-05"}}),
    ],
)
def test_what_has_ended_or_not_begun_lets_nobody_in(ended: dict[str, Any]) -> None:
    assert members_in_force(ended, named("Practitioner/d"), NOW) == []


def test_the_attending_doctor_is_who_has_that_role() -> None:
    assert is_attending(DOCTOR)
    assert not is_attending(FOR_CLINIC)


@pytest.mark.parametrize(
    ("period", "held"),
    [
        ({}, True),
        ({"start": "2026-05-04T12:00:00Z", "end": "2026-05-04T14:00:00+02:00"}, True),
        ({"start": "2026-05-04T12:00:01Z"}, False),
        ({"end": "2026-05-04T13:59:59+02:00"}, False),
        ({"start": "2026-05", "end": "2026"}, True),
        ({"end": "2026-05-04"}, True),
        ({"end": "2026-04"}, False),
    ],
)
def test_a_period_holds_its_moments_and_whole_days(period: dict[str, str], held: bool) -> None:
    assert covers(period, NOW) is held
