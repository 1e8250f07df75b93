"""$meta, $meta-add and $meta-delete (http://hl7.org/fhir/R4/resource-operation-meta.html)."""

from tests.rest.fhir import Fhir, patient

TAG = {"system": "http://example.org/tags", "code": "t"}


def parameters(**meta: object) -> dict[str, object]:
    return {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": meta}]}


def test_meta_can_be_added_read_and_deleted(fhir: Fhir) -> None:
    address = f"Patient/{fhir.create(patient(meta={'tag': [TAG]}))['id']}"
    added = fhir.post(f"{address}/$meta-add", parameters(tag=[{"code": "u"}], security=[{"code": "R"}]))
    assert added.status == 200
    value = added.body["parameter"][0]["valueMeta"]
    assert value["tag"] == [TAG, {"code": "u"}]
    assert fhir.get(f"{address}/$meta").body["parameter"][0]["valueMeta"] == value
    deleted = fhir.post(
        f"{address}/$meta-delete", parameters(tag=[{**TAG, "display": "any"}], profile=["http://x.example"])
    )
    assert deleted.body["parameter"][0]["valueMeta"]["tag"] == [{"code": "u"}]
    assert fhir.get(address).body["meta"]["security"] == [{"code": "R"}]


def test_the_meta_of_an_old_version_can_be_read(fhir: Fhir) -> None:
    address = f"Patient/{fhir.create(patient(meta={'tag': [TAG]}))['id']}"
    fhir.post(f"{address}/$meta-delete", parameters(tag=[TAG]))
    assert fhir.get(f"{address}/_history/1/$meta").body["parameter"][0]["valueMeta"]["tag"] == [TAG]
    assert "tag" not in fhir.get(f"{address}/$meta").body["parameter"][0]["valueMeta"]


def test_a_meta_operation_without_meta_or_by_the_wrong_method_is_refused(fhir: Fhir) -> None:
    address = f"Patient/{fhir.create(patient())['id']}"
    assert fhir.post(f"{address}/$meta-add", {"resourceType": "Parameters"}).status == 400
    assert fhir.post(f"{address}/$meta-add", patient()).status == 400
    assert fhir.get(f"{address}/$meta-add").status == 405
    assert fhir.get("Patient/nobody/$meta").status == 404
    assert fhir.get(f"{address}/$unknown").status == 404
    assert fhir.post(f"{address}/$meta-add", parameters(nonsense=1)).status in (400, 422)
