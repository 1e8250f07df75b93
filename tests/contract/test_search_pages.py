"""Pages of a search walk through everything once, in order, forward and back; and its queries use their indexes."""

import itertools
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fhir_server.fhir.json import to_json
from fhir_server.search.ast import TokenIn
from fhir_server.search.building import build_and
from fhir_server.search.compiler import Keyset, Query, keyset_of, sort_fields, to_query
from fhir_server.search.indexer import to_index
from fhir_server.search.parser import Search, parse_search
from fhir_server.storage.embedded import EmbeddedMongod
from fhir_server.storage.mongo import MongoStore
from fhir_server.storage.store import Change, Document, Plan
from fhir_server.storage.store import Query as StoreQuery

START = datetime(2020, 1, 1, tzinfo=UTC)


def observation(number: int) -> dict[str, Any]:
    """Every third without a date, dates in pairs that are equal."""
    resource: dict[str, Any] = {
        "resourceType": "Observation",
        "id": f"o{number:03}",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": f"c{number % 2}"}]},
        "subject": {"reference": f"Patient/{number % 3}"},
    }
    if number % 3:
        resource["effectiveDateTime"] = (START + timedelta(days=number // 2)).date().isoformat()
    return resource


@pytest.fixture(scope="module")
def filled(mongod: EmbeddedMongod) -> Iterator[MongoStore]:
    """One database for the tests that only read."""
    store = MongoStore(mongod.uri, f"pages{os.getpid()}")
    store.prepare()
    fill(store)
    yield store
    store.connection.client.drop_database(f"pages{os.getpid()}")
    store.close()


def fill(store: MongoStore) -> None:
    changes = []
    for number in range(40):
        resource = observation(number)
        updated = START + timedelta(seconds=number // 4)
        body = to_json(resource)
        changes.append(Change(f"Observation/{resource['id']}", 0, 1, "PUT", updated, body, to_index(resource)))
    store.commit(Plan(tuple(changes)))


def search(*parameters: tuple[str, str]) -> Search:
    return parse_search("Observation", parameters, strict=True, base_url="http://here.example")


def find(store: MongoStore, query: Query, asked: Search) -> list[Document]:
    found: list[Document] = []
    following: Query | None = query
    while following is not None and len(found) < query.limit:
        fields = sort_fields(asked)
        wanted = query.limit - len(found)
        found += store.find(
            StoreQuery(following.filter, following.sort, wanted, following.hint, with_body=False, index_fields=fields)
        )
        following = following.then
    return found


def walk(
    store: MongoStore, asked: Search, size: int, start: Keyset | None = None, *, told: bool = False
) -> list[list[Document]]:
    """Return the pages; ``told``: each keyset says whether the next entry is equal, as the links do."""
    pages, keyset = [], start
    while True:
        found = find(store, to_query(asked, keyset, size), asked)
        more, page = len(found) > size, found[:size]
        pages.append(page)
        if not more:
            return pages
        last = page[-1]
        keyset = keyset_of(asked, last.reference, last.updated, last.index, keyset is not None and keyset.backward)
        if told:
            beyond = keyset_of(asked, found[size].reference, found[size].updated, found[size].index)
            keyset = replace(keyset, tied=beyond.values[:1] == keyset.values[:1])


@pytest.mark.parametrize("size", [1, 3, 7, 50])
@pytest.mark.parametrize("sort", ["", "date", "-date", "_id", "-_id", "_lastUpdated", "-_lastUpdated"])
@pytest.mark.parametrize("told", [True, False])
def test_pages_hold_every_match_once_and_in_order_both_ways(
    filled: MongoStore, sort: str, size: int, told: bool
) -> None:
    asked = search(*((("_sort", sort),) if sort else ()))
    forward = list(itertools.chain(*walk(filled, asked, size, told=told)))
    assert len({one.reference for one in forward}) == len(forward) == 40
    dates = [one.index.get("ds") for one in forward]
    if sort in ("", "date", "-date"):
        dated = [date for date in dates if date is not None]
        assert dates[: len(dated)] == dated, "absent values last"
        assert dated == sorted(dated, reverse=sort != "date")
    last = forward[-1]
    back = Keyset(keyset_of(asked, last.reference, last.updated, last.index).values, backward=True)
    backward = list(itertools.chain(*walk(filled, asked, size, back, told=told)))
    assert [one.reference for one in backward] == [one.reference for one in forward[-2::-1]]


@pytest.mark.parametrize("sort", ["", "date", "-date", "_lastUpdated", "-_lastUpdated"])
def test_ties_are_asked_for_by_themselves_and_found_all_the_same(filled: MongoStore, sort: str) -> None:
    asked = search(*((("_sort", sort),) if sort else ()))
    forward = list(itertools.chain(*walk(filled, asked, 50)))
    for place, document in enumerate(forward):
        values = keyset_of(asked, document.reference, document.updated, document.index).values
        for inclusive in (False, True):
            after = find(filled, to_query(asked, Keyset(values, False, inclusive, tied=True), 50), asked)
            assert [one.reference for one in after] == [one.reference for one in forward[place + 1 - inclusive :]]
            before = find(filled, to_query(asked, Keyset(values, True, inclusive, tied=True), 50), asked)
            expected = [one.reference for one in forward[: place + inclusive]]
            assert [one.reference for one in before] == expected[::-1]


def test_a_page_among_many_equal_dates_examines_what_it_returns(store: MongoStore) -> None:
    resources = [{**observation(1), "id": f"o{number:04}"} for number in range(600)]
    changes = [Change(f"Observation/{one['id']}", 0, 1, "PUT", START, to_json(one), to_index(one)) for one in resources]
    store.commit(Plan(tuple(changes)))
    asked = search(("code", "c1"))
    first = find(store, to_query(asked, None, 500), asked)[499]
    values = keyset_of(asked, first.reference, first.updated, first.index).values
    query = to_query(asked, Keyset(values, tied=True), 20)
    cursor = store.connection.database["resources"].find(query.filter).sort(list(query.sort)).limit(query.limit)
    statistics = cursor.hint(query.hint or "").explain()["executionStats"]
    assert statistics["nReturned"] == 21
    assert statistics["totalDocsExamined"] <= 22


def test_a_deleted_resource_is_in_no_search(store: MongoStore) -> None:
    fill(store)
    store.commit(Plan((Change("Observation/o001", 1, 2, "DELETE", START, None, {}),)))
    for asked in (search(), search(("code:not", "nothing")), search(("code:missing", "false"))):
        found = find(store, to_query(asked, None, 100), asked)
        assert len(found) == 39
    everywhere = parse_search(None, (), strict=True, base_url="http://here.example")
    assert len(find(store, to_query(everywhere, None, 100), everywhere)) == 39


@pytest.mark.parametrize(
    ("parameters", "index"),
    [
        ((("code", "http://loinc.org|c1"),), "token"),
        ((("code", "c1"), ("_sort", "date")), "token"),
        ((("patient", "Patient/1"), ("code", "c1")), "patient_token"),
        ((("patient", "Patient/1"),), "patient_token"),
        ((("code", "c1"), ("date", "ge2020-01-03"), ("date", "lt2020-01-05")), "token"),
        ((("patient", "Patient/1"), ("date", "ge2020-01-03")), "patient_token"),
        ((("date", "gt2020-01-03"),), "token"),
        ((("encounter", "Encounter/1"),), "reference"),
        ((), "type_date"),
    ],
)
def test_the_query_reads_an_index_in_order(
    filled: MongoStore, parameters: tuple[tuple[str, str], ...], index: str
) -> None:
    query = to_query(search(*parameters), None, 10)
    while query is not None:
        cursor = filled.connection.database["resources"].find(query.filter).sort(list(query.sort)).limit(query.limit)
        if query.hint is not None:
            cursor = cursor.hint(query.hint)
        stages = list(stages_of(cursor.explain()["queryPlanner"]["winningPlan"]))
        assert {name for _, name in stages if name} == {index}
        assert "SORT" not in {stage for stage, _ in stages}
        query = query.then


def test_a_narrowing_tree_is_part_of_the_query(filled: MongoStore) -> None:
    asked = search(("code", "c1"))
    narrowed = build_and([asked.tree, TokenIn(("Observation.code||nothing",))])
    assert find(filled, to_query(asked, None, 10, narrowed), asked) == []


def stages_of(plan: dict[str, Any]) -> list[tuple[str, str | None]]:
    found = [(plan["stage"], plan.get("indexName"))]
    for inner in [plan[key] for key in ("inputStage",) if key in plan] + plan.get("inputStages", []):
        found += stages_of(inner)
    return found
