"""The trail of what was asked for in vain: by every way of asking, with the record that it was about."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from fhir_server.access.caller import Caller
from fhir_server.access.scopes import parse_scopes
from tests.access.callers import World, operator
from tests.access.records import OTHER, TITLED, consent, document, of, resource
from tests.access.test_audit_trail import entities
from tests.access.test_emergency import URGENT, parameters
from tests.access.test_records import gp, hospital, marie, mother, other, record
from tests.rest.fhir import Reply, entry

__all__ = ["record"]

PLAIN = "DocumentReference/plain"
LANGUAGE = [{"op": "add", "path": "/language", "value": "fr"}]
JSON_PATCH = {"Content_Type": "application/json-patch+json"}


def told(world: World, holder: Caller, by: str = "Practitioner/other") -> list[tuple[str, set[str]]]:
    """Return what the holder reads of refusals: what was tried, and on what."""
    events = world.ask(holder).get(f"AuditEvent?agent={by}&outcome=4&_count=100").resources
    return [(event["subtype"][0]["code"], entities([event])) for event in events]


def send(world: World, caller: Caller, method: str, path: str, body: Any, headers: Mapping[str, str]) -> Reply:
    return world.ask(caller).send(method, path, body, **headers)


SINGLE: tuple[tuple[str, str, Any, dict[str, str], int], ...] = (
    ("read", "GET", None, {}, 404),
    ("update", "PUT", document("plain", "marie"), {}, 405),
    ("update", "PUT", document("plain", "marie"), {"If_Match": 'W/"1"'}, 412),
    ("update", "PUT", document("plain", "marie"), {"If_None_Match": "*"}, 405),
    ("patch", "PATCH", LANGUAGE, JSON_PATCH, 404),
    ("patch", "PATCH", LANGUAGE, {**JSON_PATCH, "If_Match": 'W/"1"'}, 412),
    ("delete", "DELETE", None, {}, 204),
    ("delete", "DELETE", None, {"If_Match": 'W/"1"'}, 412),
)


@pytest.mark.parametrize(("action", "method", "body", "headers", "status"), SINGLE)
def test_the_holder_is_told_of_every_way_of_asking_for_what_is_hidden(
    record: World, action: str, method: str, body: Any, headers: dict[str, str], status: int
) -> None:
    assert send(record, other, method, PLAIN, body, headers).status == status
    assert told(record, marie) == [(action, {PLAIN, "Patient/marie"})]


@pytest.mark.parametrize("kind", ["transaction", "batch"])
@pytest.mark.parametrize(
    ("action", "method", "body"),
    [("read", "GET", None), ("update", "PUT", document("plain", "marie")), ("delete", "DELETE", None)],
)
def test_the_holder_is_told_of_the_entries_of_a_bundle_too(
    record: World, kind: str, action: str, method: str, body: Any
) -> None:
    record.ask(other).transact(entry(method, PLAIN, body), kind=kind)
    assert told(record, marie) == [(action, {PLAIN, "Patient/marie"})]


def test_no_other_entry_keeps_an_attempt_out_of_the_trail(record: World) -> None:
    record.ask(other).transact(entry("DELETE", PLAIN), entry("GET", PLAIN))
    assert {action for action, _ in told(record, marie)} == {"read", "delete"}
    refused = record.ask(other).transact(
        entry("POST", "Observation", {"resourceType": "Observation", "status": "final", "code": {"text": "x"},
                                      "subject": of("Patient?identifier=none")}),
        entry("PUT", "DocumentReference/masked", document("masked", "marie")),
    )  # fmt: skip
    assert refused.status == 412, "it is the reference that fails first"
    assert ("update", {"DocumentReference/masked", "Patient/marie"}) in told(record, marie)


def test_who_is_not_allowed_is_told_with_the_record_that_it_was_about(record: World) -> None:
    made = {name: value for name, value in consent("x", "marie", "permit", OTHER).items() if name != "id"}
    assert record.ask(other).post("Consent", made).status == 403
    assert told(record, marie) == [("create", {"Patient/marie"})]
    assert record.ask(other).transact(entry("POST", "Consent", made)).status == 403
    assert told(record, marie) == [("create", {"Patient/marie"})] * 2
    assert record.ask(hospital).transact(entry("POST", "Consent", made)).status == 403
    history = record.ask(marie).get("Patient/marie/$historique-acces?_count=100", Accept_Language="en")
    assert b"tried to add" in history.content


def test_a_refused_create_of_nothing_in_a_record_is_told_without_one(record: World) -> None:
    reader = replace(other, scopes=parse_scopes("user/Observation.r").scopes)
    auditor = operator(roles=("auditor",))
    assert record.ask(reader).post("Binary", b"x", Content_Type="text/plain").status == 403
    assert record.ask(reader).post("Organization", {"resourceType": "Organization", "name": "x"}).status == 403
    assert told(record, auditor) == [("create", set()), ("create", set())]


def test_a_patient_who_is_not_there_is_told_like_any_other(record: World) -> None:
    auditor = operator(roles=("auditor",))
    for patient in ("luc", "nowhere"):
        assert record.ask(marie).get(f"Patient/{patient}").status == 404
        assert record.ask(auditor).get(f"AuditEvent?patient=Patient/{patient}&outcome=4").body["total"] == 1, patient


def test_a_change_that_is_not_allowed_is_told_as_well_within_a_transaction(record: World) -> None:
    assert record.ask(gp).transact(entry("PUT", PLAIN, document("plain", "marie", status="superseded"))).status == 403
    assert told(record, marie, "Practitioner/gp") == [("update", {PLAIN, "Patient/marie"})]


@pytest.mark.parametrize("operation", ["$declare-care", "$emergency-access"])
def test_who_was_blocked_and_tries_all_the_same_is_told(record: World, operation: str) -> None:
    record.put(consent("block", "marie", "deny", OTHER))
    given = {} if operation == "$declare-care" else URGENT
    asked = parameters(patient=of("Patient/marie"), **given)
    assert record.ask(other).post(f"Patient/{operation}", asked).status == 403
    assert told(record, marie) == [("operation", {"Patient/marie"})]
    record.put(resource("Patient/marie", birthDate="1979-03-28", active=False))
    assert record.ask(other).post(f"Patient/{operation}", asked).status == 404
    auditor = operator(roles=("auditor",))
    assert len(record.ask(auditor).get("AuditEvent?agent=Practitioner/other&outcome=4&patient=marie").ids) == 2


def test_what_one_sees_is_not_asked_for_in_vain(record: World) -> None:
    made = record.ask(marie).create(
        {name: value for name, value in document("x", "marie", content=TITLED).items() if name != "id"}
    )
    reference = f"DocumentReference/{made['id']}"
    assert record.ask(marie).put(reference, made, If_Match='W/"7"').status == 412
    assert record.ask(marie).delete(reference).status == 204
    assert record.ask(marie).delete(reference).status == 204
    assert told(record, marie, "Patient/marie") == []


@pytest.mark.parametrize(("action", "method", "body", "headers", "status"), SINGLE)
@pytest.mark.parametrize("kind", ["single", "transaction"])
def test_ones_own_trail_does_not_tell_hidden_from_nowhere(
    record: World, kind: str, action: str, method: str, body: Any, headers: dict[str, str], status: int
) -> None:
    def events(caller: Caller, reference: str) -> int:
        def count() -> int:
            return int(record.ask(caller).get("AuditEvent?_summary=count").body["total"])

        before, id = count(), reference.partition("/")[2]
        sent = {**body, "id": id} if isinstance(body, dict) else body
        if kind == "transaction" and method != "PATCH":
            record.ask(caller).transact(entry(method, reference, sent))
        else:
            assert send(record, caller, method, reference, sent, headers).status == status
        return count() - before

    kinds = (marie, "DocumentReference/lucs"), (marie, "DocumentReference/later"), (mother, "DocumentReference/secret")
    for caller, hidden in kinds:
        assert events(caller, hidden) == events(caller, "DocumentReference/nowhere"), (caller.key, hidden)
