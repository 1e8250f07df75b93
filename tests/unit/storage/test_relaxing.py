"""A filter on events, relaxed for what the audit stores: it leaves nothing out."""

from datetime import UTC, datetime
from typing import Any

import pytest

from fhir_server.storage.documents import pack_of
from fhir_server.storage.relaxing import fields_in, relax

AT = datetime(2026, 6, 14, tzinfo=UTC)
EVENT, PACK = (f"AuditEvent/01a21d23-63e2-7f00-87e9-d3c09e1a0{place}" for place in ("002", "000"))
ON = {"x": "Patient/p"}


@pytest.mark.parametrize(
    ("asked", "relaxed"),
    [
        ({}, {}),
        ({"type": "AuditEvent", "ds": {"$gte": AT}}, {"$and": [{"type": "AuditEvent"}, {"ds": {"$gte": AT}}]}),
        ({"pt": "Patient/p"}, ON),
        ({"c": {"$eq": "Patient/p"}, "t": "AuditEvent.action||r"}, ON),
        ({"x": {"$in": ["Patient/q", "Patient/p"]}}, {"x": {"$in": ["Patient/p", "Patient/q"]}}),
        ({"r": "AuditEvent.entity>Patient/p"}, ON),
        ({"r": "AuditEvent.entity>Patient/p/_history/3"}, ON),
        ({"r": {"$in": ["AuditEvent.agent>Patient/p", "AuditEvent.entity>Patient/p"]}}, ON),
        ({"r": "AuditEvent.entity>https://elsewhere.example/Patient/p"}, {}),
        ({"r": f"AuditEvent.entity>Patient/p{'x' * 300}"}, {}),
        ({"r": {"$gte": "AuditEvent.agent>"}}, {}),
        ({"pt": None}, {}),
        ({"pt": {"$ne": "Patient/p"}}, {}),
        ({"l": {"$nin": ["a|b"]}}, {}),
        ({"$nor": [{"pt": "Patient/p"}]}, {}),
        ({"$and": [{"pt": "Patient/p"}, {"s": "x"}]}, ON),
        ({"$or": [{"pt": "Patient/p"}, {"s": "x"}]}, {}),
        ({"$or": [{"pt": "Patient/p"}, {"ds": AT}]}, {"$or": [ON, {"ds": AT}]}),
        ({"$expr": {"$gt": ["$ds", "$de"]}}, {}),
        ({"_id": EVENT}, {"_id": {"$in": [PACK, EVENT]}}),
        ({"_id": {"$in": ["AuditEvent/short"]}}, {"_id": {"$in": ["AuditEvent/short"]}}),
        ({"_id": {"$gt": EVENT, "$lt": "AuditEvent0"}}, {"_id": {"$gte": PACK, "$lt": "AuditEvent0"}}),
        ({"_id": {"$lte": EVENT}}, {"_id": {"$lte": EVENT}}),
        ({"_id": {"$ne": EVENT}}, {}),
        ({"_id": {"$exists": True}}, {}),
    ],
)
def test_a_filter_keeps_what_packs_tell_of_their_events(asked: dict[str, Any], relaxed: dict[str, Any]) -> None:
    assert relax(asked).filter == relaxed


@pytest.mark.parametrize(
    ("asked", "exact"),
    [
        ({}, True),
        ({"type": "AuditEvent", "updated": AT}, True),
        ({"$or": [{"ds": AT}, {"de": AT}]}, True),
        ({"$or": [{"ds": AT}, {}]}, True),
        ({"$or": [{"ds": AT}, {"pt": "Patient/p"}]}, False),
        ({"$or": [{"t": "x"}]}, False),
        ({"pt": "Patient/p"}, False),
        ({"_id": EVENT}, False),
    ],
)
def test_what_all_events_of_a_pack_share_needs_no_second_look(asked: dict[str, Any], exact: bool) -> None:
    assert relax(asked).exact == exact


@pytest.mark.parametrize(
    ("asked", "naming"),
    [
        ({"ds": AT}, None),
        ({"pt": "Patient/p", "r": {"$in": ["A.b>Patient/q", "A.b>Patient/r"]}}, {"Patient/p"}),
        ({"$or": [{"pt": "Patient/p"}, {"c": "Patient/q"}]}, {"Patient/p", "Patient/q"}),
        ({"$or": [{"pt": "Patient/p"}, {"ds": AT}]}, None),
    ],
)
def test_whom_all_events_sought_refer_to_is_known(asked: dict[str, Any], naming: set[str] | None) -> None:
    assert relax(asked).naming == naming


def test_the_fields_that_a_filter_looks_at() -> None:
    asked = {"$and": [{"t": "x"}, {"$or": [{"d.p": 1}, {"pt": None}]}], "$nor": [{"l": {"$in": []}}]}
    assert fields_in(asked) == {"t", "d", "pt", "l"}
    assert fields_in({"$or": [{"$expr": {"$gt": ["$ds", "$de"]}}]}) is None
    assert fields_in({"$expr": {}}) is None


def test_an_event_is_in_the_pack_whose_id_begins_as_its_own() -> None:
    assert pack_of(EVENT) == pack_of(PACK) == PACK
    assert pack_of("AuditEvent/0001") == "AuditEvent/0001"
