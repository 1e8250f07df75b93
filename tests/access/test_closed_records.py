"""Attack: go on reading a closed record, by what one has put there or taken part in.

A search without a patient in context cannot look at the state of every record it meets, so each resource bears the mark
of a closed one. Every way in is tried before the closing, after it, and once the record is open again.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from fhir_server.access.caller import Caller
from tests.access.callers import World, backend, operator, patient, professional
from tests.access.records import GP, binary, of, resource
from tests.rest.fhir import Reply, entry

HOSPITAL, TRUSTED = backend("hospital"), backend("insurer", trusted=True)
DOCTOR = professional("gp", GP)
IMPORT = backend("hospital", trusted=True, user="Practitioner/gp")
"""Has put here what is the doctor's and the hospital's by now, each under its own id."""
BIRTH = {"marie": "1979-03-28", "luc": "1977-11-01"}
PROCEDURE = {"status": "completed", "code": {"text": "x"}}
OBSERVATION = {"status": "final", "code": {"text": "x"}}


def message(id: str, patient: str, **more: Any) -> dict[str, Any]:
    recipient = [of("Practitioner/gp")]
    fixed = {"status": "completed", "subject": of(f"Patient/{patient}"), "recipient": recipient}
    return resource(f"Communication/{id}", **{**fixed, **more})


def appointment(id: str, *actors: str, **more: Any) -> dict[str, Any]:
    taking_part = [{"actor": of(one), "status": "accepted"} for one in (*actors, "Practitioner/gp")]
    return resource(f"Appointment/{id}", status="booked", participant=taking_part, **more)


def turn(world: World, id: str, active: bool) -> None:
    """Close a record, or open it."""
    world.put(resource(f"Patient/{id}", birthDate=BIRTH[id], active=active))


def close(world: World, id: str = "marie") -> None:
    turn(world, id, False)


def reopen(world: World, id: str = "marie") -> None:
    turn(world, id, True)


@pytest.fixture
def shared(world: World) -> World:
    """Two open records in which a hospital has put the same, and a doctor takes part in messages and appointments."""
    world.put(
        resource("Organization/hospital"),
        resource("Practitioner/gp"),
        *(resource(f"Patient/{id}", birthDate=born) for id, born in BIRTH.items()),
    )
    own = [made for id in BIRTH for made in (message(f"m-{id}", id), appointment(f"a-{id}", f"Patient/{id}"))]
    for one in (*own, appointment("a-both", *(f"Patient/{id}" for id in BIRTH))):
        assert world.ask(IMPORT).put(f"{one['resourceType']}/{one['id']}", one).status == 201
    return world


@pytest.fixture
def deposited(shared: World) -> dict[str, str]:
    """The ids that the server has given to the hospital's deposits, by their names here."""
    ask, made = shared.ask(HOSPITAL), dict[str, str]()

    def put(name: str, kind: str, **more: Any) -> None:
        made[name] = ask.create({"resourceType": kind, **more})["id"]

    for id in BIRTH:
        subject = {"subject": of(f"Patient/{id}")}
        put(f"procedure-{id}", "Procedure", **PROCEDURE, **subject)
        put(f"binary-{id}", "Binary", contentType="text/plain", data="c2VjcmV0")
        content = [{"attachment": {"url": f"Binary/{made[f'binary-{id}']}", "contentType": "text/plain"}}]
        put(f"document-{id}", "DocumentReference", status="current", content=content, **subject)
    for id, other in (("marie", "luc"), ("luc", "marie")):
        part = [of(f"Procedure/{made[f'procedure-{other}']}")]
        put(f"observation-{id}", "Observation", **OBSERVATION, subject=of(f"Patient/{id}"), partOf=part)
    items = [{"item": of(f"Observation/{made[f'observation-{id}']}")} for id in BIRTH]
    put("list", "List", status="current", mode="working", subject=of("Patient/luc"), entry=items)
    return made


def kept(reply: Reply) -> set[str]:
    """Return the ids that an answer tells of."""
    assert reply.status in (200, 404), reply.content
    if reply.status == 404:
        return set()
    return set(reply.ids) if reply.body["resourceType"] == "Bundle" else {reply.body["id"]}


