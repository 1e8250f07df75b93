"""Referential integrity of local references (http://hl7.org/fhir/R4/references.html)."""

from tests.rest.fhir import Fhir, entry, observation, patient


def test_a_reference_to_nothing_is_refused_with_its_place(fhir: Fhir) -> None:
    reply = fhir.post("Observation", observation("Patient/nobody"))
    assert reply.status == 422
    assert reply.issues[0]["expression"] == ["Observation.subject.reference"]
    assert "nobody" not in reply.content.decode()


def test_a_reference_to_what_has_been_deleted_is_refused(fhir: Fhir) -> None:
    target = fhir.create(patient())
    fhir.delete(f"Patient/{target['id']}")
    assert fhir.post("Observation", observation(f"Patient/{target['id']}")).status == 422


def test_references_elsewhere_contained_and_logical_are_left_alone(fhir: Fhir) -> None:
    assert fhir.post("Observation", observation("http://elsewhere.example/fhir/Patient/1")).status == 201
    assert fhir.post("Observation", {**observation(), "subject": {"identifier": {"value": "x"}}}).status == 201
    contained = {**observation("#p"), "contained": [patient(id="p")]}
    assert fhir.post("Observation", contained).status == 201


def test_a_delete_of_what_is_referred_to_is_refused_and_names_the_referrer(fhir: Fhir) -> None:
    target = fhir.create(patient())
    referrer = fhir.create(observation(f"Patient/{target['id']}"))
    reply = fhir.delete(f"Patient/{target['id']}")
    assert reply.status == 409
    assert f"Observation/{referrer['id']}" in reply.issues[0]["details"]["text"]
    fhir.delete(f"Observation/{referrer['id']}")
    assert fhir.delete(f"Patient/{target['id']}").status == 204


def test_what_keeps_several_resources_is_named_in_one_order(fhir: Fhir) -> None:
    for id in ("b", "a", "c"):
        fhir.put(f"Patient/{id}", patient(id=id))
        fhir.put(f"Observation/of-{id}", {**observation(f"Patient/{id}"), "id": f"of-{id}"})
    deletions = [entry("DELETE", f"Patient/{id}") for id in ("c", "a", "b")]
    reply = fhir.transact(*deletions)
    named = [issue["details"]["text"].partition(" ")[0] for issue in reply.issues]
    assert (reply.status, named) == (409, ["Patient/a", "Patient/b", "Patient/c"])


def test_a_versioned_reference_counts_too(fhir: Fhir) -> None:
    target = fhir.create(patient())
    fhir.create(observation(f"Patient/{target['id']}/_history/1"))
    assert fhir.delete(f"Patient/{target['id']}").status == 409


def test_a_transaction_may_bring_the_target_along(fhir: Fhir) -> None:
    reply = fhir.transact(
        entry("POST", "Observation", observation("Patient/along")), entry("PUT", "Patient/along", patient(id="along"))
    )
    assert reply.status == 200


def test_a_transaction_may_not_delete_what_it_refers_to(fhir: Fhir) -> None:
    target = fhir.create(patient())
    reply = fhir.transact(
        entry("POST", "Observation", observation(f"Patient/{target['id']}")),
        entry("DELETE", f"Patient/{target['id']}"),
    )
    assert 400 <= reply.status < 500
    assert fhir.get(f"Patient/{target['id']}").status == 200


def test_a_patch_cannot_bring_a_dead_reference_in(fhir: Fhir) -> None:
    one = fhir.create(observation())
    operations = [{"op": "add", "path": "/subject", "value": {"reference": "Patient/nobody"}}]
    reply = fhir.patch(f"Observation/{one['id']}", operations, Content_Type="application/json-patch+json")
    assert reply.status == 422


def test_integrity_can_be_switched_off(fhir_with: object) -> None:
    fhir: Fhir = fhir_with(referential_integrity_write=False, referential_integrity_delete=False)  # type: ignore[operator]
    one = fhir.create(observation("Patient/nobody"))
    target = fhir.create(patient())
    fhir.create(observation(f"Patient/{target['id']}"))
    assert fhir.delete(f"Patient/{target['id']}").status == 204
    assert fhir.get(f"Observation/{one['id']}").status == 200
