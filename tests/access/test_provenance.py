"""Where data comes from is noted with the write itself, and shows nothing that is hidden."""

import json
from typing import Any

import pytest

from fhir_server.access.labels import VISIBILITY
from fhir_server.repository.reindexing import to_rewrite
from tests.access.callers import World, backend
from tests.access.records import GP, TITLED, consent, document, resource
from tests.access.test_records import gp, lea, marie, mother, nurse, other, record

__all__ = ["record"]

MASKED = {"coding": [{"system": VISIBILITY, "code": "MASQUE_PS"}]}


def provenances(world: World, of: str) -> list[dict[str, Any]]:
    """Return what tells of a resource, whoever may see it, oldest first."""
    return world.local.get(f"Provenance?target={of}&_sort=recorded").resources


def codes(provenance: dict[str, Any]) -> set[str]:
    return {reason["coding"][0]["code"] for reason in provenance.get("reason", ())}


def test_a_changed_label_is_noted_with_what_was_before(record: World) -> None:
    changed = {**document("plain", "marie"), "securityLabel": [MASKED]}
    assert record.ask(marie).put("DocumentReference/plain", changed).status == 200
    (told,) = provenances(record, "DocumentReference/plain")
    assert codes(told) == {"label-change"}
    assert told["target"] == [{"reference": "DocumentReference/plain/_history/2"}]
    assert told["entity"] == [{"role": "revision", "what": {"reference": "DocumentReference/plain/_history/1"}}]
    assert told["agent"][0]["who"]["reference"] == "Patient/marie"
    assert told["meta"]["security"] == [{"system": VISIBILITY, "code": "MASQUE_PS"}]
    assert record.ask(marie).get(f"Provenance/{told['id']}").status == 200


def test_a_deletion_is_noted_and_not_hindered_by_what_was_noted_before(record: World) -> None:
    written = record.ask(marie).post(
        "DocumentReference", {**document("x", "marie", content=TITLED), "securityLabel": [MASKED]}
    )
    assert written.status == 201, written.content
    id = written.body["id"]
    shown = {name: value for name, value in written.body.items() if name not in ("securityLabel", "meta")}
    assert record.ask(marie).put(f"DocumentReference/{id}", shown).status == 200
    assert record.ask(marie).delete(f"DocumentReference/{id}").status == 204
    told = provenances(record, f"DocumentReference/{id}")
    assert [codes(one) for one in told] == [{"label-change"}, {"deletion"}]
    assert told[-1]["activity"]["coding"][0]["code"] == "DELETE"


def test_what_a_representative_does_is_noted_on_behalf_of_the_child(record: World) -> None:
    reply = record.ask(mother).post("DocumentReference", document("x", "lea", content=TITLED))
    assert reply.status == 201, reply.content
    (told,) = provenances(record, f"DocumentReference/{reply.body['id']}")
    assert codes(told) == {"representative-action"}
    assert told["agent"][0]["onBehalfOf"] == {"reference": "Patient/lea"}


def policies(provenance: dict[str, Any]) -> list[str]:
    """Return the articles of law by which it was done."""
    return [uri.rpartition("/")[2] for uri in provenance["policy"]]


@pytest.mark.parametrize(
    ("code", "article"),
    [("MASQUE_PS", "R1111-49"), ("INVISIBLE_PATIENT", "R1111-53"), ("INVISIBLE_REPRESENTANTS_LEGAUX", "R1111-50")],
)
def test_a_changed_label_names_the_article_that_it_rests_on(record: World, code: str, article: str) -> None:
    label = {"coding": [{"system": VISIBILITY, "code": code}]}
    service = backend("migration", trusted=True)
    changed = {**document("child", "lea"), "securityLabel": [label]}
    assert record.ask(service).put("DocumentReference/child", changed).status == 200
    (told,) = provenances(record, "DocumentReference/child")
    assert policies(told) == [article, "R1111-43"]


def test_what_a_representative_does_and_a_deletion_name_their_articles(record: World) -> None:
    reply = record.ask(mother).post("DocumentReference", document("x", "lea", content=TITLED))
    path = f"DocumentReference/{reply.body['id']}"
    assert record.ask(mother).delete(path).status == 204
    done, deleted = provenances(record, path)
    assert policies(done) == ["L1111-13-1", "R1111-43"]
    assert policies(deleted) == ["L1111-13-1", "R1111-43"]


@pytest.mark.parametrize(
    ("kind", "article"),
    [("ps-bloque", "R1111-32"), ("opposition-bris-de-glace", "R1111-48"), ("masquage-document", "R1111-49")],
)
def test_a_consent_names_the_article_of_its_kind(record: World, kind: str, article: str) -> None:
    made = consent("x", "marie", "deny", GP)
    system = "https://espace-sante.example/fhir/CodeSystem/consent-kind"
    made["category"].append({"coding": [{"system": system, "code": kind}]})
    reply = record.ask(marie).post("Consent", {name: value for name, value in made.items() if name != "id"})
    assert reply.status == 201, reply.content
    (told,) = provenances(record, f"Consent/{reply.body['id']}")
    assert policies(told) == [article, "R1111-43"]


