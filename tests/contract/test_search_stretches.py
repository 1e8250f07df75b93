"""A search between dates, newest first, reads what the index answers before what has to be looked at: page by page it
finds what the conditions say, in order, forward and back.
"""

import itertools
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.fhir.json import to_json
from fhir_server.search.compiler import Keyset, Query, keyset_of, to_query
from fhir_server.search.indexer import to_index
from fhir_server.search.matcher import index_document, matches
from fhir_server.search.parser import Search, parse_search
from fhir_server.storage.commands import to_find
from fhir_server.storage.embedded import EmbeddedMongod
from fhir_server.storage.mongo import MongoStore
from fhir_server.storage.store import Change, Document, Plan
from fhir_server.storage.store import Query as StoreQuery

UPDATED = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = ("2009-12-30", "2009-12-31", "2010-01-01", "2010-01-02", "2010-06-15", "2014-12-31", "2015-01-01")
DATES = (*DAYS, *(f"{day}T{time}Z" for day in DAYS for time in ("00:00:00", "12:00:00", "23:59:59")), "2009", "2010")
PERIODS = (
    {"start": "2009-12-31T23:00:00Z", "end": "2010-01-01T01:00:00Z"},
    {"start": "2009-12-01", "end": "2015-02-01"},
    {"start": "2009-12-31T12:00:00Z"},
    {"start": "2010-01-01", "end": "2010-01-01"},
    {"start": "2014-12-31T23:00:00Z", "end": "2015-01-01T01:00:00Z"},
    {"end": "2010-01-01"},
)
ASKED = ("2009", "2009-12-31", "2010", "2010-01-01", "2010-01-01T12:00:00Z", "2014-12", "2015", "9999-12-31")
LATE = datetime(9999, 12, 31, tzinfo=UTC)


def observations() -> Iterator[dict[str, Any]]:
    """Yield one Observation with each date and each period for both of two codes, and one without a date."""
    times: list[dict[str, Any]] = [{"effectiveDateTime": date} for date in DATES]
    times += [{"effectivePeriod": period} for period in PERIODS]
    for number, (time, code) in enumerate(itertools.product([*times, {}], ("a", "b"))):
        coding = {"coding": [{"code": code}]}
        yield {"resourceType": "Observation", "id": f"o{number:03}", "status": "final", "code": coding, **time}


@pytest.fixture(scope="module")
def filled(mongod: EmbeddedMongod) -> Iterator[MongoStore]:
    """One database for the tests that only read."""
    store = MongoStore(mongod.uri, f"stretches{os.getpid()}", body_cache=0)
    store.prepare()
    changes = [
        Change(f"Observation/{one['id']}", 0, 1, "PUT", UPDATED, to_json(one), to_index(one)) for one in observations()
    ]
    store.commit(Plan(tuple(changes)))
    yield store
    store.connection.client.drop_database(f"stretches{os.getpid()}")
    store.close()


def expected(asked: Search) -> list[str]:
    """Return what the matcher finds among all, newest first."""
    found = []
    for one in observations():
        document = index_document(f"Observation/{one['id']}", UPDATED, to_index(one))
        if matches(asked.tree, document):
            found.append((document.get("ds") or datetime.min.replace(tzinfo=UTC), document["_id"]))
    return [reference for _, reference in sorted(found, reverse=True)]


def find(store: MongoStore, query: Query) -> list[Document]:
    """Return what a query finds, stretch by stretch."""
    found: list[Document] = []
    part: Query | None = query
    while part is not None and len(found) < query.limit:
        found += store.find(
            StoreQuery(part.filter, part.sort, query.limit - len(found), part.hint, index_fields=("ds",))
        )
        part = part.then
    return found


def walk(store: MongoStore, asked: Search, size: int, keyset: Keyset | None) -> list[Document]:
    """Return all pages one after the other."""
    found: list[Document] = []
    while True:
        page = find(store, to_query(asked, keyset, size))
        found += page[:size]
        if len(page) <= size:
            return found
        last, beyond = page[size - 1 :]
        backward = keyset is not None and keyset.backward
        keyset = keyset_of(asked, last.reference, last.updated, last.index, backward)
        keyset = replace(keyset, tied=last.index["ds"] == beyond.index["ds"])


conditions = st.tuples(st.sampled_from(("ge", "gt", "le", "lt", "eq", "ne", "sa", "eb", "ap")), st.sampled_from(ASKED))


@given(st.lists(conditions, min_size=1, max_size=3), st.sampled_from(("", "a", "a,b")), st.sampled_from((1, 4, 100)))
def test_pages_hold_what_the_conditions_say_in_order_both_ways(
    filled: MongoStore, dates: list[tuple[str, str]], code: str, size: int
) -> None:
    pairs = [("date", f"{prefix}{date}") for prefix, date in dates] + ([("code", code)] if code else [])
    asked = parse_search("Observation", pairs, strict=True, base_url="http://here.example", now=UPDATED)
    forward = walk(filled, asked, size, None)
    assert [one.reference for one in forward] == expected(asked)
    if forward:
        last = forward[-1]
        back = keyset_of(asked, last.reference, last.updated, last.index, backward=True)
        backward = walk(filled, asked, size, back)
        assert [one.reference for one in backward] == [one.reference for one in forward[-2::-1]]


@pytest.mark.parametrize(
    "dates",
    [
        ("ge2010-01-01",),
        ("gt2009-12-31",),
        ("ge2010-01-01", "lt2015-01-01"),
        ("ge2010-01-01", "le2014-12-30"),
        ("ap2010-06-15",),
    ],
)
@pytest.mark.parametrize("code", ["a", ""])
@pytest.mark.parametrize("page", [1, 2])
def test_a_page_that_is_full_looks_at_no_document(
    filled: MongoStore, dates: tuple[str, ...], code: str, page: int
) -> None:
    pairs = [("date", date) for date in dates] + ([("code", code)] if code else [])
    asked = parse_search("Observation", pairs, strict=True, base_url="http://here.example", now=UPDATED)
    keyset = None
    for _ in range(page):
        query = to_query(asked, keyset, 3)
        last = find(filled, query)[2]
        keyset = replace(keyset_of(asked, last.reference, last.updated, last.index), tied=False)
    command = {
        **to_find(StoreQuery(query.filter, query.sort, 4, query.hint), 1_000),
        "projection": {"updated": 1},
    }
    del command["readConcern"], command["maxTimeMS"]
    account = filled.connection.database.command({"explain": command, "verbosity": "executionStats"})
    assert account["executionStats"]["nReturned"] == 4
    assert account["executionStats"]["totalDocsExamined"] == 0


def test_a_search_from_a_moment_after_the_page_before_asks_for_the_rest_alone(filled: MongoStore) -> None:
    asked = parse_search("Observation", [("date", "ge2010")], strict=True, base_url="http://here.example")
    early = datetime(2009, 12, 31, tzinfo=UTC)
    assert to_query(asked, Keyset((early, "Observation/o001")), 3).then is None
    assert to_query(asked, Keyset((LATE, "Observation/o001")), 3).then is not None
