"""Uri parameters over HTTP: the examples of http://hl7.org/fhir/R4/search.html#uri."""

import pytest

from tests.rest.fhir import Fhir

URLS = (
    "http://acme.org/fhir/ValueSet/123",
    "http://acme.org/fhir/ValueSet/123/_history/5",
    "http://acme.org/fhir/ValueSet/456",
    "http://acme.org/fhir",
    "http://acme.org/fhir2/ValueSet/123",
    "urn:oid:1.2.3.4.5",
    "urn:oid:1.2.3.4.5.6",
)


@pytest.fixture
def by_id(fhir: Fhir) -> dict[str, str]:
    made = [fhir.create({"resourceType": "ValueSet", "url": url, "status": "draft"}) for url in URLS]
    return {str(one["id"]): str(one["url"]) for one in made}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("url=http://acme.org/fhir/ValueSet/123", {URLS[0]}),
        ("url=HTTP://acme.org/fhir/ValueSet/123", set()),
        ("url=http://acme.org/fhir/ValueSet/12", set()),
        ("url:below=http://acme.org/fhir/", set(URLS[:3])),
        ("url:below=http://acme.org/fhir", set(URLS[:4])),
        ("url:below=http://acme.org", set(URLS[:5])),
        ("url:above=http://acme.org/fhir/ValueSet/123/_history/5", {URLS[0], URLS[1], URLS[3]}),
        ("url:above=http://acme.org/fhir", {URLS[3]}),
        ("url=urn:oid:1.2.3.4.5", {"urn:oid:1.2.3.4.5"}),
        ("url:missing=false", set(URLS)),
    ],
)
def test_urls_have_a_hierarchy_and_urns_have_none(
    fhir: Fhir, by_id: dict[str, str], query: str, expected: set[str]
) -> None:
    reply = fhir.get(f"ValueSet?{query}")
    assert reply.status == 200, reply.content
    assert {by_id[id] for id in reply.ids} == expected


@pytest.mark.parametrize(
    "query",
    [
        "url:below=urn:oid:1.2.3",
        "url:above=urn:oid:1.2.3",
        "url:below=acme",
        "url:contains=acme",
        "url:exact=x",
        "url=",
    ],
)
def test_what_a_uri_does_not_have_is_refused(fhir: Fhir, query: str) -> None:
    reply = fhir.get(f"ValueSet?{query}")
    assert reply.status == 400
    assert "url" in reply.issues[0]["details"]["text"]


def test_a_profile_is_found_with_and_without_its_version(fhir: Fhir) -> None:
    one = fhir.create({"resourceType": "Basic", "code": {"text": "x"}, "meta": {"profile": ["http://acme.org/p|1.0"]}})
    for query in ("_profile=http://acme.org/p", "_profile=http://acme.org/p|1.0", "_profile:below=http://acme.org"):
        assert fhir.get(f"Basic?{query}").ids == [one["id"]], query
    assert fhir.get("Basic?_profile=http://acme.org/p|2.0").ids == []
