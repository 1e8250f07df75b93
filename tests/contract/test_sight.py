"""Most versions list nothing, as their bytes tell: what is shown is what looking into all of them shows."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_server.access.caller import Caller
from fhir_server.access.facts import Facts, RecordFacts
from fhir_server.access.labels import NOT_FOR_PATIENT
from fhir_server.access.listings import withheld_in
from fhir_server.access.policy import Policy
from fhir_server.access.scopes import parse_scopes
from fhir_server.fhir.json import parse_stored, to_json
from fhir_server.fhir.listings import references_in, without
from fhir_server.repository.authorising import Authority
from fhir_server.repository.sight import Sight
from fhir_server.search.indexer import to_index
from fhir_server.storage.mongo import MongoStore
from fhir_server.storage.store import Change, Document, Plan

NOW = datetime(2026, 5, 4, tzinfo=UTC)
BASE = "http://here.example/fhir"
RECORD = RecordFacts("Patient/marie", care_team=True)
MARIE = Caller(
    "m", "patient", user="Patient/marie", patient="marie", scopes=parse_scopes("patient/*.rs user/*.rs").scopes
)
DOCTOR = Caller("d", "professional", user="Practitioner/d", scopes=parse_scopes("user/*.rs").scopes, profession="10")
HIDDEN = ("Observation/hidden", "Observation/never", f"{BASE}/Observation/hidden")
REFERENCES = (*HIDDEN, "Observation/seen", "Patient/marie", "http://elsewhere.example/fhir/Observation/hidden")

Element = st.SearchStrategy[Any]
REFERENCE: Element = st.sampled_from(REFERENCES).map(lambda one: {"reference": one})
MANY: Element = st.lists(REFERENCE, min_size=1, max_size=3)


def items(member: str, inner: Element = REFERENCE) -> Element:
    return st.lists(inner.map(lambda one: {member: one}), min_size=1, max_size=3)


TYPES: Mapping[str, Mapping[str, Element]] = {
    "AuditEvent": {"entity": items("what")},
    "Communication": {"payload": items("contentReference"), "about": MANY},
    "Composition": {"section": items("entry", MANY), "event": items("detail", MANY)},
    "Condition": {"evidence": items("detail", MANY)},
    "DiagnosticReport": {"result": MANY},
    "DocumentManifest": {"content": MANY, "related": items("ref")},
    "DocumentReference": {"relatesTo": items("target"), "context": MANY.map(lambda one: {"related": one})},
    "List": {"entry": items("item")},
    "Observation": {"hasMember": MANY, "derivedFrom": MANY, "focus": MANY},
    "Patient": {},
    "Practitioner": {},
    "Provenance": {"target": MANY, "entity": items("what")},
    "Task": {"focus": REFERENCE},
}
WORDS = ("focus", '"focus"', 'said "entry" and "target"', '","result":[{"reference":"Observation/hidden"}]')
"""What looks like the name of an element and is none."""
PLAIN: Mapping[str, Element] = {
    "subject": REFERENCE,
    "text": st.just({"status": "generated", "div": "<div/>"}),
    "language": st.sampled_from(WORDS),
}


def resources_of(kind: str) -> Element:
    fixed = {"resourceType": st.just(kind), "id": st.just("x")}
    return st.fixed_dictionaries(fixed, optional={**PLAIN, **TYPES[kind]})


RESOURCES = st.sampled_from(sorted(TYPES)).flatmap(resources_of)


def document_of(number: int, resource: dict[str, Any] | None, kind: str = "") -> Document:
    if resource is None:
        return Document(f"{kind}/gone", 2, NOW, True, None)
    named = {**resource, "id": str(number)}
    return Document(f"{resource['resourceType']}/{number}", 1, NOW, False, to_json(named), index=to_index(named))


def looked_into(document: Document) -> dict[str, Any] | None:
    """What is shown of one resource by looking into it: an independent word-for-word reading of the rule."""
    resource = parse_stored(document.body or b"{}")
    withheld = withheld_in(document.resource_type, MARIE)
    sole = [text for one in withheld if one.sole for text in references_in(resource, one.listing)]
    if sole and all(text in HIDDEN for text in sole):
        return None
    return without(resource, [one.listing for one in withheld], lambda text: text in HIDDEN)


def sight_of(store: MongoStore, caller: Caller) -> Sight:
    policy = Policy(caller, source=lambda patients: Facts(caller, (RECORD,), BASE))
    return Sight(Authority(policy, store), BASE)


@pytest.fixture
def filled(store: MongoStore) -> MongoStore:
    """A store with a measurement that Marie sees, one that she does not, and a deleted list of that."""
    measured = {"resourceType": "Observation", "status": "final", "subject": {"reference": "Patient/marie"}}
    system, _, code = NOT_FOR_PATIENT[0].rpartition("|")
    labels = {"security": [{"system": system, "code": code}]}
    put(store, {"resourceType": "Patient", "id": "marie"})
    put(store, {**measured, "id": "seen"}, {**measured, "id": "hidden", "meta": labels})
    for kind, element in (("List", {"entry": [{"item": {"reference": HIDDEN[0]}}]}), ("Task", {})):
        put(store, {"resourceType": kind, "id": "gone", **element})
        deletion = Change(f"{kind}/gone", 1, 2, "DELETE", NOW, None, {})
        store.commit(Plan((deletion,)))
    return store


def put(store: MongoStore, *resources: dict[str, Any]) -> None:
    changes = (
        Change(f"{one['resourceType']}/{one['id']}", 0, 1, "PUT", NOW, to_json(one), to_index(one)) for one in resources
    )
    store.commit(Plan(tuple(changes)))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(page=st.lists(RESOURCES, max_size=6))
def test_a_page_shows_what_looking_into_each_of_it_shows(filled: MongoStore, page: list[dict[str, Any]]) -> None:
    documents = [document_of(number, one) for number, one in enumerate(page)]
    expected = [(one.reference, shown) for one in documents if (shown := looked_into(one)) is not None]
    sight_of(filled, DOCTOR).shown(documents)  # what it has found out holds for whoever asks next
    for _ in range(2):
        shown = sight_of(filled, MARIE).shown(documents)
        assert [(one.reference, parse_stored(one.body or b"")) for one in shown] == expected


def test_a_deleted_list_of_hidden_things_is_hidden_among_versions_that_list_nothing(filled: MongoStore) -> None:
    documents = [
        document_of(1, {"resourceType": "Patient"}),
        document_of(2, None, "List"),
        document_of(3, None, "Task"),
        document_of(4, {"resourceType": "Observation"}),
    ]
    for _ in range(2):
        shown = sight_of(filled, MARIE).shown(documents)
        assert [one.reference for one in shown] == ["Patient/1", "Task/gone", "Observation/4"]


def test_what_was_found_out_of_a_version_says_nothing_of_another(filled: MongoStore) -> None:
    plain = document_of(1, {"resourceType": "Observation"})
    assert sight_of(filled, MARIE).shown([plain]) == [plain]
    listing = {"resourceType": "Observation", "id": "1", "focus": [{"reference": HIDDEN[0]}]}
    later = replace(plain, version=2, body=to_json(listing))
    [shown] = sight_of(filled, MARIE).shown([later])
    assert parse_stored(shown.body or b"") == {"resourceType": "Observation", "id": "1"}
