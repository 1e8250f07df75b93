"""The stored shape of a resource version, both ways: what ``resources``, ``history`` and ``outbox`` hold.

A current document is ``{_id, type, version, updated, deleted, method, body, **index}``; a tombstone has neither
``type`` nor index fields, so no search can meet it, only ``was``, by which a policy tells who may know of it. A history
document is keyed ``Type/id/0000000002``, the version
last, and keeps of the index only what a policy asks about. A large body is a file of ``binaries``; ``file`` names it in
both.

One index field changes without a new version: ``cl``, the mark of a closed record (``search.closed``, ``markings``). So
no memory of versions keeps it; of heads one does, which the stamps tell of every marking.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import bson
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument

from fhir_server.errors import Text, TooLong
from fhir_server.search.apart import APART_TYPES
from fhir_server.search.closed import CLOSED
from fhir_server.search.history_filter import NOW, POLICY_FIELDS, to_policy_fields
from fhir_server.storage.store import Change, Document

CODEC: CodecOptions[dict[str, Any]] = CodecOptions(tz_aware=True, tzinfo=UTC)
READ_CODEC: CodecOptions[dict[str, Any]] = CodecOptions(tz_aware=False)
"""For readers: the driver takes a microsecond to make one aware datetime, a page of 50 has a hundred of them."""

APART: Mapping[str, str] = dict.fromkeys(APART_TYPES, "audit")
"""The collection of types that have one of their own: append-only, one version each."""

OWN_FIELDS = frozenset(
    {"_id", "type", "ref", "version", "updated", "deleted", "method", "body", "file", "size", "was", NOW}
)
WAS = "was"
IDENTITY_FIELDS = ("pt", "c", "l", "o")
"""Index fields that every read of a whole resource brings along: whose it is and how it is labelled."""
HEAD = {"version": 1, "updated": 1, "deleted": 1, "method": 1, WAS: 1, **dict.fromkeys(IDENTITY_FIELDS, 1)}
HEAD_AND_STATE = {**HEAD, CLOSED: 1}
HEAD_AND_BODY = {**HEAD, "body": 1, "file": 1, "size": 1}
HISTORY = {**HEAD_AND_BODY, "ref": 1, **dict.fromkeys(POLICY_FIELDS, 1)}
_PACK = len("AuditEvent/00000000-0000-0000-0000-000000000")
DOCUMENT_LIMIT = 16 * 1024 * 1024 - 16 * 1024
OUTBOX_CHANGES = 20_000


@dataclass(frozen=True, slots=True)
class Encoded:
    """One change as it goes over the wire: both documents in BSON, encoded once however often it is retried."""

    change: Change
    current: RawBSONDocument
    history: RawBSONDocument


def to_encoded(change: Change, file: str | None = None) -> Encoded:
    """Return the change's two documents; with ``file`` the body is there and not inside.

    Raises ``TooLong`` for an index that no document can hold, ``ValueError`` for an index with a name of ours.
    """
    clash = OWN_FIELDS.intersection(change.index)
    if clash:
        raise ValueError(f"index fields with reserved names: {sorted(clash)}")
    head: dict[str, Any] = {
        "version": change.version,
        "updated": change.updated,
        "deleted": change.body is None,
        "method": change.method,
        "body": change.body if file is None else None,
    }
    if file is not None and change.body is not None:
        head |= {"file": file, "size": len(change.body)}
    return Encoded(change, _to_bson(_current(change, head)), _to_bson(_history(change, head)))


def collection_of(reference: str) -> str:
    """Return the collection of the current versions of a type, or of a resource given as ``Type/id``."""
    return APART.get(reference.partition("/")[0], "resources")


def pack_of(event: str) -> str:
    """Return the ``_id`` of the pack that an event (``AuditEvent/…``) would be in: its own but for its place there."""
    return f"{event[:_PACK]}000" if len(event) > _PACK else event


def to_version_key(reference: str, version: int) -> str:
    """Return the ``_id`` of a version; the number is padded, so that a resource's keys are in the order of versions."""
    return f"{reference}/{version:010d}"


