"""Who sees and changes what of a record, asked through the real gateway, repository and database."""

from typing import Any

import pytest

from fhir_server.access.labels import VISIBILITY
from fhir_server.access.scopes import parse_scopes
from fhir_server.app import Composition
from fhir_server.context import current_time
from tests.access.callers import World, backend, operator, patient, professional, representative
from tests.access.records import DENTIST, GP, NURSE, OTHER, ROLE, binary, circle, consent, document, resource

gp = professional("gp", GP)
nurse = professional("nurse", NURSE, "60")
other = professional("other", OTHER)
dentist = professional("dentist", DENTIST, "40")
marie, luc, lea = patient("marie"), patient("luc"), patient("lea")
mother = representative("lea", "mother")
hospital = backend("hospital")


@pytest.fixture
def record(world: World) -> World:
    world.put(
        *(resource(f"Practitioner/{id}", name=[{"family": id}]) for id in ("gp", "nurse", "other", "dentist")),
        resource("Organization/hospital", name="Hôpital"),
        resource("Patient/marie", birthDate="1979-03-28", name=[{"family": "Dupont"}]),
        resource("Patient/luc", birthDate="1977-11-01", name=[{"family": "Martin"}]),
        resource("Patient/lea", birthDate="2015-07-12", name=[{"family": "Dupont"}]),
        resource(
            "RelatedPerson/mother",
            patient={"reference": "Patient/lea"},
            relationship=[{"coding": [{"system": ROLE, "code": "GUARD"}]}],
        ),
        *(binary(id) for id in ("plain", "masked", "later", "psy", "lucs", "secret", "child")),
        document("plain", "marie"),
        document("masked", "marie", "MASQUE_PS"),
        document("later", "marie", "INVISIBLE_PATIENT"),
        document("psy", "marie", code="68599-0"),
        document("lucs", "luc"),
        document("secret", "lea", "INVISIBLE_REPRESENTANTS_LEGAUX"),
        document("child", "lea"),
        circle("marie", (GP, "PCP"), (NURSE, "ATT"), (DENTIST, "ATT")),
    )
    return world


def documents(world: World, caller: Any, query: str = "") -> set[str]:
    reply = world.ask(caller).get(f"DocumentReference?_count=50{query}")
    assert reply.status == 200, reply.content
    return set(reply.ids)


def test_each_sees_what_is_theirs_to_see(record: World) -> None:
    assert documents(record, marie) == {"plain", "masked", "psy"}
    assert documents(record, luc) == {"lucs"}
    assert documents(record, lea) == {"secret", "child"}
    assert documents(record, mother) == {"child"}
    assert documents(record, gp) == {"plain", "masked", "later", "psy"}
    assert documents(record, nurse) == {"plain", "later"}, "masked for all but the GP; a matrix row without psychiatry"
    assert documents(record, dentist) == {"plain", "later"}
    assert documents(record, other) == set()
    assert documents(record, operator()) == set()
    assert documents(record, hospital) == set()
    assert documents(record, backend("insurer", trusted=True)) >= {"plain", "masked", "later", "lucs", "secret"}


@pytest.mark.parametrize("hidden", ["DocumentReference/later", "Binary/later", "DocumentReference/lucs", "Binary/lucs"])
def test_hidden_is_not_found_by_any_read(record: World, hidden: str) -> None:
    ask = record.ask(marie)
    assert ask.get(hidden).status == 404
    assert ask.get(f"{hidden}/_history/1").status == 404
    assert ask.get(f"{hidden}/_history").status == 404
    assert ask.get(hidden).body["issue"] == ask.get(f"{hidden}x").body["issue"]
    assert record.ask(marie).get("DocumentReference/plain").status == 200
    assert record.ask(marie).get("DocumentReference/plain/_history/1").status == 200
    assert record.ask(marie).get("Binary/plain").status == 200


def test_histories_show_only_what_the_caller_sees(record: World) -> None:
    for caller, expected in ((marie, {"plain", "masked", "psy"}), (mother, {"child"}), (other, set()), (luc, {"lucs"})):
        for path in ("DocumentReference/_history?_count=50", "_history?_count=100"):
            found = record.ask(caller).get(path).resources
            ids = {one["id"] for one in found if one["resourceType"] == "DocumentReference"}
            assert ids == expected, (caller.key, path)


