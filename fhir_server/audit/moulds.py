"""What all events of one kind in one request have in common: a frame with the gaps filled that the request fills.

A page of fifty resources may be of as many patients: their events differ in whom and what they name, nothing else.
"""

import base64
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from fhir_server.audit.frames import Frame
from fhir_server.audit.templates import VERSION
from fhir_server.search.entries import bounded
from fhir_server.search.param_types.text import MOST_TEXT, analyse, analyse_once
from fhir_server.storage.splicing import Pattern

_EPOCH, _MILLISECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(milliseconds=1)


class Moment(NamedTuple):
    """When and in which request: ``started`` and ``recorded`` are UTC with milliseconds."""

    started: datetime
    recorded: datetime
    request_id: str


@dataclass(frozen=True, slots=True, eq=False)
class Mould:
    """A frame with what does not differ from one request to the next: a question, and the versions that are told.

    ``asked`` is the JSON of the question's entity, a comma after it; ``words`` and ``lines`` are those in ``pattern``
    and in ``line``.
    """

    frame: Frame
    asked: str
    pattern: Pattern
    words: frozenset[str]
    line: str
    lines: frozenset[str]


class Cast(NamedTuple):
    """The JSON between id and the entities that an event has of its own, and after them; what it shares as stored."""

    after_id: str
    end: str
    shared: bytes


def mould_of(frame: Frame, query: str, versions: tuple[int, ...]) -> Mould:
    """Return the mould of the events that tell this question and these versions of resources."""
    return (_kept_mould if len(query) <= _SHORT else _build_mould)(frame, query, versions)


def _build_mould(frame: Frame, query: str, versions: tuple[int, ...]) -> Mould:
    told = base64.b64encode(query.encode()).decode("ascii") if query else ""
    words: dict[str, None] = {}
    lines: dict[str, None] = {}
    for text in (*map(str, versions), told):
        found, line = analyse(text)
        words |= {key: None for word in found if (key := f"AuditEvent+{word}") not in frame.words}
        if line not in frame.lines:
            lines[line] = None
    return Mould(
        frame,
        f'{frame.query_start}{told}"}},' if told else "",
        frame.pattern.with_items({"w": tuple(words)}),
        frame.words.union(words),
        frame.line + "".join(lines),
        frame.lines.union(lines),
    )


_SHORT = 300
_kept_mould = lru_cache(maxsize=4_096)(_build_mould)
"""Those of the latest questions, if they are short."""


def cast(mould: Mould, moment: Moment) -> Cast:
    """Return what the events of one request have in common."""
    frame = mould.frame
    started, at, request_id = milliseconds(moment.started), milliseconds(moment.recorded), moment.request_id
    recorded, folded = _to_instant(at), request_id.casefold()
    period = f'{_to_instant(started)}","end":"{recorded}"}},"recorded":"{recorded}'
    tokens = (
        bounded(f"AuditEvent.entity:identifier|\\-|{folded}"),
        bounded(f"AuditEvent.entity:identifier||{folded}"),
    )
    found, line = analyse_once(request_id)
    words = [key for word in found if (key := f"AuditEvent+{word}") not in mould.words]
    text = mould.line if line in mould.lines else mould.line + line
    return Cast(
        f"{frame.after_id}{recorded}{frame.after_updated}{period}{frame.after_recorded}",
        f"{mould.asked}{frame.request_start}{request_id}{frame.request_end}]}}",
        mould.pattern.fill((at, at, at + 1), (tokens, words, (text[: MOST_TEXT + len("_content:")],))),
    )


@lru_cache(maxsize=1_024)
def details_of(versions: tuple[int, ...]) -> str:
    """Return the JSON of an entity's details: the versions of its resource, as far as they are known."""
    told = [f'{{"type":"{VERSION}","valueString":"{number}"}}' for number in versions if number]
    return f',"detail":[{",".join(told)}]' if told else ""


def milliseconds(moment: datetime) -> int:
    """Return the milliseconds since 1970 of a moment in UTC."""
    return (moment - _EPOCH) // _MILLISECOND


def _to_instant(milliseconds: int) -> str:
    """Return what ``format_instant`` would of a moment given by its milliseconds since 1970."""
    second, rest = divmod(milliseconds, 1000)
    return f"{_to_second(second)}.{rest:03}Z"


@lru_cache(maxsize=128)
def _to_second(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).isoformat()[:19]
