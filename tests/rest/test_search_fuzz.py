"""Whatever the query string: an answer that is no fault of the server's, and never a slow one.

Here a share of the strings, so that the whole suite stays short; ``scripts/fuzz_search.py`` sends 100,000.
"""

import time
from collections.abc import Iterable

import pytest

from tests.rest.fhir import Fhir, observation, patient
from tests.rest.search_grammar import queries

SHARE = 4_000
SLOWEST = 2.0


@pytest.mark.parametrize("seed", range(3))
def test_no_query_breaks_the_server_or_keeps_it_busy(fhir: Fhir, seed: int) -> None:
    fill(fhir)
    assert failures(fhir, queries(seed, SHARE)) == []


def test_the_strings_are_of_all_kinds(fhir: Fhir) -> None:
    fill(fhir)
    statuses = [fhir.get(query, Prefer="handling=lenient").status for query in queries(99, 300)]
    assert statuses.count(200) > 60
    assert statuses.count(400) > 20


def fill(fhir: Fhir) -> None:
    """Put something in to be found."""
    subject = fhir.create(patient(name=[{"family": "Dupont"}], birthDate="1979-03-28"))
    for value in range(5):
        fhir.create(observation(f"Patient/{subject['id']}", valueInteger=value, effectiveDateTime="2020-02-29"))


def failures(fhir: Fhir, wanted: Iterable[str]) -> list[tuple[str, int, float]]:
    """Return the queries that had a 5xx or took too long, with status and seconds."""
    failed = []
    for number, query in enumerate(wanted):
        began = time.perf_counter()
        status = fhir.get(query, Prefer="handling=lenient" if number % 2 else "handling=strict").status
        seconds = time.perf_counter() - began
        if status >= 500 or seconds > SLOWEST:
            failed.append((query[:300], status, round(seconds, 2)))
    return failed