def test_consents_decide_from_the_next_request_on(record: World) -> None:
    assert documents(record, other, "&patient=marie") == set()
    record.put(consent("let", "marie", "permit", OTHER))
    assert documents(record, other, "&patient=marie") == {"plain", "later", "psy"}
    assert record.ask(other).get("DocumentReference/plain").status == 200
    record.put({**consent("let", "marie", "permit", OTHER), "status": "inactive"})
    assert documents(record, other, "&patient=marie") == set()
    assert record.ask(other).get("DocumentReference/plain").status == 404

    record.put(consent("block", "marie", "deny", NURSE))
    assert documents(record, nurse) == set()
    record.put({**consent("again", "marie", "permit", NURSE), "dateTime": "2026-07-01"})
    assert documents(record, nurse) == {"plain", "later"}, "the latest prevails"


@pytest.mark.parametrize("ahead", ["2099-01-01", "9999", "2099-01-01T00:00:00+14:00"])
def test_nobody_prevails_over_later_consents_by_dating_theirs_ahead(record: World, ahead: str) -> None:
    permit = {**consent("x", "lea", "permit", OTHER), "dateTime": ahead}
    record.ask(mother).create({name: value for name, value in permit.items() if name != "id"})
    assert documents(record, other, "&patient=lea") == {"secret", "child"}
    for day in (current_time().isoformat(timespec="seconds"), current_time().date().isoformat()):
        deny = {**consent("y", "lea", "deny", OTHER), "dateTime": day}
        made = record.ask(lea).create({name: value for name, value in deny.items() if name != "id"})
        assert documents(record, other, "&patient=lea") == set(), day
        assert record.ask(lea).put(f"Consent/{made['id']}", {**made, "status": "inactive"}).status == 200
        assert documents(record, other, "&patient=lea") == {"secret", "child"}


def test_a_consent_may_hide_one_thing_or_those_that_refer_to_it(record: World) -> None:
    about = {"data": [{"meaning": "instance", "reference": {"reference": "DocumentReference/plain"}}]}
    record.put(consent("one", "marie", "deny", GP, **about))
    assert documents(record, gp) == {"masked", "later", "psy"}
    assert record.ask(gp).get("DocumentReference/plain").status == 404
    assert record.ask(gp).get("Binary/plain").status == 404
    assert record.ask(gp).get("DocumentReference/plain/_history/1").status == 404


def test_holders_add_mask_and_change_what_is_theirs_alone(record: World) -> None:
    ask = record.ask(marie)
    made = ask.create({**document("x", "marie"), "content": [{"attachment": {"title": "mine"}}]})
    assert ask.put(f"DocumentReference/{made['id']}", {**made, "description": "mine"}).status == 200
    plain = ask.get("DocumentReference/plain").body
    assert ask.put("DocumentReference/plain", {**plain, "description": "not mine"}).status == 403
    masked = {"coding": [{"system": VISIBILITY, "code": "MASQUE_PS"}]}
    assert ask.put("DocumentReference/plain", {**plain, "securityLabel": [masked]}).status == 200
    assert documents(record, nurse) == {made["id"], "later"}
    assert record.ask(nurse).get("DocumentReference/plain/_history/1").status == 404, "the unmasked version too"
    ask = record.ask(marie)
    assert ask.delete("DocumentReference/plain").status == 403
    assert ask.delete(f"DocumentReference/{made['id']}").status == 204
    assert ask.get(f"DocumentReference/{made['id']}").status == 410
    assert record.ask(luc).get(f"DocumentReference/{made['id']}").status == 404


@pytest.mark.parametrize(
    "change",
    [
        {"securityLabel": [{"coding": [{"system": VISIBILITY, "code": "INVISIBLE_PATIENT"}]}]},
        {"meta": {"security": [{"system": "http://x", "code": "y"}]}},
        {"subject": {"reference": "Patient/luc"}},
    ],
)
def test_nobody_changes_labels_or_owners_to_their_gain(record: World, change: dict[str, Any]) -> None:
    made = record.ask(marie).create({**document("x", "marie"), "content": [{"attachment": {"title": "mine"}}]})
    assert record.ask(marie).put(f"DocumentReference/{made['id']}", {**made, **change}).status in (403, 422)
    assert record.ask(marie).post("DocumentReference", {**made, **change}).status in (403, 422)


