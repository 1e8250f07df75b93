"""What all events of one kind in one request have in common: a frame with the gaps filled that the request fills.

A page of fifty resources may be of as many patients: their events differ in whom and what they name, nothing else.
"""

import base64
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from fhir_server.audit.frames import VERSION, Frame
from fhir_server.search.entries import bounded
from fhir_server.search.param_types.text import MOST_TEXT, analyse, analyse_once

_EPOCH, _MILLISECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(milliseconds=1)


class Moment(NamedTuple):
    """When and in which request: ``started`` and ``recorded`` are UTC with milliseconds."""

    started: datetime
    recorded: datetime
    request_id: str


class Mould(NamedTuple):
    """The JSON between id and the entities that an event has of its own, and after them; what it shares as stored."""

    frame: Frame
    after_id: str
    end: str
    shared: bytes


def build_mould(frame: Frame, moment: Moment, query: str, versions: tuple[int, ...]) -> Mould:
    """Return the mould of the events that tell these versions of resources and this question."""
    told = base64.b64encode(query.encode()).decode("ascii") if query else ""
    started, at, request_id = _milliseconds(moment.started), _milliseconds(moment.recorded), moment.request_id
    recorded, folded = _to_instant(at), request_id.casefold()
    asked = f'{frame.query_start}{told}"}},' if told else ""
    period = f'{_to_instant(started)}","end":"{recorded}"}},"recorded":"{recorded}'
    tokens = (
        bounded(f"AuditEvent.entity:identifier|\\-|{folded}"),
        bounded(f"AuditEvent.entity:identifier||{folded}"),
    )
    words, line = _words(frame, request_id, versions, told)
    return Mould(
        frame,
        f"{frame.after_id}{recorded}{frame.after_updated}{period}{frame.after_recorded}",
        f"{asked}{frame.request_start}{request_id}{frame.request_end}]}}",
        frame.pattern.fill((at, at, at + 1), (tokens, words, (line,))),
    )


@lru_cache(maxsize=1_024)
def details_of(versions: tuple[int, ...]) -> str:
    """Return the JSON of an entity's details: the versions of its resource, as far as they are known."""
    told = [f'{{"type":"{VERSION}","valueString":"{number}"}}' for number in versions if number]
    return f',"detail":[{",".join(told)}]' if told else ""


def _milliseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MILLISECOND


def _to_instant(milliseconds: int) -> str:
    """Return what ``format_instant`` would of a moment given by its milliseconds since 1970."""
    second, rest = divmod(milliseconds, 1000)
    return f"{_to_second(second)}.{rest:03}Z"


@lru_cache(maxsize=128)
def _to_second(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).isoformat()[:19]


def _words(frame: Frame, request_id: str, versions: tuple[int, ...], query: str) -> tuple[list[str], str]:
    """Return the further keys of ``w``, and ``v``: the fixed line with what is added."""
    present, known = frame.words, frame.lines
    words, line = analyse_once(request_id)
    found = [key for word in words if (key := f"AuditEvent+{word}") not in present]
    lines = frame.line if line in known else frame.line + line
    for text in (*map(str, versions), query):
        words, line = analyse(text)
        for word in words:
            key = f"AuditEvent+{word}"
            if key not in present and key not in found:
                found.append(key)
        if line not in known:
            lines += line
    return found, lines[: MOST_TEXT + len("_content:")]
