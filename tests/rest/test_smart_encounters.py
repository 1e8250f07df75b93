"""An app that is launched within an encounter: the person picks one of the patient's, the token response names it."""

from tests.access.records import GP, circle, encounter
from tests.rest.smart import Smart
from tests.rest.smart_apps import Page, query_of
from tests.rest.smart_people import DOCTOR, MARIE


def test_a_person_picks_the_encounter_of_the_patient_picked(smart: Smart) -> None:
    smart.put(
        {"resourceType": "Patient", "id": "marie"},
        {"resourceType": "Patient", "id": "irene"},
        encounter("visit", "marie", start="2026-03-02", type=[{"text": "Consultation"}]),
        encounter("stay", "marie", start="2026-05-04", end="2026-05-06"),
        encounter("other", "irene", start="2026-01-01"),
    )
    app, browser = smart.app(), smart.browser(MARIE)
    page = app.ask(browser, "launch/patient launch/encounter patient/Observation.rs offline_access")
    assert "launch/encounter" not in page.response.text
    asked = Page(browser, page.path, page.allow(patient="marie", scope=["patient/Observation.rs"]))
    text = asked.response.text
    assert text.index("2026-05-04 – 2026-05-06") < text.index("2026-03-02, Consultation")
    assert "2026-01-01" not in text
    answer = asked.allow(encounter="visit")
    token = app.exchange(query_of(answer.location)["code"]).get_json()
    assert (token["patient"], token["encounter"]) == ("marie", "visit")
    assert token["scope"] == "launch/patient launch/encounter patient/Observation.rs"
    assert smart.caller(token["access_token"]).encounter == "visit"


def test_the_encounter_comes_with_every_token_of_the_consent(smart: Smart) -> None:
    smart.put({"resourceType": "Patient", "id": "marie"}, encounter("visit", "marie"))
    app, browser = smart.app(), smart.browser(MARIE)
    page = app.ask(browser, "launch/encounter patient/*.rs offline_access")
    code = query_of(Page(browser, page.path, page.allow()).allow(encounter="visit").location)["code"]
    renewed = app.refresh(app.exchange(code).get_json()["refresh_token"]).get_json()
    assert renewed["encounter"] == "visit"


def test_none_of_the_encounters_is_an_answer_too(smart: Smart) -> None:
    smart.put({"resourceType": "Patient", "id": "marie"}, encounter("visit", "marie"))
    app, browser = smart.app(), smart.browser(MARIE)
    page = app.ask(browser, "launch/encounter patient/*.rs")
    answer = Page(browser, page.path, page.allow()).allow(encounter="")
    assert "encounter" not in app.exchange(query_of(answer.location)["code"]).get_json()


def test_the_page_of_encounters_can_be_answered_by_no(smart: Smart) -> None:
    smart.put({"resourceType": "Patient", "id": "marie"}, encounter("visit", "marie"))
    browser = smart.browser(MARIE)
    page = smart.app().ask(browser, "launch/encounter patient/*.rs")
    answer = Page(browser, page.path, page.allow()).deny()
    assert query_of(answer.location)["error"] == "access_denied"


def test_without_encounters_nobody_is_asked_for_one(smart: Smart) -> None:
    token = smart.app().run(MARIE, "launch/encounter patient/*.rs")
    assert "encounter" not in token
    assert "context-standalone-encounter" in smart.fhir(".well-known/smart-configuration").get_json()["capabilities"]


def test_a_doctor_picks_among_the_encounters_of_the_patient_named(smart: Smart) -> None:
    smart.put(
        {"resourceType": "Patient", "id": "found", "identifier": [{"value": "279035121518989"}]},
        encounter("visit", "found", serviceProvider={"display": "Hôpital"}),
        circle("found", (GP, "PCP")),
    )
    app, browser = smart.app(), smart.browser(DOCTOR)
    page = app.ask(browser, "launch/encounter user/Patient.rs")
    asked = Page(browser, page.path, page.allow(identifier="279035121518989"))
    assert "AMB, Hôpital" in asked.response.text
    answer = asked.allow(encounter="visit")
    token = app.exchange(query_of(answer.location)["code"]).get_json()
    assert (token["patient"], token["encounter"]) == ("found", "visit")
