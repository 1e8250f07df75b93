"""The trail under the real policy: holders read theirs, nobody else does, and nothing hidden shows through it."""

import pytest

from fhir_server.fhir.json import parse_json
from tests.access.callers import World, backend, operator
from tests.access.test_records import gp, hospital, lea, marie, mother, nurse, other, record
from tests.trail import stored_events

__all__ = ["record"]


def entities(events: list[dict[str, object]]) -> set[str]:
    """Return what events say was looked at."""
    return {
        entity["what"]["reference"]
        for event in events
        for entity in event["entity"]  # type: ignore[attr-defined]
        if "reference" in entity.get("what", {})
    }


def test_the_holder_finds_who_looked_and_by_which_rule(record: World) -> None:
    assert record.ask(gp).get("DocumentReference/plain").status == 200
    (event,) = record.ask(marie).get("AuditEvent?agent=Practitioner/gp").resources
    assert entities([event]) == {"DocumentReference/plain", "Patient/marie"}
    user = next(agent for agent in event["agent"] if agent["requestor"])
    assert user["policy"] == ["https://espace-sante.example/fhir/access-rule/professional"]
    assert record.ask(marie).get(f"AuditEvent/{event['id']}").body == event
    assert record.ask(marie).get("Patient/marie/AuditEvent?agent=Practitioner/gp").ids == [event["id"]]


def test_an_attempt_that_was_refused_is_told_to_the_holder_alone(record: World) -> None:
    refused = record.ask(other).get("DocumentReference/plain")
    missing = record.ask(other).get("DocumentReference/none")
    assert (refused.status, missing.status) == (404, 404)
    assert refused.body["issue"] == missing.body["issue"]
    (event,) = record.ask(marie).get("AuditEvent?agent=Practitioner/other&outcome=4").resources
    assert entities([event]) == {"DocumentReference/plain", "Patient/marie"}


def test_professionals_and_other_patients_read_no_trail(record: World) -> None:
    record.ask(gp).get("DocumentReference/plain")
    (event,) = record.ask(marie).get("AuditEvent?agent=Practitioner/gp").resources
    for caller in (gp, nurse, other, lea, hospital, operator()):
        ask = record.ask(caller)
        assert ask.get(f"AuditEvent/{event['id']}").status in (403, 404)
        searched = ask.get("AuditEvent?patient=Patient/marie")
        assert searched.status in (200, 403)
        assert searched.status == 403 or searched.ids == []
    auditor = operator(roles=("auditor",))
    assert event["id"] in record.ask(auditor).get("AuditEvent?patient=Patient/marie").ids


def test_traces_of_what_a_child_hides_are_hidden_too(record: World) -> None:
    for document in ("secret", "child"):
        assert record.ask(lea).get(f"DocumentReference/{document}").status == 200
    record.ask(lea).get("DocumentReference")
    assert "DocumentReference/secret" in entities(record.ask(lea).get("AuditEvent?_count=100").resources)
    for query in ("AuditEvent?_count=100", "Patient/lea/AuditEvent?_count=100", "AuditEvent/_history?_count=100"):
        seen = record.ask(mother).get(query).resources
        assert "DocumentReference/child" in entities(seen)
        assert "DocumentReference/secret" not in entities(seen)
    hidden = record.ask(lea).get("AuditEvent?entity=DocumentReference/secret").ids
    assert hidden
    for id in hidden:
        assert record.ask(mother).get(f"AuditEvent/{id}").status == 404
        assert record.ask(mother).get(f"AuditEvent/{id}/_history/1").status == 404
    assert record.ask(mother).get("AuditEvent?entity=DocumentReference/secret&_total=accurate").body["total"] == 0
    told = record.ask(mother).get("Patient/lea/$historique-acces?_count=100")
    assert told.status == 200
    assert not [id for id in hidden if id in str(told.body)]


@pytest.mark.parametrize("caller", [marie, gp, hospital, operator(roles=("auditor",))])
def test_nobody_writes_over_the_trail(record: World, caller: object) -> None:
    record.ask(gp).get("DocumentReference/plain")
    event = record.ask(marie).get("AuditEvent?agent=Practitioner/gp").resources[0]
    ask = record.ask(caller)  # type: ignore[arg-type]
    path = f"AuditEvent/{event['id']}"
    assert ask.put(path, {**event, "outcome": "8"}).status == 405
    assert ask.delete(path).status == 405
    assert ask.delete("AuditEvent?patient=Patient/marie").status == 405
    assert record.ask(marie).get(path).body == event


def test_every_committed_write_has_its_event(record: World) -> None:
    database = record.composition.store().connection.database
    told = {
        (entity["what"]["reference"], detail["valueString"])
        for event in stored_events(record.composition.store())
        for entity in parse_json(event["body"])["entity"]
        for detail in entity.get("detail", ())
        if detail["type"] == "version"
    }
    written = {(one["ref"], str(one["version"])) for one in database["history"].find()}
    assert written
    assert written <= told