def from_version_key(key: str) -> tuple[str, int]:
    """Return the reference and the number of a version."""
    reference, _, version = key.rpartition("/")
    return reference, int(version)


def to_outbox(changes: Sequence[Change], now: datetime, generation: int = 0) -> list[RawBSONDocument]:
    """Return a commit's outbox documents: one, however many changes (a further one per 20,000)."""
    return [
        _to_bson(
            {
                "at": now,
                "g": generation,
                "changes": [
                    [c.reference, c.version, c.method, c.updated] for c in changes[start : start + OUTBOX_CHANGES]
                ],
            }
        )
        for start in range(0, len(changes), OUTBOX_CHANGES)
    ]


def from_current(found: Mapping[str, Any], index: bool = False, names: Sequence[str] = ()) -> Document:
    """Return the Document of a stored current version; it carries the index fields named, with ``index`` all."""
    fields: dict[str, Any] = {}
    if index:
        fields = {name: _aware(value) for name, value in found.items() if name not in OWN_FIELDS}
    else:
        # By hand: a page has fifty of them.
        for name in (*IDENTITY_FIELDS, *names):
            value = found.get(name)
            if value is not None:
                kind = value.__class__
                fields[name] = _aware(value) if kind is datetime or kind is list else value
    if found["deleted"]:
        fields = found.get(WAS, fields)
    return Document(
        found["_id"],
        found["version"],
        found["updated"].replace(tzinfo=UTC),
        found["deleted"],
        found.get("body"),
        found["method"],
        fields,
    )


def from_history(found: Mapping[str, Any]) -> Document:
    """Return the Document of a stored version, with the index fields that history keeps."""
    fields = {name: found[name] for name in POLICY_FIELDS if name in found}
    return Document(
        found["ref"],
        found["version"],
        found["updated"].replace(tzinfo=UTC),
        found["deleted"],
        found.get("body"),
        found["method"],
        fields,
    )


def _aware(value: Any) -> Any:
    """Return an index value with its datetimes in UTC, as the matcher compares them."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC)
    if isinstance(value, list):
        return [_aware(one) for one in value]
    if isinstance(value, dict):
        return {name: _aware(one) for name, one in value.items()}
    return value


def to_projection(with_body: bool, with_index: bool, index_fields: Iterable[str]) -> dict[str, int]:
    """Return the projection that brings what a Query asks for and no more; empty for everything."""
    if with_index:
        return {} if with_body else {"body": 0, "file": 0}
    return {**(HEAD_AND_BODY if with_body else HEAD), **dict.fromkeys(index_fields, 1)}


def to_restatement(change: Change) -> dict[str, Any]:
    """Return the update that notes on older versions what a policy asks of the resource now."""
    resource = f"{change.reference}/"
    older = {"$gte": resource, "$lt": to_version_key(change.reference, change.version)}
    return {"q": {"_id": older}, "u": {"$set": {NOW: to_policy_fields(change.index)}}, "multi": True}


def _current(change: Change, head: dict[str, Any]) -> dict[str, Any]:
    if change.body is None:
        return {"_id": change.reference, **head, WAS: to_policy_fields(change.index)}
    resource_type = change.reference.partition("/")[0]
    return {"_id": change.reference, "type": resource_type, **head, **change.index}


def _history(change: Change, head: dict[str, Any]) -> dict[str, Any]:
    return {
        "_id": to_version_key(change.reference, change.version),
        "ref": change.reference,
        "type": change.reference.partition("/")[0],
        **head,
        **to_policy_fields(change.index),
    }


def _to_bson(document: Mapping[str, Any]) -> RawBSONDocument:
    encoded = bson.encode(document, codec_options=CODEC)
    if len(encoded) > DOCUMENT_LIMIT:
        raise TooLong(
            Text(
                "The resource has more values to index than one database document can hold.",
                "La ressource contient plus de valeurs à indexer qu'un document de la base ne peut en porter.",
            )
        )
    return RawBSONDocument(encoded)
