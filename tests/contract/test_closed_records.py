"""The mark of a closed record: on and off whole records beside writers, found by indexes, never written over."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from fhir_server.access.caller import LOCAL_CALLER
from fhir_server.access.policy import Policy
from fhir_server.fhir.json import to_json
from fhir_server.repository.change import Proposal
from fhir_server.repository.closing import align, find_unaligned
from fhir_server.repository.stored_parameters import ParameterRegistry
from fhir_server.repository.writing import Writer, WriteRules
from fhir_server.search.closed import CLOSED
from fhir_server.search.indexer import to_index
from fhir_server.storage.commands import to_find_unmarked
from fhir_server.storage.migrations import MIGRATIONS, migrate
from fhir_server.storage.mongo import MongoStore
from fhir_server.storage.store import Change, Marking, Plan, VersionConflict
from tests.contract.test_indexes import _index_names

NOW = datetime(2026, 5, 4, tzinfo=UTC)
MANY = 5_100
"""Versions, more than one commit marks."""

MakeChange = Callable[..., Change]


def creation(resource: dict[str, Any], **more: Any) -> Change:
    reference = f"{resource['resourceType']}/{resource['id']}"
    return Change(reference, 0, 1, "PUT", NOW, to_json(resource), {**to_index(resource), **more})


def patient(id: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": id, **more}


def observation(id: str, *, of: str = "a", **more: Any) -> dict[str, Any]:
    fixed = {"status": "final", "code": {"text": "x"}, "subject": {"reference": f"Patient/{of}"}}
    return {"resourceType": "Observation", "id": id, **fixed, **more}


def marks(store: MongoStore, *references: str) -> list[Any]:
    found = store.get_many(references, with_body=False, index_fields=(CLOSED,))
    return [found[one].index.get(CLOSED) for one in references]


def version_marks(store: MongoStore, *references: str) -> list[Any]:
    history = store.connection.database["history"]
    return [one.get(CLOSED) for one in history.find({"ref": {"$in": references}}).sort("_id")]


def writer(store: Any, **rules: Any) -> Writer:
    registry = ParameterRegistry(store)
    return Writer(store, Policy(LOCAL_CALLER), WriteRules(**rules), "http://here.example/fhir", lambda: NOW, registry)


def turn(store: Any, active: bool) -> None:
    """Close the record of ``Patient/a``, or open it."""
    writer(store).write([Proposal("update", "PUT", "Patient", "a", patient("a", active=active))])


class Beside:
    """A store beside which something happens, just before a method of it is called for the first time."""

    def __init__(self, store: MongoStore, method: str, happens: Callable[[], None]) -> None:
        self._store, self._method, self._happens = store, method, happens

    def __getattr__(self, name: str) -> Any:
        if name == self._method:
            self._method = ""
            self._happens()
        return getattr(self._store, name)


def test_all_versions_are_marked_and_unmarked_with_the_record(store: MongoStore, change: MakeChange) -> None:
    store.commit(Plan((creation(patient("a")), creation(observation("1")), creation(observation("2", of="b")))))
    store.commit(Plan((change("Observation/1", 1, **to_index(observation("1"))),)))
    turn(store, active=False)
    assert marks(store, "Patient/a", "Observation/1", "Observation/2") == [["Patient/a"], ["Patient/a"], None]
    assert version_marks(store, "Patient/a", "Observation/1") == [["Patient/a"]] * 4
    turn(store, active=True)
    assert marks(store, "Patient/a", "Observation/1", "Observation/2") == [None] * 3
    assert version_marks(store, "Patient/a", "Observation/1") == [None] * 5


def test_a_record_of_any_size_is_marked_to_its_end_before_the_closing_is_answered(store: MongoStore) -> None:
    store.commit(Plan((creation(patient("a")), *(creation(observation(str(n))) for n in range(MANY)))))
    turn(store, active=False)
    assert store.connection.database["resources"].count_documents({CLOSED: "Patient/a"}) == MANY + 1
    assert store.connection.database["history"].count_documents({CLOSED: "Patient/a"}) == MANY + 2
    turn(store, active=True)
    assert store.connection.database["history"].count_documents({CLOSED: {"$exists": True}}) == 0


@pytest.mark.parametrize("moment", ["find_unmarked", "commit"])
def test_a_deposit_that_is_committed_beside_the_closing_is_marked_before_that_is_answered(
    store: MongoStore, moment: str
) -> None:
    store.commit(Plan((creation(patient("a")),)))
    deposit = Plan((creation(observation("late")),))
    turn(Beside(store, moment, lambda: store.commit(deposit)), active=False)
    assert marks(store, "Observation/late") == [["Patient/a"]]
    assert version_marks(store, "Observation/late") == [["Patient/a"]]


def test_a_deposit_that_comes_later_still_is_marked_by_who_looks_again(store: MongoStore) -> None:
    store.commit(Plan((creation(patient("a")),)))
    turn(store, active=False)
    store.commit(Plan((creation(observation("late")),)))
    align(store, "Patient/a")
    assert marks(store, "Observation/late") == [["Patient/a"]]


def test_who_looks_again_marks_by_the_state_that_the_record_then_has(store: MongoStore) -> None:
    store.commit(Plan((creation(patient("a")),)))
    turn(store, active=False)
    store.commit(Plan((creation(observation("late")),)))
    align(Beside(store, "commit", lambda: turn(store, active=True)), "Patient/a")  # type: ignore[arg-type]
    assert marks(store, "Patient/a", "Observation/late") == [None, None]


def test_what_a_deleted_patient_has_left_behind_is_found_unmarked(store: MongoStore, change: MakeChange) -> None:
    store.commit(Plan((creation(patient("a")), creation(observation("1")), creation(observation("2", of="nobody")))))
    store.commit(Plan((change("Patient/a", 1, None),)))
    found = store.get_many(["Observation/1", "Observation/2"], index_fields=("*",)).values()
    assert find_unaligned(store, found) == ["Patient/a"]
    align(store, "Patient/a")
    assert marks(store, "Observation/1") == [["Patient/a"]]


def test_who_looks_again_is_not_put_off_by_others_who_write(store: MongoStore) -> None:
    def lose() -> None:
        raise VersionConflict

    store.commit(Plan((creation(patient("a", active=False)), creation(observation("1")))))
    align(Beside(store, "commit", lose), "Patient/a")  # type: ignore[arg-type]
    assert marks(store, "Patient/a", "Observation/1") == [["Patient/a"]] * 2


def test_what_comes_with_a_closing_is_marked_by_the_same_commit(store: MongoStore) -> None:
    seen: list[Any] = []
    store.commit(Plan((creation(patient("a")), creation(observation("1")), creation(observation("2")))))

    def look() -> None:
        seen.extend(marks(store, "Patient/a", "Observation/1", "Observation/2", "Observation/3"))

    resources = (patient("a", active=False), observation("2", status="amended"), observation("3"))
    updates = [Proposal("update", "PUT", one["resourceType"], one["id"], one) for one in resources]
    writer(Beside(store, "get", look)).write(updates)
    assert seen == [["Patient/a"]] * 4, "before the record is looked over again"


@pytest.mark.parametrize("closed", [True, False])
def test_to_change_what_lies_in_a_record_asks_nothing_about_it(
    make_store: Callable[..., MongoStore], closed: bool
) -> None:
    sent: list[str] = []
    store = make_store(body_cache=0, listener=sent.append)
    store.commit(Plan((creation(patient("a", active=not closed)), creation(observation("1")))))
    align(store, "Patient/a")
    writes = writer(store, check_targets=False, check_referrers=False)
    changed = Proposal("update", "PUT", "Observation", "1", observation("1", status="amended"))
    sent.clear()
    writes.write([changed])
    assert sent == ["find", "insert", "update", "insert", "commitTransaction"]
    sent.clear()
    writes.write([Proposal("delete", "DELETE", "Observation", "1")])
    assert sent.count("find") == 1
    assert marks(store, "Observation/1") == [["Patient/a"] if closed else None]


def test_nothing_is_marked_for_a_patient_who_never_was(store: MongoStore) -> None:
    store.commit(Plan((creation(observation("1", of="nobody")),)))
    align(store, "Patient/nobody")
    assert marks(store, "Observation/1") == [None]


def test_two_who_turn_the_same_record_do_so_one_after_the_other(store: MongoStore) -> None:
    store.commit(Plan((creation(patient("a")), creation(observation("1")))))
    turn(Beside(store, "commit", lambda: turn(store, active=False)), active=True)
    assert marks(store, "Patient/a", "Observation/1") == [None, None], "the later one was planned anew"


def test_a_write_does_not_undo_the_marking_that_it_did_not_see(store: MongoStore, change: MakeChange) -> None:
    index = to_index(observation("1"))
    store.commit(Plan((creation(patient("a")), creation(observation("1")))))
    turn(store, active=False)
    for body in (b"{}", None):
        with pytest.raises(VersionConflict) as lost:
            store.commit(Plan((change("Observation/1", 1, body, position=3, **index),)))
        assert lost.value.positions == (3,)
    assert marks(store, "Observation/1") == [["Patient/a"]]


@pytest.mark.parametrize("active", [True, False])
def test_an_update_beside_the_closing_is_marked_as_the_record_is_in_the_end(store: MongoStore, active: bool) -> None:
    store.commit(Plan((creation(patient("a", active=not active)), creation(observation("1")))))
    align(store, "Patient/a")
    updated = [Proposal("update", "PUT", "Observation", "1", observation("1", status="amended"))]
    beside: Any = Beside(store, "commit", lambda: turn(store, active=active))
    writer(beside, check_targets=False).write(updated)
    assert marks(store, "Observation/1") == [None if active else ["Patient/a"]]


@pytest.mark.parametrize("checked", [True, False])
def test_what_is_written_into_a_closed_record_is_marked_however_little_has_been_read(
    store: MongoStore, checked: bool
) -> None:
    store.commit(Plan((creation(patient("a")),)))
    turn(store, active=False)
    created = Proposal("create", "POST", "Observation", None, {**observation("x"), "id": None})
    del created.resource["id"]  # type: ignore[index]
    (written,) = writer(store, check_targets=checked).write([created])
    assert written.document is not None
    assert marks(store, written.document.reference) == [["Patient/a"]]


def test_another_process_knows_at_once_that_a_record_is_closed(make_store: Callable[..., MongoStore]) -> None:
    store, elsewhere = make_store(), make_store()
    store.commit(Plan((creation(patient("a")),)))

    def put(id: str) -> list[Any]:
        writer(elsewhere).write([Proposal("update", "PUT", "Observation", id, observation(id))])
        return marks(store, f"Observation/{id}")

    assert put("1") == [None]
    turn(store, active=False)
    assert put("2") == [["Patient/a"]]
    turn(store, active=True)
    assert put("3") == [None]


def test_a_tombstone_bears_the_mark_of_the_record_that_its_resource_was_in(
    store: MongoStore, change: MakeChange
) -> None:
    index = to_index(observation("1"))
    store.commit(Plan((creation(patient("a")), creation(observation("1")))))
    store.commit(Plan((change("Observation/1", 1, None, **index),)))
    turn(store, active=False)
    assert marks(store, "Observation/1") == [["Patient/a"]]
    assert version_marks(store, "Observation/1") == [["Patient/a"]] * 2
    turn(store, active=True)
    assert marks(store, "Observation/1") == [None]


def test_content_is_marked_with_its_versions_and_its_tombstone(store: MongoStore, change: MakeChange) -> None:
    carrying = observation("1", derivedFrom=[{"reference": "Binary/b"}, {"reference": "Binary/gone"}])
    contents = [creation({"resourceType": "Binary", "id": id, "contentType": "x"}) for id in ("b", "gone", "other")]
    store.commit(Plan((creation(patient("a")), creation(carrying), *contents)))
    store.commit(Plan((change("Binary/gone", 1, None),)))
    store.commit(Plan((replace(change("Binary/b", 1, l=["s|N"]), restates=True),)))
    turn(store, active=False)
    assert marks(store, "Binary/b", "Binary/gone", "Binary/other") == [["Patient/a"], ["Patient/a"], None]
    assert version_marks(store, "Binary/b", "Binary/gone") == [["Patient/a"]] * 4
    first = store.connection.database["history"].find_one({"_id": "Binary/b/0000000001"})
    assert first is not None
    assert first["now"] == {"l": ["s|N"], CLOSED: ["Patient/a"]}
    turn(store, active=True)
    assert marks(store, "Binary/b", "Binary/gone") == [None, None]
    assert version_marks(store, "Binary/b", "Binary/gone") == [None] * 4


@pytest.mark.parametrize("closed", [True, False])
def test_the_versions_of_a_record_are_found_by_indexes_alone(store: MongoStore, closed: bool) -> None:
    command = to_find_unmarked("Patient/a", closed, 10, 1_000)
    del command["readConcern"], command["maxTimeMS"]
    plan = store.connection.database.command("explain", command, verbosity="queryPlanner")["queryPlanner"]
    assert _index_names(plan["winningPlan"]) == {"patient", "several_patients"}


def test_a_marking_is_one_commit_of_two_commands(make_store: Callable[..., MongoStore]) -> None:
    sent: list[str] = []
    store = make_store(listener=sent.append)
    store.commit(Plan((creation(patient("a")), *(creation(observation(str(n))) for n in range(30)))))
    versions = tuple((f"Observation/{n}", 1) for n in range(30))
    sent.clear()
    store.commit(Plan((), markings=(Marking("Patient/a", True, versions),)))
    assert sent == ["update", "update", "commitTransaction"]
    assert marks(store, *(f"Observation/{n}" for n in range(30))) == [["Patient/a"]] * 30


def unmarked(store: MongoStore, *changes: Change) -> None:
    """Store what an older server has left: nothing bears a mark."""
    store.commit(Plan(changes))
    store.connection.database["meta"].delete_many({})
    store.connection.database["meta"].insert_one({"_id": "shape", "steps": 0})


def test_a_database_of_before_is_marked_as_it_is_opened(store: MongoStore) -> None:
    carrying = observation("1", derivedFrom=[{"reference": "Binary/b"}])
    content = creation({"resourceType": "Binary", "id": "b", "contentType": "x"})
    people: Sequence[Change] = [creation(patient("a", active=False)), creation(patient("b", active=True))]
    unmarked(store, *people, creation(carrying), content, creation(observation("2", of="b")))
    assert migrate(store.connection.database) == len(MIGRATIONS)
    named = ("Patient/a", "Observation/1", "Binary/b")
    assert marks(store, *named) == [["Patient/a"]] * 3
    assert version_marks(store, *named) == [["Patient/a"]] * 3
    assert marks(store, "Patient/b", "Observation/2") == [None, None]
    store.connection.database["meta"].update_one({"_id": "shape"}, {"$set": {"steps": 0}})
    assert migrate(store.connection.database) == len(MIGRATIONS), "it may run twice"
