"""Bundles are spliced from stored bytes."""

from datetime import UTC, datetime
from decimal import Decimal

import orjson

from fhir_server.fhir.bundle import HistoryEntry, SearchEntry, build_history, build_response_bundle, build_searchset
from fhir_server.fhir.json import parse_json, to_json
from fhir_server.fhir.xml import parse_xml, to_xml

STORED = b'{"resourceType": "Observation", "id": "1", "status": "final", "valueQuantity": {"value": 6.30}}'
NOW = datetime(2024, 2, 29, 12, 0, 0, 123456, tzinfo=UTC)
SUBSETTED = {"code": "SUBSETTED"}


def test_a_searchset_holds_the_stored_bytes_as_they_are():
    built = build_searchset(
        [
            SearchEntry("http://x/Observation/1", STORED, score=Decimal("0.50")),
            SearchEntry("http://x/Observation/1", STORED, "include"),
            SearchEntry(None, {"resourceType": "OperationOutcome"}, "outcome"),
        ],
        links=[("self", 'http://x/Observation?a="b"'), ("next", "http://x/?page")],
        total=7,
        id="b",
        updated=NOW,
        tags=[SUBSETTED],
    )
    assert built.count(STORED) == 2
    bundle = parse_json(built)
    assert {key: value for key, value in bundle.items() if key != "entry"} == {
        "resourceType": "Bundle",
        "id": "b",
        "meta": {"lastUpdated": "2024-02-29T12:00:00.123Z", "tag": [SUBSETTED]},
        "type": "searchset",
        "total": 7,
        "link": [
            {"relation": "self", "url": 'http://x/Observation?a="b"'},
            {"relation": "next", "url": "http://x/?page"},
        ],
    }
    assert [to_json(entry["search"]) for entry in bundle["entry"]] == [
        b'{"mode":"match","score":0.50}',
        b'{"mode":"include"}',
        b'{"mode":"outcome"}',
    ]
    assert "fullUrl" not in bundle["entry"][2]


def test_an_empty_searchset_has_no_empty_parts():
    assert build_searchset([], total=0) == b'{"resourceType":"Bundle","type":"searchset","total":0}'


def test_a_history_tells_how_each_version_came_about():
    built = build_history(
        [
            HistoryEntry("http://x/Observation/1", None, "DELETE", "Observation/1", "204", 2, NOW),
            HistoryEntry("http://x/Observation/1", STORED, "POST", "Observation", "201", 1, NOW),
        ],
        total=2,
    )
    assert STORED in built
    deleted, created = parse_json(built)["entry"]
    assert deleted == {
        "fullUrl": "http://x/Observation/1",
        "request": {"method": "DELETE", "url": "Observation/1"},
        "response": {"status": "204", "etag": 'W/"2"', "lastModified": "2024-02-29T12:00:00.123Z"},
    }
    assert created["resource"]["id"] == "1"


def test_a_response_bundle_keeps_the_order_and_splices_fragments():
    entries = [{"response": {"status": "204"}}, {"resource": orjson.Fragment(STORED), "response": {"status": "200"}}]
    built = build_response_bundle("batch-response", entries)
    assert STORED in built
    assert [entry["response"]["status"] for entry in parse_json(built)["entry"]] == ["204", "200"]
    assert (
        build_response_bundle("transaction-response", []) == b'{"resourceType":"Bundle","type":"transaction-response"}'
    )


def test_bundles_are_valid_in_xml():
    bundle = parse_json(build_searchset([SearchEntry("http://x/Observation/1", STORED)], links=[("self", "http://x")]))
    assert parse_xml(to_xml(bundle)) == bundle
