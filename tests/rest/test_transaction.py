"""Transactions and batches (http://hl7.org/fhir/R4/http.html#transaction)."""

import base64
import json

import pytest

from tests.rest.fhir import Fhir, entry, observation, patient

SYSTEM = "http://example.org/ids"
A, B = "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0", "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e1"


def id_in(reply_entry: dict[str, dict[str, str]]) -> str:
    return reply_entry["response"]["location"].split("/")[1]


def test_references_to_entries_become_references_to_what_they_created(fhir: Fhir) -> None:
    reply = fhir.transact(
        entry("POST", "Observation", observation(A), B),
        entry("POST", "Patient", patient(), A),
    )
    assert reply.status == 200
    assert reply.body["type"] == "transaction-response"
    statuses = [one["response"]["status"] for one in reply.body["entry"]]
    assert statuses == ["201 Created", "201 Created"]
    stored = fhir.get(f"Observation/{id_in(reply.body['entry'][0])}").body
    assert stored["subject"]["reference"] == f"Patient/{id_in(reply.body['entry'][1])}"


def test_circular_references_resolve(fhir: Fhir) -> None:
    reply = fhir.transact(
        entry("POST", "Patient", patient(link=[{"other": {"reference": B}, "type": "seealso"}]), A),
        entry("POST", "Patient", patient(link=[{"other": {"reference": A}, "type": "seealso"}]), B),
    )
    first, second = (id_in(one) for one in reply.body["entry"])
    assert fhir.get(f"Patient/{first}").body["link"][0]["other"]["reference"] == f"Patient/{second}"
    assert fhir.get(f"Patient/{second}").body["link"][0]["other"]["reference"] == f"Patient/{first}"


def test_urls_attachments_and_narratives_are_rewritten_but_plain_strings_are_not(fhir: Fhir) -> None:
    document = {
        "resourceType": "DocumentReference",
        "status": "current",
        "description": A,
        "content": [{"attachment": {"url": A}}],
        "text": {
            "status": "generated",
            "div": f'<div xmlns="http://www.w3.org/1999/xhtml"><a href="{A}">x</a> {A}</div>',
        },
    }
    binary = {"resourceType": "Binary", "contentType": "text/plain", "data": "eA=="}
    reply = fhir.transact(entry("POST", "Binary", binary, A), entry("POST", "DocumentReference", document, B))
    target = f"Binary/{id_in(reply.body['entry'][0])}"
    stored = fhir.get(f"DocumentReference/{id_in(reply.body['entry'][1])}").body
    assert stored["content"][0]["attachment"]["url"] == target
    assert f'href="{target}"' in stored["text"]["div"]
    assert stored["description"] == A


def test_a_full_url_may_be_the_reference_itself(fhir: Fhir) -> None:
    reply = fhir.transact(
        entry("POST", "Observation", observation("Patient/itself"), A),
        entry("PUT", "Patient/itself", patient(id="itself"), "Patient/itself"),
    )
    assert reply.status == 200, reply.content
    stored = fhir.get(f"Observation/{id_in(reply.body['entry'][0])}").body
    assert stored["subject"]["reference"] == "Patient/itself"


def test_an_absolute_full_url_stands_for_its_relative_form_too(fhir: Fhir) -> None:
    reply = fhir.transact(
        entry("POST", "Patient", patient(id="p"), "http://elsewhere.example/fhir/Patient/p"),
        entry("POST", "Observation", observation("Patient/p"), "http://elsewhere.example/fhir/Observation/o"),
        entry("POST", "Observation", observation("http://elsewhere.example/fhir/Patient/p")),
    )
    target = f"Patient/{id_in(reply.body['entry'][0])}"
    for one in reply.body["entry"][1:]:
        assert fhir.get(f"Observation/{id_in(one)}").body["subject"]["reference"] == target


def test_a_conditional_reference_becomes_its_only_match(fhir: Fhir) -> None:
    target = fhir.create(patient(identifier=[{"system": SYSTEM, "value": "1"}]))
    reply = fhir.transact(entry("POST", "Observation", observation(f"Patient?identifier={SYSTEM}|1")))
    stored = fhir.get(f"Observation/{id_in(reply.body['entry'][0])}").body
    assert stored["subject"]["reference"] == f"Patient/{target['id']}"