@pytest.mark.parametrize(
    "claim", [{"source": "http://forged.example"}, {"tag": [{"code": "x"}]}, {"profile": ["http://forged.example/p"]}]
)
def test_who_may_mask_others_data_may_not_change_what_is_claimed_of_it(record: World, claim: dict[str, Any]) -> None:
    ((name, value),) = claim.items()
    json_patch = {"Content_Type": "application/json-patch+json"}
    operations = [{"op": "add", "path": "/meta", "value": {name: value}}]
    added = [{"op": "add", "path": f"/meta/{name}", "value": value}]
    for caller, reference in ((marie, "DocumentReference/plain"), (marie, "Patient/marie"), (mother, "Patient/lea")):
        assert record.ask(caller).patch(reference, added, **json_patch).status == 403
        assert record.ask(caller).patch(reference, operations, **json_patch).status == 403
    mask = {"security": [{"system": VISIBILITY, "code": "MASQUE_PS"}]}
    given = {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": mask}]}
    assert record.ask(marie).post("DocumentReference/plain/$meta-add", given).status == 200
    made = record.ask(marie).create({**document("x", "marie"), "content": [{"attachment": {"title": "mine"}}]})
    assert record.ask(marie).patch(f"DocumentReference/{made['id']}", added, **json_patch).status == 200


def test_rights_are_not_written_by_who_gains_by_them(record: World) -> None:
    permit = consent("mine", "marie", "permit", OTHER)
    for caller in (other, hospital, operator(), gp, luc):
        assert record.ask(caller).post("Consent", permit).status in (403, 422), caller.key
    assert record.ask(marie).post("Consent", permit).status == 201
    team = circle("luc", (OTHER, "PCP"))
    assert record.ask(other).post("CareTeam", team).status == 403
    event = {
        "resourceType": "Provenance",
        "target": [{"reference": "DocumentReference/plain"}],
        "recorded": "2026-01-01T00:00:00Z",
        "agent": [{"who": {"reference": "Patient/marie"}}],
    }
    assert record.ask(marie).post("Provenance", event).status == 403
    guardian = resource(
        "RelatedPerson/x",
        patient={"reference": "Patient/marie"},
        relationship=[{"coding": [{"system": ROLE, "code": "GUARD"}]}],
    )
    assert record.ask(marie).post("RelatedPerson", guardian).status == 403
    friend = {**guardian, "relationship": [{"coding": [{"system": ROLE, "code": "ECON"}]}]}
    assert record.ask(marie).post("RelatedPerson", friend).status == 201


def test_structures_feed_open_records_and_see_their_own_deposits(record: World) -> None:
    ask = record.ask(hospital)
    kept = ask.create({**document("x", "marie"), "content": [{"attachment": {"title": "CR"}}]})
    assert ask.get(f"DocumentReference/{kept['id']}").status == 200
    assert ask.get("DocumentReference").ids == [kept["id"]]
    assert ask.get("DocumentReference/plain").status == 404
    assert ask.get("Patient/marie").status == 404
    assert record.ask(backend("clinic")).get(f"DocumentReference/{kept['id']}").status == 404
    record.put(resource("Patient/luc", active=False, birthDate="1977-11-01"))
    assert record.ask(hospital).post("DocumentReference", document("y", "luc")).status in (403, 422)
    assert record.ask(luc).get("DocumentReference/lucs").status == 404, "a closed record is closed"


def test_what_a_blocked_professional_deposits_is_taken_and_not_shown(record: World) -> None:
    record.put(consent("block", "marie", "deny", NURSE))
    reply = record.ask(nurse).post("Observation", observation("marie"))
    assert reply.status == 201
    assert record.ask(nurse).get(f"Observation/{reply.body['id']}").status == 404
    assert record.ask(marie).get(f"Observation/{reply.body['id']}").status == 200


def observation(of: str) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": f"Patient/{of}"},
    }


