"""Writes into and around closed records: what they leave behind is closed from the start, and tells nobody anything."""

from collections.abc import Callable
from typing import Any

import pytest

from fhir_server.app import Composition
from fhir_server.context import current_time
from fhir_server.fhir.definitions import resource_types
from fhir_server.fhir.json import to_json
from fhir_server.jobs import Jobs, build_job
from fhir_server.repository.closing import CLOSING
from fhir_server.repository.stored_parameters import REINDEX
from fhir_server.search.closed import CLOSED
from fhir_server.search.indexer import to_index
from fhir_server.storage.store import Change, Plan
from fhir_server.worker import Worker
from tests.access.callers import World
from tests.access.records import binary, document, of, resource
from tests.access.test_closed_records import (
    BIRTH,
    DOCTOR,
    HOSPITAL,
    IMPORT,
    OBSERVATION,
    TRUSTED,
    appointment,
    close,
    deposited,
    kept,
    message,
    reopen,
    shared,
)  # fmt: skip
from tests.rest.fhir import Reply, entry

__all__ = ["deposited", "shared"]


@pytest.mark.parametrize(
    ("method", "status"), [("create", 201), ("conditional", 201), ("update", 201), ("bundle", 200), ("patch", 200)]
)
def test_what_is_written_into_a_closed_record_is_closed_from_the_start(shared: World, method: str, status: int) -> None:
    close(shared)
    ask, one = shared.ask(TRUSTED), message("late", "marie")
    without = {name: value for name, value in one.items() if name != "id"}
    change = [{"op": "replace", "path": "/status", "value": "in-progress"}]
    writes: dict[str, Callable[[], Reply]] = {
        "create": lambda: ask.post("Communication", without),
        "conditional": lambda: ask.post("Communication", without, If_None_Exist="identifier=x"),
        "update": lambda: ask.put("Communication/late", one),
        "bundle": lambda: ask.transact(entry("POST", "Communication", without)),
        "patch": lambda: ask.patch("Communication/m-marie", change, Content_Type="application/json-patch+json"),
    }
    written = writes[method]()
    assert written.status == status, written.content
    assert shared.ask(DOCTOR).get("Communication").ids == ["m-luc"]
    assert set(shared.ask(DOCTOR).get("Communication/_history").ids) == {"m-luc"}
    reopen(shared)
    assert len(shared.ask(DOCTOR).get("Communication").ids) == (2 if method == "patch" else 3)


def test_content_that_is_replaced_in_a_closed_record_stays_closed(shared: World, deposited: dict[str, str]) -> None:
    id = deposited["binary-marie"]
    close(shared)
    assert shared.ask(TRUSTED).put(f"Binary/{id}", binary(id)).status == 200
    assert kept(shared.ask(HOSPITAL).get(f"Binary?_id={id}")) == set()
    assert kept(shared.ask(HOSPITAL).get(f"Binary/{id}/_history")) == set()
    reopen(shared)
    assert kept(shared.ask(HOSPITAL).get(f"Binary?_id={id}")) == {id}


def test_content_that_is_carried_into_a_closed_record_is_closed_with_it(shared: World) -> None:
    id = shared.ask(HOSPITAL).create({"resourceType": "Binary", "contentType": "text/plain", "data": "eA=="})["id"]
    close(shared)
    assert kept(shared.ask(HOSPITAL).get(f"Binary?_id={id}")) == {id}
    carried = document("late", "marie", content=[{"attachment": {"url": f"Binary/{id}"}}])
    assert shared.ask(TRUSTED).put("DocumentReference/late", carried).status == 201
    ways = (f"Binary?_id={id}", f"Binary/{id}/_history", f"Binary/{id}")
    assert [kept(shared.ask(HOSPITAL).get(way)) for way in ways] == [set()] * 3
    assert shared.ask(TRUSTED).delete("DocumentReference/late").status == 204
    assert kept(shared.ask(HOSPITAL).get(f"Binary/{id}")) == set(), "it has been in the closed record"


def test_a_record_that_comes_closed_is_closed_with_all_that_comes_along(shared: World) -> None:
    closed = resource("Patient/anna", birthDate="1950-01-01", active=False)
    shared.put(message("annas", "anna"), closed, document("annas", "anna"), binary("annas"))
    assert shared.ask(DOCTOR).get("Communication/annas").status == 404
    assert shared.ask(DOCTOR).get("Communication?_id=annas").ids == []
    shared.put({**closed, "active": True})
    assert shared.ask(DOCTOR).get("Communication/annas").status == 200


