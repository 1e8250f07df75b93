"""Random orders, read page by page in both directions, are what sorting the resources by hand gives."""

import functools
import os
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.fhir.decimals import parse_number
from fhir_server.fhir.json import to_json
from fhir_server.repository.searching import run
from fhir_server.search.compiler import Keyset, keyset_of, page_fields, to_query
from fhir_server.search.indexer import to_index
from fhir_server.search.parser import Search, parse_search
from fhir_server.storage.embedded import EmbeddedMongod
from fhir_server.storage.mongo import MongoStore
from fhir_server.storage.store import Change, Document, Plan

START = datetime(2020, 1, 1, tzinfo=UTC)
NAMES = ("Adam", "adam", "Émile", "emil", "Zoe", "zz top", "Ö")
FOLDED = {"Émile": "emile", "Ö": "o"}
DAYS = ("2019", "2019-12", "2020-01-01", "2020-01-02", "2021-05")
STARTS = {"2019": "2019-01-01", "2019-12": "2019-12-01", "2021-05": "2021-05-01"}
UNITS = {"s": 1, "min": 60, "h": 3600}
Values = Callable[[dict[str, Any]], list[Any]]


def maybe(source: random.Random, value: Any) -> list[Any]:
    return [value] if source.random() < 0.7 else []


def patient(number: int) -> dict[str, Any]:
    source = random.Random(number)
    names = [{"family": source.choice(NAMES), "given": [source.choice(NAMES)]} for _ in range(source.randrange(3))]
    resource: dict[str, Any] = {"resourceType": "Patient", "id": f"p{number:03}", "name": names}
    for name, choices in (("gender", ("male", "female")), ("birthDate", DAYS), ("deceasedDateTime", DAYS)):
        if found := maybe(source, source.choice(choices)):
            resource[name] = found[0]
    for target in maybe(source, source.choice("abc")):
        resource["managingOrganization"] = {"reference": f"Organization/{target}"}
    return {name: value for name, value in resource.items() if value != []}


def encounter(number: int) -> dict[str, Any]:
    source = random.Random(number)
    resource: dict[str, Any] = {"resourceType": "Encounter", "id": f"e{number:03}", "status": "finished"}
    for start in maybe(source, source.choice(DAYS)):
        resource["period"] = {"start": start}
    unit = source.choice(sorted(UNITS))
    for value in maybe(source, source.choice(("1", "60", "0.5", "3600"))):
        code = {"system": "http://unitsofmeasure.org", "code": unit}
        resource["length"] = {"value": parse_number(value), **code}
    days = [source.choice(DAYS) for _ in range(source.randrange(3))]
    places = [{"location": {"display": "x"}, "period": {"start": day}} for day in days]
    return resource | ({"location": places} if places else {})


def start_of(text: str) -> str:
    return STARTS.get(text, text)


def folded(texts: list[str]) -> list[str]:
    return [FOLDED.get(text, text.lower()) for text in texts]


def seconds(length: dict[str, Any]) -> float:
    return float(length["value"]) * UNITS[length["code"]]