def test_representatives_lose_sight_when_the_child_comes_of_age_or_the_relation_ends(record: World) -> None:
    assert record.ask(mother).get("Patient/lea").status == 200
    record.put(resource("Patient/lea", birthDate="2000-07-12", name=[{"family": "Dupont"}]))
    assert record.ask(mother).get("Patient/lea").status == 404
    assert documents(record, mother) == set()
    record.put(resource("Patient/lea", birthDate="2015-07-12", name=[{"family": "Dupont"}]))
    assert record.ask(mother).get("Patient/lea").status == 200
    ended = {
        "patient": {"reference": "Patient/lea"},
        "relationship": [{"coding": [{"system": ROLE, "code": "GUARD"}]}],
        "period": {"end": "2020-01-01"},
    }
    record.put(resource("RelatedPerson/mother", **ended))
    assert record.ask(mother).get("Patient/lea").status == 404


def test_scopes_bound_every_role(record: World) -> None:
    reading = patient("marie", scopes=parse_scopes("patient/DocumentReference.rs").scopes)
    assert record.ask(reading).get("DocumentReference/plain").status == 200
    refused = record.ask(reading).get("Patient/marie")
    assert refused.status == 403
    assert record.ask(reading).get("Patient/nobody").body == refused.body
    assert record.ask(reading).post("DocumentReference", document("x", "marie")).status == 403
    assert record.ask(reading).get("Binary/plain").status == 403
    biology = parse_scopes("patient/DocumentReference.rs?type=http://loinc.org|68599-0").scopes
    narrow = patient("marie", scopes=biology)
    assert documents(record, narrow) == {"psy"}
    assert record.ask(narrow).get("DocumentReference/plain").status == 404
    assert record.ask(narrow).get("DocumentReference/plain/_history/1").status == 404
    assert record.ask(narrow).get("DocumentReference/psy/_history/1").status == 200


def test_operators_keep_the_directory_and_see_no_record(record: World) -> None:
    ask = record.ask(operator())
    assert ask.post("Organization", {"resourceType": "Organization", "name": "Clinique"}).status == 201
    assert ask.get("Patient/marie").status == 404
    assert ask.get("Patient").ids == []
    assert ask.post("DocumentReference", document("x", "marie")).status in (403, 422)
    assert record.ask(marie).post("Organization", {"resourceType": "Organization", "name": "x"}).status == 403
    assert record.ask(marie).get("Organization/hospital").status == 200


@pytest.mark.parametrize("caller", [operator(), backend("x", trusted=True)], ids=lambda caller: str(caller.kind))
def test_who_may_define_search_parameters_may_take_them_back(record: World, caller: Any) -> None:
    ask = record.ask(caller)
    draft = {"resourceType": "SearchParameter", "url": "http://example.org/sp", "name": "X", "status": "draft"}
    more = {"description": "x", "code": "x", "base": ["Patient"], "type": "token", "expression": "Patient.active"}
    made = ask.create({**draft, **more})
    assert ask.put(f"SearchParameter/{made['id']}", {**made, "status": "retired"}).status == 200
    assert ask.delete(f"SearchParameter/{made['id']}").status == 204
    for other_caller in (gp, marie, hospital):
        assert record.ask(other_caller).post("SearchParameter", {**draft, **more}).status == 403, other_caller.key


def test_ids_are_not_chosen_by_those_who_could_probe_with_them(record: World) -> None:
    lucs = record.ask(marie).put("DocumentReference/lucs", document("lucs", "marie"))
    free = record.ask(marie).put("DocumentReference/free", document("free", "marie"))
    assert (lucs.status, lucs.body) == (free.status, free.body)
    assert record.ask(marie).delete("DocumentReference/lucs").status == record.ask(marie).delete("Patient/none").status
    patch = [{"op": "add", "path": "/description", "value": "x"}]
    patched = [
        record.ask(marie).patch(f"DocumentReference/{id}", patch, Content_Type="application/json-patch+json")
        for id in ("lucs", "free")
    ]
    assert patched[0].status == patched[1].status == 404


def test_who_masks_for_others_is_told_by_the_label_alone(record: World) -> None:
    made = record.ask(nurse).create(
        observation("marie") | {"meta": {"security": [{"system": VISIBILITY, "code": "MASQUE_PS"}]}}
    )
    assert record.ask(nurse).get(f"Observation/{made['id']}").status == 200, "who put it here"
    assert record.ask(dentist).get(f"Observation/{made['id']}").status == 404
    assert record.ask(gp).get(f"Observation/{made['id']}").status == 200
    assert record.ask(marie).get(f"Observation/{made['id']}").status == 200


