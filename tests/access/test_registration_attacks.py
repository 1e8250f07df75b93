"""Attacks by way of registration, which anybody may try: too many of them."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.access.oauth import refused
from tests.rest.smart import Smart
from tests.rest.smart_apps import REDIRECT

GOOD: dict[str, Any] = {"client_name": "My App", "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none"}


@pytest.fixture
def open_door(smart_with: Callable[..., Smart]) -> Smart:
    """A server where apps register themselves, behind a proxy on this machine."""
    return smart_with(client_registration=True, trusted_proxies=("127.0.0.1",))


def register(smart: Smart, address: str, body: Any = GOOD) -> Any:
    return smart.client.post("/auth/register", json=body, headers={"X-Forwarded-For": address})


def test_registrations_from_one_address_have_to_wait(open_door: Smart) -> None:
    for number in range(10):
        assert register(open_door, f"2001:db8:1:2::{number}").status_code == 201
    answer = register(open_door, "2001:db8:1:2::ff")
    assert (answer.status_code, answer.get_json()["error"]) == (429, "temporarily_unavailable")
    assert int(answer.headers["Retry-After"]) >= 1
    assert len(open_door.composition.smart().clients.all()) == 10
    assert register(open_door, "2001:db8:1:3::1").status_code == 201


def test_wrong_registrations_count_as_well(open_door: Smart) -> None:
    statuses = [register(open_door, "203.0.113.7", {"client_name": 7}).status_code for _ in range(11)]
    assert statuses == [400] * 10 + [429]
    assert register(open_door, "203.0.113.7").status_code == 429


def test_an_app_looks_after_its_registration_all_the_same(open_door: Smart) -> None:
    made = register(open_door, "203.0.113.7").get_json()
    for _ in range(10):
        register(open_door, "203.0.113.7")
    headers = {"Authorization": f"Bearer {made['registration_access_token']}", "X-Forwarded-For": "203.0.113.7"}
    assert open_door.client.delete(f"/auth/register/{made['client_id']}", headers=headers).status_code == 204


@pytest.mark.parametrize("more", [{"contacts": ["\ud800@app.example"]}, {"client_name": "\udfff"}, {"scope": "\ud800"}])
def test_half_a_character_registers_nothing(open_door: Smart, more: dict[str, Any]) -> None:
    refused(register(open_door, "203.0.113.7", {**GOOD, **more}), "invalid_request")
    assert open_door.composition.smart().clients.all() == []
