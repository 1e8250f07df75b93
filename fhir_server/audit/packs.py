"""Events as the audit keeps them: those of a request that share a frame are one small document, taken apart when read.

Nearly all that an event says, hundreds of others say too: who asks, by which app, from where, by which rule. That is
its frame, kept once and named by the digest of its content. What is left is a few hundred bytes where the event as it
is served and searched has six thousand, and three index entries where it had ten.

    {_id: AuditEvent/…000, type, updated, ds, de, x: [references], frame: key, request, took, query, count, events}

``events`` has one part for each: ``04f1:0.3;a102:`` are two, the first of patient ``x[1]`` and about ``x[0]`` in
version 3, the second of patient ``x[2]`` alone; their ids end in ``04f`` and ``a10``. These digits are drawn, for who
sees one event must not learn from its id how many others there are. ``took`` is how many milliseconds the request had
lasted when this was recorded. ``x`` also has whom the frame refers to, for the index.
"""

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from fhir_server.audit.assembling import Told, assemble, to_pointers
from fhir_server.audit.frames import MOMENTS, Frame, frame_from
from fhir_server.audit.grouping import versions_in
from fhir_server.audit.moulds import Cast, Moment, cast, milliseconds, mould_of
from fhir_server.storage.splicing import from_document, to_document, to_moment
from fhir_server.storage.store import Packed

MOST_EVENTS = 4_096
"""Of one pack: three hexadecimal digits tell them apart."""

_PLACE = 3
_EVENT = "AuditEvent/"
_MILLISECOND = timedelta(milliseconds=1)


class _Named(NamedTuple):
    patient: str | None
    resources: dict[str, tuple[int, ...]]


def to_pack(id: str, frame: Frame, moment: Moment, query: str, events: Sequence[Told]) -> Packed:
    """Return the pack of some events; ``id`` ends in ``000``, and those of the events in other digits."""
    numbers: dict[str, int] = {}
    parts = [f"{place:03x}{_to_text(one, numbers)}" for place, one in zip(_places(events), events, strict=True)]
    parts.sort()
    for one in frame.targets:
        numbers.setdefault(one, len(numbers))
    recorded = milliseconds(moment.recorded)
    at = to_moment(recorded)
    document: dict[str, Any] = {
        "_id": f"{_EVENT}{id}",
        "type": "AuditEvent",
        "updated": at,
        "ds": at,
        "de": to_moment(recorded + 1),
        "x": list(numbers),
        "frame": frame.key,
        "request": moment.request_id,
        "took": recorded - milliseconds(moment.started),
        "count": len(events),
        "events": ";".join(parts),
    }
    if query:
        document["query"] = query
    return Packed(to_document(document), frame.key, frame.text)


def unpack(
    pack: Mapping[str, Any], frame: bytes, naming: frozenset[str] | None = None, *, whole: bool = True
) -> Iterator[dict[str, Any]]:
    """Yield the events of a stored pack in the order of their ids, each as it would be stored by itself.

    ``frame`` is the text of its frame; ``naming``: those alone that refer to one of these. Unless ``whole`` they have
    reference, moments and what they refer to alone.
    """
    shared, x = frame_from(frame), pack["x"]
    start = pack["_id"].removesuffix("0" * _PLACE)
    everybody = naming is None or not naming.isdisjoint(shared.targets)
    named = ((f"{start}{text[:_PLACE]}", _from_text(text[_PLACE:], x)) for text in pack["events"].split(";"))
    told = (
        (reference, one)
        for reference, one in named
        if everybody or naming is None or one.patient in naming or not naming.isdisjoint(one.resources)
    )
    if whole:
        yield from _whole(pack, shared, told)
        return
    moments = {name: pack[name] for name in ("type", *MOMENTS)}
    for reference, one in told:
        yield {"_id": reference, **moments, **to_pointers(shared, one)}


def _whole(pack: Mapping[str, Any], frame: Frame, told: Iterable[tuple[str, _Named]]) -> Iterator[dict[str, Any]]:
    recorded = pack["updated"].replace(tzinfo=UTC)
    moment = Moment(recorded - pack["took"] * _MILLISECOND, recorded, pack["request"])
    casts: dict[tuple[int, ...], Cast] = {}
    for reference, one in told:
        versions = versions_in(one.resources)
        if versions not in casts:
            casts[versions] = cast(mould_of(frame, pack.get("query", ""), versions), moment)
        yield from_document(assemble(reference.removeprefix(_EVENT), frame, casts[versions], one, recorded))


def _places(events: Sequence[Told]) -> Sequence[int]:
    """Return a place for each event, of which each by itself may be any; those of one patient keep their order."""
    # The first place and an odd step, modulo 4,096: no two are the same.
    first, step = random.getrandbits(12), random.getrandbits(11) * 2 + 1
    drawn = [first + number * step & 0xFFF for number in range(len(events))]
    patients = [one.patient for one in events]
    if len(set(patients)) == len(patients):
        return drawn
    of: dict[str | None, list[int]] = {}
    for patient, place in zip(patients, drawn, strict=True):
        of.setdefault(patient, []).append(place)
    ordered = {patient: iter(sorted(places)) for patient, places in of.items()}
    return [next(ordered[patient]) for patient in patients]


def _to_text(told: Told, numbers: dict[str, int]) -> str:
    resources = [
        f"{numbers.setdefault(reference, len(numbers))}{_to_versions(versions)}"
        for reference, versions in told.resources.items()
    ]
    patient = "" if told.patient is None else numbers.setdefault(told.patient, len(numbers))
    return f"{patient}:{','.join(resources)}"


@lru_cache(maxsize=1_024)
def _to_versions(versions: tuple[int, ...]) -> str:
    return "".join([f".{one}" for one in versions])


def _from_text(text: str, x: Sequence[str]) -> _Named:
    patient, _, resources = text.partition(":")
    told: dict[str, tuple[int, ...]] = {}
    for resource in resources.split(",") if resources else ():
        number, *versions = resource.split(".")
        told[x[int(number)]] = tuple(map(int, versions))
    return _Named(x[int(patient)] if patient else None, told)
