"""New ids and new versions: what the server sets on a resource when it is written (id and meta)."""

import os
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from fhir_server.fhir.datatypes import format_instant
from fhir_server.fhir.json import to_json
from fhir_server.repository.change import Resource

_SERVER_SET = ("versionId", "lastUpdated")
_KEPT = ("profile", "security", "tag")
_MILLISECOND = timedelta(milliseconds=1)


def new_id() -> str:
    """Return a fresh UUID of version 7: unguessable, and ascending in time so that the id index grows at its end."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 7 << 76
    value = value & ~(0x3 << 62) | 2 << 62
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def next_instant(now: datetime, previous: datetime | None) -> datetime:
    """Return ``now``, or just after ``previous`` when the clock has not moved past it or jumped back."""
    return now if previous is None or now > previous else previous + _MILLISECOND


def merge_meta(meta: Mapping[str, Any], present: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``meta`` with the profiles, security labels and tags of ``present`` that it does not name.

    They go only by ``$meta-delete`` (http://hl7.org/fhir/R4/resource-operation-meta-delete.html); the identity of a
    tag or label is its system and code.
    """
    merged = dict(meta)
    for name in _KEPT:
        kept = present.get(name)
        if kept:
            merged[name] = unite_labels(kept, meta.get(name, ()))
    return merged


def unite_labels(first: Any, second: Any) -> list[Any]:
    """Return the labels of both lists; one in both stands as ``second`` has it."""
    united = {_identity(label): label for label in first}
    united.update((_identity(label), label) for label in second)
    return list(united.values())


def subtract_labels(labels: Any, removed: Any) -> list[Any]:
    """Return ``labels`` without those whose identity is in ``removed``."""
    gone = {_identity(label) for label in removed}
    return [label for label in labels if _identity(label) not in gone]


def _identity(label: Any) -> Any:
    return label if isinstance(label, str) else (label.get("system"), label.get("code"))


def build_body(resource: Resource, id: str, version: int, updated: datetime, meta: Mapping[str, Any]) -> bytes:
    """Return the JSON of ``resource`` under its new id and version, ready to be stored and served."""
    body = {"resourceType": resource["resourceType"], "id": id, "meta": None, **resource}
    body["id"] = id
    body["meta"] = {
        "versionId": str(version),
        "lastUpdated": format_instant(updated),
        **{name: value for name, value in meta.items() if name not in _SERVER_SET and name[1:] not in _SERVER_SET},
    }
    return to_json(body)
