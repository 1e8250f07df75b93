"""Attacks on codes and refresh tokens, and on what must end with what they stand for."""

import base64
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fhir_server.smart import endings
from tests.access.oauth import at_once, refused
from tests.rest.smart import Smart
from tests.rest.smart_people import DOCTOR, MARIE, PIERRE


def test_a_code_is_good_once_and_a_replay_ends_what_it_gave(smart: Smart) -> None:
    app = smart.app()
    code = app.code(smart.browser(MARIE), "patient/*.rs offline_access")
    token = app.exchange(code).get_json()
    assert smart.works(token["access_token"])
    refused(app.exchange(code), "invalid_grant")
    assert not smart.works(token["access_token"])
    refused(app.refresh(token["refresh_token"]), "invalid_grant")


def test_a_code_used_at_the_same_moment_gives_no_lasting_token(smart: Smart) -> None:
    app = smart.app()
    code = app.code(smart.browser(MARIE), "patient/*.rs")
    answers = at_once(6, lambda: app.exchange(code))
    given = [one.get_json()["access_token"] for one in answers if one.status_code == 200]
    assert len(given) <= 1
    assert not any(smart.works(token) for token in given)


def test_a_code_is_bound_to_client_address_and_verifier(smart: Smart) -> None:
    other = smart.app("other")
    for form in (
        {"code_verifier": secrets.token_urlsafe(48)},
        {"code_verifier": None},
        {"code_verifier": "short"},
        {"redirect_uri": "https://app.example/other"},
        {"redirect_uri": None},
    ):
        app = smart.app(f"app-{secrets.token_hex(4)}")
        code = app.code(smart.browser(MARIE), "patient/*.rs")
        answer = app.exchange(code, **form)
        assert answer.status_code == 400, form
        refused(app.exchange(code), "invalid_grant")
    app = smart.app()
    code = app.code(smart.browser(MARIE), "patient/*.rs")
    refused(other.exchange(code, code_verifier=app.verifier), "invalid_grant")
    assert app.exchange(code).status_code == 200


def test_a_verifier_is_written_as_the_standard_writes_it(smart: Smart) -> None:
    app = smart.app()
    for verifier in ("v" * 42, "v" * 129, "é" * 43, "v v" * 20, "v" * 43 + "\n"):
        app.verifier = verifier
        refused(app.exchange(app.code(smart.browser(MARIE), "patient/*.rs")), "invalid_request")


def test_what_a_consent_gave_ends_with_it(smart: Smart) -> None:
    app, ground = smart.app(), smart.composition.smart().ground
    code = app.code(smart.browser(MARIE), "patient/*.rs offline_access")
    records = smart.composition.store().records
    records.change_many("smart_grants", {}, [{"$set": {"ended": "$$NOW"}}])
    refused(app.exchange(code), "invalid_grant")
    token = app.run(MARIE, "patient/*.rs offline_access")
    records.change_many("smart_grants", {}, [{"$set": {"ended": "$$NOW"}}])
    refused(app.refresh(token["refresh_token"]), "invalid_grant")
    assert smart.composition.smart().consents.of_account("marie") == []
    endings.end_grant(ground, "unknown")


def test_a_code_is_good_for_a_minute(smart: Smart) -> None:
    app = smart.app()
    code = app.code(smart.browser(MARIE), "patient/*.rs")
    past = datetime.now(UTC) - timedelta(seconds=1)
    smart.composition.store().records.change_many("smart_codes", {}, [{"$set": {"expires": past}}])
    refused(app.exchange(code), "invalid_grant")


@pytest.mark.parametrize("code", ["", "x", "' OR 1=1", "{'$ne': null}", "a" * 5_000])
def test_what_is_no_code_gives_nothing(smart: Smart, code: str) -> None:
    assert smart.app().exchange(code).status_code == 400


def test_a_confidential_app_without_its_proof_gets_nothing(smart: Smart) -> None:
    app = smart.app("confidential", secret="s3cret")
    code = app.code(smart.browser(MARIE), "patient/*.rs")
    for wrong in ("", "wrong"):
        app.secret = wrong
        assert app.exchange(code).get_json()["error"] == "invalid_client"
    app.secret = "s3cret"
    assert app.exchange(code).status_code == 200
    public = smart.app("public")
    public.secret = "anything"
    assert public.exchange("x").get_json()["error"] == "invalid_client"


def test_a_refresh_that_is_refused_for_how_it_was_asked_may_be_asked_anew(smart: Smart) -> None:
    app = smart.app()
    word = app.run(MARIE, "patient/*.rs offline_access")["refresh_token"]
    refused(app.refresh(word, reason="too short"), "invalid_request")
    refused(app.refresh(word, scope="patient/*.cruds"), "invalid_scope")
    renewed = app.refresh(word)
    assert renewed.status_code == 200
    assert smart.works(renewed.get_json()["access_token"])
    refused(app.refresh(word, reason="too short"), "invalid_request")
    refused(app.refresh(word), "invalid_grant")
    assert not smart.works(renewed.get_json()["access_token"])