def test_ones_own_attempts_do_not_tell_what_lies_in_others_records(record: World) -> None:
    def events_of_asking(*references: str) -> list[int]:
        counts = []
        for reference in references:
            before = record.ask(marie).get("AuditEvent?_summary=count").body["total"]
            assert record.ask(marie).get(reference).status == 404
            counts.append(record.ask(marie).get("AuditEvent?_summary=count").body["total"] - before)
        return counts

    another, nowhere, content = events_of_asking("DocumentReference/lucs", "DocumentReference/none", "Binary/lucs")
    assert another == nowhere == content


INSURER = "AuditEvent.agent:identifier||client-insurer"


def test_of_the_events_of_a_page_each_is_its_own_patients_alone(record: World) -> None:
    insurer = record.ask(backend("insurer", trusted=True))
    assert insurer.get("DocumentReference?_count=50").status == 200
    packs: dict[str, dict[str, str]] = {}
    for one in stored_events(record.composition.store()):
        if INSURER in one["t"] and "pt" in one:
            packs.setdefault(one["_id"][:-3], {})[one["pt"]] = one["_id"]
    together = next(one for one in packs.values() if "Patient/marie" in one and len(one) > 1)
    own = together.pop("Patient/marie")
    others = [*together.values()]
    nowhere = next(id for place in range(4096) if (id := f"{own[:-3]}{place:03x}") not in {own, *others})
    ask = record.ask(marie)
    assert ask.get(own).status == 200
    for path in (
        "{}",
        "{}/_history/1",
        "{}/_history",
        "AuditEvent?_id={}&_total=accurate",
        "Patient/marie/AuditEvent?_id={}",
    ):
        asked = [
            ask.get(path.format(one if path.startswith("{") else one.partition("/")[2])) for one in (*others, nowhere)
        ]
        assert {(one.status, one.body.get("total"), str(one.body.get("issue"))) for one in asked} == {
            (asked[-1].status, asked[-1].body.get("total"), str(asked[-1].body.get("issue")))
        }, "as one that is not there"
        assert asked[-1].status == 404 or asked[-1].body["total"] == 0
    told = ask.get("AuditEvent?agent:identifier=client-insurer&_count=100")
    assert own.partition("/")[2] in told.ids
    assert not {one.partition("/")[2] for one in others} & set(told.ids)
    assert entities(told.resources).isdisjoint({"Patient/lea", "DocumentReference/child"})


BY_EVENTS = (
    "DocumentReference?_has:AuditEvent:entity:agent=Practitioner/gp",
    "DocumentReference?_has:AuditEvent:entity:action=R",
    "Patient?_has:AuditEvent:patient:agent=Practitioner/gp",
    "Patient?_has:AuditEvent:patient:entity=DocumentReference/plain",
    "DocumentReference?patient._has:AuditEvent:patient:agent=Practitioner/gp",
)


@pytest.mark.parametrize("query", BY_EVENTS)
def test_who_reads_no_trail_finds_nothing_by_it(record: World, query: str) -> None:
    assert record.ask(gp).get("DocumentReference/plain").status == 200
    assert record.ask(marie).get(query).body["total"] >= 1
    for caller in (gp, nurse, hospital, backend("insurer", trusted=True)):
        reply = record.ask(caller).get(query)
        assert (reply.status, reply.body.get("total")) == (200, 0), caller.key


@pytest.mark.parametrize("include", ["AuditEvent:entity", "AuditEvent:patient", "AuditEvent:*"])
def test_events_come_along_with_what_they_tell_of_for_who_reads_them(record: World, include: str) -> None:
    assert record.ask(gp).get("DocumentReference/plain").status == 200
    for query in (f"DocumentReference?_revinclude={include}", f"Patient?_revinclude={include}"):
        for caller in (gp, nurse, other, hospital, backend("insurer", trusted=True)):
            reply = record.ask(caller).get(query)
            assert {one["resourceType"] for one in reply.resources} <= {"DocumentReference", "Patient"}, caller.key
        told = record.ask(marie).get(query).resources
        assert {one["id"] for one in told if one["resourceType"] == "Patient"} <= {"marie"}
    assert "AuditEvent" in {one["resourceType"] for one in told} or include == "AuditEvent:patient"


def test_nothing_that_a_child_hides_is_found_or_shown_by_way_of_events(record: World) -> None:
    for document in ("secret", "child"):
        assert record.ask(lea).get(f"DocumentReference/{document}").status == 200
    hidden, absent = (f"Patient?_has:AuditEvent:patient:entity=DocumentReference/{one}" for one in ("secret", "none"))
    assert record.ask(lea).get(hidden).ids == ["lea"]
    for query in (hidden, absent):
        assert record.ask(mother).get(query).body["total"] == 0
    for query in ("Patient?_id=lea&_revinclude=AuditEvent:patient", "DocumentReference?_revinclude=AuditEvent:entity"):
        reply = record.ask(mother).get(query)
        assert b"DocumentReference/secret" not in reply.content
        assert b"DocumentReference/child" in reply.content
