"""Apps that register themselves: what they may say, and that nothing of it is believed."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.rest.smart import Smart
from tests.rest.smart_apps import REDIRECT, App, Backend, new_key, query_of
from tests.rest.smart_people import MARIE

GOOD: dict[str, Any] = {"client_name": "My App", "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none"}


@pytest.fixture
def open_door(smart_with: Callable[..., Smart]) -> Smart:
    """A server where apps register themselves."""
    return smart_with(client_registration=True)


def register(smart: Smart, status: int = 201, **changed: Any) -> dict[str, Any]:
    body = {name: value for name, value in {**GOOD, **changed}.items() if value is not None}
    answer = smart.client.post("/auth/register", json=body)
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.get_json()
    return found


def test_it_is_off_unless_the_operator_wants_it(smart: Smart) -> None:
    assert smart.client.post("/auth/register", json=GOOD).status_code == 404
    assert "registration_endpoint" not in smart.client.get("/fhir/.well-known/smart-configuration").get_json()


def test_a_public_app_registers_and_asks_a_person(open_door: Smart) -> None:
    made = register(
        open_door, scope="openid patient/*.rs", id_token_signed_response_alg="ES256", contacts=["a@b.example"]
    )
    assert "client_secret" not in made
    assert made["grant_types"] == ["authorization_code", "refresh_token"]
    client = open_door.composition.smart().clients.find(made["client_id"])
    assert client is not None
    assert client.registered_itself
    page = App(open_door, client).ask(open_door.browser(MARIE), "openid patient/*.rs")
    assert "Nobody at fhir-server has checked" in page.response.text


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post", None])
def test_a_confidential_app_gets_a_secret_once(open_door: Smart, method: str | None) -> None:
    made = register(open_door, token_endpoint_auth_method=method)
    assert made["client_secret_expires_at"] == 0
    client = open_door.composition.smart().clients.find(made["client_id"])
    assert client is not None
    app = App(open_door, client, made["client_secret"])
    assert app.run(MARIE, "patient/*.rs")["scope"] == "patient/*.rs"
    read = open_door.client.get(f"/auth/register/{client.id}", headers=bearer(made)).get_json()
    assert "client_secret" not in read
    assert read["token_endpoint_auth_method"] == "client_secret_basic"


def test_an_app_with_a_key_registers_it(open_door: Smart) -> None:
    key = new_key("ES384")
    made = register(
        open_door, token_endpoint_auth_method="private_key_jwt", jwks={"keys": [key.as_dict(private=False)]}
    )
    client = open_door.composition.smart().clients.find(made["client_id"])
    assert client is not None
    assert client.kind == "confidential"
    alone = Backend(open_door, client, key).ask("system/*.rs")
    assert alone.get_json()["error"] == "unauthorized_client"
    register(open_door, token_endpoint_auth_method="private_key_jwt", jwks_uri="https://app.example/jwks")


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"redirect_uris": None}, "invalid_redirect_uri"),
        ({"redirect_uris": []}, "invalid_redirect_uri"),
        ({"redirect_uris": [REDIRECT] * 11}, "invalid_redirect_uri"),
        ({"redirect_uris": ["http://app.example/cb"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["https://a.example/cb", "javascript:alert(1)"]}, "invalid_"),
        ({"redirect_uris": ["https://a.example/*"]}, None),
        ({"redirect_uris": ["https://a.example/#x"]}, "invalid_"),
        ({"redirect_uris": ["https://a;b.example/"]}, "invalid_"),
        ({"redirect_uris": "https://a.example/cb"}, "invalid_client_metadata"),
        ({"redirect_uris": [1]}, "invalid_client_metadata"),
        ({"client_name": None}, "invalid_client_metadata"),
        ({"client_name": " "}, "invalid_client_metadata"),
        ({"client_name": "a" * 81}, "invalid_client_metadata"),
        ({"client_name": "Bank\u202eknaB"}, "invalid_client_metadata"),
        ({"client_name": "Bank\u200b"}, "invalid_client_metadata"),
        ({"client_name": "Bank\nof"}, "invalid_client_metadata"),
        ({"client_name": 7}, "invalid_client_metadata"),
        ({"scope": "system/*.rs"}, "invalid_client_metadata"),
        ({"scope": "patient/*.rs nonsense"}, "invalid_client_metadata"),
        ({"grant_types": ["client_credentials"]}, "invalid_client_metadata"),
        ({"grant_types": ["implicit"]}, "invalid_client_metadata"),
        ({"response_types": ["token"]}, "invalid_client_metadata"),
        ({"token_endpoint_auth_method": "client_secret_jwt"}, "invalid_client_metadata"),
        ({"token_endpoint_auth_method": "private_key_jwt"}, "invalid_client_metadata"),
        ({"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": []}}, "invalid_client_metadata"),
        ({"token_endpoint_auth_method": "private_key_jwt", "jwks": []}, "invalid_client_metadata"),
        ({"jwks": {"keys": []}}, "invalid_client_metadata"),
        ({"jwks_uri": "https://app.example/jwks"}, "invalid_client_metadata"),
        (
            {"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "http://app.example/jwks"},
            "invalid_client_metadata",
        ),
        (
            {"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "file:///etc/passwd"},
            "invalid_client_metadata",
        ),
        ({"logo_uri": "javascript:alert(1)"}, "invalid_client_metadata"),
        ({"initiate_login_uri": "javascript:alert(1)"}, "invalid_client_metadata"),
        ({"policy_uri": "http://app.example/policy"}, "invalid_client_metadata"),
        ({"client_uri": 'https://app.example/"><script>'}, "invalid_client_metadata"),
        ({"id_token_signed_response_alg": "none"}, "invalid_client_metadata"),
        ({"id_token_signed_response_alg": "HS256"}, "invalid_client_metadata"),
        ({"software_statement": "e30.e30."}, "unapproved_software_statement"),
        ({"contacts": "a@b.example"}, "invalid_client_metadata"),
    ],
    ids=str,
)
def test_what_would_mislead_is_refused(open_door: Smart, changed: dict[str, Any], error: str | None) -> None:
    if error is None:
        register(open_door, **changed)
    else:
        assert register(open_door, 400, **changed)["error"].startswith(error)


def test_a_key_that_may_not_sign_is_no_key(open_door: Smart) -> None:
    weak = {"keys": [new_key("ES256").as_dict(private=False)]}
    made = register(open_door, 400, token_endpoint_auth_method="private_key_jwt", jwks=weak)
    assert "no key for RS384 or ES384" in made["error_description"]


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"x", b"null", b'"a"', b"[" * 50_000])
def test_what_is_no_registration_is_refused(open_door: Smart, body: bytes) -> None:
    answer = open_door.client.post("/auth/register", data=body, content_type="application/json")
    assert answer.status_code == 400


def test_nobody_makes_themselves_trusted(open_door: Smart) -> None:
    more = {
        "roles": ["trusted", "ehr"],
        "kind": "backend",
        "client_id": "chosen",
        "registered_itself": False,
        "trusted": True,
    }
    made = register(open_door, **more)
    client = open_door.composition.smart().clients.find(made["client_id"])
    assert client is not None
    assert (client.roles, client.kind, client.registered_itself) == ((), "public", True)
    assert client.id != "chosen"


def bearer(made: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {made['registration_access_token']}"}


def test_a_registration_is_looked_after_by_its_owner_alone(open_door: Smart) -> None:
    made, other = register(open_door), register(open_door)
    operators = open_door.app("operators")
    path = f"/auth/register/{made['client_id']}"
    for headers in ({}, {"Authorization": "Bearer x"}, bearer(other), {"Authorization": "Basic x"}):
        assert open_door.client.get(path, headers=headers).status_code >= 400
        assert open_door.client.delete(path, headers=headers).status_code >= 400
    for name in (operators.client.id, "unknown"):
        assert open_door.client.get(f"/auth/register/{name}", headers=bearer(made)).status_code == 401
    read = open_door.client.get(path, headers=bearer(made)).get_json()
    assert read["client_name"] == "My App"
    assert "initiate_login_uri" not in read
    assert read["registration_client_uri"].endswith(path)
    changed = open_door.client.put(
        path,
        json={
            **GOOD,
            "client_id": made["client_id"],
            "client_name": "Renamed",
            "initiate_login_uri": "https://app.example/launch",
        },
        headers=bearer(made),
    )
    assert changed.status_code == 200, changed.text
    assert changed.get_json()["initiate_login_uri"] == "https://app.example/launch"
    assert changed.get_json()["client_name"] == "Renamed"


def test_a_change_never_weakens_the_proof(open_door: Smart) -> None:
    made = register(open_door, token_endpoint_auth_method="client_secret_basic")
    path = f"/auth/register/{made['client_id']}"
    answer = open_door.client.put(path, json={**GOOD, "client_id": made["client_id"]}, headers=bearer(made))
    assert answer.get_json()["error"] == "invalid_client_metadata"
    for body in (
        {**GOOD},
        {**GOOD, "client_id": "x"},
        {**GOOD, "client_id": made["client_id"], "scope": "system/*.rs"},
    ):
        assert open_door.client.put(path, json=body, headers=bearer(made)).status_code == 400


def test_an_app_that_leaves_takes_its_tokens_along(open_door: Smart) -> None:
    made = register(open_door)
    client = open_door.composition.smart().clients.find(made["client_id"])
    assert client is not None
    token = App(open_door, client).run(MARIE, "patient/*.rs offline_access")["access_token"]
    assert open_door.works(token)
    assert open_door.client.delete(f"/auth/register/{client.id}", headers=bearer(made)).status_code == 204
    assert not open_door.works(token)
    answer = App(open_door, client).authorize(open_door.browser(MARIE), "patient/*.rs")
    assert answer.status_code == 400
    assert query_of(answer.location or "") == {}


def test_an_answer_about_a_registration_says_where_and_by_which_token_it_is_looked_after(open_door: Smart) -> None:
    made = register(open_door)
    path, names = f"/auth/register/{made['client_id']}", ("registration_client_uri", "registration_access_token")
    changed = open_door.client.put(path, json={**GOOD, "client_id": made["client_id"]}, headers=bearer(made))
    for answer in (open_door.client.get(path, headers=bearer(made)), changed):
        assert [answer.get_json()[name] for name in names] == [made[name] for name in names]
        assert answer.headers["Cache-Control"] == "no-store"
