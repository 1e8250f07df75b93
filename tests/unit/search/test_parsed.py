"""A search that has been asked before is not read again, and says what reading it again would say."""

from datetime import UTC, datetime, timedelta

import pytest

from fhir_server.errors import NotSupported
from fhir_server.search.compiler import to_query
from fhir_server.search.parsed import parsed_search
from fhir_server.search.parser import parse_search
from fhir_server.search.stored import StoredParameters, stored_parameters_in_force

BASE = "https://example.org/fhir"
NOW = datetime(2026, 5, 4, tzinfo=UTC)
PAIRS = (("code", "8302-2"), ("_count", "50"))


@pytest.mark.parametrize(
    ("kind", "pairs"),
    [
        ("Observation", PAIRS),
        ("Observation", (("date", "ap2020"),)),
        ("Observation", (("code", "x" * 400),)),
        (None, (("_type", "Patient,Observation"), ("_lastUpdated", "gt2020"))),
        ("Patient", ()),
    ],
)
def test_it_says_what_the_parser_says(kind: str | None, pairs: tuple[tuple[str, str], ...]) -> None:
    expected = parse_search(kind, pairs, strict=True, base_url=BASE, now=NOW)
    for _ in range(2):
        assert parsed_search(kind, pairs, strict=True, base_url=BASE, now=NOW) == expected


def test_the_same_question_is_read_once() -> None:
    first = parsed_search("Observation", PAIRS, strict=True, base_url=BASE, now=NOW)
    assert parsed_search("Observation", list(PAIRS), strict=True, base_url=BASE, now=NOW + timedelta(days=1)) is first


def test_about_a_date_is_measured_anew() -> None:
    pairs = (("date", "ap2020-01-01"),)
    first, later = (
        parsed_search("Observation", pairs, strict=True, base_url=BASE, now=now).tree
        for now in (NOW, NOW + timedelta(days=400))
    )
    assert first != later


def test_another_type_base_or_handling_is_another_search() -> None:
    pairs = (("identifier", "1"),)
    found = [
        parsed_search(kind, pairs, strict=strict, base_url=base, now=NOW)
        for kind in ("Patient", "Encounter")
        for strict in (True, False)
        for base in (BASE, "https://other.example/fhir")
    ]
    assert len({id(one) for one in found}) == 8


def test_what_was_refused_is_refused_again() -> None:
    for _ in range(2):
        with pytest.raises(NotSupported):
            parsed_search("Observation", (("nothing", "1"),), strict=True, base_url=BASE, now=NOW)


def test_other_parameters_in_force_have_it_read_again() -> None:
    first = parsed_search("Observation", PAIRS, strict=True, base_url=BASE, now=NOW)
    with stored_parameters_in_force(StoredParameters(7)):
        again = parsed_search("Observation", PAIRS, strict=True, base_url=BASE, now=NOW)
    assert again is not first
    assert again == first


def test_the_first_page_of_the_same_search_is_compiled_once_and_large_ones_each_time() -> None:
    search = parse_search("Observation", PAIRS, strict=True, base_url=BASE, now=NOW)
    again = parse_search("Observation", PAIRS, strict=True, base_url=BASE, now=NOW)
    assert to_query(search, None, 50) is to_query(again, None, 50)
    assert to_query(search, None, 50) != to_query(search, None, 20)
    large = parse_search("Observation", [("code", ",".join(map(str, range(60))))], strict=True, base_url=BASE, now=NOW)
    assert to_query(large, None, 50) is not to_query(large, None, 50)
    assert to_query(large, None, 50) == to_query(large, None, 50)
