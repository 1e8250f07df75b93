"""Every access leaves its trace: who, what, of whom, when, why, allowed or refused."""

import shutil
from collections.abc import Callable
from typing import Any

import pytest

from fhir_server.app import Composition
from fhir_server.fhir.json import parse_json
from fhir_server.rest.origin import Origin
from fhir_server.settings import Settings
from fhir_server.validation.structure import check_structure
from tests.rest.audited import HIDDEN_FROM_REPRESENTATIVES, audited, created, events, references, subtypes
from tests.rest.fhir import Fhir, entry
from tests.rest.stored import put_all

MakeComposition = Callable[..., Composition]


def observation(id: str, patient: str = "p", **more: Any) -> dict[str, Any]:
    code = {"coding": [{"system": "http://loinc.org", "code": "29463-7"}]}
    subject = {"reference": f"Patient/{patient}"}
    return {"resourceType": "Observation", "id": id, "status": "final", "code": code, "subject": subject, **more}


HIDDEN = {"security": [dict(zip(("system", "code"), HIDDEN_FROM_REPRESENTATIVES.split("|"), strict=True))]}


@pytest.fixture
def composition(make_composition: MakeComposition) -> Composition:
    """The parts of a server that audits everybody."""
    return make_composition(audit="on")


@pytest.fixture
def fhir(composition: Composition) -> Fhir:
    """A server with two patients; what put them there is not counted."""
    fhir = audited(composition)
    put_all(
        fhir,
        {"resourceType": "Patient", "id": "p", "name": [{"family": "Dupont"}]},
        {"resourceType": "Patient", "id": "q", "name": [{"family": "Dupond"}]},
        observation("o1"),
        observation("o2"),
        observation("hidden", meta=HIDDEN),
        observation("other", "q"),
    )
    return fhir


def test_a_read_is_in_the_audit_when_the_answer_is_there(fhir: Fhir, composition: Composition) -> None:
    assert fhir.get("Observation/o1", X_Test_Caller="doctor", X_Request_Id="req-7").status == 200
    (event,) = events(composition)
    body = parse_json(event["body"])
    assert check_structure(body) == []
    assert (event["pt"], subtypes([event])) == ("Patient/p", ["read"])
    assert references(event) == {"Observation/o1", "Patient/p"}
    assert body["entity"][-1]["what"] == {"identifier": {"value": "req-7"}}


def test_a_search_names_everything_that_it_showed(fhir: Fhir, composition: Composition) -> None:
    fhir.get("Observation?patient=p&_include=Observation:patient", X_Test_Caller="doctor")
    found = events(composition)
    assert {one["pt"] for one in found} == {"Patient/p"}
    assert set().union(*map(references, found)) == {
        "Patient/p",
        *(f"Observation/{id}" for id in ("o1", "o2", "hidden")),
    }
    assert sorted(len(one.get("l", ())) for one in found) == [0, 1]


def test_the_entry_that_only_tells_of_another_page_was_not_shown(fhir: Fhir, composition: Composition) -> None:
    fhir.get("Observation?patient=p&_count=1", X_Test_Caller="doctor")
    shown = set().union(*map(references, events(composition))) - {"Patient/p"}
    assert len(shown) == 1


def test_a_page_link_is_told_as_the_search_it_stands_for(fhir: Fhir, composition: Composition) -> None:
    link = fhir.get("Observation?patient=p&_count=1", X_Test_Caller="doctor").link("next")
    assert link is not None
    fhir.get(link, X_Test_Caller="doctor")
    assert {one["pt"] for one in events(composition)} == {"Patient/p"}


@pytest.mark.parametrize(
    ("method", "path", "subtype"),
    [
        ("GET", "Observation/o1/_history/1", "vread"),
        ("GET", "Observation/o1/_history", "history"),
        ("GET", "Patient/p/Observation", "search"),
        ("GET", "Observation/o1/$meta", "operation"),
        ("DELETE", "Observation/o1", "delete"),
    ],
)
def test_each_interaction_has_its_subtype(
    fhir: Fhir, composition: Composition, method: str, path: str, subtype: str
) -> None:
    assert fhir.send(method, path, X_Test_Caller="doctor").status in (200, 204)
    assert set(subtypes(events(composition, pt="Patient/p"))) == {subtype}


def test_writes_are_told_with_their_versions(fhir: Fhir, composition: Composition) -> None:
    created(fhir.post("Observation", observation("x"), X_Test_Caller="doctor"))
    created(fhir.put("Observation/o1", observation("o1", status="amended"), X_Test_Caller="doctor"))
    found = events(composition)
    assert subtypes(found) == ["create", "update"]
    assert parse_json(found[1]["body"])["entity"][0]["detail"] == [{"type": "version", "valueString": "2"}]