def test_what_is_changed_with_the_closing_or_the_opening_is_as_the_record_then_is(shared: World) -> None:
    marie = resource("Patient/marie", birthDate=BIRTH["marie"])
    shared.put({**marie, "active": False}, message("m-marie", "marie", status="in-progress"), message("new", "marie"))
    assert shared.ask(DOCTOR).get("Communication").ids == ["m-luc"]
    shared.put({**marie, "active": True}, message("m-marie", "marie", status="stopped"), message("newer", "marie"))
    assert set(shared.ask(DOCTOR).get("Communication").ids) == {"m-luc", "m-marie", "new", "newer"}
    history = shared.ask(DOCTOR).get("Communication/m-marie/_history")
    assert [one["meta"]["versionId"] for one in history.resources] == ["3", "2", "1"]


def test_what_was_deleted_before_the_closing_stays_hidden_with_its_versions(
    shared: World, deposited: dict[str, str]
) -> None:
    path = f"DocumentReference/{deposited['document-marie']}"
    assert shared.ask(HOSPITAL).delete(path).status == 204
    assert shared.ask(HOSPITAL).get(path).status == 410
    close(shared)
    ways = (path, f"{path}/_history/1", f"{path}/_history/2", f"{path}/_history")
    answers = [shared.ask(HOSPITAL).get(way) for way in ways]
    assert [one.status for one in answers[:3]] == [404] * 3
    assert answers[3].status == 404 or answers[3].body.get("entry", []) == []
    reopen(shared)
    assert shared.ask(HOSPITAL).get(path).status == 410
    assert shared.ask(HOSPITAL).get(ways[1]).status == 200


def test_versions_of_several_records_are_closed_with_the_first_of_them(shared: World) -> None:
    def seen() -> list[int]:
        return [shared.ask(DOCTOR).get(way).status for way in ("Appointment/a-both", "Appointment/a-both/_history/1")]

    close(shared, "luc")
    close(shared, "marie")
    reopen(shared, "luc")
    assert seen() == [404, 404], "the other record is closed"
    reopen(shared, "marie")
    assert seen() == [200, 200]
    shared.put(appointment("a-both", "Patient/luc"))
    close(shared, "marie")
    assert seen() == [200, 404], "the first version was of both records"
    assert shared.ask(IMPORT).delete("Appointment/a-both").status == 204
    reopen(shared, "marie")
    assert seen() == [410, 200]
    close(shared, "marie")
    assert seen() == [410, 404]


def test_what_is_moved_out_of_a_closed_record_shows_what_it_is_now_and_not_what_it_was(shared: World) -> None:
    close(shared)
    moved = message("m-marie", "luc")
    assert shared.ask(TRUSTED).put("Communication/m-marie", moved).status == 200
    assert shared.ask(DOCTOR).get("Communication/m-marie").status == 200
    assert shared.ask(DOCTOR).get("Communication/m-marie/_history/1").status == 404
    assert shared.ask(TRUSTED).put("Communication/m-luc", message("m-luc", "marie")).status == 200
    assert shared.ask(DOCTOR).get("Communication/m-luc").status == 404
    assert shared.ask(DOCTOR).get("Communication/m-luc/_history/1").status == 404, "it is of the closed record now"
    reopen(shared)
    for path in ("m-marie", "m-luc"):
        assert shared.ask(DOCTOR).get(f"Communication/{path}/_history/1").status == 200
    close(shared)
    assert shared.ask(DOCTOR).get("Communication/m-luc/_history/1").status == 404


def test_a_message_that_mentions_a_patient_is_of_the_record_of_whom_it_is_about(shared: World) -> None:
    shared.put(message("about", "luc", sender=of("Patient/marie")))
    shared.put(
        resource("Communication/to", status="completed", sender=of("Patient/marie"), recipient=[of(DOCTOR.user)])
    )
    close(shared)
    assert shared.ask(DOCTOR).get("Communication/about").status == 200
    assert shared.ask(DOCTOR).get("Communication/to").status == 404


def test_a_record_whose_patient_is_deleted_is_closed(make_composition: Callable[..., Composition]) -> None:
    world = World(make_composition(referential_integrity_delete=False))
    marie = resource("Patient/marie", birthDate=BIRTH["marie"])
    world.put(marie, resource("Practitioner/gp"))
    assert world.ask(IMPORT).put("Communication/m-marie", message("m-marie", "marie")).status == 201
    assert world.local.delete("Patient/marie").status == 204
    assert world.ask(DOCTOR).get("Communication").ids == []
    assert world.ask(DOCTOR).get("Communication/m-marie/_history/1").status == 404
    world.put(marie)
    assert world.ask(DOCTOR).get("Communication").ids == ["m-marie"]
    assert world.ask(DOCTOR).get("Communication/m-marie/_history/1").status == 200