READS = ("{0}", "{0}/_history/1", "{0}/_history")
LISTS = (
    "{kind}",
    "{kind}?_id={id}",
    "{kind}?patient=marie",
    "Patient/marie/{kind}",
    "{kind}?_sort=-_lastUpdated",
    "?_type={kind}",
    "{kind}/_history?_count=100",
    "_history?_count=100",
)
TARGETS = (
    (HOSPITAL, "Observation", "observation-marie"),
    (HOSPITAL, "Procedure", "procedure-marie"),
    (HOSPITAL, "DocumentReference", "document-marie"),
    (DOCTOR, "Communication", "m-marie"),
    (DOCTOR, "Appointment", "a-marie"),
    (DOCTOR, "Appointment", "a-both"),
)


def ways(kind: str, id: str) -> Iterator[str]:
    yield from (way.format(f"{kind}/{id}") for way in READS)
    for way in LISTS:
        if kind != "Appointment" or not way.startswith("Patient/"):
            yield way.format(kind=kind, id=id)


def named(deposited: dict[str, str], name: str) -> str:
    return deposited.get(name, name)


@pytest.mark.parametrize(("caller", "kind", "name"), TARGETS, ids=[name for _, _, name in TARGETS])
def test_no_way_leads_to_what_is_in_a_closed_record_until_it_is_open_again(
    shared: World, deposited: dict[str, str], caller: Caller, kind: str, name: str
) -> None:
    id = named(deposited, name)

    def seen() -> dict[str, bool]:
        return {way: id in kept(shared.ask(caller).get(way)) for way in ways(kind, id)}

    assert all(seen().values()), seen()
    close(shared)
    assert not any(seen().values()), seen()
    assert not any(seen().values()), "asked again"
    reopen(shared)
    assert all(seen().values()), seen()


@pytest.mark.parametrize(("caller", "kind", "name"), TARGETS, ids=[name for _, _, name in TARGETS])
def test_no_count_tells_of_what_is_in_a_closed_record(
    shared: World, deposited: dict[str, str], caller: Caller, kind: str, name: str
) -> None:
    id = named(deposited, name)
    forms = ("_summary=count", "_total=accurate", "_total=estimate", "_count=0")

    def totals() -> set[int]:
        asked = (f"{kind}?_id={id}&{form}" for form in forms)
        found = {shared.ask(caller).get(one).body["total"] for one in asked}
        return found | {shared.ask(caller).get(f"{kind}/{id}/_history").body.get("total", 0)}

    assert totals() == {1}
    close(shared)
    assert totals() == {0}
    reopen(shared)
    assert totals() == {1}


JOINS = (
    "Observation?subject=Patient/luc&_include=Observation:part-of",
    "Procedure?subject=Patient/luc&_revinclude=Observation:part-of",
)
"""From what is in the open record to what is in the other."""
CONDITIONS = (
    ("Observation?part-of:Procedure.status=completed&subject=Patient/luc", "observation-luc"),
    ("Procedure?_has:Observation:part-of:status=final&subject=Patient/luc", "procedure-luc"),
)


def test_no_include_brings_along_what_is_in_a_closed_record(shared: World, deposited: dict[str, str]) -> None:
    closed = {deposited["procedure-marie"], deposited["observation-marie"]}

    def brought() -> list[set[str]]:
        return [kept(shared.ask(HOSPITAL).get(one)) & closed for one in JOINS]

    assert brought() == [{deposited["procedure-marie"]}, {deposited["observation-marie"]}]
    close(shared)
    assert brought() == [set(), set()]
    reopen(shared)
    assert all(brought())


@pytest.mark.parametrize(("query", "name"), CONDITIONS)
def test_nothing_is_found_through_what_is_in_a_closed_record(
    shared: World, deposited: dict[str, str], query: str, name: str
) -> None:
    assert kept(shared.ask(HOSPITAL).get(query)) == {deposited[name]}
    close(shared)
    assert kept(shared.ask(HOSPITAL).get(query)) == set()
    reopen(shared)
    assert kept(shared.ask(HOSPITAL).get(query)) == {deposited[name]}


