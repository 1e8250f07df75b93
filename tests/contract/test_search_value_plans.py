"""Searches by value use their indexes: what MongoDB looks at is about what it returns."""

from datetime import UTC, datetime
from typing import Any

import pytest

from fhir_server.fhir.json import to_json
from fhir_server.search.compiler import to_filter
from fhir_server.search.indexer import to_index
from fhir_server.search.parser import parse_search
from fhir_server.storage.mongo import MongoStore
from fhir_server.storage.store import Change, Plan

NOW = datetime(2026, 1, 1, tzinfo=UTC)
UCUM = "http://unitsofmeasure.org"


def resource(number: int) -> dict[str, Any]:
    if number % 4 == 0:
        position = {"latitude": number % 160 - 80, "longitude": number % 350 - 175}
        return {"resourceType": "Location", "id": str(number), "position": position}
    measured = {"value": number, "system": UCUM, "code": "mg", **({"comparator": ">"} if number % 500 == 1 else {})}
    code = {"coding": [{"system": "http://loinc.org", "code": f"c{number % 5}"}]}
    return {"resourceType": "Observation", "id": str(number), "code": code, "valueQuantity": measured}


@pytest.mark.parametrize(
    ("resource_type", "code", "value"),
    [
        ("Observation", "value-quantity", "gt1990"),
        ("Observation", "value-quantity", f"ge1.99|{UCUM}|g"),
        ("Observation", "value-quantity", "lt20"),
        ("Observation", "value-quantity", "eb20"),
        ("Observation", "value-quantity", "1002"),
        ("Observation", "code-value-quantity", "http://loinc.org|c1$gt1950"),
        ("Observation", "code-value-quantity", f"c1$ap1.2|{UCUM}|g"),
        ("Observation", "combo-code-value-quantity", "c1$lt50"),
        ("Location", "near", "0|-95|300|km"),
    ],
)
def test_no_more_documents_are_looked_at_than_twice_those_found(
    store: MongoStore, resource_type: str, code: str, value: str
) -> None:
    found = [resource(number) for number in range(1, 2_001)]
    changes = [
        Change(f"{one['resourceType']}/{one['id']}", 0, 1, "PUT", NOW, to_json(one), to_index(one)) for one in found
    ]
    store.commit(Plan(tuple(changes)))
    tree = parse_search(resource_type, [(code, value)], strict=True, base_url="http://here.example").tree
    explained = store.connection.database["resources"].find(to_filter(tree)).explain()["executionStats"]
    assert explained["nReturned"] > 0
    assert explained["totalDocsExamined"] <= 2 * explained["nReturned"] + 10
