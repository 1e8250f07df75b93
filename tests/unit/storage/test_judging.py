"""What is asked of events is taken apart by what it takes to answer it."""

from datetime import UTC, datetime
from typing import Any

import pytest

from fhir_server.storage.judging import judge

AT = datetime(2026, 6, 14, tzinfo=UTC)
REQUEST = "AuditEvent.entity:identifier||r1"


@pytest.mark.parametrize(
    "condition",
    [
        {"t": "AuditEvent.action||r"},
        {"t": {"$in": ["AuditEvent.action||r", "AuditEvent.action||e"]}},
        {"t": {"$not": {"$in": ["AuditEvent.action||r"]}}},
        {"l": {"$nin": ["a|b"]}},
        {"s": {"$gte": "AuditEvent.agent-name:d", "$lt": "AuditEvent.agent-name:e"}},
        {"$nor": [{"t": "AuditEvent.outcome||4"}]},
        {"$or": [{"t": "AuditEvent.outcome||4"}, {"$and": [{"e": "AuditEvent.agent-name:D"}, {"l": None}]}]},
    ],
)
def test_what_a_frame_says_is_asked_of_the_frame(condition: dict[str, Any]) -> None:
    asked = judge({"type": "AuditEvent", "ds": {"$gte": AT}, **condition})
    assert (asked.by_frame, asked.equal, asked.hard) == (condition, (), {})
    assert not asked.whole
    # An own search parameter may index anything under these names.
    asked = judge(condition, frames_tell=False)
    assert asked.by_frame == {}
    assert asked.equal or asked.hard == condition
    assert asked.whole


@pytest.mark.parametrize(
    ("condition", "equal", "hard"),
    [
        ({"t": REQUEST}, (("t", {REQUEST}),), {}),
        ({"t": {"$gte": "AuditEvent.a"}}, (), {"t": {"$gte": "AuditEvent.a"}}),
        ({"t": {"$not": {"$in": [REQUEST]}}}, (), {"t": {"$not": {"$in": [REQUEST]}}}),
        ({"$or": [{"t": REQUEST}, {"l": "x"}]}, (), {"$or": [{"t": REQUEST}, {"l": "x"}]}),
        ({"pt": "Patient/p", "r": {"$in": ["a", "b"]}}, (("pt", {"Patient/p"}), ("r", {"a", "b"})), {}),
        ({"$and": [{"c": "Patient/p"}, {"w": {"$in": ["x"]}}]}, (("c", {"Patient/p"}), ("w", {"x"})), {}),
        ({"pt": {"$exists": False}}, (), {"pt": {"$exists": False}}),
        ({"pt": None}, (), {"pt": None}),
        ({"d.p": "x"}, (), {"d.p": "x"}),
        ({"$expr": {"$gt": ["$ds", "$de"]}}, (), {"$expr": {"$gt": ["$ds", "$de"]}}),
        ({"pt": None, "v": {"$regex": "x"}}, (), {"$and": [{"pt": None}, {"v": {"$regex": "x"}}]}),
    ],
)
def test_what_each_event_says_is_compared_or_left_to_the_database(
    condition: dict[str, Any], equal: tuple[Any, ...], hard: dict[str, Any]
) -> None:
    asked = judge(condition)
    assert (asked.by_frame, asked.equal, asked.hard) == ({}, equal, hard)


def test_what_an_event_refers_to_is_known_without_the_rest_of_it() -> None:
    assert not judge({"pt": "Patient/p", "_id": "AuditEvent/1"}).whole
    assert judge({"pt": "Patient/p", "w": "x"}).whole


@pytest.mark.parametrize(
    ("event", "holds"),
    [
        ({"pt": "Patient/p", "r": ["a"]}, True),
        ({"pt": "Patient/p", "r": ["c", "b"]}, True),
        ({"pt": "Patient/p", "r": ["c"]}, False),
        ({"pt": "Patient/p"}, False),
        ({"pt": "Patient/q", "r": ["a"]}, False),
        ({"r": ["a"]}, False),
    ],
)
def test_a_field_has_one_of_the_texts_or_is_one(event: dict[str, Any], holds: bool) -> None:
    assert judge({"pt": "Patient/p", "r": {"$in": ["a", "b"]}}).holds(event) == holds
