"""What a whole request costs in commands to the database: a fixed number, however many hits or entries."""

from collections.abc import Callable

import pytest

from fhir_server.app import Composition, build_app
from fhir_server.storage.mongo import MongoStore
from tests.rest.fhir import Fhir, entry, observation, patient

SYSTEM = "http://example.org/ids"
WRITE = ["insert", "insert", "insert", "commitTransaction"]
Counted = tuple[Fhir, Callable[[], list[str]]]


@pytest.fixture
def counted(composition: Composition) -> Counted:
    """A client, and a function that returns the names of the commands sent since it was last called."""
    names: list[str] = []
    settings = composition.settings
    store = MongoStore(settings.mongodb_uri or "", settings.database, listener=names.append)
    store.prepare()
    composition._store = store
    fhir = Fhir(build_app(composition))
    fhir.get("Patient?identifier=warm")

    def taken() -> list[str]:
        sent = [name for name in names if name not in ("hello", "ping")]
        names.clear()
        return sent

    taken()
    return fhir, taken


def identified(value: str) -> dict[str, object]:
    return patient(identifier=[{"system": SYSTEM, "value": value}])


def test_a_read_is_one_command(counted: Counted) -> None:
    fhir, taken = counted
    id = fhir.create(patient())["id"]
    taken()
    for path in (f"Patient/{id}", f"Patient/{id}/_history/1", f"Patient/{id}/_history"):
        assert fhir.get(path).status == 200
        assert taken() == ["find"]


@pytest.mark.parametrize("hits", [1, 40])
def test_a_search_is_one_command_and_its_includes_one_more(counted: Counted, hits: int) -> None:
    fhir, taken = counted
    subject = fhir.create(patient())
    encounter = fhir.create({"resourceType": "Encounter", "status": "finished", "class": {"code": "AMB"}})
    reference = {"reference": f"Encounter/{encounter['id']}"}
    for _ in range(hits):
        fhir.create(observation(f"Patient/{subject['id']}", encounter=reference))
    taken()
    assert len(fhir.get("Observation?status=final&_count=50").ids) == hits
    assert taken() == ["find"]
    found = fhir.get(
        "Observation?status=final&_count=50&_include=Observation:subject&_include=Observation:encounter"
        "&_revinclude=Provenance:target"
    )
    assert len(found.ids) == hits + 2
    assert len(taken()) == 2


def test_a_single_write_reads_once_at_the_most_and_commits_once(counted: Counted) -> None:
    fhir, taken = counted
    id = fhir.create(patient())["id"]
    assert taken() == WRITE
    one = fhir.create(observation(f"Patient/{id}"))
    assert taken() == ["find", *WRITE]
    fhir.put(f"Patient/{id}", patient(id=id, active=True))
    assert taken() == ["find", "insert", "update", "insert", "commitTransaction"]
    fhir.delete(f"Observation/{one['id']}")
    assert taken() == ["find", "aggregate", "insert", "update", "insert", "commitTransaction"]


@pytest.mark.parametrize("entries", [1, 25])
def test_a_transaction_of_any_size_takes_the_same_commands(counted: Counted, entries: int) -> None:
    fhir, taken = counted
    known = fhir.create(identified("known"))
    kept = [fhir.create(patient())["id"] for _ in range(entries)]
    taken()
    bundle = [
        *(entry("POST", "Observation", observation(f"Patient?identifier={SYSTEM}|known")) for _ in range(entries)),
        *(entry("POST", "Patient", identified(str(n)), ifNoneExist=f"identifier={SYSTEM}|{n}") for n in range(entries)),
        *(entry("PUT", f"Patient/{id}", patient(id=id, active=True)) for id in kept),
        *(entry("POST", "Observation", observation(f"Patient/{known['id']}")) for _ in range(entries)),
    ]
    assert fhir.transact(*bundle).status == 200
    looked_up = ["find", "aggregate", "find", "find"]  # guards, criteria, present versions, targets
    assert taken() == [*looked_up, "insert", "insert", "update", "update", "insert", "commitTransaction"]