@pytest.mark.parametrize(
    ("operation", "more", "article", "kinds"),
    [
        ("declare-care", {}, "R1111-46", {"Consent", "Communication"}),
        ("emergency-access", {"mode": "bris_de_glace", "reason": "x"}, "R1111-48", {"Communication"}),
    ],
)
def test_what_the_server_writes_on_account_of_an_act_says_by_which_article(
    record: World, operation: str, more: dict[str, str], article: str, kinds: set[str]
) -> None:
    given = [{"name": "patient", "valueReference": {"reference": "Patient/marie"}}]
    given += [{"name": name, "valueString": value} for name, value in more.items()]
    body = {"resourceType": "Parameters", "parameter": given}
    assert record.ask(other).post(f"Patient/${operation}", body).status == 200
    (told,) = record.local.get("Provenance").resources
    assert policies(told) == [article]
    assert {one["reference"].partition("/")[0] for one in told["target"]} == kinds
    assert told["agent"][0]["who"]["reference"] == "Practitioner/other"
    assert record.ask(marie).get(f"Provenance/{told['id']}").status == 200
    assert record.ask(nurse).get(f"Provenance/{told['id']}").status == 404


def test_an_ordinary_write_makes_none(record: World) -> None:
    assert record.ask(marie).post("DocumentReference", document("x", "marie", content=TITLED)).status == 201
    assert record.local.get("Provenance?_summary=count").body["total"] == 0


def observation(patient: str) -> dict[str, Any]:
    fixed = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}
    return {**fixed, "subject": {"reference": f"Patient/{patient}"}}


GIVEN = {
    "resourceType": "Provenance",
    "recorded": "2026-06-14T00:00:00Z",
    "agent": [{"who": {"display": "Balance connectée"}}],
}


def test_the_header_tells_of_all_that_the_request_writes(record: World) -> None:
    header = json.dumps(GIVEN)
    reply = record.ask(marie).transact(
        *(
            {
                "resource": document(id, "marie", content=TITLED),
                "request": {"method": "POST", "url": "DocumentReference"},
            }
            for id in ("a", "b")
        ),
        X_Provenance=header,
    )
    assert reply.status == 200, reply.content
    locations = [entry["response"]["location"].rpartition("/fhir/")[2] for entry in reply.body["entry"]]
    (told,) = record.local.get("Provenance").resources
    assert [one["reference"] for one in told["target"]] == [one.removeprefix("/") for one in locations]
    assert told["agent"] == GIVEN["agent"]
    assert record.ask(marie).get("Patient/marie/Provenance").ids == [told["id"]]


@pytest.mark.parametrize(
    "header",
    [
        "no json",
        json.dumps({"resourceType": "Patient"}),
        json.dumps({**GIVEN, "target": [{"reference": "Patient/luc"}]}),
        json.dumps({**GIVEN, "agent": []}),
        json.dumps({**GIVEN, "unknown": 1}),
    ],
)
def test_a_header_that_is_no_good_stops_the_write(record: World, header: str) -> None:
    reply = record.ask(marie).post("DocumentReference", document("x", "marie", content=TITLED), X_Provenance=header)
    assert reply.status == 400
    assert record.local.get("Provenance?_summary=count").body["total"] == 0
    assert record.ask(marie).get("DocumentReference?_summary=count").body["total"] == 3


def test_a_reindex_leaves_a_provenance_in_the_record_that_it_tells_of(record: World) -> None:
    made = record.ask(gp).post("Observation", observation("marie"))
    assert record.ask(gp).delete(f"Observation/{made.body['id']}").status == 204
    (told,) = provenances(record, f"Observation/{made.body['id']}")
    store, reference = record.composition.store(), f"Provenance/{told['id']}"
    stored = store.get_many([reference], index_fields=("*",))[reference]
    assert "Patient/marie" in stored.index["c"]
    assert stored.index["c"] != ["Patient/marie"]
    assert to_rewrite(stored, record.composition.settings.base_url) is None


def test_a_read_takes_no_notice_of_the_header(record: World) -> None:
    assert record.ask(marie).get("Patient/marie", X_Provenance="no json").status == 200


def test_provenance_of_what_a_child_hides_is_hidden_too(record: World) -> None:
    secret = {**document("hidden", "lea", "INVISIBLE_REPRESENTANTS_LEGAUX")}
    record.put(secret)
    assert record.ask(lea).get("DocumentReference/hidden").status == 200
    shown = {**secret, "securityLabel": [*secret["securityLabel"], MASKED]}
    assert record.ask(lea).put("DocumentReference/hidden", shown).status == 200
    (told,) = provenances(record, "DocumentReference/hidden")
    assert record.ask(lea).get(f"Provenance/{told['id']}").status == 200
    assert record.ask(mother).get(f"Provenance/{told['id']}").status == 404
    assert record.ask(mother).get("Patient/lea/Provenance").ids == []
    assert record.ask(gp).get(f"Provenance/{told['id']}").status == 404
    assert resource("Patient/lea")["id"] == "lea"