def test_a_list_leads_to_nothing_in_a_closed_record(shared: World, deposited: dict[str, str]) -> None:
    query = f"Observation?_list={deposited['list']}"
    both = {deposited["observation-marie"], deposited["observation-luc"]}
    assert kept(shared.ask(HOSPITAL).get(query)) == both
    close(shared)
    assert kept(shared.ask(HOSPITAL).get(query)) == {deposited["observation-luc"]}
    listed = shared.ask(HOSPITAL).get(f"List/{deposited['list']}").body["entry"]
    assert [one["item"]["reference"] for one in listed] == [f"Observation/{deposited['observation-luc']}"]
    reopen(shared)
    assert kept(shared.ask(HOSPITAL).get(query)) == both


@pytest.mark.parametrize("way", ["{}", "{}/_history/1", "{}/_history", "Binary?_id={id}", "Binary/_history?_count=100"])
def test_content_is_closed_with_the_document_that_carries_it(
    shared: World, deposited: dict[str, str], way: str
) -> None:
    id = deposited["binary-marie"]
    path = way.format(f"Binary/{id}", id=id)

    def seen() -> bool:
        return id in kept(shared.ask(HOSPITAL).get(path, Accept="application/fhir+json"))

    assert seen()
    close(shared)
    assert not seen()
    other = deposited["binary-luc"]
    assert other in kept(shared.ask(HOSPITAL).get(way.format(f"Binary/{other}", id=other)))
    reopen(shared)
    assert seen()


def test_content_in_a_closed_record_is_neither_replaced_nor_deleted_by_its_depositor(
    shared: World, deposited: dict[str, str]
) -> None:
    path = f"Binary/{deposited['binary-marie']}"
    close(shared)
    changed = {**binary(deposited["binary-marie"]), "data": "eA=="}
    elsewhere = {**changed, "id": "nowhere"}
    assert (
        shared.ask(HOSPITAL).put(path, changed).status == shared.ask(HOSPITAL).put("Binary/nowhere", elsewhere).status
    )
    assert shared.ask(HOSPITAL).delete(path).status == shared.ask(HOSPITAL).delete("Binary/nowhere").status
    reopen(shared)
    assert shared.ask(HOSPITAL).get(path, Accept="application/fhir+json").body["data"] == "c2VjcmV0"


@pytest.mark.parametrize("kind", ["transaction", "batch"])
def test_an_entry_of_a_bundle_reads_nothing_of_a_closed_record(
    shared: World, deposited: dict[str, str], kind: str
) -> None:
    id = deposited["observation-marie"]
    entries = (entry("GET", f"Observation?_id={id}"), entry("GET", "Observation?patient=marie"))

    def found() -> list[int]:
        reply = shared.ask(HOSPITAL).transact(*entries, kind=kind)
        return [len(one["resource"].get("entry", ())) for one in reply.body["entry"]]

    assert found() == [1, 1]
    close(shared)
    assert found() == [0, 0]
    read = shared.ask(HOSPITAL).transact(entry("GET", f"Observation/{id}"), kind="batch").body["entry"][0]
    assert read["response"]["status"].startswith("404")
    reopen(shared)
    assert found() == [1, 1]


@pytest.mark.parametrize(("caller", "kind"), [(HOSPITAL, "Observation"), (DOCTOR, "Communication")])
def test_a_page_link_from_before_the_closing_leads_to_nothing_of_the_record(
    shared: World, caller: Caller, kind: str
) -> None:
    for number in range(3):
        if kind == "Observation":
            shared.ask(HOSPITAL).create({"resourceType": kind, **OBSERVATION, "subject": of("Patient/marie")})
        else:
            shared.put(message(f"page-{number}", "marie"))
    first = shared.ask(caller).get(f"{kind}?patient=marie&_count=1")
    link = first.link("next")
    assert link is not None
    assert shared.ask(caller).get(link).ids
    close(shared)
    assert shared.ask(caller).get(link).ids == []
    assert shared.ask(caller).get(f"{kind}?patient=marie&_count=1").ids == []


