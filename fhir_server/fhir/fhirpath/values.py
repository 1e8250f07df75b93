"""The values of FHIRPath's System types beyond Python's own: dates and times of any precision, quantities.

Boolean is ``bool``, Integer ``int``, Decimal ``decimal.Decimal``, String ``str``.
Spec: http://hl7.org/fhirpath/N1/#literals, http://hl7.org/fhir/R4/fhirpath.html#types
"""

import datetime
import re
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal
from functools import lru_cache

CALENDAR_UNITS = {
    plural: unit
    for unit in ("year", "month", "week", "day", "hour", "minute", "second", "millisecond")
    for plural in (unit, unit + "s")
}
"""Each word for a calendar duration, and its singular."""

EXACT = Context(prec=200, rounding=ROUND_HALF_UP, Emin=-20_000, Emax=20_000, traps=[])
"""Sums and products of FHIR decimals, and their comparison, lose no digit of it; nothing traps: look at the result."""

_MOMENT = re.compile(
    r"(?P<year>\d{4})(?:-(?P<month>\d{2})(?:-(?P<day>\d{2}))?)?"
    r"(?P<time>T(?:(?P<hour>\d{2})(?::(?P<minute>\d{2})(?::(?P<second>\d{2}(?:\.\d+)?))?)?(?P<zone>Z|[+-]\d{2}:\d{2})?)?)?",
    re.ASCII,
)
_TIME = re.compile(r"(\d{2})(?::(\d{2})(?::(\d{2}(?:\.\d+)?))?)?", re.ASCII)
_MAX_FRACTION = 12
_MAX_MOMENT = 40
_LIMITS = (24, 60, 61)

Part = int | Decimal


@dataclass(frozen=True, slots=True)
class Quantity:
    """``unit`` is a UCUM code, or a calendar duration in the singular (``year``), or whatever else FHIR data has."""

    value: Decimal
    unit: str


@dataclass(frozen=True, slots=True)
class Temporal:
    """A Date, DateTime or Time as far as it is known.

    ``parts`` are year, month, day, hour, minute, second (Time: from hour on), as many as are known; seconds are exact
    decimals. ``zone`` is the offset in minutes, or None when it is not known.
    """

    kind: str
    parts: tuple[Part, ...]
    zone: int | None = None

    def __str__(self) -> str:
        date = "-".join(_digits(part, 2 if index else 4) for index, part in enumerate(self.date))
        time = ":".join(_digits(part, 2) for part in self.time)
        return f"{date}{'T' if time and date else ''}{time}{_zone_text(self.zone)}"

    @property
    def date(self) -> tuple[Part, ...]:
        """The known ones of year, month and day."""
        return () if self.kind == "Time" else self.parts[:3]

    @property
    def time(self) -> tuple[Part, ...]:
        """The known ones of hour, minute and second."""
        return self.parts if self.kind == "Time" else self.parts[3:]

    def in_utc(self) -> "Temporal":
        """Return the same moment in UTC; itself when the zone is not known, or UTC leaves the years 1 to 9999."""
        if not self.zone or len(self.parts) < 4:
            return self
        year, month, day, hour, minute = (int(part) for part in (*self.parts[:5], 0)[:5])
        try:
            moved = datetime.datetime(year, month, day, hour, minute) - datetime.timedelta(minutes=self.zone)
        except OverflowError:
            return self
        parts = (moved.year, moved.month, moved.day, moved.hour, moved.minute, *self.parts[5:])
        return Temporal(self.kind, parts[: len(self.parts)], 0)


def parse_moment(text: str, kind: str) -> Temporal | None:
    """Return the ``Date`` or ``DateTime`` that a text writes, None when it writes none."""
    return _parse_moment(text, kind) if len(text) <= _MAX_MOMENT else None


@lru_cache(maxsize=1024)
def _parse_moment(text: str, kind: str) -> Temporal | None:
    match = _MOMENT.fullmatch(text)
    if match is None or (kind == "Date" and match["time"] is not None):
        return None
    date = [int(part) for part in match.group("year", "month", "day") if part is not None]
    time = _time_parts(match["hour"], match["minute"], match["second"])
    if time is None or not _is_date(date) or (match["time"] and len(match["time"]) > 1 and len(date) < 3):
        return None
    zone = _parse_zone(match["zone"])
    return None if zone is not None and abs(zone) > 14 * 60 else Temporal(kind, (*date, *time), zone)


def parse_time(text: str) -> Temporal | None:
    """Return the ``Time`` that a text writes, None when it writes none."""
    match = _TIME.fullmatch(text)
    parts = None if match is None else _time_parts(*match.groups())
    return None if parts is None else Temporal("Time", parts)


def parse_literal(text: str) -> Temporal | None:
    """Return what a literal such as ``@2015``, ``@2015T``, ``@2015-02-04T14:34Z`` or ``@T14`` means."""
    if text.startswith("@T"):
        return parse_time(text[2:])
    return parse_moment(text[1:], "DateTime" if "T" in text else "Date")


def from_datetime(moment: datetime.datetime) -> Temporal:
    """Return a moment as a DateTime to the millisecond."""
    second = Decimal(moment.second * 1000 + moment.microsecond // 1000).scaleb(-3)
    offset = moment.utcoffset()
    zone = None if offset is None else int(offset.total_seconds()) // 60
    return Temporal("DateTime", (moment.year, moment.month, moment.day, moment.hour, moment.minute, second), zone)


def _time_parts(hour: str | None, minute: str | None, second: str | None) -> tuple[Part, ...] | None:
    if second is not None and len(second) > _MAX_FRACTION + 3:
        return None
    parts: tuple[Part | None, ...] = (
        None if hour is None else int(hour),
        None if minute is None else int(minute),
        None if second is None else Decimal(second),
    )
    known = tuple(part for part in parts if part is not None)
    return known if all(part < limit for part, limit in zip(known, _LIMITS, strict=False)) else None


def _is_date(parts: list[int]) -> bool:
    try:
        datetime.date(*[*parts, 1, 1][:3])
    except ValueError:
        return False
    return True


def _parse_zone(text: str | None) -> int | None:
    if text is None:
        return None
    if text == "Z":
        return 0
    minutes = int(text[1:3]) * 60 + int(text[4:6])
    return -minutes if text[0] == "-" else minutes


def _zone_text(zone: int | None) -> str:
    if zone is None:
        return ""
    return "Z" if zone == 0 else f"{'-' if zone < 0 else '+'}{abs(zone) // 60:02}:{abs(zone) % 60:02}"


def _digits(part: Part, width: int) -> str:
    if isinstance(part, int):
        return f"{part:0{width}}"
    whole, _, fraction = f"{part:f}".partition(".")
    return whole.zfill(2) + (f".{fraction}" if fraction else "")
