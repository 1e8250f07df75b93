"""Attacks 21 and 23: what a write is answered tells nothing of what its caller may not see."""

from collections.abc import Callable
from typing import Any

import pytest

from fhir_server.access.caller import Caller
from fhir_server.access.scopes import parse_scopes
from fhir_server.app import Composition
from fhir_server.context import current_time
from fhir_server.fhir.json import to_json
from fhir_server.search.indexer import to_index
from fhir_server.storage.store import Change, Plan
from tests.access.callers import World, backend, operator, patient, professional
from tests.access.records import TITLED, binary, concept, document, encounter, of, resource
from tests.rest.fhir import entry

OBSERVATIONS = parse_scopes("patient/Observation.cruds").scopes


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


def refer(world: World, caller: Caller, criteria: str) -> tuple[int, Any]:
    """Return what the caller is told who refers to a patient by these criteria."""
    body = {"resourceType": "Observation", "status": "final", "code": concept("x"), "subject": of(criteria)}
    reply = world.ask(caller).post("Observation", body)
    return reply.status, reply.body if reply.status != 201 else None


GUESSES = (
    "_id=marie&birthdate={}", "birthdate={}", "_id=marie&_filter=birthdate eq {}", "_id=marie&_content={}",
    "_id:not=x&birthdate={}", "identifier:text={}",
)  # fmt: skip


@pytest.mark.parametrize("guess", GUESSES)
@pytest.mark.parametrize(
    "caller",
    [professional("x", "899700000022"), backend("x"), patient("marie", scopes=OBSERVATIONS)],
    ids=lambda one: one.kind,
)
def test_a_reference_by_criteria_tells_nothing_of_a_patient_but_the_identity(
    record: World, guess: str, caller: Caller
) -> None:
    right, wrong = (refer(record, caller, f"Patient?{guess.format(one)}") for one in ("1979-03-28", "1980-01-01"))
    assert right == wrong
    assert right[0] == 412


def test_who_feeds_records_refers_to_a_patient_by_identity_alone(record: World) -> None:
    record.put(
        resource("Location/ward", name="ward"),
        resource("Patient/ins", identifier=[{"system": "urn:oid:1.2.3", "value": "279"}]),
    )
    for caller in (professional("x", "899700000022"), backend("x")):
        assert refer(record, caller, "Patient?identifier=urn:oid:1.2.3|279")[0] == 201
        assert refer(record, caller, "Patient?_id=ins")[0] == 201
        assert refer(record, caller, "Location?name=ward")[0] == 403, "found, as what is public is, but in no record"
        assert refer(record, caller, "Patient?identifier=urn:oid:1.2.3|")[0] == 412
        assert refer(record, caller, "Patient?identifier=x|y,urn:oid:1.2.3|")[0] == 412


def test_a_reference_lends_its_sight_to_no_conditional_write(record: World) -> None:
    body = {"resourceType": "Observation", "status": "final", "code": concept("x"), "subject": of("Patient?_id=marie")}
    change = {"resourceType": "Patient", "name": [{"family": "x"}]}
    for caller in (professional("x", "899700000022"), backend("x")):
        for written in (
            entry("PUT", "Patient?_id=marie", change),
            entry("POST", "Patient", change, ifNoneExist="_id=marie"),
        ):
            reply = record.ask(caller).transact(written, entry("POST", "Observation", body))
            assert reply.status == 403, "to them she is not there, nor are they let make her"


def test_ones_own_stay_is_not_guessed_by_referring_to_it(record: World) -> None:
    record.put(encounter("stay", "marie"))
    app = patient("marie", scopes=OBSERVATIONS, encounter="stay")

    def guess(status: str) -> int:
        body = {"resourceType": "Observation", "status": "final", "code": concept("x"), "subject": of("Patient/marie")}
        return record.ask(app).post("Observation", {**body, "encounter": of(f"Encounter?status={status}")}).status

    assert guess("finished") == guess("planned") == 412


@pytest.mark.parametrize("check", [True, False], ids=["targets checked", "targets unchecked"])
@pytest.mark.parametrize("form", ["attachment", "reference", "extension"])
def test_no_setting_lets_anybody_carry_others_content(
    make_composition: Callable[..., Composition], form: str, check: bool
) -> None:
    world = World(make_composition(referential_integrity_write=check))
    people = (resource(f"Patient/{one}", birthDate="1979-03-28") for one in ("marie", "luc"))
    world.put(*people, binary("lucs"), document("lucs", "luc"))
    made = document("x", "marie", content=TITLED)
    match form:
        case "attachment":
            made["content"] = [{"attachment": {"url": "Binary/lucs"}}]
        case "reference":
            made["context"] = {"related": [of("Binary/lucs")]}
        case _:
            made["extension"] = [{"url": "http://x.example", "valueReference": of("Binary/lucs")}]
    assert world.ask(patient("marie")).post("DocumentReference", made).status == 422
    assert world.ask(patient("marie")).get("Binary/lucs").status == 404
    own = world.ask(patient("marie")).create({"resourceType": "Binary", "contentType": "text/plain", "data": "eA=="})
    carrying = {**document("x", "marie", content=TITLED), "context": {"related": [of(f"Binary/{own['id']}")]}}
    assert world.ask(patient("marie")).post("DocumentReference", carrying).status == 201