@pytest.mark.parametrize(("caller", "kind"), [(HOSPITAL, "Observation"), (DOCTOR, "Communication")])
def test_a_page_that_is_in_memory_is_another_once_the_record_is_closed(
    shared: World, deposited: dict[str, str], caller: Caller, kind: str
) -> None:
    def page() -> set[str]:
        for _ in range(3):
            found = shared.ask(caller).get(f"{kind}?_count=10")
        return kept(found)

    before = page()
    assert len(before) == 2
    close(shared)
    assert len(page()) == 1
    reopen(shared)
    assert page() == before


def test_nobody_refers_to_what_they_have_put_into_a_record_that_is_closed(
    shared: World, deposited: dict[str, str]
) -> None:
    def refer(id: str) -> Reply:
        one = {"resourceType": "Observation", **OBSERVATION, "subject": of("Patient/luc")}
        return shared.ask(HOSPITAL).post("Observation", {**one, "partOf": [of(f"Procedure/{id}")]})

    assert refer(deposited["procedure-marie"]).status == 201
    close(shared)
    there, nowhere = refer(deposited["procedure-marie"]), refer("nowhere")
    assert (there.status, there.body["issue"]) == (nowhere.status, nowhere.body["issue"])
    reopen(shared)
    assert refer(deposited["procedure-marie"]).status == 201


def test_the_trail_that_a_structure_has_kept_stays_readable(shared: World) -> None:
    event = {
        "resourceType": "AuditEvent",
        "type": {"system": "http://terminology.hl7.org/CodeSystem/audit-event-type", "code": "rest"},
        "recorded": "2026-05-04T12:00:00Z",
        "agent": [{"requestor": True, "who": of("Organization/hospital")}],
        "source": {"observer": of("Organization/hospital")},
        "entity": [{"what": of("Patient/marie")}],
    }
    before = shared.ask(HOSPITAL).create(event)["id"]
    close(shared)
    after, imported = (shared.ask(caller).create(event)["id"] for caller in (HOSPITAL, IMPORT))
    for id in (before, after, imported):
        assert shared.ask(HOSPITAL).get(f"AuditEvent/{id}").status == 200
        assert kept(shared.ask(HOSPITAL).get(f"AuditEvent?_id={id}")) == {id}


def test_migration_and_the_archive_still_read_a_closed_record(shared: World, deposited: dict[str, str]) -> None:
    close(shared)
    for way in ways("Observation", deposited["observation-marie"]):
        assert deposited["observation-marie"] in kept(shared.ask(TRUSTED).get(way)), way


def test_the_holder_of_another_record_loses_nothing(shared: World, deposited: dict[str, str]) -> None:
    close(shared)
    assert shared.ask(patient("luc")).get(f"Observation/{deposited['observation-luc']}").status == 200
    assert shared.ask(patient("luc")).get("Communication").ids == ["m-luc"]
    assert shared.ask(patient("marie")).get(f"Observation/{deposited['observation-marie']}").status == 404


def test_what_is_explained_is_that_the_record_is_closed_and_no_rule_opens_it(
    shared: World, deposited: dict[str, str]
) -> None:
    def explained() -> dict[str, Any]:
        asked = {"user": "Organization/hospital", "resource": f"Observation/{deposited['observation-marie']}"}
        given = [
            {"name": "user", "valueReference": of(asked["user"])},
            {"name": "resource", "valueReference": of(asked["resource"])},
            {"name": "action", "valueCode": "read"},
        ]
        reply = shared.ask(operator()).post("$explain-access", {"resourceType": "Parameters", "parameter": given})
        assert reply.status == 200, reply.content
        told = reply.body["parameter"]
        return {one["name"]: value for one in told for name, value in one.items() if name.startswith("value")}

    assert (explained()["allowed"], explained()["rule"]) == (True, "structure")
    close(shared)
    told = explained()
    assert (told["allowed"], told["missing"], told["record-open"]) == (False, "rule", False)