def test_a_client_proves_itself_in_one_way_and_says_what_it_wants(smart: Smart) -> None:
    app = smart.app("safe", secret="s")
    word = app.run(MARIE, "patient/*.rs offline_access")["refresh_token"]
    for more in ({"client_secret": app.secret}, {"client_assertion": "x"}):
        assert "more than one" in refused(app.refresh(word, **more), "invalid_request")
    refused(app.token(), "invalid_request")
    refused(app.token(grant_type="password"), "unsupported_grant_type")
    answer = smart.client.post("/auth/token", data={"grant_type": "refresh_token", "refresh_token": word})
    refused(answer, "invalid_client", 401)
    assert answer.headers["WWW-Authenticate"].startswith('Basic realm="auth", error="invalid_client"')
    assert app.refresh(word).status_code == 200


def test_a_refresh_token_is_good_once_and_its_reuse_ends_the_family(smart: Smart) -> None:
    app = smart.app()
    first = app.run(MARIE, "patient/*.rs offline_access")
    second = app.refresh(first["refresh_token"]).get_json()
    third = app.refresh(second["refresh_token"]).get_json()
    assert third["patient"] == "marie"
    assert smart.works(third["access_token"])
    assert "used before" in refused(app.refresh(first["refresh_token"]), "invalid_grant")
    for token in (first, second, third):
        assert not smart.works(token["access_token"])
    refused(app.refresh(third["refresh_token"]), "invalid_grant")


def test_a_refresh_at_the_same_moment_leaves_nothing_behind(smart: Smart) -> None:
    app = smart.app()
    token = app.run(MARIE, "patient/*.rs offline_access")
    answers = at_once(6, lambda: app.refresh(token["refresh_token"]))
    given = [one.get_json() for one in answers if one.status_code == 200]
    assert len(given) <= 1
    assert not any(smart.works(one["access_token"]) for one in given)


def test_a_refresh_never_widens(smart: Smart) -> None:
    app = smart.app()
    token = app.run(MARIE, "patient/Observation.rs patient/Condition.r offline_access")
    for scope in (
        "patient/*.rs",
        "patient/Observation.cruds",
        "user/Observation.rs",
        "openid",
        "system/*.rs",
        "nonsense",
    ):
        refused(app.refresh(token["refresh_token"], scope=scope), "invalid_scope")
    narrow = app.refresh(token["refresh_token"], scope="patient/Observation.r?category=laboratory").get_json()
    assert narrow["scope"] == "patient/Observation.r?category=laboratory"
    again = app.refresh(narrow["refresh_token"]).get_json()
    assert again["scope"] == "patient/Observation.rs patient/Condition.r offline_access"
    smart.composition.smart().clients.change("app", scope="patient/Condition.rs")
    assert app.refresh(again["refresh_token"]).get_json()["scope"] == "patient/Condition.r"
    last = app.run(MARIE, "patient/Condition.rs")
    assert "refresh_token" not in last


def test_a_client_that_may_do_nothing_any_more_is_refreshed_nothing(smart: Smart) -> None:
    app = smart.app()
    token = app.run(MARIE, "patient/Observation.rs offline_access")
    smart.composition.smart().clients.change("app", scope="patient/Condition.rs")
    refused(app.refresh(token["refresh_token"]), "invalid_scope")


def test_a_refresh_token_is_its_clients(smart: Smart) -> None:
    app, other = smart.app(), smart.app("other")
    token = app.run(MARIE, "patient/*.rs offline_access")
    refused(other.refresh(token["refresh_token"]), "invalid_grant")
    refused(app.refresh(token["access_token"]), "invalid_grant")
    assert app.refresh(token["refresh_token"]).status_code == 200
    assert smart.fhir("Patient", token["refresh_token"]).status_code == 401


def test_only_a_public_client_may_leave_its_name_out(smart: Smart) -> None:
    app, confidential = smart.app(), smart.app("confidential", secret="s")

    def refresh(token: str) -> Any:
        return smart.client.post("/auth/token", data={"grant_type": "refresh_token", "refresh_token": token})

    token = app.run(MARIE, "patient/*.rs offline_access")
    assert refresh(token["refresh_token"]).status_code == 200
    refused(refresh(confidential.run(MARIE, "patient/*.rs offline_access")["refresh_token"]), "invalid_client", 401)
    refused(refresh("unknown"), "invalid_client", 401)
    refused(refresh(token["access_token"]), "invalid_client", 401)


