"""Who represents whom: roles, periods in Paris, minors and protected adults."""

from datetime import UTC, date, datetime
from typing import Any

import pytest

from fhir_server.access.periods import covers
from fhir_server.access.representation import PROTECTION_URL, ROLE_SYSTEM, is_guardian, is_minor, may_represent

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


def related(code: str = "GUARD", system: str = ROLE_SYSTEM, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "RelatedPerson",
        "id": "rp",
        "patient": {"reference": "Patient/p"},
        "relationship": [{"coding": [{"system": system, "code": code}]}],
        **more,
    }


def protection(kind: str, start: str | None = "2020-01-01", end: str | None = None) -> dict[str, Any]:
    parts: list[dict[str, Any]] = [{"url": "type", "valueCode": kind}]
    parts += [{"url": "start", "valueDate": start}] if start else []
    parts += [{"url": "end", "valueDate": end}] if end else []
    return {"url": PROTECTION_URL, "extension": parts}


def test_a_guardian_is_one_by_role_and_while_the_period_lasts() -> None:
    assert is_guardian(related(), NOW)
    assert is_guardian(related(system="http://terminology.hl7.org/CodeSystem/v3-RoleClass"), NOW)
    assert is_guardian(related(period={"start": "2015-07-12", "end": "2033-07-12"}), NOW)


@pytest.mark.parametrize(
    "resource",
    [
        related("ECON"),
        related("GUARD", "https://example.org/roles"),
        related(active=False),
        related(period={"end": "2026-05-03"}),
        related(period={"start": "2026-05-05"}),
        {"resourceType": "RelatedPerson", "id": "rp", "patient": {"reference": "Patient/p"}},
    ],
)
def test_nobody_else_is_a_guardian(resource: dict[str, Any]) -> None:
    assert not is_guardian(resource, NOW)


@pytest.mark.parametrize(
    ("birth", "today", "minor"),
    [
        ("2008-09-30", date(2026, 9, 29), True),
        ("2008-09-30", date(2026, 9, 30), False),
        ("2008-02-29", date(2026, 2, 28), True),
        ("2008-02-29", date(2026, 3, 1), False),
        ("2008-09", date(2026, 8, 31), True),
        ("2008-09", date(2026, 9, 1), False),
        ("2008", date(2025, 12, 31), True),
        ("2008", date(2026, 1, 1), False),
        ("", date(2026, 1, 1), False),
    ],
)
def test_a_minor_is_certainly_younger_than_eighteen(birth: str, today: date, minor: bool) -> None:
    assert is_minor(birth, today) is minor


@pytest.mark.parametrize(
    ("period", "moment", "within"),
    [
        ({}, NOW, True),
        ({"end": "2026-05-04"}, NOW, True),
        ({"end": "2026-05"}, NOW, True),
        ({"end": "2026-04"}, NOW, False),
        ({"start": "2026"}, NOW, True),
        ({"start": "2027"}, NOW, False),
        # In Paris it is already the fifth.
        ({"end": "2026-05-04"}, datetime(2026, 5, 4, 22, 30, tzinfo=UTC), False),
        ({"start": "2026-05-05"}, datetime(2026, 5, 4, 22, 30, tzinfo=UTC), True),
        ({"start": "2026-05-04T13:59:00+02:00"}, NOW, True),
        ({"start": "2026-05-04T14:01:00+02:00"}, NOW, False),
        ({"end": "2026-05-04T12:00:00Z"}, NOW, True),
        ({"end": "2026-05-04T11:59:59.999Z"}, NOW, False),
    ],
)
def test_a_period_is_read_as_in_paris(period: dict[str, Any], moment: datetime, within: bool) -> None:
    assert covers(period, moment) is within


@pytest.mark.parametrize(
    ("extension", "represented"),
    [
        (protection("tutelle"), True),
        (protection("habilitation-familiale"), True),
        (protection("curatelle"), False),
        (protection("tutelle", start=None), False),
        (protection("tutelle", end="2026-05-04"), True),
        (protection("tutelle", end="2026-05-03"), False),
        (protection("tutelle", start="2026-05-05"), False),
        ({"url": "https://example.org/other"}, False),
        ({"url": PROTECTION_URL}, False),
    ],
)
def test_an_adult_is_represented_under_a_measure_that_gives_that_power(
    extension: dict[str, Any], represented: bool
) -> None:
    adult = {"resourceType": "Patient", "id": "p", "birthDate": "1950-02-01"}
    assert may_represent(related(extension=[extension]), adult, date(2026, 5, 4)) is represented


def test_an_adult_without_a_measure_is_represented_by_nobody() -> None:
    assert not may_represent(related(), {"birthDate": "1950"}, date(2026, 5, 4))
    assert may_represent(related(), {"birthDate": "2015-07-12"}, date(2026, 5, 4))
