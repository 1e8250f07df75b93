"""Which web pages may call, and that nobody's host becomes ours: https://fetch.spec.whatwg.org/#http-cors-protocol."""

import pytest
from flask.testing import FlaskClient

from fhir_server.rest.origin import Origin
from fhir_server.settings import Settings
from tests.rest.conftest import MakeClient

APP = "https://app.example.org"


def test_an_allowed_page_may_call_and_see_the_headers_it_needs(make_client: MakeClient) -> None:
    client = make_client(cors_origins=(APP,))
    answer = client.get("/fhir/Patient/x", headers={"Origin": APP})
    assert answer.headers["Access-Control-Allow-Origin"] == APP
    visible = answer.headers["Access-Control-Expose-Headers"]
    assert all(name in visible for name in ("ETag", "Location", "Content-Location", "Last-Modified", "X-Request-Id"))
    assert "Origin" in answer.headers["Vary"]
    assert "Access-Control-Allow-Credentials" not in answer.headers


def test_a_preflight_allows_what_fhir_needs(make_client: MakeClient) -> None:
    headers = {"Origin": APP, "Access-Control-Request-Method": "PUT"}
    answer = make_client(cors_origins=(APP,)).options("/fhir/Patient/x", headers=headers)
    assert answer.status_code == 204
    assert "PATCH" in answer.headers["Access-Control-Allow-Methods"]
    assert "If-Match" in answer.headers["Access-Control-Allow-Headers"]
    assert answer.headers.getlist("Access-Control-Allow-Origin") == [APP], "browsers refuse it given twice"


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "https://app.example.org.evil", "*", ""])
def test_another_page_may_not(make_client: MakeClient, origin: str) -> None:
    client = make_client(cors_origins=(APP,))
    for answer in (
        client.get("/fhir/Patient/x", headers={"Origin": origin}),
        client.options("/fhir/Patient/x", headers={"Origin": origin, "Access-Control-Request-Method": "PUT"}),
    ):
        assert not [name for name, _ in answer.headers if name.startswith("Access-Control")]


def test_all_pages_may_where_the_setting_says_so(make_client: MakeClient) -> None:
    answer = make_client(cors_origins=("*",)).get("/fhir/Patient/x", headers={"Origin": APP})
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


def test_options_alone_lists_the_methods(client: FlaskClient) -> None:
    answer = client.options("/fhir/Patient")
    assert answer.status_code == 204
    assert "PATCH" in answer.headers["Allow"]


def origin(environ: dict[str, str], **given: object) -> str:
    return Origin(Settings.from_environment({}, **given)).base_url(environ)


@pytest.mark.parametrize("host", ["localhost:9000", "127.0.0.1:8000", "[::1]:80", "localhost"])
def test_this_machines_own_names_are_believed(host: str) -> None:
    assert origin({"HTTP_HOST": host}) == f"http://{host}/fhir"


@pytest.mark.parametrize(
    "headers",
    [
        {"HTTP_HOST": "evil.example"},
        {"HTTP_HOST": "localhost:80@evil.example"},
        {"HTTP_HOST": "localhost.evil.example"},
        {"HTTP_HOST": "localhost:80\r\nX: y"},
        {"HTTP_HOST": "evil.example", "HTTP_X_FORWARDED_HOST": "evil.example", "HTTP_X_FORWARDED_PROTO": "https"},
        {"HTTP_FORWARDED": "host=evil.example;proto=https", "REMOTE_ADDR": "10.0.0.9"},
        {},
    ],
)
def test_no_caller_chooses_the_address_in_our_links(headers: dict[str, str]) -> None:
    assert origin(headers) == "http://127.0.0.1:8000/fhir"
    assert origin(headers, trusted_proxies=("10.0.0.1",)) == "http://127.0.0.1:8000/fhir"
    assert origin(headers, base_url="https://health.example.org/r4") == "https://health.example.org/r4"


def test_a_trusted_proxy_says_where_the_caller_came_from() -> None:
    proxy = {"REMOTE_ADDR": "10.1.2.3", "HTTP_HOST": "inner:8000"}
    trusted = {"trusted_proxies": ("10.0.0.0/8",)}
    forwarded = {**proxy, "HTTP_FORWARDED": 'for=1.1.1.1;host=evil.example, host="health.example.org";proto=https'}
    assert origin(forwarded, **trusted) == "https://health.example.org/fhir"
    older = {**proxy, "HTTP_X_FORWARDED_HOST": "evil.example, health.example.org", "HTTP_X_FORWARDED_PROTO": "https"}
    assert origin(older, **trusted) == "https://health.example.org/fhir"
    odd = {**proxy, "HTTP_X_FORWARDED_HOST": "a b/c"}
    assert origin(odd, **trusted) == "http://127.0.0.1:8000/fhir"
    assert origin({**forwarded, "REMOTE_ADDR": "unix:"}, **trusted) == "http://127.0.0.1:8000/fhir"


def test_a_poisoned_host_does_not_reach_location(client: FlaskClient) -> None:
    headers = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https"}
    body = {"resourceType": "Patient"}
    answer = client.post("/fhir/Patient", json=body, content_type="application/fhir+json", headers=headers)
    assert answer.status_code == 201
    assert answer.headers["Location"].startswith("http://127.0.0.1:8000/fhir/Patient/")
    assert "evil" not in str(answer.headers) + answer.text
