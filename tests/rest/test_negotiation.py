"""Which format a body is in and an answer comes in: http://hl7.org/fhir/R4/http.html#mime-type."""

import gzip
import json

import pytest
from flask.testing import FlaskClient

from fhir_server.errors import Invalid, UnsupportedMediaType
from fhir_server.rest.headers import RequestHeaders, parse_etag, parse_http_date, parse_prefer, request_id, to_http_date
from fhir_server.rest.negotiation import accepts_gzip, negotiate, negotiate_language, parse_content_type

JSON = "application/fhir+json;charset=utf-8"
XML = "application/fhir+xml;charset=utf-8"


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        (None, "json"),
        ("", "json"),
        ("*/*", "json"),
        ("application/*", "json"),
        ("text/*", "json"),
        ("application/json", "json"),
        ("text/json", "json"),
        ("application/fhir+json", "json"),
        ("application/xml", "xml"),
        ("text/xml", "xml"),
        ("application/fhir+xml; charset=utf-8", "xml"),
        ("APPLICATION/FHIR+XML", "xml"),
        ("application/fhir+xml;q=0.5, application/fhir+json;q=0.4", "xml"),
        ("application/fhir+xml;q=0.4, application/fhir+json;q=0.5", "json"),
        ("application/fhir+xml, application/fhir+json", "xml"),
        ("application/fhir+json;q=0.2, */*;q=0.9", "xml"),
        ("application/fhir+json;q=0, */*", "xml"),
        ("text/html, */*;q=0.1", "json"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "xml"),
        ("application/fhir+json; fhirVersion=4.0", "json"),
        ("application/fhir+json; fhirVersion=3.0, application/fhir+xml;q=0.1", "xml"),
        ("application/fhir+json; fhirVersion=3.0", None),
        ("text/html", None),
        ("image/png", None),
        ("application/fhir+json;q=0", None),
        ("application/fhir+json;q=much", None),
        (";;;,,,", None),
    ],
)
def test_the_accept_header_decides_by_quality_then_order(accept: str | None, wanted: str | None) -> None:
    assert negotiate(accept).format == wanted


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("json", "json"),
        ("xml", "xml"),
        ("application/fhir+xml", "xml"),
        ("application/fhir xml", "xml"),
        ("text/xml", "xml"),
        ("ttl", None),
        ("html", None),
        ("", None),
    ],
)
def test_the_format_parameter_outweighs_the_header(value: str, wanted: str | None) -> None:
    assert negotiate("application/fhir+json", value).format == wanted


def test_accepted_types_are_listed_in_order_of_preference() -> None:
    accept = "image/png;q=0.1, application/pdf, text/html;q=0, */*;q=0.5"
    assert negotiate(accept).accept == ("application/pdf", "*/*", "image/png")
    assert negotiate("image/png", "json").accept == ("application/fhir+json",)


def test_the_version_that_was_asked_for_is_named_in_the_answer() -> None:
    assert negotiate("application/fhir+xml;fhirVersion=4.0").content_type == f"{XML};fhirVersion=4.0"
    assert negotiate("application/fhir+xml").content_type == XML


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        ("application/fhir+json", "json"),
        ('application/fhir+json; charset="UTF-8"', "json"),
        ("text/xml;charset=utf-8;fhirVersion=4.0", "xml"),
        ("application/json-patch+json", "patch"),
        ("application/x-www-form-urlencoded", "form"),
        ("json", "other"),
        ("text/plain; charset=iso-8859-1", "other"),
        ("multipart/form-data; boundary=x", "other"),
    ],
)
def test_a_content_type_has_one_meaning(header: str, kind: str) -> None:
    assert parse_content_type(header).kind == kind


@pytest.mark.parametrize("charset", ["utf-7", "utf-16", "iso-8859-1", "us-ascii"])
def test_fhir_in_another_charset_is_refused(charset: str) -> None:
    with pytest.raises(UnsupportedMediaType):
        parse_content_type(f"application/fhir+json; charset={charset}")