def test_a_transaction_is_told_by_patient_and_interaction(fhir: Fhir, composition: Composition) -> None:
    bundle = fhir.transact(
        entry("POST", "Observation", observation("a")),
        entry("POST", "Observation", observation("b")),
        entry("PUT", "Observation/other", observation("other", "q", status="amended")),
        entry("GET", "Observation/o1"),
        X_Test_Caller="doctor",
    )
    assert bundle.status == 200
    assert sorted((one["pt"], *subtypes([one]), len(references(one))) for one in events(composition)) == [
        ("Patient/p", "create", 3),
        ("Patient/p", "read", 2),
        ("Patient/q", "update", 2),
    ]


def test_a_write_that_fails_leaves_no_event(fhir: Fhir, composition: Composition) -> None:
    assert fhir.put("Observation/o1", {"resourceType": "Observation"}, X_Test_Caller="doctor").status == 400
    assert fhir.get("Observation?wrong=1", X_Test_Caller="doctor").status == 400
    assert fhir.get("metadata", X_Test_Caller="doctor").status == 200
    assert events(composition) == []


def test_what_is_not_there_was_asked_for_all_the_same(fhir: Fhir, composition: Composition) -> None:
    assert fhir.get("Patient/nobody", X_Test_Caller="doctor").status == 404
    (event,) = events(composition)
    body = parse_json(event["body"])
    assert (body["outcome"], body["outcomeDesc"]) == ("4", "not-found")
    assert references(event) == {"Patient/nobody"}


def test_an_expired_token_is_told_with_its_owner(fhir: Fhir, composition: Composition) -> None:
    assert fhir.get("Observation/o1", X_Test_Caller="expired").status == 401
    (event,) = events(composition)
    body = parse_json(event["body"])
    assert (body["outcome"], body["agent"][2]["name"]) == ("4", "Dr Medioni")
    assert event["pt"] == "Patient/p"


def test_a_refused_entry_of_a_batch_is_told(fhir: Fhir, composition: Composition) -> None:
    entries = [entry("GET", "Observation/o1"), entry("GET", "Observation/none")]
    bundle = {"resourceType": "Bundle", "type": "batch", "entry": entries}
    assert fhir.post("", bundle, X_Test_Caller="doctor").status == 200
    assert sorted(parse_json(one["body"])["outcome"] for one in events(composition)) == ["0", "4"]


def test_events_are_found_by_patient_date_agent_and_outcome(fhir: Fhir) -> None:
    fhir.get("Observation/o1", X_Test_Caller="doctor")
    fhir.get("Observation/none", X_Test_Caller="doctor")
    for query, count in {
        "patient=Patient/p&date=ge2020&agent=Practitioner/medioni": 1,
        "agent=Practitioner/medioni&outcome=4": 1,
        "entity=Observation/o1&agent=Practitioner/medioni&subtype=read": 1,
        "agent:identifier=urn:oid:1.2.250.1.71.4.2.1|899700218896&_sort=date": 2,
        "agent-name:contains=medio&_total=accurate": 2,
        "_content=medioni&_lastUpdated=ge2020&_sort=-_lastUpdated": 2,
        "agent.identifier=nobody": 0,
        "patient.name=dupont&agent=Practitioner/medioni&_include=AuditEvent:patient": 2,
    }.items():
        reply = fhir.get(f"AuditEvent?{query}")
        assert reply.status == 200, reply.content
        assert len(reply.resources) == count, query


def test_an_event_is_read_by_its_id_version_history_and_compartment(fhir: Fhir) -> None:
    fhir.get("Observation/o1", X_Test_Caller="doctor")
    (event,) = fhir.get("AuditEvent?agent=Practitioner/medioni").resources
    assert fhir.get(f"AuditEvent/{event['id']}").body == event
    assert fhir.get(f"AuditEvent/{event['id']}/_history/1").body == event
    assert fhir.get(f"AuditEvent/{event['id']}/_history/2").status == 404
    assert fhir.get(f"AuditEvent/{event['id']}/_history").resources == [event]
    assert event in fhir.get("AuditEvent/_history").resources
    assert event in fhir.get("Patient/p/AuditEvent").resources
    assert event in fhir.get("?_type=AuditEvent&_count=100").resources


def test_events_stay_out_of_what_searches_all_types(fhir: Fhir) -> None:
    fhir.get("Observation/o1", X_Test_Caller="doctor")
    for path in ("", "_history?_count=200", "Patient/p/*"):
        kinds = {one["resourceType"] for one in fhir.get(path).resources}
        assert kinds
        assert "AuditEvent" not in kinds


