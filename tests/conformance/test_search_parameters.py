"""Every search parameter that R4 defines, on every type: its value is found, another is not, or it says why not.

For each type, parameter and member of the parameter's expression a resource is made that has one value there; the
matcher and MongoDB find it by that value and by no other (http://hl7.org/fhir/R4/searchparameter-registry.html).
"""

import os
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from fhir_server.fhir.definitions import resource_types
from fhir_server.fhir.json import parse_json, to_json
from fhir_server.search.ast import ReferenceIs
from fhir_server.search.building import build_and
from fhir_server.search.compiler import to_filter
from fhir_server.search.indexer import to_index
from fhir_server.search.matcher import index_document, matches
from fhir_server.search.parameters import SearchParameter, search_parameters
from fhir_server.search.parser import parse_search
from fhir_server.storage.documents import collection_of
from fhir_server.storage.embedded import EmbeddedMongod
from fhir_server.storage.mongo import MongoStore
from fhir_server.storage.store import Change, Plan, Query
from tests.conformance.generated import Built, build
from tests.contract.conftest import mongod as mongod

BASE = "http://here.example/fhir"
NOW = datetime(2026, 1, 1, tzinfo=UTC)

REFUSED = {
    "_query": "no named query is defined on this server",
    "Patient.age": "the definition says no expression by which it could be indexed",
    "Patient.birthOrderBoolean": "the definition says no expression by which it could be indexed",
}
"""All that R4 defines and this server refuses, by code or by type and code, with the reason that it gives."""

ELSEWHERE = frozenset({"_id", "_lastUpdated", "_filter", "_text", "_content"})
"""What the document itself or its texts answer for: tests/rest says how."""


@pytest.fixture(scope="module")
def stored(mongod: EmbeddedMongod) -> Iterator[MongoStore]:
    store = MongoStore(mongod.uri, f"parameters{os.getpid()}")
    store.prepare()
    yield store
    store.connection.client.drop_database(f"parameters{os.getpid()}")
    store.close()


def cases(resource_type: str) -> Iterator[tuple[SearchParameter, str]]:
    for parameter in search_parameters(resource_type):
        if parameter.refusal is None and parameter.code not in ELSEWHERE:
            for part in parameter.parts:
                yield parameter, part


@pytest.mark.parametrize("resource_type", sorted(resource_types()))
def test_every_parameter_finds_its_value_and_no_other(stored: MongoStore, resource_type: str) -> None:
    known: list[tuple[str, SearchParameter, Built, Built]] = []
    changes = []
    for number, (parameter, part) in enumerate(cases(resource_type)):
        reference = f"{resource_type}/{parameter.code.strip('_').lower()}-{number}"
        built, other = build(parameter, part, 1), build(parameter, part, 2)
        body = to_json({**built.resource, "id": reference.partition("/")[2]})
        index = to_index(parse_json(body), BASE)
        changes.append(Change(reference, 0, 1, "PUT", NOW, body, index))
        known.append((reference, parameter, built, other))
    stored.commit(Plan(tuple(changes)))
    wrong = []
    for change, (reference, parameter, built, other) in zip(changes, known, strict=True):
        document = index_document(reference, NOW, change.index)
        asked = [(built.asked, True), ("false" if other.asked == built.asked else other.asked, False)]
        for value, expected in asked:
            tree = parse_search(resource_type, [(parameter.code, value)], strict=True, base_url=BASE, now=NOW).tree
            filter = to_filter(build_and([ReferenceIs((reference,)), tree]))
            by_store = stored.find(Query(filter, with_body=False, collection=collection_of(reference)))
            if matches(tree, document) is not expected or bool(by_store) is not expected:
                wrong.append((reference, parameter.type, value, expected, bool(by_store)))
        missing = parse_search(resource_type, [(f"{parameter.code}:missing", "true")], strict=True, base_url=BASE).tree
        if matches(missing, document):
            wrong.append((reference, parameter.type, ":missing", False, True))
    assert wrong == []


def test_what_is_refused_is_listed_with_its_reason() -> None:
    for resource_type in resource_types():
        for one in search_parameters(resource_type):
            expected = REFUSED.get(one.code) or REFUSED.get(one.key)
            assert (one.refusal.en if one.refusal else None) == expected, one.key


def test_all_of_the_definitions_are_walked() -> None:
    walked = {(one.key, part) for kind in resource_types() for one, part in cases(kind)}
    assert len({key for key, _ in walked}) >= 2_290
    assert len(walked) >= 2_320