def test_online_access_ends_with_the_day_and_offline_access_by_disuse(smart: Smart) -> None:
    app = smart.app()
    tokens = smart.composition.smart().tokens
    login = datetime.now(UTC) - timedelta(hours=2)
    code = app.code(smart.browser(MARIE, login), "patient/*.rs online_access")
    online = tokens.find(app.exchange(code).get_json()["refresh_token"])
    assert online is not None
    assert abs(online.expires - login - timedelta(hours=12)) < timedelta(seconds=1)
    offline = tokens.find(app.run(MARIE, "patient/*.rs offline_access")["refresh_token"])
    assert offline is not None
    assert abs(offline.expires - offline.issued - timedelta(days=90)) < timedelta(seconds=1)


def test_an_expired_token_is_none(smart: Smart) -> None:
    app = smart.app()
    token = app.run(MARIE, "patient/*.rs offline_access")
    past = datetime.now(UTC) - timedelta(seconds=1)
    smart.composition.store().records.change_many("smart_tokens", {}, [{"$set": {"expires": past}}])
    assert not smart.works(token["access_token"])
    refused(app.refresh(token["refresh_token"]), "invalid_grant")


def test_an_end_takes_every_token_with_it_at_once(smart: Smart) -> None:
    ground = smart.composition.smart().ground
    app, other = smart.app(), smart.app("other")
    scope = "patient/*.rs offline_access"

    def given() -> list[dict[str, Any]]:
        return [
            app.run(MARIE, scope),
            app.run(MARIE, scope, {"patient": "irene"}),
            other.run(MARIE, scope),
            app.run(PIERRE, scope),
        ]

    def alive(tokens: list[dict[str, Any]]) -> list[bool]:
        return [smart.works(token["access_token"]) for token in tokens]

    tokens = given()
    endings.end_person(ground, "marie", "irene")
    assert alive(tokens) == [True, False, True, True]
    refused(app.refresh(tokens[1]["refresh_token"]), "invalid_grant")
    smart.people.lock("marie")
    endings.end_account(ground, "marie")
    assert alive(tokens) == [False, False, False, True]
    smart.people.add(MARIE)
    refused(app.refresh(tokens[0]["refresh_token"]), "invalid_grant")
    endings.end_client(ground, "app")
    assert alive(tokens) == [False, False, False, False]


def test_what_is_no_longer_true_is_refreshed_no_more(smart: Smart) -> None:
    from dataclasses import replace

    app = smart.app()
    child = app.run(MARIE, "patient/*.rs offline_access", {"patient": "irene"})
    doctor = app.run(DOCTOR, "user/*.rs offline_access")
    moved = app.run(DOCTOR, "user/*.rs offline_access")
    smart.people.add(replace(MARIE, persons=MARIE.persons[:1]))
    refused(app.refresh(child["refresh_token"]), "invalid_grant")
    assert DOCTOR.professional is not None
    smart.people.add(replace(DOCTOR, professional=replace(DOCTOR.professional, sector="SA01")))
    renewed = app.refresh(doctor["refresh_token"]).get_json()
    assert smart.caller(renewed["access_token"]).sector == "SA01"
    smart.people.add(replace(DOCTOR, professional=replace(DOCTOR.professional, practitioner_role="PractitionerRole/2")))
    refused(app.refresh(moved["refresh_token"]), "invalid_grant")


@pytest.mark.parametrize("moment", ["client", "consent", "account"])
def test_no_token_survives_an_end_at_the_same_moment(
    smart: Smart, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end falls between the look at what is still good and the token: just before the insert, or just after."""
    parts = smart.composition.smart()
    app = smart.app()
    code = app.code(smart.browser(MARIE), "patient/*.rs offline_access")
    grant = parts.ground.records.find("smart_grants", {})[0]["_id"]
    records = smart.composition.store().records
    insert = records.insert

    def ending(collection: str, document: Any) -> bool:
        if collection == "smart_tokens":
            if moment == "client":
                endings.end_client(parts.ground, "app")
            elif moment == "consent":
                endings.end_grant(parts.ground, grant)
            else:
                smart.people.lock("marie")
                endings.end_account(parts.ground, "marie")
        return insert(collection, document)

    monkeypatch.setattr(records, "insert", ending)
    refused(app.exchange(code), "invalid_grant")
    assert records.find("smart_tokens", {}) == []


@pytest.mark.parametrize("path", ["/auth/token", "/auth/revoke", "/auth/introspect"])
@pytest.mark.parametrize("word", [base64.b64encode(b"\xff\xfe:secret").decode(), "\xe9\xe9\xe9", "a", ""])
def test_a_secret_that_nobody_can_read_is_refused_like_a_wrong_one(smart: Smart, path: str, word: str) -> None:
    data = {"grant_type": "authorization_code", "code": "x", "token": "x"}
    answer = smart.client.post(path, data=data, headers={"Authorization": f"Basic {word}"})
    refused(answer, "invalid_client", 401)