def test_a_conditional_reference_may_mean_what_the_transaction_creates_under_the_same_criteria(fhir: Fhir) -> None:
    reply = fhir.transact(
        entry(
            "POST",
            "Patient",
            patient(identifier=[{"system": SYSTEM, "value": "1"}]),
            ifNoneExist=f"identifier={SYSTEM}|1",
        ),
        entry("POST", "Observation", observation(f"Patient?identifier={SYSTEM}|1")),
    )
    target = f"Patient/{id_in(reply.body['entry'][0])}"
    assert fhir.get(f"Observation/{id_in(reply.body['entry'][1])}").body["subject"]["reference"] == target


@pytest.mark.parametrize("copies", [0, 2])
def test_a_conditional_reference_with_no_or_several_matches_fails_the_whole(fhir: Fhir, copies: int) -> None:
    for _ in range(copies):
        fhir.create(patient(identifier=[{"system": SYSTEM, "value": "1"}]))
    reply = fhir.transact(
        entry("POST", "Patient", patient(active=True)),
        entry("POST", "Observation", observation(f"Patient?identifier={SYSTEM}|1")),
    )
    assert reply.status == 412
    assert fhir.get("Patient").body["total"] == copies


def test_conditional_entries_match_create_and_update(fhir: Fhir) -> None:
    known = fhir.create(patient(identifier=[{"system": SYSTEM, "value": "1"}]))
    resource = patient(identifier=[{"system": SYSTEM, "value": "1"}])
    reply = fhir.transact(
        entry("POST", "Patient", resource, A, ifNoneExist=f"identifier={SYSTEM}|1"),
        entry("POST", "Observation", observation(A)),
        entry("PUT", f"Patient?identifier={SYSTEM}|2", patient(identifier=[{"system": SYSTEM, "value": "2"}])),
    )
    statuses = [one["response"]["status"][:3] for one in reply.body["entry"]]
    assert statuses == ["200", "201", "201"]
    stored = fhir.get(f"Observation/{id_in(reply.body['entry'][1])}").body
    assert stored["subject"]["reference"] == f"Patient/{known['id']}"


