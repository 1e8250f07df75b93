"""Attacks on the page of consent and on launches."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fhir_server.smart import endings
from tests.access.oauth import at_once, refused
from tests.access.records import GP, circle, resource
from tests.rest.smart import Smart
from tests.rest.smart_apps import REDIRECT, Page, query_of
from tests.rest.smart_people import DOCTOR, MARIE, OPERATOR, PIERRE


def test_only_the_page_that_was_shown_can_answer(smart: Smart) -> None:
    app = smart.app()
    victim, attacker = smart.browser(MARIE), smart.browser(PIERRE)
    page = app.ask(victim, "patient/*.rs")
    form = {**page.form, "decision": "allow"}
    for changed in ({"form_token": ""}, {"form_token": "x"}, {"form_token": "é"}):
        assert victim.post(page.path, data={**form, **changed}).status_code == 403
    assert attacker.post(page.path, data=form).status_code == 403
    assert smart.browser().post(page.path, data=form).status_code == 403
    attackers = app.ask(attacker, "patient/*.rs")
    mine = {**attackers.form, "decision": "allow"}
    assert victim.post(attackers.path, data=mine).status_code == 403, "made the victim answer the attacker's page"
    assert victim.post(page.path, data=form).status_code == 302


def test_a_request_is_answered_once(smart: Smart) -> None:
    page = smart.app().ask(smart.browser(MARIE), "patient/*.rs")
    form = {**page.form, "decision": "allow"}
    assert sorted(at_once(4, lambda: page.browser.post(page.path, data=form).status_code)) == [302, 400, 400, 400]
    assert page.browser.get(page.path).status_code == 400
    assert page.browser.get("/auth/authorize/unknown").status_code == 400
    assert page.browser.post("/auth/authorize/unknown").status_code == 400


def test_a_request_waits_a_quarter_of_an_hour(smart: Smart) -> None:
    page = smart.app().ask(smart.browser(MARIE), "patient/*.rs")
    past = datetime.now(UTC) - timedelta(seconds=1)
    smart.composition.store().records.change_many("smart_requests", {}, [{"$set": {"expires": past}}])
    assert page.browser.get(page.path).status_code == 400


def test_the_page_cannot_be_framed_nor_changed_by_others(smart: Smart) -> None:
    page = smart.app(redirect_uris=("com.example.app:/cb", REDIRECT)).ask(smart.browser(MARIE), "patient/*.rs")
    policy = page.response.headers["Content-Security-Policy"]
    for part in (
        "default-src 'none'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'self' com.example.app:;",
    ):
        assert part in policy
    assert "unsafe" not in policy
    assert page.response.headers["X-Frame-Options"] == "DENY"
    assert page.response.headers["Referrer-Policy"] == "no-referrer"
    assert page.response.headers["Cache-Control"] == "no-store"
    assert "<script" not in page.response.text


def test_a_name_cannot_rewrite_the_page(smart: Smart) -> None:
    name = "</h1><script>alert(1)</script>"
    page = smart.app(name=name).ask(smart.browser(MARIE), "patient/*.rs?_tag=%3Cscript%3E")
    assert "<script" not in page.response.text


def test_a_form_grants_nothing_that_was_not_asked(smart: Smart) -> None:
    app = smart.app()
    page = app.ask(smart.browser(MARIE), "patient/Observation.rs")
    answer = page.allow(scope=["patient/Observation.rs", "patient/*.cruds", "user/*.cruds", "offline_access"])
    token = app.exchange(query_of(answer.location)["code"]).get_json()
    assert token["scope"] == "patient/Observation.rs"


@pytest.mark.parametrize("patient", ["pierre", "nobody", "", "marie/../pierre"])
def test_nobody_chooses_a_patient_who_was_not_shown(smart: Smart, patient: str) -> None:
    page = smart.app().ask(smart.browser(MARIE), "launch/patient patient/*.rs")
    assert page.allow(patient=patient).location is None


def test_a_launch_is_good_once_for_its_app_and_user(smart: Smart) -> None:
    launches = smart.composition.smart().launches
    app, other = smart.app(), smart.app("other")
    doctor, marie = smart.browser(DOCTOR), smart.browser(MARIE)
    launch = launches.mint("app", "Practitioner/doctor", {"patient": "p"})
    answer = other.authorize(doctor, "launch patient/*.rs", launch=launch)
    assert query_of(answer.location)["error"] == "invalid_request", "another app's launch"
    waiting = app.authorize(marie, "launch patient/*.rs", launch=launch).location
    assert query_of(marie.get(waiting).location)["error"] == "invalid_request", "another user's launch"
    first, second = (app.ask(doctor, "launch patient/*.rs", launch=launch) for _ in range(2))
    late = second.form
    assert "code" in query_of(first.allow().location)
    answer = doctor.post(second.path, data={**late, "decision": "allow"})
    assert query_of(answer.location)["error"] == "invalid_request", "used twice"
    assert query_of(app.authorize(doctor, "launch patient/*.rs", launch=launch).location)["error"] == "invalid_request"


@pytest.mark.parametrize("account", [DOCTOR, OPERATOR])
def test_a_patient_is_not_named_to_who_may_not_read_them(smart: Smart, account: Any) -> None:
    """A launch of a record of others, and one of a record that does not exist, have the same page."""
    smart.put(resource("Patient/hidden", name=[{"family": "Secret"}], birthDate="1979-06-13"))
    app, pages = smart.app(), set()
    for patient in ("hidden", "nobody"):
        launch = smart.composition.smart().launches.mint("app", None, {"patient": patient})
        page = app.ask(smart.browser(account), "launch user/Patient.rs patient/*.rs", launch=launch)
        body = page.response.text.partition("<main>")[2]
        pages.add(body.replace(page.form["form_token"], "").replace(page.path, ""))
    assert len(pages) == 1
    assert "Secret" not in pages.pop()


def test_a_name_does_not_rewrite_the_page_that_names_the_patient(smart: Smart) -> None:
    name = "</bdi><script>alert(1)</script>\u202e"
    smart.put(resource("Patient/dom", name=[{"text": name}]), circle("dom", (GP, "PCP")))
    launch = smart.composition.smart().launches.mint("app", None, {"patient": "dom"})
    text = smart.app().ask(smart.browser(DOCTOR), "launch patient/*.rs", launch=launch).response.text
    assert "<script" not in text
    assert "<bdi>&lt;/bdi&gt;&lt;script&gt;alert(1)&lt;/script&gt;\u202e</bdi>" in text, "isolated from what follows"


def test_a_launch_for_a_patient_opens_no_other_persons_record(smart: Smart) -> None:
    launch = smart.composition.smart().launches.mint("app", None, {"patient": "pierre"})
    browser = smart.browser(MARIE)
    waiting = smart.app().authorize(browser, "launch patient/*.rs", launch=launch).location
    assert query_of(browser.get(waiting).location)["error"] == "access_denied"


def test_a_launch_used_at_the_same_moment_gives_one_code(smart: Smart) -> None:
    launch = smart.composition.smart().launches.mint("app", None, {"patient": "p"})
    app, browser = smart.app(), smart.browser(DOCTOR)
    pages = [app.ask(browser, "launch patient/*.rs", launch=launch) for _ in range(4)]
    forms = [(page, {**page.form, "decision": "allow"}) for page in pages]
    answers = at_once(
        4, lambda: None, [lambda p=page, f=form: p.browser.post(p.path, data=f).location for page, form in forms]
    )
    assert sorted("code=" in str(answer) for answer in answers) == [False, False, False, True]


def test_a_launch_that_somebody_else_uses_a_moment_before_gives_no_code(
    smart: Smart, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = smart.composition.store().records
    launch = smart.composition.smart().launches.mint("app", None, {"patient": "p"})
    page = smart.app().ask(smart.browser(DOCTOR), "launch patient/*.rs", launch=launch)
    change = records.change

    def overtaken(collection: str, *given: Any) -> Any:
        if collection == "smart_launches":
            assert change(collection, *given) is not None
        return change(collection, *given)

    monkeypatch.setattr(records, "change", overtaken)
    told = query_of(page.allow().location)
    assert (told["error"], told["error_description"]) == ("invalid_request", "The launch was used before.")
    assert records.find("smart_codes", {}) == []


def test_an_old_launch_is_good_for_nothing(smart: Smart) -> None:
    launch = smart.composition.smart().launches.mint("app", None, {"patient": "p"})
    past = datetime.now(UTC) - timedelta(seconds=1)
    smart.composition.store().records.change_many("smart_launches", {}, [{"$set": {"expires": past}}])
    answer = smart.app().authorize(smart.browser(DOCTOR), "launch patient/*.rs", launch=launch)
    assert query_of(answer.location)["error"] == "invalid_request"


def test_only_an_ehr_mints_launches(smart: Smart) -> None:
    smart.app()
    ehr, backend = smart.backend("ehr", roles=("ehr",)), smart.backend()
    person = smart.app("ehr-app", roles=("ehr",)).run(DOCTOR, "user/*.rs offline_access")

    def mint(token: str, scheme: str = "Bearer", **body: Any) -> Any:
        return smart.client.post(
            "/auth/launch", json={"client_id": "app", **body}, headers={"Authorization": f"{scheme} {token}"}
        )

    for token in ("", "x", person["refresh_token"]):
        assert mint(token).status_code == 401
    assert mint(backend.token(), "Basic").status_code == 401
    for token in (backend.token(), person["access_token"]):
        assert mint(token).status_code == 403
    good = ehr.token()
    assert mint(good).status_code == 201
    for body in (
        {"client_id": "nobody"},
        {"patient": "../x"},
        {"patient": {"$ne": 1}},
        {"smart_style_url": "javascript:x"},
        {"fhirContext": [{"reference": "x"}]},
        {"fhirContext": [{"role": "launch"}]},
        {"$where": "x"},
        {"client_id": "\ud800"},
        {"user": "\ud800"},
        {"intent": "\udfff"},
        {"fhirContext": [{"identifier": {"value": "\ud800"}}]},
    ):
        refused(mint(good, **body), "invalid_request")
    assert smart.client.post("/auth/launch", data="[", headers={"Authorization": f"Bearer {good}"}).status_code == 400
    endings.end_client(smart.composition.smart().ground, "ehr")
    assert mint(good).status_code == 401


def test_a_page_in_two_tabs_can_be_answered_in_either(smart: Smart) -> None:
    app, browser = smart.app(), smart.browser(MARIE)
    path = app.authorize(browser, "patient/*.rs").location
    first, _ = Page.at(browser, path), Page.at(browser, path)
    assert first.allow().status_code == 302


@pytest.mark.parametrize("hidden", ["%E2%80%AE", "%E2%80%8B", "%C2%A0"])
def test_a_value_in_a_scope_does_not_rewrite_the_page_that_shows_it(smart: Smart, hidden: str) -> None:
    word = f"patient/Observation.rs?category=laboratory,{hidden}x"
    page = smart.app().ask(smart.browser(MARIE), word).response.text
    assert f"category = laboratory,{hidden}x" in page
