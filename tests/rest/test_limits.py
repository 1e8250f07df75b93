"""Bodies are bounded before they are read, while they are read and when they are unpacked."""

import gzip
import io
import zlib

import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.errors import Invalid, TooLong, UnsupportedMediaType
from fhir_server.rest.bodies import read_body, unpack
from tests.rest.conftest import MakeClient

FHIR = "application/fhir+json"


class Untouchable(io.BytesIO):
    """A body that nobody may read."""

    def read(self, size: int | None = -1) -> bytes:
        """Fail."""
        raise AssertionError("the body was read")


def environ(body: bytes, **more: object) -> dict[str, object]:
    return {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body)), **more}


def chunked(body: bytes) -> dict[str, object]:
    return {"wsgi.input": io.BytesIO(body), "wsgi.input_terminated": True}


def test_a_body_that_is_announced_too_long_is_refused_unread() -> None:
    with pytest.raises(TooLong):
        read_body({"wsgi.input": Untouchable(), "CONTENT_LENGTH": "11"}, 10)


def test_a_chunked_body_is_counted_while_it_is_read() -> None:
    stream = io.BytesIO(b"x" * 1_000_000)
    with pytest.raises(TooLong):
        read_body({"wsgi.input": stream, "wsgi.input_terminated": True}, 100_000)
    assert stream.tell() <= 200_000


@given(st.binary(max_size=300), st.integers(0, 300), st.booleans())
def test_what_fits_comes_whole_and_what_does_not_is_refused(body: bytes, limit: int, is_chunked: bool) -> None:
    given_environ = chunked(body) if is_chunked else environ(body)
    if len(body) <= limit:
        assert read_body(given_environ, limit) == body
    else:
        with pytest.raises(TooLong):
            read_body(given_environ, limit)


@given(st.binary(max_size=3_000))
def test_packed_bodies_are_unpacked(body: bytes) -> None:
    packed = gzip.compress(body)
    assert read_body(environ(packed, HTTP_CONTENT_ENCODING="GZIP"), 10_000) == body


def test_a_gzip_bomb_is_stopped_at_the_bound() -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)
    assert len(bomb) < 100_000
    with pytest.raises(TooLong):
        unpack(bomb, 100_000)


@pytest.mark.parametrize(
    "data",
    [
        b"not gzip",
        gzip.compress(b"abc")[:-4],
        gzip.compress(b"abc") + b"more",
        gzip.compress(b"a") * 2,
        zlib.compress(b"a"),
        gzip.compress(b"abc")[:-8] + b"\0" * 8,
    ],
    ids=["no gzip", "cut", "more behind", "twice", "zlib", "wrong sum"],  # packed bytes hold the time of packing
)
def test_broken_gzip_is_refused(data: bytes) -> None:
    with pytest.raises(Invalid):
        unpack(data, 1_000)


@pytest.mark.parametrize("length", ["-1", "ten", "1e3", "٣", "1" * 30, "+5"])
def test_a_length_that_is_no_number_is_refused(length: str) -> None:
    with pytest.raises(Invalid):
        read_body({"wsgi.input": Untouchable(), "CONTENT_LENGTH": length}, 10)


def test_a_body_shorter_than_announced_is_refused() -> None:
    with pytest.raises(Invalid):
        read_body({"wsgi.input": io.BytesIO(b"abc"), "CONTENT_LENGTH": "5"}, 10)


def test_an_unknown_encoding_is_refused() -> None:
    with pytest.raises(UnsupportedMediaType):
        read_body(environ(b"abc", HTTP_CONTENT_ENCODING="br"), 10)


def test_without_length_and_end_there_is_no_body() -> None:
    assert read_body({"wsgi.input": Untouchable()}, 10) == b""


def test_over_the_setting_is_413(make_client: MakeClient) -> None:
    client = make_client(max_body=1_000, max_attachment=500)
    large = b'{"resourceType":"Patient","gender":"' + b"x" * 2_000 + b'"}'
    answer = client.post("/fhir/Patient", data=large, content_type=FHIR)
    assert answer.status_code == 413
    assert answer.json["issue"][0]["code"] == "too-long"
    packed = client.post(
        "/fhir/Patient", data=gzip.compress(large), content_type=FHIR, headers={"Content-Encoding": "gzip"}
    )
    assert packed.status_code == 413


def test_a_packed_resource_is_taken(client: FlaskClient) -> None:
    packed = gzip.compress(b'{"resourceType":"Patient","birthDate":"1979-03-28"}')
    answer = client.post("/fhir/Patient", data=packed, content_type=FHIR, headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 201
    assert answer.json["birthDate"] == "1979-03-28"