def test_all_kinds_of_entries_are_answered_in_the_order_of_the_request(fhir: Fhir) -> None:
    gone, changed, patched = (fhir.create(patient()) for _ in range(3))
    operations = base64.b64encode(json.dumps([{"op": "add", "path": "/active", "value": True}]).encode()).decode()
    binary = {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": operations}
    reply = fhir.transact(
        entry("GET", f"Patient/{patched['id']}"),
        entry("PATCH", f"Patient/{patched['id']}", binary),
        entry("PUT", f"Patient/{changed['id']}", {**changed, "active": False}),
        entry("POST", "Patient", patient()),
        entry("DELETE", f"Patient/{gone['id']}"),
        entry("GET", "Patient?_summary=count"),
    )
    assert reply.status == 200, reply.content
    answers = reply.body["entry"]
    assert [one["response"]["status"][:3] for one in answers] == ["200", "200", "200", "201", "204", "200"]
    assert answers[0]["resource"]["active"] is True
    assert answers[5]["resource"]["total"] == 3


@pytest.mark.parametrize(
    "bad",
    [
        entry("POST", "Patient", {"resourceType": "Patient", "birthDate": "not a date"}),
        entry("PUT", "Patient/a", {"resourceType": "Patient", "id": "b"}),
        entry("POST", "Observation", observation("Patient/nobody")),
        entry("PATCH", "Patient/nobody", {"resourceType": "Parameters"}),
        entry("GET", "Patient/nobody"),
        entry("GET", "Patient?unknown=1", None),
        entry("POST", "Nonsense", {"resourceType": "Nonsense"}),
        entry("PUT", "Patient/x", patient(id="x"), ifMatch='W/"7"'),
        entry("POST", "/", {"resourceType": "Bundle", "type": "batch"}),
        {"resource": patient()},
    ],
)
def test_a_transaction_that_fails_at_its_last_entry_leaves_nothing(fhir: Fhir, bad: dict[str, object]) -> None:
    reply = fhir.transact(*(entry("POST", "Patient", patient()) for _ in range(20)), bad, Prefer="handling=strict")
    assert 400 <= reply.status < 500
    assert reply.issues[0]["expression"][0].startswith("Bundle.entry[20]")
    assert fhir.get("Patient").body["total"] == 0
    assert fhir.get("_history").body["total"] == 0


def test_the_problems_of_all_entries_are_told_at_once(fhir: Fhir) -> None:
    bad = {"resourceType": "Patient", "birthDate": "x", "nonsense": 1}
    reply = fhir.transact(
        entry("POST", "Patient", bad), entry("POST", "Patient", patient()), entry("POST", "Patient", bad)
    )
    places = {issue["expression"][0] for issue in reply.issues}
    assert places == {
        f"Bundle.entry[{number}].resource.{name}" for number in (0, 2) for name in ("birthDate", "nonsense")
    }


def test_two_entries_for_one_resource_are_refused(fhir: Fhir) -> None:
    reply = fhir.transact(entry("PUT", "Patient/a", patient(id="a")), entry("DELETE", "Patient/a"))
    assert reply.status == 400
    assert reply.issues[0]["code"] == "duplicate"
    reply = fhir.transact(entry("POST", "Patient", patient(), A), entry("POST", "Patient", patient(), A))
    assert reply.status == 400


def test_prefer_representation_brings_the_resources_back(fhir: Fhir) -> None:
    reply = fhir.transact(entry("POST", "Patient", patient(active=True)), Prefer="return=representation")
    assert reply.resources[0]["active"] is True
    assert not fhir.transact(entry("POST", "Patient", patient())).resources


def test_an_entry_may_name_this_server_absolutely_but_no_other(fhir: Fhir) -> None:
    base = fhir.create(patient())
    address = fhir.get(f"Patient/{base['id']}/_history").body["entry"][0]["fullUrl"]
    assert fhir.transact(entry("GET", address)).status == 200
    assert fhir.transact(entry("GET", "http://169.254.169.254/Patient/1")).status == 400


def test_a_batch_does_each_entry_by_itself(fhir: Fhir) -> None:
    reply = fhir.transact(
        entry("POST", "Patient", patient()),
        entry("POST", "Patient", {"resourceType": "Patient", "nonsense": 1}),
        entry("GET", "Patient/nobody"),
        entry("PUT", "Patient/b", patient(id="b")),
        entry("GET", "Patient/b"),
        kind="batch",
    )
    assert reply.body["type"] == "batch-response"
    answers = [one["response"] for one in reply.body["entry"]]
    assert [one["status"][:3] for one in answers] == ["201", "400", "404", "201", "200"]
    assert answers[1]["outcome"]["issue"][0]["expression"] == ["Patient.nonsense"]


def test_a_bundle_within_a_bundle_is_refused(fhir: Fhir) -> None:
    inner = {"resourceType": "Bundle", "type": "batch", "entry": [entry("DELETE", "Patient/a")]}
    reply = fhir.transact(entry("POST", "/", inner), kind="batch")
    assert reply.body["entry"][0]["response"]["status"].startswith("400")


@pytest.mark.parametrize(
    "body", [{"resourceType": "Bundle", "type": "collection"}, {"resourceType": "Patient"}, {"resourceType": "Bundle"}]
)
def test_the_base_takes_batches_and_transactions_alone(fhir: Fhir, body: dict[str, str]) -> None:
    assert fhir.post("", body).status == 400


def test_more_entries_than_the_setting_allows_are_refused(fhir_with: object) -> None:
    fhir: Fhir = fhir_with(max_bundle_entries=2)  # type: ignore[operator]
    reply = fhir.transact(*(entry("POST", "Patient", patient()) for _ in range(3)))
    assert reply.issues[0]["code"] == "too-costly"


def test_a_deleted_patient_and_its_observation_may_go_together(fhir: Fhir) -> None:
    subject = fhir.create(patient())
    one = fhir.create(observation(f"Patient/{subject['id']}"))
    assert fhir.delete(f"Patient/{subject['id']}").status == 409
    reply = fhir.transact(entry("DELETE", f"Patient/{subject['id']}"), entry("DELETE", f"Observation/{one['id']}"))
    assert reply.status == 200


def test_a_version_specific_reference_names_the_version_that_is_written(fhir: Fhir) -> None:
    known = fhir.create(patient())
    link = f"http://elsewhere.example/fhir/Patient/{known['id']}"
    reply = fhir.transact(
        entry("PUT", f"Patient/{known['id']}", {**known, "active": True}, link),
        entry("POST", "Observation", observation(f"{link}/_history/9")),
    )
    stored = fhir.get(f"Observation/{id_in(reply.body['entry'][1])}").body
    assert stored["subject"]["reference"] == f"Patient/{known['id']}/_history/2"
