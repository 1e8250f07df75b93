"""Whether a period holds a moment; days are those of Paris, and the last day belongs to it.

Spec: http://hl7.org/fhir/R4/datatypes.html#Period
"""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

PARIS = ZoneInfo("Europe/Paris")


def covers(period: Mapping[str, Any], now: datetime) -> bool:
    """Say whether a FHIR Period holds an instant; what has no bounds holds every one."""
    return _reached(period.get("start"), now, before=True) and _reached(period.get("end"), now, before=False)


def today_in_paris(now: datetime) -> date:
    """Return the day that it is in Paris."""
    return now.astimezone(PARIS).date()


def _reached(limit: str | None, now: datetime, *, before: bool) -> bool:
    if limit is None:
        return True
    if "T" in limit:
        moment = datetime.fromisoformat(limit)
        return moment <= now if before else now <= moment
    today = today_in_paris(now).isoformat()[: len(limit)]
    return limit <= today if before else today <= limit
