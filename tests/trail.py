"""The events of the audit one by one, whether each is stored by itself or in a pack with others."""

import re
from collections.abc import Iterable
from datetime import UTC
from typing import Any

import bson

from fhir_server.audit.packs import unpack
from fhir_server.storage.mongo import MongoStore
from fhir_server.storage.store import Packed, Query

ALL_BUT_FRAMES = {"_id": {"$not": re.compile("^AuditFrame/")}}
"""What a test may remove while a server is running: that takes what it has once written of its callers for kept."""


def stored_events(store: MongoStore, **having: Any) -> list[dict[str, Any]]:
    """Return the events as documents with body and index, in the order of their ids; those that match alone."""
    query = Query(having, (("_id", 1),), with_index=True, collection="audit")
    return [{**one.index, "_id": one.reference, "body": one.body} for one in store.iterate(query)]


def unpacked(packs: Iterable[Packed]) -> list[dict[str, Any]]:
    """Return the events that a trail has packed, as documents that each could be stored by itself."""
    found = (event for one in packs for event in unpack(bson.decode(one.document.raw), one.frame))
    return [{**event, **{name: event[name].replace(tzinfo=UTC) for name in ("updated", "ds", "de")}} for event in found]
