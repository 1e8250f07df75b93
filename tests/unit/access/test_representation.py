"""When a parent or guardian acts for a patient, and from which minute on no longer."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from fhir_server.access.representation import PROTECTION_URL, is_adult, is_representative

PARIS = ZoneInfo("Europe/Paris")
ROLE = "http://terminology.hl7.org/CodeSystem/v3-RoleClass"
NOW = datetime(2026, 6, 1, 12, tzinfo=PARIS)
CHILD = {"resourceType": "Patient", "id": "lea", "birthDate": "2015-07-12"}
ADULT = {"resourceType": "Patient", "id": "lea", "birthDate": "1990-01-01"}


def related(**more: Any) -> dict[str, Any]:
    fixed = {"relationship": [{"coding": [{"system": ROLE, "code": "GUARD"}]}]}
    return {"resourceType": "RelatedPerson", "patient": {"reference": "Patient/lea"}, **fixed, **more}


def protected(kind: str = "tutelle", **period: str) -> list[dict[str, Any]]:
    parts = [
        {"url": "type", "valueCode": kind},
        *({"url": name, "valueDate": day} for name, day in period.items()),
    ]
    return [{"url": "http://other"}, {"url": PROTECTION_URL, "extension": parts}]


@pytest.mark.parametrize(
    ("moment", "adult"),
    [
        (datetime(2026, 9, 29, 23, 59, 59, tzinfo=PARIS), False),
        (datetime(2026, 9, 30, 0, 0, tzinfo=PARIS), True),
        (datetime(2026, 9, 29, 22, 0, tzinfo=ZoneInfo("UTC")), True),
        (datetime(2026, 9, 29, 21, 59, tzinfo=ZoneInfo("UTC")), False),
    ],
)
def test_majority_begins_at_midnight_in_paris(moment: datetime, adult: bool) -> None:
    assert is_adult({"birthDate": "2008-09-30"}, moment) == adult


def test_who_is_born_on_the_29th_of_february_comes_of_age_on_the_1st_of_march() -> None:
    assert not is_adult({"birthDate": "2008-02-29"}, datetime(2026, 2, 28, 23, 59, tzinfo=PARIS))
    assert is_adult({"birthDate": "2008-02-29"}, datetime(2026, 3, 1, tzinfo=PARIS))


@pytest.mark.parametrize(
    ("born", "adult"),
    [("", True), ("2015", False), ("2015-07", False), ("2008", True), ("2008-06", True), ("2008-07", False)],
)
def test_whose_birth_date_is_not_complete_is_a_minor_only_for_certain(born: str, adult: bool) -> None:
    assert is_adult({"birthDate": born} if born else {}, NOW) == adult


@pytest.mark.parametrize(
    ("change", "holds"),
    [
        ({}, True),
        ({"active": True}, True),
        ({"active": False}, False),
        ({"patient": {"reference": "Patient/other"}}, False),
        ({"patient": {}}, False),
        ({"relationship": []}, False),
        ({"relationship": [{"coding": [{"system": ROLE, "code": "ECON"}]}]}, False),
        ({"relationship": [{"coding": [{"system": "http://mine", "code": "GUARD"}]}]}, False),
        ({"period": {"end": "2026-05-31"}}, False),
        ({"period": {"start": "2026-06-02"}}, False),
        ({"period": {"start": "2026-06-01", "end": "2026-06-01"}}, True),
    ],
)
def test_a_guardian_in_force_represents_a_minor(change: dict[str, Any], holds: bool) -> None:
    assert is_representative(related(**change), CHILD, NOW) == holds


@pytest.mark.parametrize(
    ("extension", "holds"),
    [
        ([], False),
        (protected(), False),
        (protected("curatelle", start="2026-01-01"), False),
        (protected(start="2026-01-01"), True),
        (protected(start="2026-07-01"), False),
        (protected(start="2020-01-01", end="2025-12-31"), False),
    ],
)
def test_an_adult_is_represented_under_a_measure_of_protection_alone(
    extension: list[dict[str, Any]], holds: bool
) -> None:
    assert is_representative(related(extension=extension), ADULT, NOW) == holds
