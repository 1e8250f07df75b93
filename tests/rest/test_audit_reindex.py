"""AuditEvents are found by parameters that were defined after them; what is sealed is never written."""

import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import bson
import pytest

from fhir_server.app import Composition
from fhir_server.audit.events import Event
from fhir_server.audit.seals import Sealer
from fhir_server.audit.templates import Occasion
from fhir_server.audit.touched import Touched
from fhir_server.audit.trail import Origin, Trail
from fhir_server.audit.verification import verify
from fhir_server.repository.reindexing import Progress
from fhir_server.search.stored import NONE_STORED, stored_parameters_in_force
from fhir_server.storage.index_writer import Rewrite
from fhir_server.worker import AuditKeeper, Worker
from tests.rest.audited import DOCTOR, audited
from tests.rest.fhir import Fhir
from tests.rest.stored import put_all
from tests.rest.test_audit import observation
from tests.trail import stored_events

BASE = "http://localhost/fhir"
DEFINED = {
    "resourceType": "SearchParameter", "url": "http://example.org/SearchParameter/observer", "name": "observer",
    "status": "active", "description": "x", "code": "observer", "base": ["AuditEvent"], "type": "string",
    "expression": "AuditEvent.source.observer.display",
}  # fmt: skip
QUERY = "AuditEvent?observer=localhost&_summary=count"


@pytest.fixture
def composition(make_composition: Callable[..., Composition]) -> Composition:
    """The parts of a server that audits everybody."""
    return make_composition(audit="on")


@pytest.fixture
def fhir(composition: Composition) -> Fhir:
    """A server with a record, of which somebody has read."""
    fhir = audited(composition)
    put_all(fhir, {"resourceType": "Patient", "id": "p"}, observation("o1"), observation("o2"))
    for id in ("o1", "o2"):
        assert fhir.get(f"Observation/{id}", X_Test_Caller="doctor").status == 200
    return fhir


def stored(composition: Composition) -> list[dict[str, Any]]:
    """Return the events with their index."""
    return stored_events(composition.store())


def found(fhir: Fhir) -> int:
    """Return how many events the parameter finds."""
    return int(fhir.get(QUERY).body["total"])


def plain(value: Any) -> Any:
    """Return a value of an index without the order of a list."""
    return sorted(value) if isinstance(value, list) else value


def stale(at: datetime) -> Event:
    """Return an event as a process makes it that has yet to see the parameter."""
    trail = Trail(Origin(Occasion(DOCTOR, BASE), "req", at, lambda: at))
    with stored_parameters_in_force(NONE_STORED):
        ((_, event),) = trail.records([Touched("update", "Observation/o1", 1, ("Patient/p",))])
    return event


def test_events_are_found_by_a_parameter_that_came_later(fhir: Fhir, composition: Composition, tmp_path: Path) -> None:
    store, heads = composition.store(), tmp_path / "heads"
    Sealer(store.audit_log, heads).finish(datetime.now(UTC))
    before = stored(composition)
    assert len(before) >= 2
    assert fhir.post("SearchParameter", DEFINED).status == 201
    waiting = fhir.get(QUERY)
    assert (waiting.status, waiting.issues[0]["code"]) == (422, "processing")
    Worker(composition).run_due()
    assert found(fhir) >= len(before)
    after = {one["_id"]: one for one in stored(composition)}
    for one in before:
        now = after[one["_id"]]
        assert {name for name in now if plain(now[name]) != plain(one.get(name))} <= {"s", "e", "f", "t", "v", "w"}
        assert "AuditEvent.observer:localhost" in now["s"]
    assert list(verify(store.audit_log, heads, composition.settings.base_url)) == []


def test_what_a_policy_finds_an_event_by_is_not_put_right(fhir: Fhir, composition: Composition) -> None:
    event = stale(datetime.now(UTC))
    composition.store().append([event])
    composition.store().audit_log.flush()
    forged = event["_id"]
    composition.store().connection.database["audit"].update_one(
        {"_id": forged}, {"$set": {"pt": "Patient/q", "l": ["x|y"]}}
    )
    assert fhir.post("SearchParameter", DEFINED).status == 201
    Worker(composition).run_due()
    now = next(one for one in stored(composition) if one["_id"] == forged)
    assert (now["pt"], now["l"]) == ("Patient/q", ["x|y"]), "the audit's verification finds it; nothing hides it"
    assert observers(composition, now) == ["AuditEvent.observer:localhost"]


def test_an_event_that_comes_behind_the_walk_is_indexed_in_the_end(fhir: Fhir, composition: Composition) -> None:
    assert fhir.post("SearchParameter", DEFINED).status == 201
    late = stale(datetime.now(UTC) - timedelta(seconds=30))
    told: list[int] = []

    def tell(progress: Progress) -> None:
        if not told:
            composition.store().append([late])
        told.append(progress.done)

    Worker(composition).run_due(tell)
    assert len(told) == 1, "the walk had passed its place"
    assert observers(composition, late) == ["AuditEvent.observer:localhost"]


def test_a_reindex_that_is_stopped_before_the_last_look_is_resumed(fhir: Fhir, composition: Composition) -> None:
    assert fhir.post("SearchParameter", DEFINED).status == 201
    worker = Worker(composition)
    assert worker.run_due(lambda progress: worker.stop()) == 1
    assert fhir.get(QUERY).status == 422, "it is not finished"
    Worker(composition).run_due()
    assert found(fhir) >= 2


def test_what_a_killed_process_has_left_is_indexed_as_it_arrives(fhir: Fhir, composition: Composition) -> None:
    assert fhir.post("SearchParameter", DEFINED).status == 201
    Worker(composition).run_due()
    late = stale(datetime.now(UTC) - timedelta(days=1))
    left = composition.settings.data_directory / "audit-spool" / "1-left-1.bson"
    left.parent.mkdir(exist_ok=True)
    left.write_bytes(bson.encode(late))
    os.utime(left, (0, 0))
    keeper = AuditKeeper(composition)
    keeper.stop()
    keeper._try(None)
    assert not left.exists()
    assert observers(composition, late) == ["AuditEvent.observer:localhost"]


def observers(composition: Composition, event: Mapping[str, Any]) -> list[str]:
    """Return the parameter's entries of a stored event."""
    (now,) = (one for one in stored(composition) if one["_id"] == event["_id"])
    return [key for key in now.get("s", ()) if key.startswith("AuditEvent.observer")]


def test_nothing_but_an_index_is_ever_rewritten(composition: Composition) -> None:
    for name in ("body", "version", "updated", "_id"):
        with pytest.raises(ValueError, match=name):
            composition.store().index_writer.write([Rewrite("AuditEvent/x", 1, {name: "y"}, ())])
        with pytest.raises(ValueError, match=name):
            composition.store().index_writer.write([Rewrite("AuditEvent/x", 1, {}, (name,))])
