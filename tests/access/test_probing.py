"""Attacks 21 and 23: what a write is answered tells nothing of what its caller may not see."""

from typing import Any

import pytest

from fhir_server.access.scopes import parse_scopes
from fhir_server.context import current_time
from fhir_server.fhir.json import to_json
from fhir_server.search.indexer import to_index
from fhir_server.storage.store import Change, Plan
from tests.access.callers import World, backend, operator, patient
from tests.access.records import binary, concept, document, of, resource
from tests.rest.fhir import entry


@pytest.fixture
def record(world: World) -> World:
    """A record with one of each that the callers below are not let see."""
    observed = {"status": "final", "code": concept("x"), "category": [concept("vital-signs", "http://x")]}
    world.put(
        resource("Patient/marie", birthDate="1979-03-28"),
        resource("Observation/taken", **observed, subject=of("Patient/marie")),
        resource("Schedule/taken", actor=[of("Patient/marie")]),
        resource("Condition/hidden", subject=of("Patient/marie")),
        document("hidden", "marie", content=[{"attachment": {"title": "x"}}]),
    )  # fmt: skip
    return world


def test_who_sees_a_part_of_a_type_gives_no_ids_in_it(record: World) -> None:
    narrow = backend("x", trusted=True, scopes=parse_scopes("system/Observation.cruds?category=laboratory").scopes)
    body = {"status": "final", "code": concept("x"), "category": [concept("laboratory", "http://x")]}
    told = [
        record.ask(narrow).put(f"Observation/{id}", resource(f"Observation/{id}", **body, subject=of("Patient/marie")))
        for id in ("taken", "free")
    ]
    assert [one.status for one in told] == [405, 405]
    assert told[0].body == told[1].body
    told = [
        record.ask(operator()).put(f"Schedule/{id}", resource(f"Schedule/{id}", actor=[{"display": "x"}]))
        for id in ("taken", "free")
    ]
    assert [one.status for one in told] == [405, 405]
    made = record.ask(operator()).put("Organization/free", resource("Organization/free", name="x"))
    assert made.status == 201, "of a type that is never a patient's all ids are seen"
    whole = backend("x", trusted=True)
    assert record.ask(whole).put("Observation/free", resource("Observation/free", **body)).status == 201


@pytest.mark.parametrize(
    ("hidden", "absent"),
    [
        ("Condition/hidden", "Condition/nowhere"),
        ("DocumentReference/hidden", "DocumentReference/nowhere"),
        ("Condition?patient=marie", "Condition?patient=nobody"),
    ],
)
def test_references_tell_nothing_of_what_the_scopes_do_not_show(record: World, hidden: str, absent: str) -> None:
    app = patient("marie", scopes=parse_scopes("patient/Observation.cruds").scopes)

    def refer(target: str) -> Any:
        body = {"resourceType": "Observation", "status": "final", "code": concept("x"), "subject": of("Patient/marie")}
        reply = record.ask(app).transact(entry("POST", "Observation", {**body, "focus": [of(target)]}))
        return reply.status, reply.body

    assert refer(hidden) == refer(absent)
    assert refer(hidden)[0] != 200
    assert refer("Patient/marie")[0] == 200, "whom the token names"


def test_what_a_search_examined_is_told_to_nobody_from_whom_anything_is_withheld(record: World) -> None:
    for caller in (backend("x", trusted=True), operator(roles=("auditor",)), patient("marie")):
        assert record.ask(caller).get("Observation?status=final&__explain=true").status == 403, caller.key
    assert record.local.get("Observation?status=final&__explain=true").status == 200


def test_nobody_opens_content_to_themselves_by_carrying_it(record: World) -> None:
    record.put(resource("Patient/luc", birthDate="1977-11-01"), binary("lucs"), document("lucs", "luc"))
    marie = patient("marie")

    def carry(id: str) -> Any:
        made = document("x", "marie", content=[{"attachment": {"url": f"Binary/{id}"}}])
        reply = record.ask(marie).post("DocumentReference", made)
        return reply.status, reply.body

    assert carry("lucs") == carry("nowhere")
    assert carry("lucs")[0] == 422
    assert record.ask(marie).get("Binary/lucs").status == 404
    own = record.ask(marie).post("Binary", {"resourceType": "Binary", "contentType": "text/plain", "data": "eA=="})
    status, made = carry(own.body["id"])
    assert status == 201
    assert record.ask(marie).get(f"Binary/{own.body['id']}").status == 200
    made["content"][0]["attachment"]["url"] = "Binary/lucs"
    assert record.ask(marie).put(f"DocumentReference/{made['id']}", made).status == 422
    assert record.ask(marie).get("Binary/lucs").status == 404


def test_content_that_belongs_with_something_hidden_is_not_there_to_be_carried(record: World) -> None:
    record.put(
        document("later", "marie", "INVISIBLE_PATIENT", content=[{"attachment": {"title": "x"}}]),
        {**binary("bound"), "securityContext": of("DocumentReference/later")},
        document("bound", "marie"),
    )
    marie = patient("marie")
    assert record.ask(marie).get("Binary/bound").status == 404

    def carry(id: str) -> Any:
        made = document("x", "marie", content=[{"attachment": {"url": f"Binary/{id}"}}])
        reply = record.ask(marie).post("DocumentReference", made)
        return reply.status, reply.body

    assert carry("bound") == carry("nowhere")


def test_what_very_many_carry_tells_nothing_of_what_few_carry(record: World) -> None:
    record.put(binary("many"), binary("few"), document("few", "marie"))
    carrier = document("x", "marie", "INVISIBLE_PATIENT", content=[{"attachment": {"url": "Binary/many"}}])
    index, body, now = to_index(carrier), to_json(carrier), current_time()
    changes = [Change(f"DocumentReference/many{one}", 0, 1, "PUT", now, body, index) for one in range(1_000)]
    record.composition.store().commit(Plan(tuple(changes)))
    marie = patient("marie")

    def carry(*ids: str) -> int:
        content = [{"attachment": {"url": f"Binary/{id}"}} for id in ids]
        return record.ask(marie).post("DocumentReference", document("x", "marie", content=content)).status

    assert carry("many", "few") == carry("few", "nowhere") == 422
    assert carry("few") == 201
