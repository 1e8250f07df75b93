"""Joined index entries say what the parameters say one by one: for MongoDB, for the matcher, before and after."""

from collections.abc import Iterator
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_server.fhir.definitions import structure
from fhir_server.fhir.json import to_json
from fhir_server.repository.searching import run
from fhir_server.search.ast import And, Node
from fhir_server.search.combined import combine, combined_index
from fhir_server.search.compiler import to_filter, to_query
from fhir_server.search.indexer import to_index
from fhir_server.search.matcher import index_document, matches
from fhir_server.search.parser import Search, parse_search
from fhir_server.storage.embedded import EmbeddedMongod
from fhir_server.storage.mongo import MongoStore
from fhir_server.storage.store import Change, Plan, Query

NOW = datetime(2024, 1, 1, tzinfo=UTC)
NAMES = ("Mar", "Marie", "Marie-Louise", "Marielle", "Ma|rie", "Élodie", "Jo", "3mar", "mar|mar", "DUPONT", "du Pont")
ASKED = (*NAMES, "m", "ma", "marie l", "marie louise", "elo", "mar|", "d")
BORN = ("1979", "1979-03", "1979-03-28", "1979-03-29", "1980-01-01", "0012-01-01", "9999-12-31")
STATUSES = ("current", "superseded", "entered-in-error")
CODINGS = (
    {"system": "http://loinc.org", "code": "11488-4"},
    {"system": "http://loinc.org", "code": "34133-9"},
    {"system": "http://a|b", "code": "11488-4"},
    {"code": "11488-4"},
)
TYPES = ("11488-4", "http://loinc.org|11488-4", "http://loinc.org|34133-9,11488-4", "|11488-4", "http://loinc.org|")
PERIODS = (
    {"start": "2019-01-01", "end": "2019-03-31"},
    {"start": "2019-03-05T10:00:00Z", "end": "2019-03-05T11:00:00Z"},
    {"start": "2019-03-05"},
    {"end": "2019-03"},
)
DATES = ("2019", "2019-03", "2019-03-05", "2019-03-05T10:30:00Z", "2019-01-01", "2019-04-01")
PREFIXES = ("", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")


def resources() -> Iterator[dict[str, Any]]:
    random = Random(5)
    for number in range(400):
        names = [
            {"family": random.choice(NAMES), "given": random.sample(NAMES, random.randrange(1, 4))}
            for _ in range(random.randrange(1, 3))
        ]
        yield {"resourceType": "Patient", "id": f"p{number}", "name": names, "birthDate": random.choice(BORN)}
        yield {"resourceType": "Practitioner", "id": f"d{number}", "name": names}
        yield {
            "resourceType": "DocumentReference",
            "id": f"r{number}",
            "status": random.choice(STATUSES),
            "type": {"coding": random.sample(CODINGS, random.randrange(1, 3))},
            "subject": {"reference": f"Patient/p{random.randrange(2)}"},
            "context": {"period": random.choice(PERIODS)} if random.random() < 0.9 else {},
        }


INDEXES = {f"{one['resourceType']}/{one['id']}": to_index(one) for one in resources()}


@pytest.fixture(scope="module")
def stored(mongod: EmbeddedMongod) -> Iterator[MongoStore]:
    store = MongoStore(mongod.uri, "combined")
    store.prepare()
    changes = [
        Change(f"{one['resourceType']}/{one['id']}", 0, 1, "PUT", NOW, to_json(one), to_index(one))
        for one in resources()
    ]
    store.commit(Plan(tuple(changes)))
    yield store
    store.connection.client.drop_database("combined")
    store.close()


texts = st.sampled_from(ASKED)
people = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(("family", "given", "name", "given:exact")), texts),
        st.tuples(st.just("birthdate"), st.builds(str.__add__, st.sampled_from(PREFIXES), st.sampled_from(BORN))),
        st.tuples(st.just("birthdate"), st.sampled_from(("1979-03-28", "1979-03-29", "9999-12-31"))),
    ),
    min_size=2,
    max_size=4,
)
practitioners = st.lists(st.tuples(st.sampled_from(("family", "given", "name")), texts), min_size=2, max_size=3)
periods = st.builds(str.__add__, st.sampled_from(PREFIXES), st.sampled_from(DATES))
documents = st.builds(
    lambda *parts: [pair for pairs in parts for pair in pairs],
    st.sampled_from(([("patient", "p0")], [("patient", "p0,p1")], [("subject", "Patient/p1")], [])),
    st.lists(st.tuples(st.just("status"), st.sampled_from((*STATUSES, "current,superseded"))), min_size=1, max_size=2),
    st.lists(st.tuples(st.just("type"), st.sampled_from(TYPES)), min_size=1, max_size=2),
    st.lists(st.tuples(st.just("period"), periods), min_size=1, max_size=3),
)
asked = st.one_of(
    st.tuples(st.just("Patient"), people),
    st.tuples(st.just("Practitioner"), practitioners),
    st.tuples(st.just("DocumentReference"), documents),
)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked)
def test_a_joined_key_finds_what_its_parts_find(stored: MongoStore, case: tuple[str, list[tuple[str, str]]]) -> None:
    search = parsed(*case)
    expected = {reference for reference, index in INDEXES.items() if holds(search.tree, reference, index)}
    rewritten = combine(search.tree)
    assert {reference for reference, index in INDEXES.items() if holds(rewritten, reference, index)} == expected
    assert {one.reference for one in stored.find(Query(to_filter(search.tree), ()))} == expected
    page = to_query(search, None, 1_000)
    assert {one.reference for one in run(stored, page, tree=search.tree, with_body=False)} == expected