def test_a_record_that_is_closed_is_closed_for_every_worker_once_it_is_told(record: World) -> None:
    elsewhere = World(Composition(record.composition.settings))
    for world in (record, elsewhere):
        assert world.ask(luc).get("DocumentReference/lucs").status == 200
        assert documents(world, luc) == {"lucs"}
    record.put(resource("Patient/luc", active=False, birthDate="1977-11-01"))
    for world in (record, elsewhere):
        assert world.ask(luc).get("DocumentReference/lucs").status == 404
        assert documents(world, luc) == set()
    elsewhere.composition.close()


def test_who_represents_one_patient_represents_no_other(record: World) -> None:
    kind = [{"coding": [{"system": ROLE, "code": "GUARD"}]}]
    record.put(resource("RelatedPerson/stranger", patient={"reference": "Patient/luc"}, relationship=kind))
    stranger = representative("lea", "stranger")
    assert documents(record, stranger) == set()
    assert record.ask(stranger).get("DocumentReference/child").status == 404
    assert record.ask(stranger).get("Patient/lea").status == 404


def test_who_has_left_the_care_circle_sees_nothing_from_then_on(record: World) -> None:
    left = circle("marie", (NURSE, "ATT"))
    left["participant"][0]["period"] = {"start": "2020-01-01", "end": "2025-12-31"}
    record.put(left)
    assert documents(record, nurse) == set()
    assert record.ask(nurse).get("DocumentReference/plain").status == 404
    record.put({**circle("marie", (NURSE, "ATT")), "period": {"end": "2025-12-31"}})
    assert documents(record, nurse) == set()


def test_who_no_longer_represents_a_child_keeps_no_hold_on_its_content(record: World) -> None:
    content = {"resourceType": "Binary", "contentType": "text/plain", "data": "c2VjcmV0"}
    own = record.ask(mother).create(content)["id"]
    assert record.ask(mother).get(f"Binary/{own}").status == 200
    record.put(resource("Patient/lea", birthDate="2000-07-12", name=[{"family": "Dupont"}]))
    ask = record.ask(mother)
    assert ask.get(f"Binary/{own}").status == 404
    assert ask.put(f"Binary/{own}", {**content, "id": own}).status in (403, 404, 405)
    assert ask.post("Binary", content).status == 403
    ask.delete(f"Binary/{own}")
    assert record.ask(lea).get(f"Binary/{own}").status == 200, "it is the grown-up child's"


@pytest.mark.parametrize("form", ["{}", "{}/_history/1", "http://localhost/fhir/{}"])
def test_content_is_withheld_with_the_context_that_it_names(record: World, form: str) -> None:
    context = {"reference": form.format("DocumentReference/masked")}
    record.put({**binary("plain"), "securityContext": context})
    for caller, status in ((marie, 200), (gp, 200), (nurse, 404)):
        assert record.ask(caller).get("DocumentReference/plain").status == 200, caller.key
        assert record.ask(caller).get("Binary/plain").status == status, caller.key
    told = record.ask(nurse).get("Binary/plain")
    assert told.body["issue"] == record.ask(nurse).get("Binary/nowhere").body["issue"]


def test_content_whose_context_is_elsewhere_is_withheld(record: World) -> None:
    record.put({**binary("plain"), "securityContext": {"reference": "http://elsewhere.example/fhir/Patient/marie"}})
    assert record.ask(marie).get("Binary/plain").status == 404
    record.put({**binary("plain"), "securityContext": {"display": "nothing that could be looked at"}})
    assert record.ask(marie).get("Binary/plain").status == 200


def test_nobody_carries_content_whose_context_they_do_not_see(record: World) -> None:
    record.put({**binary("plain"), "securityContext": {"reference": "DocumentReference/masked"}})

    def carry(caller: Any, id: str) -> Any:
        reply = record.ask(caller).post("DocumentReference", document(id, "marie"))
        return reply.status, reply.body

    assert carry(nurse, "plain") == carry(nurse, "nowhere")
    assert carry(nurse, "plain")[0] == 422
    assert carry(gp, "plain")[0] == 201
