"""Unmodified FHIR clients against a real server process: fhirpy and fhirclient do CRUD, search and transaction."""

from typing import Any

import pytest
from fhirclient import client as fhirclient
from fhirclient.models.humanname import HumanName
from fhirclient.models.patient import Patient
from fhirpy import SyncFHIRClient
from fhirpy.base.exceptions import OperationOutcome, ResourceNotFound


@pytest.fixture
def base_url(server: Any) -> str:
    return f"{server.url}/fhir"


def test_fhirpy_creates_reads_updates_searches_and_deletes(base_url: str) -> None:
    client = SyncFHIRClient(base_url)
    patient = client.resource("Patient", name=[{"family": "Fhirpy", "given": ["Ada"]}], birthDate="1979-03-28")
    patient.save()
    assert patient.id
    patient["active"] = True
    patient.save()
    assert client.reference("Patient", patient.id).to_resource()["meta"]["versionId"] == "2"
    found = client.resources("Patient").search(family="fhirpy", birthdate__ge="1979").fetch_all()
    assert [one.id for one in found] == [patient.id]
    assert client.resources("Patient").search(family="fhirpy", _total="accurate").fetch_raw()["total"] == 1
    patient.delete()
    with pytest.raises((ResourceNotFound, OperationOutcome)):
        client.reference("Patient", patient.id).to_resource()


def test_fhirpy_follows_pages(base_url: str) -> None:
    client = SyncFHIRClient(base_url)
    for _ in range(7):
        client.resource("Basic", code={"coding": [{"system": "http://example.org", "code": "paged"}]}).save()
    found = client.resources("Basic").search(code="http://example.org|paged").limit(3).fetch_all()
    assert len({one.id for one in found}) == 7


def test_fhirpy_patches_and_sends_transactions(base_url: str) -> None:
    client = SyncFHIRClient(base_url)
    full_url = "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0"
    observation = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": full_url},
    }
    answer = client.execute(
        "",
        method="post",
        data={
            "resourceType": "Bundle",
            "type": "transaction",
            "entry": [
                {
                    "fullUrl": full_url,
                    "resource": {"resourceType": "Patient"},
                    "request": {"method": "POST", "url": "Patient"},
                },
                {"resource": observation, "request": {"method": "POST", "url": "Observation"}},
            ],
        },
    )
    assert [entry["response"]["status"][:3] for entry in answer["entry"]] == ["201", "201"]
    id = answer["entry"][0]["response"]["location"].split("/")[1]
    assert len(client.resources("Observation").search(subject=f"Patient/{id}").fetch()) == 1


# fhirclient 4 asks requests for what requests will give no more.
@pytest.mark.filterwarnings("ignore::DeprecationWarning:fhirclient")
def test_fhirclient_creates_reads_updates_searches_and_deletes(base_url: str) -> None:
    smart = fhirclient.FHIRClient(settings={"app_id": "tests", "api_base": base_url})
    assert smart.ready or smart.prepare()
    patient = Patient({"name": [{"family": "Fhirclient"}], "birthDate": "1979-03-28"})
    answer = patient.create(smart.server)
    assert answer is not None
    stored = Patient.read(answer["id"], smart.server)
    assert stored.name[0].family == "Fhirclient"
    name = HumanName()
    name.family = "Renamed"
    stored.name = [name]
    assert stored.update(smart.server)["meta"]["versionId"] == "2"
    found = Patient.where({"family": "renamed"}).perform_resources(smart.server)
    assert [one.id for one in found] == [stored.id]
    stored.delete()
    assert Patient.where({"family": "renamed"}).perform_resources(smart.server) == []
