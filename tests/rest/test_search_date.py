"""date: the tables of http://hl7.org/fhir/R4/search.html#date, on instants, partial dates, Periods and Timings."""

import pytest

from tests.rest.fhir import Fhir, observation
from tests.rest.stored import found, put_all, refused


@pytest.fixture
def dated(fhir: Fhir) -> Fhir:
    put_all(
        fhir,
        observation(id="year", effectiveDateTime="2013"),
        observation(id="month", effectiveDateTime="2013-01"),
        observation(id="day", effectiveDateTime="2013-01-14"),
        observation(id="minute", effectiveDateTime="2013-01-14T10:00:00Z"),
        observation(id="zone", effectiveDateTime="2013-01-15T00:30:00+02:00"),
        observation(id="instant", effectiveInstant="2013-01-14T10:00:00.500Z"),
        observation(id="within", effectivePeriod={"start": "2013-01-14T08:00:00Z", "end": "2013-01-14T09:00:00Z"}),
        observation(id="across", effectivePeriod={"start": "2013-01-13", "end": "2013-01-15"}),
        observation(id="since", effectivePeriod={"start": "2013-01-14T12:00:00Z"}),
        observation(id="until", effectivePeriod={"end": "2013-01-14T12:00:00Z"}),
        observation(id="timing", effectiveTiming={"event": ["2013-01-14T10:00:00Z", "2013-01-20"]}),
        observation(
            id="bounds", effectiveTiming={"repeat": {"boundsPeriod": {"start": "2013-02-01", "end": "2013-02-28"}}}
        ),
        observation(id="never"),
    )
    return fhir


EVERY = "across bounds day instant minute month since timing until within year zone"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2013-01-14", "day instant minute within zone"),
        ("eq2013-01-14", "day instant minute within zone"),
        ("2013-01", "across day instant minute month timing within zone"),
        ("2013", "across bounds day instant minute month timing within year zone"),
        ("2013-01-14T10:00Z", "instant minute"),
        ("2013-01-14T10:00:00Z", "instant minute"),
        ("2013-01-14T12:00:00%2B02:00", "instant minute"),
        ("2013-01-14T10:00:00.500Z", "instant"),
        ("ne2013-01-14", "across bounds month since timing until year"),
        ("lt2013-01-14", "across month until year"),
        ("gt2013-01-14", "across bounds month since timing year"),
        ("ge2013-01-14", "across bounds day instant minute month since timing within year zone"),
        ("le2013-01-14", "across day instant minute month until within year zone"),
        ("sa2013-01-14", "bounds"),
        ("sa2013-01-13", "bounds day instant minute since timing within zone"),
        ("eb2013-01-14", ""),
        ("eb2013-01-15", "day instant minute until within zone"),
        ("ge2013-01-14&date=lt2013-01-15", "across day instant minute month since timing within year zone"),
        ("ap2013-01-14", EVERY),
    ],
)
def test_a_date_is_found_by_its_range(dated: Fhir, value: str, expected: str) -> None:
    assert found(dated, f"Observation?date={value}") == expected


def test_a_date_that_is_absent_is_missing(dated: Fhir) -> None:
    assert found(dated, "Observation?date:missing=true") == "never"
    assert found(dated, "Observation?date:missing=false") == EVERY


@pytest.mark.parametrize(
    "value", ["2013-1", "2013-13", "2013-02-30", "13-01-2013", "2013-01-14T25:00", "now", "2013-01-14T10:00:00+99:00"]
)
def test_what_is_no_date_is_refused(fhir: Fhir, value: str) -> None:
    assert "date" in refused(fhir, f"Observation?date={value.replace('+', '%2B')}")


def test_a_date_without_a_zone_counts_as_utc(dated: Fhir) -> None:
    assert found(dated, "Observation?date=2013-01-14T22:30:00Z") == "zone"
    assert found(dated, "Observation?date=2013-01-15T00:30:00%2B02:00") == "zone"
