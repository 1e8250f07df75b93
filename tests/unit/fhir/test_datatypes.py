"""Dates of any precision are ranges in UTC; numbers stand for the range of their digits."""

from datetime import UTC, datetime, time, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.errors import Value
from fhir_server.fhir.datatypes import (
    EARLIEST,
    LATEST,
    date_range,
    format_instant,
    number_range,
    parse_instant,
    period_range,
    time_range,
)
from fhir_server.fhir.decimals import FhirDecimal

MOMENTS = st.datetimes(timezones=st.just(UTC))


def utc(*parts):
    return datetime(*parts, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("2024", utc(2024, 1, 1), utc(2024, 12, 31, 23, 59, 59, 999999)),
        ("2024-02", utc(2024, 2, 1), utc(2024, 2, 29, 23, 59, 59, 999999)),
        ("2024-02-29", utc(2024, 2, 29), utc(2024, 2, 29, 23, 59, 59, 999999)),
        ("2024-02-29T10:11", utc(2024, 2, 29, 10, 11), utc(2024, 2, 29, 10, 11, 59, 999999)),
        ("2024-02-29T10:11:12Z", utc(2024, 2, 29, 10, 11, 12), utc(2024, 2, 29, 10, 11, 12, 999999)),
        ("2024-02-29T10:11:12.5+02:00", utc(2024, 2, 29, 8, 11, 12, 500000), utc(2024, 2, 29, 8, 11, 12, 599999)),
        ("2024-02-29T10:11:12.1234567Z", utc(2024, 2, 29, 10, 11, 12, 123456), utc(2024, 2, 29, 10, 11, 12, 123456)),
        ("2024-02-29T23:30:00-01:30", utc(2024, 3, 1, 1), utc(2024, 3, 1, 1, 0, 0, 999999)),
        ("2024-12-31T24:00:00Z", utc(2025, 1, 1), utc(2025, 1, 1, 0, 0, 0, 999999)),
        ("2016-12-31T23:59:60Z", utc(2017, 1, 1), utc(2017, 1, 1, 0, 0, 0, 999999)),
        ("0001-01-01T00:00:00+14:00", EARLIEST, EARLIEST),
        ("9999-12-31T23:59:59-14:00", LATEST, LATEST),
        ("9999-12-31T24:00:00Z", LATEST, LATEST),
        ("9999", utc(9999, 1, 1), LATEST),
        ("0001", EARLIEST, utc(1, 12, 31, 23, 59, 59, 999999)),
    ],
)
def test_a_date_of_any_precision_is_a_range(text, low, high):
    assert date_range(text) == (low, high)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "24",
        "2024-13",
        "2024-00",
        "2023-02-29",
        "0000",
        "0000-01",
        "0000-01-01",
        "2024-1-1",
        "2024-01-01T",
        "2024-01-01T25:00",
        "2024-01-01T24:00:01Z",
        "2024-01-01T24:30Z",
        "2024-01-01T10:00:61Z",
        "2024-01-01T10:00:00+15:00",
        "2024-01-01Z",
        "2024-01-01T10:00:00.Z",
        "2024-01-01 10:00:00Z",
        "2024-01-01\n",
        "٢٠٢٤",
        "2024-01-01T10:00:00z",
        "20240101",
    ],
)
def test_dates_that_do_not_exist_are_refused(text):
    for parse in (date_range, parse_instant):
        with pytest.raises(Value):
            parse(text)


@given(MOMENTS)
def test_an_instant_is_read_back_to_the_millisecond(moment):
    text = format_instant(moment)
    assert len(text) == 24
    assert parse_instant(text) == moment.replace(microsecond=moment.microsecond // 1000 * 1000)


@given(MOMENTS, st.integers(-14 * 60, 14 * 60))
def test_an_instant_means_the_same_in_every_zone(moment, minutes):
    try:
        local = moment.astimezone(timezone(timedelta(minutes=minutes)))
    except OverflowError:
        return
    assert date_range(local.isoformat(timespec="microseconds"))[0] == moment
    assert format_instant(local) == format_instant(moment)


@pytest.mark.parametrize("text", ["2024", "2024-01-01", "2024-01-01T10:00Z", "2024-01-01T10:00:00"])
def test_an_instant_needs_seconds_and_zone(text):
    with pytest.raises(Value):
        parse_instant(text)


def test_an_open_period_has_no_end():
    assert period_range({"start": "2024"}) == (utc(2024, 1, 1), LATEST)
    assert period_range({"end": "2024-01-01"}) == (EARLIEST, utc(2024, 1, 1, 23, 59, 59, 999999))
    assert period_range({}) == (EARLIEST, LATEST)


def test_times_are_ranges_too():
    assert time_range("10:11:12") == (time(10, 11, 12), time(10, 11, 12, 999999))
    assert time_range("10:11") == (time(10, 11), time(10, 11, 59, 999999))
    assert time_range("23:59:60") == (time(23, 59, 59), time(23, 59, 59, 999999))
    assert time_range("10:11:12.25") == (time(10, 11, 12, 250000), time(10, 11, 12, 259999))
    for text in ("24:00:00", "10", "10:60", ""):
        with pytest.raises(Value):
            time_range(text)


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("100", "99.5", "100.5"),
        ("100.00", "99.995", "100.005"),
        ("1.0e2", "95", "105"),
        ("-6.30", "-6.305", "-6.295"),
        ("0", "-0.5", "0.5"),
        ("0." + "0" * 39 + "1", "0." + "0" * 39 + "05", "0." + "0" * 39 + "15"),
    ],
)
def test_a_number_stands_for_the_range_of_its_digits(text, low, high):
    assert number_range(FhirDecimal(text)) == (Decimal(low), Decimal(high))


def test_an_integer_has_a_range_as_well():
    assert number_range(7) == (Decimal("6.5"), Decimal("7.5"))


def test_the_largest_exponents_have_ranges():
    for text in ("9e6144", "1e-6144"):
        low, high = number_range(FhirDecimal(text))
        assert low < FhirDecimal(text) < high
