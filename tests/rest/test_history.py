"""history of an instance, a type and the system (http://hl7.org/fhir/R4/http.html#history)."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.rest.fhir import Fhir, patient


def versions(body: dict[str, list[dict[str, dict[str, str]]]]) -> list[str]:
    return [entry["response"]["etag"] for entry in body["entry"]]


def test_the_history_of_a_resource_tells_every_version_newest_first(fhir: Fhir) -> None:
    first = fhir.create(patient())
    address = f"Patient/{first['id']}"
    fhir.put(address, {**first, "active": True})
    fhir.delete(address)
    body = fhir.get(f"{address}/_history").body
    assert body["type"] == "history"
    assert body["total"] == 3
    assert versions(body) == ['W/"3"', 'W/"2"', 'W/"1"']
    assert [entry["request"]["method"] for entry in body["entry"]] == ["DELETE", "PUT", "POST"]
    assert [entry["request"]["url"] for entry in body["entry"]] == [address, address, "Patient"]
    assert "resource" not in body["entry"][0]
    assert body["entry"][1]["resource"]["active"] is True
    assert body["entry"][0]["fullUrl"].endswith(f"/fhir/{address}")


def test_the_history_of_what_never_was_is_not_found(fhir: Fhir) -> None:
    assert fhir.get("Patient/nobody/_history").status == 404


@pytest.mark.parametrize("path", ["Patient/_history", "_history"])
def test_type_and_system_histories_page_through_everything_once(fhir: Fhir, path: str) -> None:
    ids = [fhir.create(patient())["id"] for _ in range(7)]
    fhir.create({"resourceType": "Basic", "code": {"text": "x"}})
    seen = []
    url: str | None = f"{path}?_count=3"
    while url:
        page = fhir.get(url)
        assert page.status == 200, page.content
        seen += [
            entry["resource"]["id"] for entry in page.body["entry"] if entry["resource"]["resourceType"] == "Patient"
        ]
        assert len(page.body["entry"]) <= 3
        url = page.link("next")
    assert seen == ids[::-1]


def test_since_leaves_out_what_is_older(fhir: Fhir) -> None:
    first = fhir.create(patient())
    second = fhir.put(f"Patient/{first['id']}", {**first, "active": True}).body
    moment = second["meta"]["lastUpdated"]
    assert versions(fhir.get(f"Patient/{first['id']}/_history?_since={moment}").body) == ['W/"2"']


def test_at_returns_what_was_current_then(fhir: Fhir) -> None:
    first = fhir.create(patient())
    second = fhir.put(f"Patient/{first['id']}", {**first, "active": True}).body
    fhir.put(f"Patient/{first['id']}", {**second, "active": False})
    body = fhir.get(f"Patient/{first['id']}/_history?_at={second['meta']['lastUpdated']}").body
    assert 'W/"2"' in versions(body)
    assert 'W/"3"' not in versions(body)


def test_count_zero_tells_the_total_alone(fhir: Fhir) -> None:
    fhir.create(patient())
    body = fhir.get("Patient/_history?_count=0").body
    assert body["total"] == 1
    assert "entry" not in body


@pytest.mark.parametrize(
    "query", ["_count=-1", "_count=x", "_since=yesterday", "_at=x", "_since=2020&_since=2021", "unknown=1"]
)
def test_a_parameter_that_is_not_understood_is_refused(fhir: Fhir, query: str) -> None:
    fhir.create(patient())
    assert fhir.get(f"Patient/_history?{query}", Prefer="handling=strict").status == 400


def test_a_walk_while_others_write_sees_every_earlier_version_once(fhir: Fhir) -> None:
    ids = [fhir.create(patient())["id"] for _ in range(20)]
    with ThreadPoolExecutor(2) as pool:
        pool.submit(lambda: [fhir.create(patient()) for _ in range(15)])
        seen, url = [], "Patient/_history?_count=3"
        while url:
            page = fhir.get(url)
            seen += page.ids
            url = page.link("next")
    assert [id for id in seen if id in ids] == ids[::-1]
    assert len(seen) == len(set(seen))
