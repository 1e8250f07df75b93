"""Whether the audit is as it was written: every event against its seal, every seal against the one before it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from fhir_server.audit.frames import key_of
from fhir_server.audit.seals import OVERLAP, START, SealLog, digest_of, entries_of, hash_of, is_event_id, reference_at
from fhir_server.errors import Text
from fhir_server.fhir.json import parse_json
from fhir_server.search.indexer import to_index
from fhir_server.storage.audit_frames import to_frame_id

Problem = Literal["changed", "missing", "unsealed", "reindexed", "broken", "lost", "rewritten"]

MEANINGS: dict[Problem, Text] = {
    "changed": Text("is not as it was sealed", "n’est plus tel qu’il a été scellé"),
    "missing": Text("was sealed and is gone", "a été scellé et a disparu"),
    "unsealed": Text("is older than the seals and in none", "est plus ancien que les sceaux et n’est dans aucun"),
    "reindexed": Text("is indexed otherwise than its content says", "est indexé autrement que ne le dit son contenu"),
    "broken": Text("does not follow from the seal before it", "ne découle pas du sceau précédent"),
    "lost": Text("is missing before this seal", "manque avant ce sceau"),
    "rewritten": Text("is not the one written down outside the database", "n’est pas celui noté en dehors de la base"),
}
_POLICY = ("pt", "c", "l")
_PAGE = 5_000


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with an event (its reference) or a seal (its id)."""

    problem: Problem
    what: str


@dataclass(slots=True)
class Tally:
    """What has been looked at; ``pending`` events have come since the last seal."""

    seals: int = 0
    events: int = 0
    pending: int = 0


def verify(
    log: SealLog, heads: Path, base_url: str, day: date | None = None, tally: Tally | None = None
) -> Iterator[Finding]:
    """Yield all that is wrong, of one day (UTC) or of all; count what was looked at in ``tally``."""
    tally = Tally() if tally is None else tally
    first = day.isoformat() if day else ""
    sealed: set[str] = set()
    low, high = _range(day)
    written = _heads(heads)
    previous = _before(log, first) if day else None
    latest: dict[str, Any] | None = None
    for seal in log.seals(first):
        latest = seal
        listed = dict(entries_of(seal))
        sealed.update(one for one in listed if low <= one < high)
        if day and seal["day"] != first:
            continue  # later seals only tell what of the day they cover
        tally.seals += 1
        yield from _check_seal(seal, previous, written)
        yield from _check_events(log, listed, base_url, tally)
        previous = seal
    yield from (Finding("rewritten", id) for id in sorted(written) if not day or id.startswith(first))
    yield from _check_unsealed(log, sealed, latest, (low, high), tally)


def _range(day: date | None) -> tuple[str, str]:
    if day is None:
        return "AuditEvent/", "AuditEvent0"
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return reference_at(start), reference_at(start + timedelta(days=1))


def _before(log: SealLog, first: str) -> dict[str, Any] | None:
    """Return the last seal before a day."""
    found = None
    for seal in log.seals(last=first):
        found = seal
    return found


def _heads(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    lines = (line.split() for line in path.read_text(encoding="ascii").splitlines())
    return {parts[0]: parts[1] for parts in lines if len(parts) == 2}


def _check_seal(seal: dict[str, Any], previous: dict[str, Any] | None, written: dict[str, str]) -> Iterator[Finding]:
    same_day = previous is not None and previous["day"] == seal["day"]
    expected = previous["number"] + 1 if same_day and previous is not None else 1
    if seal["number"] != expected:
        yield Finding("lost", seal["_id"])
    follows = seal["previous"] == (previous["hash"] if previous is not None else START)
    named = seal["_id"] == f"{seal['day']}/{seal['number']:08d}" and seal["count"] * 48 == len(seal["events"])
    if not follows or not named or seal["hash"] != hash_of(seal):
        yield Finding("broken", seal["_id"])
    head = written.pop(seal["_id"], None)
    if head is not None and head != hash_of(seal):
        yield Finding("rewritten", seal["_id"])


def _check_events(log: SealLog, listed: dict[str, bytes], base_url: str, tally: Tally) -> Iterator[Finding]:
    found = log.read(list(listed))
    keys = sorted({one.frame for one in found.values() if one.frame is not None})
    frames = log.frames(keys)
    for key in keys:
        if key not in frames:
            yield Finding("missing", to_frame_id(key))
        elif key_of(frames[key]) != key:
            yield Finding("changed", to_frame_id(key))
    for reference, digest in listed.items():
        sealed = found.get(reference)
        tally.events += 1 if sealed is None else sealed.events
        if sealed is None:
            yield Finding("missing", reference)
        elif digest_of(reference, sealed.content) != digest:
            yield Finding("changed", reference)
        elif sealed.frame is None and not _is_indexed(sealed.document, base_url):
            yield Finding("reindexed", reference)


def _is_indexed(event: Mapping[str, Any], base_url: str) -> bool:
    """Say whether the event is found by whom it concerns."""
    index = to_index(parse_json(event["body"]), base_url)
    return all(_plain(event.get(name)) == _plain(index.get(name)) for name in _POLICY)


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, list) else value


def _check_unsealed(
    log: SealLog, sealed: set[str], latest: dict[str, Any] | None, within: tuple[str, str], tally: Tally
) -> Iterator[Finding]:
    since = "AuditEvent/" if latest is None else reference_at(latest["at"].replace(tzinfo=UTC) - OVERLAP)
    after, before = within
    while page := log.references(after, before, _PAGE):
        unsealed = [one for one in page if one not in sealed]
        pending = {one: None for one in unsealed if one >= since and is_event_id(one)}
        tally.pending += sum(one.events for one in log.read(list(pending)).values())
        yield from (Finding("unsealed", one) for one in unsealed if one not in pending)
        after = page[-1]
