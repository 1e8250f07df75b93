"""Attack: ask again, by the same words, for a page that somebody else has just been shown, or that was one's own.

Which versions a page had is kept in memory (``storage/page_memory.py``); nobody may be given another's, or what has
been taken from them since.
"""

import pytest

from fhir_server.access.caller import Caller
from tests.access.callers import World, backend, patient, professional
from tests.access.records import circle, concept, consent, document, of, resource

TRUSTED = backend("insurer", trusted=True)
DOCTOR = professional("doctor", "810000000001")


@pytest.fixture
def shared(world: World) -> World:
    """Two records; the doctor is in the care circle of one of them."""
    world.put(
        resource("Patient/marie", birthDate="1979-03-28"),
        resource("Patient/paul", birthDate="1980-01-01"),
        circle("marie", ("810000000001", "ATT")),
        document("a", "marie"),
        document("b", "paul"),
        *(
            resource(f"Observation/{id}", status="final", code=concept("x"), subject=of(f"Patient/{id}"))
            for id in ("marie", "paul")
        ),
    )
    return world


def ids(world: World, caller: Caller, query: str) -> list[str]:
    """Return what a page shows, asked until it would come from memory."""
    for _ in range(3):
        found = world.ask(caller).get(query)
    assert found.status == 200, found.body
    return sorted(entry["resource"]["id"] for entry in found.body.get("entry", ()))


@pytest.mark.parametrize("query", ["Observation?code=x", "Observation", "Observation?status=final&_sort=-date"])
def test_the_same_words_of_another_are_another_page(shared: World, query: str) -> None:
    assert ids(shared, TRUSTED, query) == ["marie", "paul"]
    assert ids(shared, patient("marie"), query) == ["marie"]
    assert ids(shared, patient("paul"), query) == ["paul"]
    assert ids(shared, DOCTOR, query) == ["marie"]
    assert ids(shared, TRUSTED, query) == ["marie", "paul"]


def test_what_is_masked_ends_at_the_next_page(shared: World) -> None:
    query = "DocumentReference?status=current"
    assert ids(shared, DOCTOR, query) == ["a"]
    shared.put(document("a", "marie", "MASQUE_PS"))
    assert ids(shared, DOCTOR, query) == []
    assert ids(shared, patient("marie"), query) == ["a"]


def test_who_is_blocked_or_leaves_the_circle_is_given_no_page_of_before(shared: World) -> None:
    assert ids(shared, DOCTOR, "Observation?code=x") == ["marie"]
    shared.put(consent("block", "marie", "deny", "810000000001"))
    assert ids(shared, DOCTOR, "Observation?code=x") == []


def test_a_closed_record_is_on_no_page_of_the_doctors(shared: World) -> None:
    assert ids(shared, DOCTOR, "Observation?code=x") == ["marie"]
    shared.put(resource("Patient/marie", birthDate="1979-03-28", active=False))
    assert ids(shared, DOCTOR, "Observation?code=x") == []
