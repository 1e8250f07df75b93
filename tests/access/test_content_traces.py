"""The trail of content: a Binary is nobody's by itself, so who read it is told in the records that it is carried in."""

from fhir_server.access.caller import Caller
from tests.access.callers import World
from tests.access.records import binary, document, of
from tests.access.test_audit_trail import entities
from tests.access.test_emergency import URGENT, parameters, purposes
from tests.access.test_records import gp, lea, marie, mother, other, record

__all__ = ["record"]


def seen_of_content(world: World, holder: Caller, content: str) -> list[str]:
    events = world.ask(holder).get("AuditEvent?_count=100").resources
    return [one["subtype"][0]["code"] for one in events if content in entities([one])]


def test_the_holder_is_told_who_read_the_content_of_a_document(record: World) -> None:
    assert record.ask(gp).get("Binary/plain").status == 200
    assert seen_of_content(record, marie, "Binary/plain") == ["read"]
    assert record.ask(other).get("Binary/plain").status == 404
    assert seen_of_content(record, marie, "Binary/plain") == ["read", "read"]
    history = record.ask(marie).get("Patient/marie/$historique-acces", Accept_Language="en")
    assert b"looked at the content of documents" in history.content
    assert b"tried to look at the content of documents" in history.content


def test_traces_of_content_are_hidden_with_what_carries_it(record: World) -> None:
    for caller in (lea, mother):
        for content in ("Binary/secret", "Binary/child"):
            record.ask(caller).get(content)
    assert len(seen_of_content(record, lea, "Binary/secret")) == 2
    assert len(seen_of_content(record, lea, "Binary/child")) == 2
    assert seen_of_content(record, mother, "Binary/secret") == []
    assert len(seen_of_content(record, mother, "Binary/child")) == 2


def test_content_that_was_read_in_an_emergency_is_told_as_such(record: World) -> None:
    assert (
        record.ask(other).post("Patient/$emergency-access", parameters(patient=of("Patient/marie"), **URGENT)).status
        == 200
    )
    assert record.ask(other).get("Binary/plain").status == 200
    (event,) = [one for one in record.ask(marie).get("AuditEvent?agent=Practitioner/other&_count=50").resources
                if "Binary/plain" in entities([one])]  # fmt: skip
    assert purposes(event) == {"BTG", "bris_de_glace"}


def test_the_holder_is_told_who_changed_or_deleted_content(record: World) -> None:
    content = {name: value for name, value in binary("x").items() if name != "id"}
    made = record.ask(gp).create(content)
    reference = f"Binary/{made['id']}"
    carrier = document("x", "marie", content=[{"attachment": {"url": reference}}])
    assert record.ask(gp).post("DocumentReference", carrier).status == 201
    assert record.ask(gp).put(reference, {**made, "data": "eA=="}).status == 200
    assert "update" in seen_of_content(record, marie, reference)