def test_fhir_of_another_version_is_refused() -> None:
    with pytest.raises(UnsupportedMediaType):
        parse_content_type("application/fhir+json; fhirVersion=5.0")


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("fr", "fr"),
        ("fr-FR,fr;q=0.9,en;q=0.8", "fr"),
        ("en;q=0.5, fr;q=0.4", "en"),
        ("de, fr;q=0.1", "fr"),
        ("de", "en"),
        ("*", "en"),
        ("fr;q=0", "en"),
        ("", "en"),
    ],
)
def test_language_follows_preference(header: str, language: str) -> None:
    assert negotiate_language(header, "en") == language


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        ("gzip", True),
        ("br, gzip;q=0.5", True),
        ("*", True),
        ("gzip;q=0", False),
        ("*;q=1, gzip;q=0", False),
        ("br", False),
    ],
)
def test_gzip_is_used_where_accepted(header: str, accepted: bool) -> None:
    assert accepts_gzip(header) is accepted


@pytest.mark.parametrize(
    ("header", "version"), [('W/"3"', "3"), ('"3"', "3"), ("3", "3"), ("*", "*"), (' W/"3" , W/"4"', "3,4")]
)
def test_etags_are_read(header: str, version: str) -> None:
    assert parse_etag(header, "If-Match") == version


@pytest.mark.parametrize(
    "header", ['W/"', "", 'W/"a b"', "W/3 W/4", '"1","2', '"' + "1" * 65 + '"', '"1",' * 2_000 + '"1"']
)
def test_a_precondition_that_cannot_be_read_is_refused(header: str) -> None:
    with pytest.raises(Invalid):
        parse_etag(header, "If-Match")


def test_preferences_are_read_and_unknown_ones_ignored() -> None:
    read = parse_prefer('handling=strict; foo="bar", return=OperationOutcome, wait=5, respond-async')
    assert read == ("OperationOutcome", "strict", True)
    assert parse_prefer("return=everything, handling=odd") == (None, None, False)


def test_http_dates_are_read_and_written_alike() -> None:
    moment = parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT")
    assert moment is not None
    assert to_http_date(moment) == "Sun, 06 Nov 1994 08:49:37 GMT"


@pytest.mark.parametrize("text", ["yesterday", "", "Sun, 99 Nov 1994 08:49:37 GMT", "1994-11-06"])
def test_an_http_date_that_is_none_is_ignored(text: str) -> None:
    assert parse_http_date(text) is None


@pytest.mark.parametrize("text", ["a b", "a\nb", "", "x" * 65, '{"a":1}', "é"])
def test_a_request_id_that_is_no_plain_word_is_replaced(text: str) -> None:
    assert request_id(text) != text
    assert request_id("trace-1.2:3_4") == "trace-1.2:3_4"


def test_credentials_are_not_among_the_headers_handed_on() -> None:
    headers = RequestHeaders(
        {"HTTP_X_PROVENANCE": "{}", "HTTP_AUTHORIZATION": "Bearer t", "HTTP_COOKIE": "c", "PATH": "/"}
    )
    assert dict(headers) == {"x-provenance": "{}"}
    assert len(headers) == 1
    assert headers.get("authorization") is None


@pytest.mark.parametrize(
    ("query", "content_type"), [("", JSON), ("?_format=xml", XML), ("?_format=application/fhir%2Bxml", XML)]
)
def test_a_read_comes_in_the_format_asked_for(client: FlaskClient, patient: str, query: str, content_type: str) -> None:
    answer = client.get(patient + query)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == content_type


def test_pretty_answers_hold_the_same(client: FlaskClient, patient: str) -> None:
    compact, pretty = client.get(patient), client.get(f"{patient}?_pretty=true")
    assert pretty.data.count(b"\n") > 3 > compact.data.count(b"\n")
    assert json.loads(pretty.data) == json.loads(compact.data)
    assert client.get(f"{patient}?_pretty=true&_format=xml").data.count(b"\n") > 3
    assert client.get(f"{patient}?_pretty=1").status_code == 400


def test_an_unacceptable_format_is_406_with_an_outcome_in_json(client: FlaskClient, patient: str) -> None:
    for answer in (client.get(patient, headers={"Accept": "text/html"}), client.get(f"{patient}?_format=ttl")):
        assert answer.status_code == 406
        assert answer.headers["Content-Type"] == JSON
        assert answer.json["resourceType"] == "OperationOutcome"


