"""Attack: go on reading a closed record, by what one has put there or taken part in.

A search without a patient in context cannot look at the state of every record it meets, so each resource bears the mark
of a closed one. Every way in is tried before the closing, after it, and once the record is open again.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fhir_server.access.caller import Caller
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
from tests.access.callers import World, backend, operator, patient, professional
from tests.access.records import GP, binary, document, of, resource
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
