"""Attacks by way of the encounter of a launch: of another patient, hidden, never shown, swapped on the way."""

from typing import Any

import pytest

from tests.access.records import GP, circle, encounter, guardian, resource
from tests.rest.smart import Smart
from tests.rest.smart_apps import Page, query_of
from tests.rest.smart_people import DOCTOR, MARIE
from tests.trail import stored_events

SCOPE = "launch/encounter patient/*.rs"


@pytest.fixture
def hospital(smart: Smart) -> Smart:
    """Marie and her child, whom the doctor treats; Pierre, whom he does not."""
    smart.put(
        *(resource(f"Patient/{id}", identifier=[{"value": id}]) for id in ("marie", "pierre")),
        resource("Patient/irene", birthDate="2020-09-12"),
        guardian("m", "irene"),
        encounter("visit", "marie"),
        encounter("masked", "marie", "INVISIBLE_PATIENT"),
        encounter("childs", "irene"),
        encounter("secret", "irene", "INVISIBLE_REPRESENTANTS_LEGAUX"),
        encounter("pierres", "pierre"),
        circle("marie", (GP, "PCP")),
    )
    return smart


def asked(smart: Smart, account: Any, **form: str) -> Page:
    browser = smart.browser(account)
    page = smart.app().ask(browser, SCOPE)
    return Page(browser, page.path, page.allow(**form))


@pytest.mark.parametrize(
    "wanted", ["masked", "childs", "pierres", "unknown", "../visit", "Encounter/visit", '{"$ne":null}', "visit "]
)
def test_only_an_encounter_that_was_shown_is_taken(hospital: Smart, wanted: str) -> None:
    page = asked(hospital, MARIE, patient="marie")
    assert [one for one in ("masked", "childs", "pierres") if one in page.response.text] == []
    answer = page.allow(encounter=wanted)
    assert (answer.status_code, answer.location) == (200, None)
    assert "Choose one of the visits shown" in answer.text


def test_every_wrong_encounter_gets_the_same_answer(hospital: Smart) -> None:
    page = asked(hospital, MARIE, patient="marie")
    answers = [page.allow(encounter=one).text for one in ("masked", "childs", "pierres", "unknown")]
    plain = {text.partition("<style")[0] + text.partition("</style>")[2] for text in answers}
    assert len(plain) == 1


def test_a_parent_is_not_shown_what_the_child_keeps_from_them(hospital: Smart) -> None:
    page = asked(hospital, MARIE, patient="irene")
    assert 'value="childs"' in page.response.text
    assert "secret" not in page.response.text
    assert page.allow(encounter="secret").location is None


def test_the_patient_cannot_be_swapped_on_the_second_page(hospital: Smart) -> None:
    page = asked(hospital, MARIE, patient="marie")
    assert page.allow(patient="irene", encounter="visit").location is None
    assert page.allow(patient="pierre", encounter="pierres").location is None
    token = query_of(page.allow(patient="irene", encounter="childs").location)
    assert "code" in token, "another choice of theirs is as good as the first"


def test_the_second_page_widens_nothing(hospital: Smart) -> None:
    page = asked(hospital, MARIE, patient="marie", scope="patient/*.rs")
    answer = page.allow(encounter="visit", scope=["patient/*.rs", "user/*.cruds", "offline_access"])
    granted = hospital.composition.smart().consents.of_account("marie")[0]
    assert answer.status_code == 302
    assert granted.scope == SCOPE


def test_a_forged_second_page_is_refused(hospital: Smart) -> None:
    page = asked(hospital, MARIE, patient="marie")
    assert page.allow(encounter="visit", form_token="wrong").status_code == 403


def test_a_doctor_learns_nothing_of_a_patient_whom_they_do_not_treat(hospital: Smart) -> None:
    browser = hospital.browser(DOCTOR)
    page = hospital.app().ask(browser, "launch/encounter user/Patient.rs")
    answer = page.allow(identifier="pierre")
    assert "pierres" not in answer.text
    assert "encounter" not in answer.text.partition("</style>")[2]


@pytest.mark.parametrize(
    "context",
    [
        {"patient": "marie", "encounter": "childs"},
        {"patient": "marie", "encounter": "masked"},
        {"patient": "marie", "encounter": "unknown"},
        {"patient": "irene", "encounter": "secret"},
        {"encounter": "visit"},
    ],
    ids=str,
)
def test_a_launch_in_an_encounter_that_is_not_to_be_seen_is_refused_alike(
    hospital: Smart, context: dict[str, str]
) -> None:
    launch = hospital.composition.smart().launches.mint("app", "marie", context)
    app, browser = hospital.app(), hospital.browser(MARIE)
    waiting = app.authorize(browser, "launch patient/*.rs", launch=launch).location
    told = query_of(browser.get(waiting).location)
    assert told["error"] == "access_denied"
    assert told["error_description"] == "The launch names no encounter of its patient that the account may open."


def test_what_the_page_shows_is_in_the_audit(hospital: Smart) -> None:
    asked(hospital, MARIE, patient="marie")
    events = [
        one
        for one in stored_events(hospital.composition.store(), t="AuditEvent.subtype||search")
        if "AuditEvent.entity>Encounter/visit" in one["r"]
    ]
    assert [one["pt"] for one in events] == ["Patient/marie"]