@pytest.mark.parametrize(
    "content_type", ["text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded", None]
)
def test_a_body_of_another_type_is_415(client: FlaskClient, content_type: str | None) -> None:
    answer = client.post("/fhir/Patient", data=b'{"resourceType":"Patient"}', content_type=content_type)
    assert answer.status_code == 415
    assert answer.json["issue"][0]["code"] == "not-supported"


def test_xml_in_and_json_out(client: FlaskClient) -> None:
    body = b'<Patient xmlns="http://hl7.org/fhir"><birthDate value="1979-03-28"/></Patient>'
    answer = client.post("/fhir/Patient", data=body, content_type="application/fhir+xml")
    assert answer.status_code == 201
    assert answer.json["birthDate"] == "1979-03-28"


def test_head_says_what_get_would_say_without_the_body(client: FlaskClient, patient: str) -> None:
    get, head = client.get(patient), client.head(patient)
    assert head.data == b""
    assert head.headers["Content-Length"] == str(len(get.data)) == get.headers["Content-Length"]
    assert head.headers["ETag"] == get.headers["ETag"] == 'W/"1"'


def test_a_conditional_read_says_not_modified(client: FlaskClient, patient: str) -> None:
    last_modified = client.get(patient).headers["Last-Modified"]
    for headers in ({"If-None-Match": 'W/"1"'}, {"If-Modified-Since": last_modified}):
        answer = client.get(patient, headers=headers)
        assert answer.status_code == 304
        assert answer.data == b""
        assert answer.headers["ETag"] == 'W/"1"'
    assert client.get(patient, headers={"If-None-Match": 'W/"2"'}).status_code == 200


def test_large_answers_are_packed_where_accepted(client: FlaskClient) -> None:
    body = {"resourceType": "Patient", "id": "p", "name": [{"text": "x" * 3_000}]}
    client.put("/fhir/Patient/p", json=body, content_type="application/fhir+json")
    packed = client.get("/fhir/Patient/p", headers={"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.data) == client.get("/fhir/Patient/p").data
    assert "Accept-Encoding" in packed.headers["Vary"]


def test_a_binary_is_taken_and_given_in_its_native_type(client: FlaskClient) -> None:
    content = b"%PDF-1.4 \x00\xff"
    headers = {"X-Security-Context": "Patient/p1"}
    client.put("/fhir/Patient/p1", json={"resourceType": "Patient", "id": "p1"}, content_type="application/fhir+json")
    created = client.put("/fhir/Binary/b", data=content, content_type="application/pdf", headers=headers)
    assert created.status_code == 201
    native = client.get("/fhir/Binary/b")
    assert native.data == content
    assert native.headers["Content-Type"] == "application/pdf"
    assert native.headers["X-Security-Context"] == "Patient/p1"
    assert native.headers["Content-Disposition"] == "attachment"
    assert "sandbox" in native.headers["Content-Security-Policy"]
    assert native.headers["X-Content-Type-Options"] == "nosniff"
    resource = client.get("/fhir/Binary/b", headers={"Accept": "application/fhir+json"})
    assert resource.json["contentType"] == "application/pdf"
    assert resource.json["securityContext"] == {"reference": "Patient/p1"}


def test_fhir_that_is_no_binary_is_a_binarys_content(client: FlaskClient) -> None:
    content = b'{"resourceType":"Patient","id":"kept"}'
    created = client.put("/fhir/Binary/b", data=content, content_type="application/fhir+json")
    assert created.status_code == 201
    assert client.get("/fhir/Binary/b").data == content
    cda = b'<?xml version="1.0"?><ClinicalDocument xmlns="urn:hl7-org:v3"/>'
    assert client.put("/fhir/Binary/c", data=cda, content_type="text/xml").status_code == 201
    assert client.get("/fhir/Binary/c").data == cda
    broken = client.put("/fhir/Binary/d", data=b'{"resourceType":"Binary"', content_type="application/fhir+json")
    assert broken.status_code == 400
