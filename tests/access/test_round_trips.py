"""What the policy adds to a request in commands to the database: a fixed number, however many hits and patients."""

from collections.abc import Callable
from typing import Any

import pytest

from fhir_server.access.caller import LOCAL_CALLER, Caller
from fhir_server.app import Composition, build_app
from fhir_server.storage.mongo import MongoStore
from tests.access.callers import IDNAT, backend, patient, professional
from tests.rest.fhir import Fhir, entry, observation

Counted = Callable[[Caller, Callable[[Fhir], Any]], list[str]]


@pytest.fixture
def counted(composition: Composition) -> Counted:
    """Return a function that gives the commands of what a caller does."""
    names: list[str] = []
    speaking = [LOCAL_CALLER]
    settings = composition.settings
    store = MongoStore(settings.mongodb_uri or "", settings.database, listener=names.append)
    store.prepare()
    composition._store = store
    fhir = Fhir(build_app(composition, authenticate=lambda environ: speaking[0]))
    fhir.get("Patient?identifier=warm")

    def count(caller: Caller, work: Callable[[Fhir], Any]) -> list[str]:
        names.clear()
        speaking[0] = caller
        work(fhir)
        return [name for name in names if name not in ("hello", "ping", "endSessions")]

    return count


def put(*ids: str) -> Callable[[Fhir], Any]:
    resources = [{"resourceType": "Patient", "id": id} for id in ids]
    return lambda fhir: fhir.transact(*(entry("PUT", f"Patient/{one['id']}", one) for one in resources))


def test_a_patients_record_is_looked_at_with_what_is_read_and_before_what_is_searched(
    counted: Counted,
) -> None:
    counted(LOCAL_CALLER, put("marie", "luc", "lea"))
    marie, luc, lea = patient("marie"), patient("luc"), patient("lea")
    assert counted(marie, lambda fhir: fhir.get("Patient/marie")) == ["find", "insert"]
    assert counted(luc, lambda fhir: fhir.get("Observation")) == ["find", "find", "insert"]
    other = counted(luc, lambda fhir: fhir.get("Observation?status=final"))
    assert other == ["find", "insert"], "found open a moment ago"
    assert counted(lea, lambda fhir: fhir.get("Patient?_has:Observation:patient:status=final")) == ["find"] * 3 + [
        "insert"
    ]


@pytest.mark.parametrize("patients", [1, 30])
def test_a_professionals_search_costs_the_same_whomever_they_care_for(counted: Counted, patients: int) -> None:
    ids = [f"p{number}" for number in range(patients)]
    counted(LOCAL_CALLER, put(*ids))
    circles = [
        {
            "resourceType": "CareTeam",
            "id": id,
            "status": "active",
            "subject": {"reference": f"Patient/{id}"},
            "participant": [{"member": {"identifier": {"system": IDNAT, "value": "899700218896"}}}],
        }
        for id in ids
    ]
    counted(LOCAL_CALLER, lambda fhir: fhir.transact(*(entry("PUT", f"CareTeam/{one['id']}", one) for one in circles)))
    doctor = professional("gp", "899700218896")
    found: list[Any] = []
    commands = counted(doctor, lambda fhir: found.append(fhir.get("Patient?_count=50")))
    assert len(found[0].ids) == patients
    assert commands == [*["find"] * 4, "insert"], "who is cared for, emergencies, their records, the page; the trail"


@pytest.mark.parametrize("entries", [1, 25])
def test_a_structures_transaction_costs_the_same_whatever_its_size(counted: Counted, entries: int) -> None:
    ids = [f"p{number}" for number in range(entries)]
    counted(LOCAL_CALLER, put(*ids))
    hospital = backend("hospital")
    bundle = [entry("POST", "Observation", observation(f"Patient/{id}")) for id in ids]
    replies: list[Any] = []
    commands = counted(hospital, lambda fhir: replies.append(fhir.transact(*bundle)))
    assert replies[0].status == 200, replies[0].content
    assert commands == ["find", "find", *["insert"] * 4, "commitTransaction"], (
        "records, targets, the plan with its trail"
    )


@pytest.mark.parametrize("reports", [1, 30])
def test_a_page_of_what_lists_others_is_one_look_more_however_much_it_lists(counted: Counted, reports: int) -> None:
    counted(LOCAL_CALLER, put("marie"))
    seen = [{**observation("Patient/marie"), "id": f"o{number}"} for number in range(3 * reports)]
    counted(LOCAL_CALLER, lambda fhir: fhir.transact(*(entry("PUT", f"Observation/{one['id']}", one) for one in seen)))
    listing = [
        {
            "resourceType": "DiagnosticReport",
            "id": f"r{number}",
            "status": "final",
            "code": {"text": "x"},
            "subject": {"reference": "Patient/marie"},
            "result": [{"reference": f"Observation/o{3 * number + each}"} for each in range(3)],
        }
        for number in range(reports)
    ]
    counted(
        LOCAL_CALLER,
        lambda fhir: fhir.transact(*(entry("PUT", f"DiagnosticReport/{one['id']}", one) for one in listing)),
    )
    circle = {
        "resourceType": "CareTeam",
        "id": "marie",
        "status": "active",
        "subject": {"reference": "Patient/marie"},
        "participant": [{"member": {"identifier": {"system": IDNAT, "value": "899700218896"}}}],
    }
    counted(LOCAL_CALLER, lambda fhir: fhir.transact(entry("PUT", "CareTeam/marie", circle)))
    doctor, found = professional("gp", "899700218896"), []
    listing_nothing = counted(doctor, lambda fhir: fhir.get("Observation?_count=50"))
    assert counted(doctor, lambda fhir: found.append(fhir.get("DiagnosticReport?_count=50"))) == [
        "find",
        *listing_nothing,
    ], "what the page lists; the rest as for a page that lists nothing"
    assert len(found[0].ids) == reports