VALUES: dict[str, dict[str, Values]] = {
    "Patient": {
        "family": lambda one: folded([name["family"] for name in one.get("name", [])]),
        "given": lambda one: folded([given for name in one.get("name", []) for given in name["given"]]),
        "gender": lambda one: [one["gender"]] if "gender" in one else [],
        "birthdate": lambda one: [start_of(one["birthDate"])] if "birthDate" in one else [],
        "death-date": lambda one: [start_of(one["deceasedDateTime"])] if "deceasedDateTime" in one else [],
        "organization": lambda one: [one["managingOrganization"]["reference"]] if "managingOrganization" in one else [],
    },
    "Encounter": {
        "date": lambda one: [start_of(one["period"]["start"])] if "period" in one else [],
        "length": lambda one: [seconds(one["length"])] if "length" in one else [],
        "location-period": lambda one: [start_of(place["period"]["start"]) for place in one.get("location", [])],
        "status": lambda one: [one["status"]],
    },
}
COMMON: dict[str, Values] = {
    "_id": lambda one: [one["id"]],
    "_lastUpdated": lambda one: [int(one["id"][1:]) // 7],
}
RESOURCES = {"Patient": [patient(number) for number in range(60)], "Encounter": [encounter(n) for n in range(60)]}


@pytest.fixture(scope="module")
def filled(mongod: EmbeddedMongod) -> Iterator[MongoStore]:
    name = f"sorting{os.getpid()}"
    store = MongoStore(mongod.uri, name)
    store.prepare()
    changes = []
    for resource in (one for each in RESOURCES.values() for one in each):
        updated = START + timedelta(seconds=int(resource["id"][1:]) // 7)
        reference = f"{resource['resourceType']}/{resource['id']}"
        changes.append(Change(reference, 0, 1, "PUT", updated, to_json(resource), to_index(resource)))
    store.commit(Plan(tuple(changes)))
    yield store
    store.connection.client.drop_database(name)
    store.close()


def in_order(kind: str, keys: list[str]) -> list[str]:
    """Return the ids as the keys order them: absent values last, equal ones by id in the first key's direction."""
    names = [key.removeprefix("-") for key in keys]
    tie = [] if "_id" in names else ["-_id" if keys[0].startswith("-") else "_id"]

    def compare(one: dict[str, Any], other: dict[str, Any]) -> int:
        for key in [*keys, *tie]:
            values = (COMMON | VALUES[kind])[key.removeprefix("-")]
            least, sign = (max, -1) if key.startswith("-") else (min, 1)
            left, right = values(one), values(other)
            if bool(left) != bool(right):
                return -1 if left else 1
            if left and least(left) != least(right):
                return sign if least(left) > least(right) else -sign
        return 0

    return [one["id"] for one in sorted(RESOURCES[kind], key=functools.cmp_to_key(compare))]


def walk(store: MongoStore, asked: Search, size: int, start: Keyset | None) -> list[Document]:
    found: list[Document] = []
    keyset = start
    while True:
        page = run(store, to_query(asked, keyset, size), page_fields(asked), tree=asked.tree, with_body=False)
        found += page[:size]
        if len(page) <= size:
            return found
        last = page[size - 1]
        keyset = keyset_of(asked, last.reference, last.updated, last.index, keyset is not None and keyset.backward)


@st.composite
def orders(draw: st.DrawFn) -> tuple[str, list[str]]:
    kind = draw(st.sampled_from(sorted(VALUES)))
    codes = draw(st.lists(st.sampled_from(sorted(COMMON | VALUES[kind])), min_size=1, max_size=4, unique=True))
    return kind, [draw(st.sampled_from(("", "-"))) + code for code in codes]


@given(order=orders(), size=st.sampled_from((1, 7, 20, 59, 60, 100)))
def test_every_order_is_that_of_the_values_both_ways(
    filled: MongoStore, order: tuple[str, list[str]], size: int
) -> None:
    kind, keys = order
    asked = parse_search(kind, [("_sort", ",".join(keys))], strict=True, base_url="http://here.example")
    expected = in_order(kind, keys)
    forward = walk(filled, asked, size, None)
    assert [one.id for one in forward] == expected
    last = forward[-1]
    values = keyset_of(asked, last.reference, last.updated, last.index).values
    assert [one.id for one in walk(filled, asked, size, Keyset(values, backward=True))] == expected[-2::-1]
    inclusive = walk(filled, asked, size, Keyset(values, backward=True, inclusive=True))
    assert [one.id for one in inclusive] == expected[::-1]
    middle = forward[30]
    values = keyset_of(asked, middle.reference, middle.updated, middle.index).values
    assert [one.id for one in walk(filled, asked, size, Keyset(values, inclusive=True))] == expected[30:]


def test_an_order_without_index_reads_the_candidates_alone(filled: MongoStore) -> None:
    parameters = [("gender", "male"), ("_sort", "family")]
    asked = parse_search("Patient", parameters, strict=True, base_url="http://here.example")
    query = to_query(asked, None, 5)
    stages = {"$match": query.filter, "$set": query.computed, "$sort": dict(query.sort), "$limit": 6}
    pipeline = [{name: stage} for name, stage in stages.items()]
    plan = filled.connection.database.command(
        "explain", {"aggregate": "resources", "pipeline": pipeline, "cursor": {}}, verbosity="executionStats"
    )
    males = sum(one.get("gender") == "male" for one in RESOURCES["Patient"])
    stats = plan["stages"][0]["$cursor"]["executionStats"] if "stages" in plan else plan["executionStats"]
    assert stats["totalDocsExamined"] == males
