"""Marking what lies in a closed record, on current versions, tombstones and history (``search.closed``); pure.

A version says whose record it is of in up to two places: what it was, and what its resource is now (``now``); a
tombstone in what the resource was (``was``). Each is marked by itself, for the record may not be the same.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fhir_server.search.closed import CLOSED, to_record_filter
from fhir_server.search.history_filter import NOW
from fhir_server.storage.documents import WAS, to_version_key
from fhir_server.storage.store import Marking

Update = dict[str, Any]

_IDS_OF_ONE = 1_000
"""Ids that one statement names."""


def to_unmarked_filter(patient: str, *, closed: bool) -> dict[str, Any]:
    """Return the filter on versions of a record that are not marked as they should be."""
    return to_record_filter(patient, **{CLOSED: _marked_otherwise(patient, closed)})


def to_current_updates(marking: Marking) -> Iterator[Update]:
    """Yield the updates of current versions and tombstones."""
    for at in ("", f"{WAS}."):
        for part in _parts(marking.references):
            yield _mark(marking, {"_id": {"$in": part}}, at, _of_record(marking, at))
        for part in _parts(marking.contents):
            yield _mark(marking, {"_id": {"$in": part}, "deleted": bool(at)}, at, _of_content(marking, at))


def to_history_updates(marking: Marking) -> Iterator[Update]:
    """Yield the updates of versions; what they note of the present is looked at where a resource has several."""
    now = f"{NOW}."
    for part in _parts([to_version_key(reference, version) for reference, version in marking.versions]):
        yield _mark(marking, {"_id": {"$in": part}}, "", _of_record(marking, ""))
    for reference in dict.fromkeys(reference for reference, version in marking.versions if version > 1):
        yield _mark(marking, _versions_of(reference), now, _of_record(marking, now))
    for reference in marking.contents:
        yield _mark(marking, _versions_of(reference), "", _of_content(marking, ""))
        yield _mark(marking, {**_versions_of(reference), NOW: {"$exists": True}}, now, _of_content(marking, now))


def _mark(marking: Marking, which: Mapping[str, Any], at: str, condition: Mapping[str, Any]) -> Update:
    field = f"{at}{CLOSED}"
    change = {"$addToSet": {field: marking.patient}} if marking.closed else _without(field, marking.patient)
    return {"q": {**which, **condition}, "u": change, "multi": True}


def _of_record(marking: Marking, at: str) -> dict[str, Any]:
    return to_record_filter(marking.patient, at, **{CLOSED: _marked_otherwise(marking.patient, marking.closed)})


def _of_content(marking: Marking, at: str) -> dict[str, Any]:
    return {f"{at}{CLOSED}": _marked_otherwise(marking.patient, marking.closed)}


def _marked_otherwise(patient: str, closed: bool) -> Any:
    return {"$ne": patient} if closed else patient


def _without(field: str, patient: str) -> list[dict[str, Any]]:
    """Return the pipeline that takes a patient out of the field, and the field away with the last of them."""
    left = {"$setDifference": [f"${field}", [patient]]}
    return [{"$set": {field: {"$cond": [{"$eq": [left, []]}, "$$REMOVE", left]}}}]


def _versions_of(reference: str) -> dict[str, Any]:
    return {"_id": {"$gt": f"{reference}/", "$lt": f"{reference}0"}}  # 0 follows /


def _parts(ids: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(ids), _IDS_OF_ONE):
        yield list(ids[start : start + _IDS_OF_ONE])
