"""The searches that the field asks all day: each has its index, and looks at no more than twice what it returns."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote

import pytest

from fhir_server.app import Composition, build_app
from fhir_server.context import current_time
from fhir_server.fhir.json import to_json
from fhir_server.search.indexer import to_index
from fhir_server.settings import Settings
from fhir_server.storage.embedded import EmbeddedMongod
from fhir_server.storage.store import Change, Plan
from tests.rest.fhir import Fhir

PATIENTS, PRACTITIONERS, EVENTS = 2_000, 40, 3_000
INS = "urn:oid:1.2.250.1.213.1.4.8"
LOINC = "http://loinc.org"
FAMILIES = [
    f"{start}{end}"
    for start in ("Mar", "Ber", "Du", "Le", "Mo")
    for end in ("tin", "tinez", "nard", "pont", "roy", "reau", "chand", "vaux")
]
GIVEN = ["Marie", "Marion", "Martine", "Marc", "Maël", "Chloé", "Charles", "Jean-Baptiste", "Jean", "Jeanne", "Léo"]
STATUSES = ["current", "superseded", "entered-in-error"]
TYPES = ["11488-4", "34133-9", "18842-5", "11502-2", "60591-5"]


@dataclass(frozen=True)
class Explained:
    """What ``__explain`` says of the steps that look for the page."""

    indexes: set[str]
    documents: int
    keys: int
    returned: int


@pytest.fixture(scope="module")
def fhir(mongod: EmbeddedMongod, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fhir]:
    """A server with some thousand generated resources."""
    data = tmp_path_factory.mktemp("named")
    composition = Composition(
        Settings.from_environment({}, mongodb_uri=mongod.uri, database="named", data_directory=Path(data), auth="open")
    )
    resources = [*patients(), *documents(), *appointments(), *audit_events()]
    changes = [
        Change(f"{one['resourceType']}/{one['id']}", 0, 1, "PUT", current_time(), to_json(one), to_index(one))
        for one in resources
    ]
    store = composition.store()
    for start in range(0, len(changes), 2_000):
        store.commit(Plan(tuple(changes[start : start + 2_000])))
    yield Fhir(build_app(composition))
    store.connection.client.drop_database("named")
    composition.close()


def patients() -> Iterator[dict[str, Any]]:
    """Yield patients, each with an INS, names, a birth date and a phone; names and days of birth are shared by many."""
    random = Random(4)
    for number in range(PATIENTS):
        yield {
            "resourceType": "Patient",
            "id": f"p{number}",
            "identifier": [{"system": INS, "value": f"2790351{number:06d}"}],
            "name": [{"family": random.choice(FAMILIES), "given": random.sample(GIVEN, random.randrange(1, 4))}],
            "birthDate": str(date(1930, 1, 1) + timedelta(days=random.randrange(100) * 300)),
            "telecom": [{"system": "phone", "value": f"+3361{number:07d}"}],
        }


def documents() -> Iterator[dict[str, Any]]:
    """Yield ten years of documents of a few patients, with all statuses, types and times mixed."""
    random = Random(1)
    for number in range(EVENTS):
        start = date(2015, 1, 1) + timedelta(days=random.randrange(3_650))
        period = {"start": str(start), "end": str(start + timedelta(days=random.randrange(1, 30)))}
        yield {
            "resourceType": "DocumentReference",
            "id": f"d{number}",
            "status": random.choice(STATUSES),
            "type": {"coding": [{"system": LOINC, "code": random.choice(TYPES)}]},
            "subject": {"reference": f"Patient/p{random.randrange(5, 8)}"},
            "date": f"{start + timedelta(days=random.randrange(300))}T10:00:00Z",
            "context": {"period": period},
            "content": [{"attachment": {"url": "urn:oid:1.2.3"}}],
        }


def appointments() -> Iterator[dict[str, Any]]:
    """Yield appointments of all practitioners over two years."""
    random = Random(2)
    for number in range(EVENTS):
        day = date(2025, 1, 1) + timedelta(days=random.randrange(730))
        yield {
            "resourceType": "Appointment",
            "id": f"a{number}",
            "status": "booked",
            "start": f"{day}T09:00:00Z",
            "end": f"{day}T09:20:00Z",
            "participant": [
                {"actor": {"reference": f"Practitioner/{random.randrange(PRACTITIONERS)}"}, "status": "accepted"},
                {"actor": {"reference": f"Patient/p{random.randrange(PATIENTS)}"}, "status": "accepted"},
            ],
        }


def audit_events() -> Iterator[dict[str, Any]]:
    """Yield accesses to the records of the first hundred patients."""
    random = Random(3)
    for number in range(EVENTS):
        day = date(2025, 1, 1) + timedelta(days=random.randrange(730))
        yield {
            "resourceType": "AuditEvent",
            "id": f"e{number}",
            "type": {"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "110110"},
            "recorded": f"{day}T09:00:00Z",
            "agent": [{"who": {"reference": "Practitioner/1"}, "requestor": True}],
            "source": {"observer": {"reference": "Device/1"}},
            "entity": [{"what": {"reference": f"Patient/p{random.randrange(50)}"}}],
        }


SOMEBODY = list(patients())[42]
BORN, NAME = SOMEBODY["birthDate"], SOMEBODY["name"][0]
DOCUMENT = f"DocumentReference?patient=Patient/p7&status=current&type={LOINC}|34133-9"
NAMED = {
    "Patient by INS": (f"Patient?identifier={INS}|2790351000042", {"token"}, 1),
    "Patient by name": ("Patient?name=bernard", {"string"}, 40),
    "Patient by family and given name": ("Patient?family=martin&given=marc", {"string"}, 10),
    "Patient by family and long given name": ("Patient?family=le&given=jean-baptiste", {"string"}, 20),
    "Patient by given name and beginning of family": ("Patient?given=mar&family=dup", {"string"}, 20),
    "Patient by family and birth date": (f"Patient?family={NAME['family']}&birthdate={BORN}", {"string"}, 1),
    "Patient by name and birth date": (f"Patient?name=marie&birthdate={BORN}", {"string"}, 3),
    "Patient by names and birth date": (
        f"Patient?family={NAME['family']}&given={quote(NAME['given'][0])}&birthdate={BORN}",
        {"string"},
        1,
    ),
    "Patient by birth date": (f"Patient?birthdate={BORN}", {"type_date"}, 10),
    "Patient by year of birth": (f"Patient?birthdate={BORN[:4]}", {"type_date"}, 10),
    "Patient by phone": ("Patient?phone=%2B33610000042", {"token"}, 1),
    "DocumentReference by patient, status, type and a narrow period": (
        f"{DOCUMENT}&period=ge2019-03-01&period=lt2019-06-01",
        {"date"},
        1,
    ),
    "DocumentReference by patient, status, type and month": (f"{DOCUMENT}&period=2019-06", {"date"}, 1),
    "DocumentReference by patient, status, type and years": (
        f"{DOCUMENT}&period=ge2016-01-01&period=le2019-12-31",
        {"date"},
        20,
    ),
    "DocumentReference by patient, either status, either type and year": (
        f"{DOCUMENT},{LOINC}|18842-5&period=2019".replace("=current", "=current,superseded"),
        {"date"},
        10,
    ),
    "DocumentReference by patient, type and date": (
        f"DocumentReference?patient=Patient/p7&type={LOINC}|34133-9&date=ge2018-01-01&date=le2021-12-31",
        {"patient_token"},
        5,
    ),
    "Appointment by date and practitioner": (
        "Appointment?practitioner=Practitioner/3&date=ge2025-03-01&date=lt2025-06-01",
        {"reference"},
        5,
    ),
    "AuditEvent by patient and date": (
        "AuditEvent?patient=Patient/p7&date=ge2025-03-01&date=lt2025-09-01",
        {"reference", "patient_token"},
        10,
    ),
}


@pytest.mark.parametrize("name", NAMED)
def test_a_named_search_examines_no_more_than_twice_what_it_returns(fhir: Fhir, name: str) -> None:
    query, indexes, least = NAMED[name]
    found = fhir.get(f"{query}&_count=100")
    assert found.status == 200, found.content
    matches = len(found.resources)
    assert matches >= least
    explained = explain(fhir, f"{query}&_count=100")
    assert explained.returned == matches
    assert explained.indexes <= indexes
    assert explained.documents <= 2 * matches, explained


def explain(fhir: Fhir, query: str) -> Explained:
    """Return the figures of all queries of a search together."""
    reply = fhir.get(f"{query}&__explain=true")
    assert reply.status == 200, reply.content
    assert reply.body["resourceType"] == "Parameters"
    queries = [
        part["part"]
        for step in reply.body["parameter"]
        if step["name"] == "step"
        for part in step["part"]
        if part["name"] == "query"
    ]

    def total(name: str) -> int:
        return sum(part["valueInteger"] for query in queries for part in query if part["name"] == name)

    used = {part["valueString"] for query in queries for part in query if part["name"] == "index"}
    return Explained(used, total("documentsExamined"), total("keysExamined"), total("returned"))
