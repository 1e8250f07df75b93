"""What the authorization server gives and refuses is in the audit when the answer is there."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from click.testing import CliRunner

from fhir_server.cli import main
from fhir_server.smart.endings import end_client
from fhir_server.storage.store import StoreUnavailable
from tests.rest.security_audit import short, told
from tests.rest.smart import Smart
from tests.rest.smart_apps import ASSERTION, REDIRECT
from tests.rest.smart_people import DOCTOR, MARIE

SCOPE = "patient/*.rs offline_access"


def test_what_a_person_allows_and_what_an_app_is_given_are_told(smart: Smart) -> None:
    app = smart.app()
    given = app.run(MARIE, SCOPE)
    app.refresh(given["refresh_token"])
    allowed, issued, refreshed = told(smart.composition)
    assert short([allowed]) == [("authorization", "", "marie", "app")]
    assert allowed.details["scope"] == SCOPE
    assert [(one.code, one.outcome, one.by, one.client) for one in (issued, refreshed)] == [
        ("access-token", "0", "marie", "app")
    ] * 2
    assert issued.request == f"grant_type=authorization_code&client_id=app&scope={'patient%2F%2A.rs+offline_access'}"
    assert refreshed.request.startswith("grant_type=refresh_token&")


def test_a_person_s_no_is_told(smart: Smart) -> None:
    smart.app().ask(smart.browser(MARIE), SCOPE).deny()
    (refused,) = told(smart.composition)
    assert short([refused]) == [("authorization", "access_denied", "marie", "app")]
    assert refused.outcome == "4"


def test_a_backend_s_token_is_its_own(smart: Smart) -> None:
    smart.backend().token("system/Patient.rs")
    (issued,) = told(smart.composition)
    assert (issued.by, issued.client) == ("backend", "backend")
    assert issued.resource["agent"][0]["role"][0]["coding"][0]["code"] == "system"
    assert "scope=system%2FPatient.rs" in issued.request


def test_an_emergency_is_told_as_the_purpose_of_a_token(smart: Smart) -> None:
    app = smart.app()
    code = app.code(smart.browser(DOCTOR), "user/*.rs")
    app.exchange(code, purpose_of_use="bris_de_glace", reason="Unconscious, no history known")
    event = told(smart.composition, "access-token")[0]
    purposes = event.resource["agent"][-1]["purposeOfUse"][0]["coding"]
    assert "BTG" in {one["code"] for one in purposes}
    assert "Unconscious" not in str(event.resource)


def test_a_refused_token_is_told_by_whom_it_was_refused(smart: Smart) -> None:
    app, confidential = smart.app(), smart.app("confidential", secret="s")
    app.exchange("no-code")
    replace(confidential, secret="wrong").exchange("no-code")
    smart.client.post("/auth/token", data={"grant_type": "authorization_code", "client_id": "<typed>"})
    smart.client.post("/auth/token", data={"grant_type": "<typed>"})
    events = told(smart.composition)
    assert [(one.problem, one.by, one.details.get("claimed")) for one in events] == [
        ("invalid_grant", "app", None),
        ("invalid_client", "unknown", "confidential"),
        ("invalid_client", "unknown", None),
        ("unsupported_grant_type", "unknown", None),
    ]
    assert {one.outcome for one in events} == {"4"}
    assert "typed" not in str([one.resource for one in events])


def test_refusals_of_one_client_are_told_at_every_doubling(smart: Smart) -> None:
    app = smart.app()
    for _ in range(9):
        app.exchange("no-code")
    assert [one.details["count"] for one in told(smart.composition)] == ["1", "2", "4", "8"]


def test_a_code_used_twice_is_an_alert_that_names_its_owner(smart: Smart) -> None:
    app, thief = smart.app(), smart.app("thief")
    code = app.code(smart.browser(MARIE), SCOPE)
    app.exchange(code)
    thief.exchange(code)
    (alert,) = told(smart.composition, "credential-reused")
    assert short([alert]) == [("credential-reused", "code", "thief", "marie")]
    assert (alert.outcome, alert.details["client"]) == ("8", "app")
    assert alert.resource["type"]["code"] == "110113"


def test_a_refresh_token_used_twice_is_an_alert(smart: Smart) -> None:
    app = smart.app()
    given = app.run(MARIE, SCOPE)
    app.refresh(given["refresh_token"])
    app.refresh(given["refresh_token"])
    assert short(told(smart.composition, "credential-reused")) == [
        ("credential-reused", "refresh_token", "app", "marie")
    ]


def test_a_revocation_is_told(smart: Smart) -> None:
    app, backend = smart.app(), smart.backend()
    given, alone = app.run(MARIE, SCOPE), backend.token()
    smart.client.post("/auth/revoke", data={"token": given["refresh_token"], "client_id": "app"})
    proof = {"client_assertion_type": ASSERTION, "client_assertion": backend.assertion()}
    smart.client.post("/auth/revoke", data={"token": alone, **proof})
    smart.client.post("/auth/revoke", data={"token": "unknown", "client_id": "app"})
    events = told(smart.composition, "token-revoked")
    assert short(events) == [("token-revoked", "", "app", "marie"), ("token-revoked", "", "backend", "")]
    assert [one.details["use"] for one in events] == ["refresh", "access"]


def test_apps_that_register_change_and_leave_are_told(smart_with: Callable[..., Smart]) -> None:
    smart = smart_with(client_registration=True)
    metadata = {"client_name": "New", "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none"}
    made = smart.client.post("/auth/register", json=metadata).get_json()
    path = f"/auth/register/{made['client_id']}"
    bearer = {"Authorization": f"Bearer {made['registration_access_token']}"}
    smart.client.put(path, json={**metadata, "client_id": made["client_id"], "client_name": "Newer"}, headers=bearer)
    smart.client.delete(path, headers=bearer)
    id = made["client_id"]
    assert short(told(smart.composition)) == [
        ("client-added", "", "unknown", id),
        ("client-changed", "", id, ""),
        ("client-removed", "", id, ""),
    ]
    assert {one.details["registered"] for one in told(smart.composition)} == {"by itself"}


def test_what_the_command_line_does_to_a_client_is_told(smart: Smart, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in smart.composition.settings.to_environment().items():
        monkeypatch.setenv(name, value)
    app = ("client", "add", "Portal", "--id", "portal", "--confidential", "--redirect-uri", REDIRECT)
    for words in (app, ("client", "rotate", "portal"), ("client", "remove", "portal")):
        result = CliRunner().invoke(main, [*words])
        assert result.exit_code == 0, result.output
        assert CliRunner().invoke(main, ["client", "remove", "unknown"]).exit_code == 1
    codes = ("client-added", "client-rotated", "client-removed")
    assert short(told(smart.composition)) == [(code, "", "command line", "portal") for code in codes]


def test_what_an_ehr_is_told_of_a_token_is_told(smart: Smart) -> None:
    app, ehr, other = smart.app(), smart.app("ehr", secret="e", roles=("ehr",)), smart.app("other", secret="o")
    token = app.run(MARIE, SCOPE)["access_token"]
    backend = smart.backend().token("system/Patient.rs")
    for word, by in ((token, ehr), (backend, ehr), (token, other), ("unknown", ehr)):
        smart.introspect(word, by)
    events = told(smart.composition, "token-introspected")
    assert short(events) == [("token-introspected", "", "ehr", "marie"), ("token-introspected", "", "ehr", "backend")]
    assert [one.details for one in events] == [
        {"client": "app", "use": "access"},
        {"client": "backend", "use": "access"},
    ]
    assert token not in str(events)


def test_new_keys_of_the_server_are_told(smart: Smart, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in smart.composition.settings.to_environment().items():
        monkeypatch.setenv(name, value)
    result = CliRunner().invoke(main, ["rotate-keys"])
    assert result.exit_code == 0, result.output
    assert short(told(smart.composition)) == [("server-rotated", "", "command line", "")]


def test_no_token_is_given_that_cannot_be_told(smart: Smart, monkeypatch: pytest.MonkeyPatch) -> None:
    app = smart.app()
    code = app.code(smart.browser(MARIE), SCOPE)

    def away(_: object) -> None:
        raise StoreUnavailable("away")

    monkeypatch.setattr(smart.composition.store().audit_log, "append", away)
    answer = app.exchange(code)
    assert (answer.status_code, answer.get_json()) == (503, {"error": "temporarily_unavailable"})


def test_a_client_that_has_ended_is_refused_as_nobody(smart: Smart) -> None:
    app = smart.app()
    end_client(smart.composition.smart().ground, "app")
    app.exchange("no-code")
    assert short(told(smart.composition)) == [("access-token", "invalid_client", "unknown", "")]