def test_events_are_not_searched_together_with_others(fhir: Fhir) -> None:
    reply = fhir.get("?_type=AuditEvent,Patient")
    assert reply.status == 400
    assert "AuditEvents" in str(reply.body)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("Observation?_has:AuditEvent:entity:agent=Practitioner/medioni", {"o1"}),
        ("Observation?_has:AuditEvent:entity:action=R&_has:AuditEvent:entity:outcome=0", {"o1"}),
        ("Observation?_has:AuditEvent:entity:action=D", set()),
        ("Patient?_has:AuditEvent:patient:agent=Practitioner/medioni", {"p"}),
        ("Patient?_has:Observation:patient:_has:AuditEvent:entity:action=R", {"p"}),
        ("Observation?patient._has:AuditEvent:patient:agent=Practitioner/medioni&code=29463-7", {"o1", "o2", "hidden"}),
        ("Observation?_filter=_id eq o1&_has:AuditEvent:entity:action=R", {"o1"}),
        ("AuditEvent?_has:Provenance:target:recorded=gt2020", {"told"}),
    ],
)
@pytest.mark.parametrize("many", [False, True])
def test_resources_are_found_by_the_events_that_tell_of_them(
    fhir: Fhir, composition: Composition, query: str, found: set[str], many: bool
) -> None:
    fhir.get("Observation/o1", X_Test_Caller="doctor")
    (told,) = events(composition)
    for number in range(150 if many else 0):  # more than are looked up at once
        fhir.get("Observation/o1", X_Test_Caller="doctor", X_Request_Id=f"again-{number}")
    event = told["_id"]
    put_all(fhir, {"resourceType": "Provenance", "id": "about", "target": [{"reference": event}],
                   "recorded": "2026-01-01T00:00:00Z", "agent": [{"who": {"display": "x"}}]})  # fmt: skip
    ids = {"told" if f"AuditEvent/{id}" == event else id for id in fhir.get(query).ids}
    assert ids == found
    assert fhir.get(f"{query}&_summary=count").body["total"] == len(found)


def test_a_chain_leads_into_events_where_it_names_them(fhir: Fhir, composition: Composition) -> None:
    fhir.get("Observation/o1", X_Test_Caller="doctor")
    (told,) = events(composition)
    put_all(fhir, {"resourceType": "Provenance", "id": "about", "target": [{"reference": told["_id"]}],
                   "recorded": "2026-01-01T00:00:00Z", "agent": [{"who": {"display": "x"}}]})  # fmt: skip
    assert fhir.get("Provenance?target:AuditEvent.action=R").ids == ["about"]
    assert fhir.get("Provenance?target:AuditEvent.action=D").ids == []
    included = fhir.get("Provenance?_id=about&_include=Provenance:target")
    assert [f"{one['resourceType']}/{one['id']}" for one in included.resources] == ["Provenance/about", told["_id"]]


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("Observation?_id=o1&_revinclude=AuditEvent:entity", 1),
        ("Observation?_id=o1&_revinclude=AuditEvent:*", 1),
        ("Observation?_id=o1,o2&_revinclude=AuditEvent:entity", 2),
        ("Patient?_id=p&_revinclude=AuditEvent:patient", 2),
        ("Observation?_id=o1&_include=Observation:patient&_revinclude:iterate=AuditEvent:patient", 2),
    ],
)
def test_events_come_along_where_they_are_asked_for_by_name(fhir: Fhir, query: str, count: int) -> None:
    for id in ("o1", "o2"):
        fhir.get(f"Observation/{id}", X_Test_Caller="doctor")
    reply = fhir.get(query)
    assert reply.status == 200, reply.content
    told = [one for one in reply.resources if one["resourceType"] == "AuditEvent"]
    assert len([one for one in told if any(agent.get("name") == "Dr Medioni" for agent in one["agent"])]) == count


def test_a_revinclude_of_everything_brings_no_events(fhir: Fhir) -> None:
    fhir.get("Patient/p", X_Test_Caller="doctor")
    kinds = {one["resourceType"] for one in fhir.get("Patient?_id=p&_revinclude=*").resources}
    assert kinds == {"Patient", "Observation"}


