"""What is read of the records that a professional takes part in: all of them, or the request is refused."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from fhir_server.access.caller import Caller
from fhir_server.errors import TooCostly
from fhir_server.fhir.json import to_json
from fhir_server.repository.facts import FactsReader
from fhir_server.search.indexer import to_index
from fhir_server.storage.mongo import MongoStore
from fhir_server.storage.store import Change, Plan

NOW = datetime(2026, 5, 4, tzinfo=UTC)
DOCTOR = Caller("professional-gp", "professional", "lps", user="Practitioner/gp")


def put(store: MongoStore, *resources: dict[str, object]) -> None:
    changes = (
        Change(f"{one['resourceType']}/{one['id']}", 0, 1, "PUT", NOW, to_json(one), to_index(one)) for one in resources
    )
    store.commit(Plan(tuple(changes)))


def circle(patient: str, number: int = 0) -> dict[str, object]:
    return {
        "resourceType": "CareTeam",
        "id": f"{patient}-{number}",
        "status": "active",
        "subject": {"reference": f"Patient/{patient}"},
        "participant": [{"member": {"reference": "Practitioner/gp"}}],
    }


def of_patients(store: MongoStore, patients: Sequence[str], circles: int) -> FactsReader:
    put(store, *({"resourceType": "Patient", "id": one} for one in patients))
    put(store, *(circle(one, number) for one in patients for number in range(circles)))
    return FactsReader(store, store.records, DOCTOR, NOW, "http://here.example/fhir", most_records=3)


def test_however_much_names_a_professional_in_a_record_none_of_the_records_is_left_out(store: MongoStore) -> None:
    facts = of_patients(store, ("a", "b", "c"), circles=4)(None)
    assert {record.patient for record in facts.records} == {"Patient/a", "Patient/b", "Patient/c"}
    assert all(record.care_team for record in facts.records)


@pytest.mark.parametrize(
    ("patients", "circles"), [(("a", "b", "c", "d"), 1), (("a", "b"), 7)], ids=["records", "what names them"]
)
def test_who_takes_part_in_more_than_can_be_looked_at_is_refused(
    store: MongoStore, patients: tuple[str, ...], circles: int
) -> None:
    read = of_patients(store, patients, circles)
    with pytest.raises(TooCostly):
        read(None)
    assert [record.patient for record in read(("Patient/a",)).records] == ["Patient/a"], "one of them is always read"
