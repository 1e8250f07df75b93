"""Attacks on the edge: requests without a good token, introspection, revocation, other origins."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from fhir_server.errors import Login
from fhir_server.smart.bearer import BearerTokens
from fhir_server.smart.endings import end_client
from fhir_server.storage.store import StoreUnavailable
from tests.access.oauth import ASSERTION_TYPE, FORM, refused
from tests.rest.smart import Smart
from tests.rest.smart_apps import BASE
from tests.rest.smart_people import MARIE


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer x",
        "Basic YTpi",
        "bearer a b",
        "Bearer a, Bearer b",
        'Bearer {"$ne":null}',
        "Token x",
        "Bearer " + "a" * 9_000,
    ],
)
def test_without_a_good_token_there_is_nothing(smart: Smart, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    for method, path in (
        ("GET", "/fhir/Patient"),
        ("GET", "/fhir/Patient/p"),
        ("POST", "/fhir"),
        ("POST", "/fhir/metadata"),
        ("GET", "/fhir/_history"),
        ("DELETE", "/fhir/Patient/p"),
        ("GET", "/fhir/metadata/x"),
    ):
        answer = smart.client.open(path, method=method, headers=headers)
        assert answer.status_code == 401, (method, path)
        assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="fhir"')
        assert answer.get_json()["issue"][0]["code"] == "login"
        assert "x-request-id" in {name.lower() for name in dict(answer.headers)}


def test_tokens_without_end_are_not_all_remembered(smart: Smart) -> None:
    bearer = BearerTokens(smart.composition.smart().tokens, most_known=2)
    words = [smart.backend(f"b{number}").token() for number in range(5)]
    for word in words:
        environ = {"HTTP_AUTHORIZATION": f"Bearer {word}", "PATH_INFO": "/fhir/Patient", "REQUEST_METHOD": "GET"}
        assert bearer.authenticate(environ).kind == "system"
        assert len(bearer._known) <= 2


def test_a_token_does_not_belong_into_a_url(smart: Smart) -> None:
    token = smart.app().run(MARIE, "patient/*.rs")["access_token"]
    for query in (f"access_token={token}", f"a=1&access%5Ftoken={token}", "access_token=", f"acc%65ss_token={token}"):
        for given in (None, token):
            answer = smart.fhir(f"Patient?{query}", given)
            assert answer.status_code == 400
            assert answer.headers["WWW-Authenticate"] == 'Bearer realm="fhir", error="invalid_request"'
            assert answer.get_json()["issue"][0]["code"] == "invalid"
            assert token not in answer.text
    assert smart.fhir(f"metadata?access_token={token}").status_code == 400


@pytest.mark.parametrize(
    ("header", "challenge"),
    [
        (None, 'Bearer realm="fhir"'),
        ("", 'Bearer realm="fhir"'),
        ("Basic YTpi", 'Bearer realm="fhir"'),
        ("Bearerx y", 'Bearer realm="fhir"'),
        ("Bearer", 'Bearer realm="fhir", error="invalid_token"'),
        ("Bearer a b", 'Bearer realm="fhir", error="invalid_token"'),
        ("bearer unknown", 'Bearer realm="fhir", error="invalid_token"'),
    ],
)
def test_status_and_error_agree_with_the_standard(smart: Smart, header: str | None, challenge: str) -> None:
    """RFC 6750, section 3.1: 401 goes with ``invalid_token``, or with no error where no token was sent."""
    headers = {} if header is None else {"Authorization": header}
    answer = smart.client.get("/fhir/Patient", headers=headers)
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, challenge)


def test_a_token_in_a_form_is_not_read(smart: Smart) -> None:
    token = smart.app().run(MARIE, "patient/*.rs")["access_token"]
    answer = smart.client.post("/fhir/Patient/_search", data={"access_token": token})
    assert answer.status_code == 401


def test_the_metadata_is_all_that_is_public(smart: Smart) -> None:
    for method in ("GET", "HEAD"):
        assert smart.client.open("/fhir/metadata", method=method).status_code == 200
    assert smart.client.open("/fhir/Patient", method="OPTIONS").status_code == 204
    assert smart.fhir("metadata", "wrong").status_code == 401


def test_introspection_is_for_those_who_prove_themselves_and_may_know(smart: Smart) -> None:
    app = smart.app()
    mine = smart.app("mine", secret="m")
    ehr = smart.app("ehr", secret="e", roles=("ehr",))
    token = app.run(MARIE, "patient/*.rs offline_access")
    for data in ({"token": token["access_token"]}, {"token": token["access_token"], "client_id": "app"}):
        assert smart.client.post("/auth/introspect", data=data).get_json()["error"] == "invalid_client"
    bearer = {"Authorization": f"Bearer {token['access_token']}"}
    assert (
        smart.client.post("/auth/introspect", data={"token": token["access_token"]}, headers=bearer).status_code != 200
    )
    assert smart.introspect(token["access_token"], mine) == {"active": False}
    assert smart.introspect("unknown", ehr) == {"active": False}
    found = smart.introspect(token["access_token"], ehr)
    assert (found["active"], found["client_id"], found["patient"], found["fhirUser"]) == (
        True,
        "app",
        "marie",
        f"{BASE}/Patient/marie",
    )
    assert found["scope"] == "patient/*.rs offline_access"
    assert set(smart.introspect(token["refresh_token"], ehr)) == {
        "active",
        "iss",
        "aud",
        "client_id",
        "scope",
        "iat",
        "exp",
    }
    app.refresh(token["refresh_token"])
    assert smart.introspect(token["refresh_token"], ehr) == {"active": False}
    word = base64.b64encode(b"ehr:e").decode()

    def introspect(**data: str) -> Any:
        return smart.client.post("/auth/introspect", data=data, headers={"Authorization": f"Basic {word}"})

    for data in ({}, {"token_type_hint": "access_token"}):
        refused(introspect(**data), "invalid_request")
    assert introspect(token="x", token_type_hint="id_token").get_json() == {"active": False}
    assert introspect(token=token["access_token"], token_type_hint="id_token").get_json()["active"] is True


def test_a_token_is_revoked_by_its_client_alone_and_at_once(smart: Smart) -> None:
    app, other = smart.app(), smart.app("other")
    token = app.run(MARIE, "patient/*.rs offline_access")

    def revoke(word: str, client: str = "app") -> int:
        return smart.client.post("/auth/revoke", data={"token": word, "client_id": client}).status_code

    assert revoke(token["access_token"], other.client.id) == 200
    assert smart.works(token["access_token"])
    assert revoke(token["access_token"]) == 200
    assert not smart.works(token["access_token"])
    again = app.refresh(token["refresh_token"]).get_json()
    assert revoke(again["refresh_token"]) == 200
    assert not smart.works(again["access_token"])
    refused(app.refresh(again["refresh_token"]), "invalid_grant")
    assert revoke("unknown") == 200
    assert smart.client.post("/auth/revoke", data={"token": "x"}).get_json()["error"] == "invalid_client"
    backend = smart.backend()
    alone = backend.token()
    assert (
        backend.smart.client.post(
            "/auth/revoke",
            data={"token": alone, "client_assertion_type": ASSERTION_TYPE, "client_assertion": backend.assertion()},
        ).status_code
        == 200
    )
    assert not smart.works(alone)


def test_pages_of_other_origins_call_only_where_they_may(smart_with: Callable[..., Smart]) -> None:
    smart = smart_with(cors_origins=("https://app.example",))
    good, bad = {"Origin": "https://app.example"}, {"Origin": "https://evil.example"}
    name = "Access-Control-Allow-Origin"
    for path in ("/auth/jwks", "/.well-known/openid-configuration", "/fhir/.well-known/smart-configuration"):
        assert smart.client.get(path, headers=good).headers[name] == "https://app.example"
        assert name not in smart.client.get(path, headers=bad).headers
        assert "Origin" in smart.client.get(path).headers["Vary"], "a cache gives a page what it was given without one"
    for path in ("/auth/token", "/auth/revoke", "/auth/introspect"):
        answer = smart.client.post(path, headers=good)
        assert answer.headers[name] == "https://app.example"
        assert "Access-Control-Allow-Credentials" not in answer.headers
        preflight = smart.client.options(path, headers={**good, "Access-Control-Request-Method": "POST"})
        assert "POST" in preflight.headers["Access-Control-Allow-Methods"]
        assert name not in smart.client.options(path, headers=bad).headers
    for path in ("/auth/authorize", "/auth/authorize/x", "/auth/launch"):
        assert name not in smart.client.get(path, headers=good).headers


def test_credentials_in_the_query_of_the_token_endpoint_are_not_read(smart: Smart) -> None:
    app = smart.app("confidential", secret="s")
    code = app.code(smart.browser(MARIE), "patient/*.rs")
    query = {"client_id": "confidential", "client_secret": "s", "grant_type": "authorization_code", "code": code}
    answer = smart.client.post("/auth/token", query_string=query, data={})
    assert answer.status_code == 400
    for content_type in ("application/json", "multipart/form-data", "text/plain"):
        refused(smart.client.post("/auth/token", data=json.dumps(query), content_type=content_type), "invalid_request")
    assert smart.client.get("/auth/token", query_string=query).status_code == 405
    refused(app.token(grant_type="password", username="marie", password="x"), "unsupported_grant_type")
    refused(app.token(grant_type=""), "invalid_request")


@pytest.mark.parametrize("path", ["/auth/token", "/auth/introspect", "/auth/revoke", "/auth/register", "/auth/launch"])
def test_what_http_refuses_is_told_in_words_of_oauth(smart_with: Callable[..., Smart], path: str) -> None:
    client = smart_with(client_registration=True, cors_origins=("https://app.example",)).client
    origin = {"Origin": "https://app.example"}
    large = client.post(path, data=b"a=" + b"x" * 100_000, content_type=FORM, headers=origin)
    refused(large, "invalid_request", 413)
    for method in ("GET", "PUT", "DELETE", "PATCH", "PROPFIND"):
        answer = client.open(path, method=method, headers=origin)
        assert refused(answer, "invalid_request", 405)
        assert set(answer.headers["Allow"].split(", ")) == {"POST", "OPTIONS"}
        assert answer.content_type == "application/json"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers.get("Access-Control-Allow-Origin") == large.headers.get("Access-Control-Allow-Origin")
    assert ("Access-Control-Allow-Origin" in large.headers) == (path != "/auth/launch")


def test_what_is_no_endpoint_for_programs_refuses_methods_as_before(smart: Smart) -> None:
    for path in ("/auth/authorize", "/auth/jwks", "/auth/login", "/health/live"):
        answer = smart.client.delete(path)
        assert (answer.status_code, answer.content_type) == (405, "application/problem+json"), path


def test_a_client_that_proves_to_be_one_and_says_to_be_another_is_refused(smart: Smart) -> None:
    app = smart.app("confidential", secret="s")
    smart.app("other")
    code = app.code(smart.browser(MARIE), "patient/*.rs")
    refused(app.exchange(code, client_id="other"), "invalid_request")
    assert app.exchange(code, client_id="confidential").status_code == 200


def test_a_database_that_is_away_is_said_to_be(smart: Smart, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any, **__: Any) -> Any:
        raise StoreUnavailable("away")

    app = smart.app()
    for look_up in ("find", "get"):
        monkeypatch.setattr(smart.composition.store().records, look_up, away)
    answer = app.exchange("x")
    assert (answer.status_code, answer.get_json()) == (503, {"error": "temporarily_unavailable"})
    assert answer.headers["Retry-After"]
    assert smart.fhir("Patient", "token").status_code == 503


def test_nothing_secret_is_stored_or_logged(smart: Smart, capsys: pytest.CaptureFixture[str]) -> None:
    app = smart.app("confidential", secret="s3cret-of-the-app")
    token = app.run(MARIE, "openid patient/*.rs offline_access")
    backend = smart.backend()
    backend.token()
    smart.fhir("Patient?name=x", token["access_token"])
    database = smart.composition.store().connection.database
    stored = str(
        [list(database[name].find({})) for name in database.list_collection_names() if name.startswith("smart_")]
    )
    written = capsys.readouterr()
    for secret in (token["access_token"], token["refresh_token"], "s3cret-of-the-app", "BEGIN PRIVATE"):
        assert secret not in stored
        assert secret not in written.out + written.err
    assert "'d'" not in stored
    keys = smart.composition.settings.data_directory / "signing-keys.json"
    assert keys.stat().st_mode & 0o777 == 0o600


def test_an_end_holds_for_every_worker_as_soon_as_it_is_told(smart: Smart, make_composition: Any) -> None:
    token = smart.app("app").run(MARIE, "patient/*.rs")["access_token"]
    other = BearerTokens(make_composition(auth="smart").smart().tokens)
    environ = {"HTTP_AUTHORIZATION": f"Bearer {token}", "PATH_INFO": "/fhir/Patient", "REQUEST_METHOD": "GET"}
    assert other.authenticate(environ).patient == "marie"
    assert smart.works(token)
    end_client(smart.composition.smart().ground, "app")
    assert not smart.works(token)
    with pytest.raises(Login):
        other.authenticate(environ)


def test_a_hint_of_another_kind_does_not_keep_a_token_alive(smart: Smart) -> None:
    app = smart.app()
    token = app.run(MARIE, "patient/*.rs")["access_token"]
    data = {"client_id": app.client.id, "token": token, "token_type_hint": "id_token"}
    assert smart.client.post("/auth/revoke", data=data).status_code == 200
    assert not smart.works(token)
    refused(smart.client.post("/auth/revoke", data={"client_id": app.client.id}), "invalid_request")


def test_the_scheme_of_a_token_is_written_in_any_case(smart: Smart) -> None:
    token = smart.backend().token()
    for scheme in ("Bearer", "bearer", "BEARER"):
        headers = {"Authorization": f"{scheme} {token}"}
        assert smart.client.get("/fhir/Patient", headers=headers).status_code == 200