@pytest.mark.parametrize(
    ("resource_type", "parameters", "index"),
    [
        ("Patient", "family=dupont&given=marie", "string"),
        ("Patient", "family=dupont&given=marie-louise", "string"),
        ("Patient", "name=dupont&birthdate=1979-03-28", "string"),
        ("Practitioner", "given=mar&family=d", "string"),
        ("DocumentReference", "patient=p0&status=current&type=11488-4&period=2019-03", "date"),
        ("DocumentReference", "patient=p0&status=current&type=11488-4&period=ge2019&period=lt2020", "date"),
        ("Patient", "family=dupont&given=ma", None),
        ("Patient", "family=dupont&birthdate=1979", None),
        ("Patient", "family=dupont&birthdate=gt1979-03-28", None),
        ("Patient", "family:exact=dupont&given=marie", None),
        ("DocumentReference", "patient=p0&status=current&period=2019-03", None),
        ("DocumentReference", "patient=p0&status:not=current&type=11488-4&period=2019-03", None),
        ("DocumentReference", "patient=p0&status=current&type=http://loinc.org|&period=2019-03", None),
    ],
)
def test_conditions_are_joined_where_they_come_together(resource_type: str, parameters: str, index: str | None) -> None:
    pairs = [(name, value) for name, _, value in (one.partition("=") for one in parameters.split("&"))]
    tree = parsed(resource_type, pairs).tree
    assert combined_index(combine(tree)) == index
    assert (combine(tree) != tree) is (index is not None)


def test_too_many_joined_keys_are_left_to_their_parts() -> None:
    pairs = [
        ("patient", ",".join(f"p{number}" for number in range(40))),
        ("status", ",".join(STATUSES)),
        ("type", "11488-4"),
        ("period", "2019"),
    ]
    tree = parsed("DocumentReference", pairs).tree
    assert isinstance(tree, And)
    assert combine(tree) == tree


def test_the_period_that_is_joined_has_one_value() -> None:
    context = {one.name: one for one in structure("DocumentReference").elements}["context"]
    period = {one.name: one for one in structure("DocumentReference.context").elements}["period"]
    assert (context.max, period.max) == (1, 1)


def parsed(resource_type: str, parameters: list[tuple[str, str]]) -> Search:
    return parse_search(resource_type, parameters, strict=True, base_url="http://here.example/fhir", now=NOW)


def holds(tree: Node, reference: str, index: dict[str, Any]) -> bool:
    return matches(tree, index_document(reference, NOW, index))