def test_a_deposit_that_was_late_is_found_by_the_job_that_the_closing_leaves(shared: World) -> None:
    close(shared)
    store = shared.composition.store()
    (job,) = store.records.find("jobs", {"kind": CLOSING})
    assert job["input"] == {"patients": ["Patient/marie"]}
    assert (job["after"] - job["created"]).total_seconds() == 60
    late = message("late", "marie")
    change = Change("Communication/late", 0, 1, "PUT", current_time(), to_json(late), to_index(late))
    store.commit(Plan((change,)))
    assert set(shared.ask(DOCTOR).get("Communication").ids) == {"m-luc", "late"}, "its writer has seen the record open"
    store.records.change("jobs", {"_id": job["_id"]}, [{"$set": {"after": "$created"}}])
    assert Worker(shared.composition).run_due() == 1
    assert shared.ask(DOCTOR).get("Communication").ids == ["m-luc"]
    assert store.records.find("jobs", {"kind": CLOSING, "state": {"$ne": "finished"}}) == []


def test_a_reindex_marks_what_no_mark_was_put_on_and_takes_off_what_has_one_in_vain(
    shared: World, deposited: dict[str, str]
) -> None:
    close(shared)
    with shared.composition.store().connection.administration() as database:
        for name in ("resources", "history"):
            database[name].update_many({CLOSED: {"$exists": True}}, {"$unset": {CLOSED: 1}})
            database[name].update_many({"pt": "Patient/luc"}, {"$set": {CLOSED: ["Patient/luc"]}})
    sees = {"Observation": deposited["observation-luc"], "Binary": deposited["binary-luc"]}
    Jobs(shared.composition.store().records).enqueue(build_job(REINDEX, {"types": [*resource_types()]}, current_time()))
    assert Worker(shared.composition).run_due() == 1
    for kind, id in sees.items():
        assert kept(shared.ask(HOSPITAL).get(f"{kind}?_count=50")) == {id}, kind
        assert kept(shared.ask(HOSPITAL).get(f"{kind}/_history?_count=50")) == {id}, kind
    assert shared.ask(DOCTOR).get("Communication").ids == ["m-luc"]


def test_a_process_that_has_seen_the_record_open_writes_nothing_into_it_unmarked(shared: World) -> None:
    elsewhere = World(Composition(shared.composition.settings))
    elsewhere.put(message("before", "marie"))
    close(shared)
    elsewhere.put(message("after", "marie"), message("m-marie", "marie", status="stopped"))
    assert shared.ask(DOCTOR).get("Communication").ids == ["m-luc"]
    assert elsewhere.ask(DOCTOR).get("Communication").ids == ["m-luc"]
    elsewhere.composition.close()


CONDITIONAL = {
    "create": ("POST", "Observation", {"If_None_Exist": "identifier=s|{}"}),
    "update": ("PUT", "Observation?identifier=s|{}", {}),
    "patch": ("PATCH", "Observation?identifier=s|{}", {"Content_Type": "application/json-patch+json"}),
    "delete": ("DELETE", "Observation?identifier=s|{}", {}),
    "reference": ("POST", "Observation", {}),
}


@pytest.mark.parametrize("patient", ["marie", "luc"])
@pytest.mark.parametrize("kind", CONDITIONAL)
def test_no_condition_of_a_write_tells_of_a_deposit_in_a_closed_record(shared: World, kind: str, patient: str) -> None:
    own = {"resourceType": "Observation", **OBSERVATION}

    def write(number: str) -> tuple[int, str]:
        method, path, headers = CONDITIONAL[kind]
        one: Any = {**own, "subject": of(f"Patient/{patient}")}
        if kind == "patch":
            one = [{"op": "replace", "path": "/status", "value": "amended"}]
        if kind == "reference":
            one["hasMember"] = [{"reference": f"Observation?identifier=s|{number}"}]
        sent = {name: value.format(number) for name, value in headers.items()}
        reply = shared.ask(HOSPITAL).send(method, path.format(number), None if kind == "delete" else one, **sent)
        return reply.status, str(reply.body.get("issue") if reply.content else "").replace(number, "…")

    shared.ask(HOSPITAL).create(
        {**own, "subject": of("Patient/marie"), "identifier": [{"system": "s", "value": "there"}]}
    )
    close(shared)
    assert write("there") == write("nowhere")
    reopen(shared)
    (still,) = shared.ask(HOSPITAL).get("Observation?identifier=s|there").resources
    assert (still["meta"]["versionId"], still["subject"]) == ("1", of("Patient/marie")), "nothing has touched it"