def test_nobody_changes_or_deletes_an_event(fhir: Fhir, composition: Composition) -> None:
    fhir.get("Observation/o1", X_Test_Caller="doctor")
    (event,) = fhir.get("AuditEvent?agent=Practitioner/medioni").resources
    path = f"AuditEvent/{event['id']}"
    meta = {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": HIDDEN}]}
    before = events(composition)
    for reply in (
        fhir.put(path, event),
        fhir.patch(path, "[]", Content_Type="application/json-patch+json"),
        fhir.delete(path),
        fhir.delete("AuditEvent?action=R"),
        fhir.put("AuditEvent?action=R", event),
        fhir.post(f"{path}/$meta-add", meta),
        fhir.transact(entry("PUT", path, event)),
        fhir.transact(entry("DELETE", path)),
    ):
        assert reply.status == 405, reply.content
    assert events(composition) == before


def test_the_feed_adds_events_of_others(fhir: Fhir, composition: Composition) -> None:
    event = {
        "resourceType": "AuditEvent",
        "type": {"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "110112"},
        "recorded": "2026-01-02T03:04:05Z",
        "agent": [{"requestor": True, "who": {"reference": "Practitioner/elsewhere"}}],
        "source": {"observer": {"display": "LPS"}},
        "entity": [{"what": {"reference": "Patient/p"}}],
    }
    reply = created(fhir.post("AuditEvent", event, X_Test_Caller="hospital"))
    id = reply.body["id"]
    assert fhir.get(f"AuditEvent/{id}").body["extension"][0]["valueReference"]["identifier"] == {"value": "chu"}
    assert id in fhir.get("AuditEvent?patient=Patient/p&date=2026-01-02").ids
    assert composition.store().connection.database["resources"].find_one({"_id": f"AuditEvent/{id}"}) is None
    assert fhir.post("AuditEvent", {"resourceType": "AuditEvent"}).status == 400


def test_the_statement_says_that_events_only_ever_come(fhir: Fhir) -> None:
    (declared,) = [one for one in fhir.get("metadata").body["rest"][0]["resource"] if one["type"] == "AuditEvent"]
    codes = {one["code"] for one in declared["interaction"]}
    assert {"read", "create", "search-type"} <= codes
    assert codes.isdisjoint({"update", "patch", "delete"})
    patient = next(one for one in fhir.get("metadata").body["rest"][0]["resource"] if one["type"] == "Patient")
    assert "AuditEvent:patient" in patient["searchRevInclude"]


def test_a_read_whose_event_cannot_be_kept_is_not_answered(fhir: Fhir, composition: Composition) -> None:
    composition.store().audit_log.flush()
    spool = composition.settings.data_directory / "audit-spool"
    shutil.rmtree(spool, ignore_errors=True)
    spool.write_text("a file where the directory should be")
    reply = fhir.get("Observation/o1", X_Test_Caller="doctor")
    assert reply.status == 503
    assert b"29463-7" not in reply.content
    spool.unlink()
    assert fhir.get("Observation/o1", X_Test_Caller="doctor").status == 200


def test_without_its_audit_a_read_is_not_answered(make_composition: MakeComposition) -> None:
    composition = make_composition(audit="on", audit_spool=False)
    fhir = audited(composition)
    put_all(fhir, {"resourceType": "Patient", "id": "p"}, observation("o1"))
    database = composition.store().connection.database
    database.command("collMod", "audit", validator={"never": True})
    try:
        reply = fhir.get("Observation/o1", X_Test_Caller="doctor")
        written = fhir.put("Observation/o1", observation("o1", status="amended"), X_Test_Caller="doctor")
    finally:
        database.command("collMod", "audit", validator={})
    assert reply.status == 503
    assert b"29463-7" not in reply.content
    assert written.status == 503
    assert fhir.get("Observation/o1").body["status"] == "final"


def test_the_clients_address_is_believed_of_a_trusted_proxy_alone() -> None:
    trusting = Origin(Settings.from_environment({}, trusted_proxies=("10.0.0.0/8",)))
    forwarded = {"REMOTE_ADDR": "10.1.2.3", "HTTP_FORWARDED": 'for="[2001:db8::7]";proto=https'}
    assert trusting.client_address(forwarded) == "2001:db8::7"
    assert (
        trusting.client_address({"REMOTE_ADDR": "10.1.2.3", "HTTP_X_FORWARDED_FOR": "9.9.9.9, 192.0.2.1"})
        == "192.0.2.1"
    )
    assert trusting.client_address({**forwarded, "REMOTE_ADDR": "192.0.2.5"}) == "192.0.2.5"
    assert trusting.client_address({"REMOTE_ADDR": "10.1.2.3", "HTTP_X_FORWARDED_FOR": "<script>"}) == ""


def test_an_open_server_notes_nobody_unless_told_to(make_composition: MakeComposition) -> None:
    composition = make_composition()
    fhir = audited(composition)
    put_all(fhir, {"resourceType": "Patient", "id": "p"})
    assert composition.store().count({}, collection="audit") == 0
    fhir.get("Patient/p", X_Test_Caller="doctor")
    assert len(events(composition)) == 1
