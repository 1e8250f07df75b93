"""What values of FHIR's date, time and number types stand for: ranges, and the text of an instant.

A date without a time zone is read as UTC, so that an index means the same wherever the server runs.
Spec: http://hl7.org/fhir/R4/datatypes.html, http://hl7.org/fhir/R4/search.html#date
"""

import re
from calendar import monthrange
from collections.abc import Mapping
from datetime import MAXYEAR, UTC, datetime, time, timedelta
from decimal import Context, Decimal
from typing import Any

from fhir_server.errors import Text, Value

EARLIEST = datetime.min.replace(tzinfo=UTC)
LATEST = datetime.max.replace(tzinfo=UTC)

_DATE_TIME = re.compile(
    r"(?P<year>[0-9]{4})(?:-(?P<month>0[1-9]|1[0-2])(?:-(?P<day>0[1-9]|[12][0-9]|3[01])"
    r"(?:T(?P<hour>[01][0-9]|2[0-4]):(?P<minute>[0-5][0-9])(?::(?P<second>[0-5][0-9]|60)(?:\.(?P<fraction>[0-9]+))?)?"
    r"(?P<zone>Z|[+-](?:0[0-9]|1[0-3]):[0-5][0-9]|[+-]14:00)?)?)?)?"
)
_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9]|60)(?:\.([0-9]+))?)?")
_PRECISE = Context(prec=1000, Emax=10**6, Emin=-(10**6))

_NOT_A_DATE = Text(
    "This is not a date or time that exists: YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDThh:mm:ss+zz:zz.",
    "Ceci n’est pas une date ou une heure qui existe : AAAA, AAAA-MM, AAAA-MM-JJ ou AAAA-MM-JJThh:mm:ss+zz:zz.",
)
_NOT_AN_INSTANT = Text(
    "This is not an instant: YYYY-MM-DDThh:mm:ss.sss+zz:zz.",
    "Ceci n’est pas un instant : AAAA-MM-JJThh:mm:ss.sss+zz:zz.",
)
_NOT_A_TIME = Text("This is not a time: hh:mm:ss.", "Ceci n’est pas une heure : hh:mm:ss.")


def date_range(text: str) -> tuple[datetime, datetime]:
    """Return the first and last microsecond, UTC, that a date, dateTime or instant may mean.

    Hours and minutes alone are taken as well (search allows them). 24:00:00 is the next day's midnight and second 60
    the first of the next minute; what falls out of the years 1 to 9999 is cut off. Raises ``errors.Value``.
    """
    match = _DATE_TIME.fullmatch(text)
    if match is None:
        raise Value(_NOT_A_DATE)
    try:
        return _range(match)
    except ValueError:
        raise Value(_NOT_A_DATE) from None


def period_range(period: Mapping[str, Any]) -> tuple[datetime, datetime]:
    """Return the range of a Period; an open end reaches to ``EARLIEST`` or ``LATEST``. Raises ``errors.Value``."""
    start, end = period.get("start"), period.get("end")
    return (
        date_range(start)[0] if isinstance(start, str) else EARLIEST,
        date_range(end)[1] if isinstance(end, str) else LATEST,
    )


def parse_instant(text: str) -> datetime:
    """Return the UTC datetime of an instant: to the second at least and with its zone. Raises ``errors.Value``."""
    match = _DATE_TIME.fullmatch(text)
    if match is None or match["second"] is None or match["zone"] is None:
        raise Value(_NOT_AN_INSTANT)
    try:
        return _range(match)[0]
    except ValueError:
        raise Value(_NOT_AN_INSTANT) from None


def format_instant(moment: datetime) -> str:
    """Return ``2024-02-29T12:00:00.000Z``: UTC with milliseconds, which are cut, not rounded."""
    # "+00:00" gives way to "Z".
    return f"{moment.astimezone(UTC).isoformat(timespec='milliseconds')[:-6]}Z"


def time_range(text: str) -> tuple[time, time]:
    """Return the first and last microsecond of the day that a time may mean. Raises ``errors.Value``."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise Value(_NOT_A_TIME)
    hour, minute = int(match[1]), int(match[2])
    if match[3] is None:
        return time(hour, minute), time(hour, minute, 59, 999999)
    second = min(int(match[3]), 59)
    low, high = _microseconds(match[4])
    return time(hour, minute, second, low), time(hour, minute, second, high)


def number_range(value: Decimal | int) -> tuple[Decimal, Decimal]:
    """Return the range that a number's significant digits stand for: 100 → [99.5, 100.5), 1.0e2 → [95, 105).

    Spec: http://hl7.org/fhir/R4/search.html#number
    """
    number = Decimal(value)
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int)  # no NaN nor infinity comes out of a parser
    half = Decimal((0, (5,), exponent - 1))
    return _PRECISE.subtract(number, half), _PRECISE.add(number, half)


def _range(match: re.Match[str]) -> tuple[datetime, datetime]:
    year = int(match["year"])
    if match["month"] is None:
        return datetime(year, 1, 1, tzinfo=UTC), datetime(year, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
    month = int(match["month"])
    if match["day"] is None:
        last = monthrange(year, month)[1] if 1 <= year <= MAXYEAR else 0
        return datetime(year, month, 1, tzinfo=UTC), datetime(year, month, last, 23, 59, 59, 999999, tzinfo=UTC)
    day = datetime(year, month, int(match["day"]), tzinfo=UTC)
    if match["hour"] is None:
        return day, day.replace(hour=23, minute=59, second=59, microsecond=999999)
    return _moment(day, match)


def _moment(day: datetime, match: re.Match[str]) -> tuple[datetime, datetime]:
    hour, minute, second = int(match["hour"]), int(match["minute"]), int(match["second"] or 0)
    low, high = _microseconds(match["fraction"]) if match["second"] else (0, 59_999_999)
    if hour == 24 and (minute or second or low):
        raise ValueError
    start = timedelta(hours=hour, minutes=minute, seconds=second) - _offset(match["zone"])
    return _shift(day, start + timedelta(microseconds=low)), _shift(day, start + timedelta(microseconds=high))


def _microseconds(fraction: str | None) -> tuple[int, int]:
    if fraction is None:
        return 0, 999_999
    digits = fraction[:6]
    return int(digits.ljust(6, "0")), int(digits.ljust(6, "9"))


def _offset(zone: str | None) -> timedelta:
    if zone is None or zone == "Z":
        return timedelta()
    offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[4:6]))
    return -offset if zone[0] == "-" else offset


def _shift(moment: datetime, by: timedelta) -> datetime:
    try:
        return moment + by
    except OverflowError:
        return LATEST if by > timedelta() else EARLIEST
