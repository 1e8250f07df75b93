"""``_summary`` and ``_elements`` leave out what they should and always say so."""

import pytest

from fhir_server.errors import Invalid
from fhir_server.fhir.decimals import FhirDecimal
from fhir_server.search.shaping import SUMMARY_MODES, check_elements, select_elements, summarize

SUBSETTED = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"}
OBSERVATION = {
    "resourceType": "Observation",
    "id": "1",
    "meta": {"versionId": "3", "tag": [{"code": "mine"}]},
    "text": {"status": "generated", "div": "<div/>"},
    "contained": [{"resourceType": "Patient", "id": "p"}],
    "extension": [{"url": "urn:x", "valueBoolean": True}],
    "modifierExtension": [{"url": "urn:m", "valueBoolean": True}],
    "status": "final",
    "_status": {"id": "s"},
    "code": {"text": "Glucose", "extension": [{"url": "urn:x", "valueBoolean": True}]},
    "subject": {"reference": "#p"},
    "_issued": {"extension": [{"url": "urn:absent", "valueCode": "unknown"}]},
    "valueQuantity": {"value": FhirDecimal("6.30")},
    "note": [{"text": "not in summaries"}],
    "component": [{"code": {"text": "c"}, "valueQuantity": {"value": 1}, "interpretation": [{"text": "High"}]}],
}
PATIENT = {
    "resourceType": "Patient",
    "id": "1",
    "active": False,
    "name": [{"family": "A", "given": [None, "B"], "_given": [{"id": "g"}, None]}],
    "deceasedBoolean": False,
    "photo": [{"title": "x"}],
    "link": [{"other": {"reference": "Patient/2"}, "type": "refer"}],
}


def test_a_summary_holds_the_marked_and_the_mandatory_elements_at_every_level():
    assert summarize(OBSERVATION, "true") == {
        "resourceType": "Observation",
        "id": "1",
        "meta": {"versionId": "3", "tag": [{"code": "mine"}, SUBSETTED]},
        "modifierExtension": [{"url": "urn:m", "valueBoolean": True}],
        "status": "final",
        "code": {"text": "Glucose"},
        "subject": {"reference": "#p"},
        "_issued": {"extension": [{"url": "urn:absent", "valueCode": "unknown"}]},
        "valueQuantity": {"value": FhirDecimal("6.30")},
        "component": [{"code": {"text": "c"}, "valueQuantity": {"value": 1}}],
    }


def test_a_summary_keeps_what_explains_gaps_and_what_is_false():
    summary = summarize(PATIENT, "true")
    assert summary["active"] is False
    assert summary["name"] == PATIENT["name"]
    assert "photo" not in summary


def test_text_is_the_narrative_and_what_is_mandatory():
    assert list(summarize(OBSERVATION, "text")) == ["resourceType", "id", "meta", "text", "status", "_status", "code"]


def test_data_is_everything_but_the_narrative():
    assert OBSERVATION.keys() - summarize(OBSERVATION, "data").keys() == {"text"}


def test_false_is_the_resource_itself():
    assert summarize(OBSERVATION, "false") is OBSERVATION


@pytest.mark.parametrize("mode", ["count", "", "TRUE", "yes"])
def test_other_modes_are_refused_for_a_resource(mode):
    with pytest.raises(Invalid):
        summarize(OBSERVATION, mode)


@pytest.mark.parametrize("mode", ["true", "text", "data"])
def test_what_is_not_whole_is_tagged_once_and_the_original_left_alone(mode):
    once = summarize(OBSERVATION, mode)
    assert summarize(once, mode)["meta"]["tag"] == [{"code": "mine"}, SUBSETTED]
    assert OBSERVATION["meta"]["tag"] == [{"code": "mine"}]
    assert mode in SUMMARY_MODES


def test_resources_within_a_bundle_stay_whole():
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": OBSERVATION}]}
    assert summarize(bundle, "true")["entry"] == [{"resource": OBSERVATION}]


def test_selected_elements_come_with_identity_mandatory_and_modifier_elements():
    selected = select_elements(OBSERVATION, ["value", "issued"])
    assert list(selected) == [
        "resourceType",
        "id",
        "meta",
        "modifierExtension",
        "status",
        "_status",
        "code",
        "_issued",
        "valueQuantity",
    ]
    assert selected["meta"]["tag"][-1] == SUBSETTED


@pytest.mark.parametrize("name", ["value", "value[x]", "valueQuantity", "Observation.value", "Observation.value[x]"])
def test_a_choice_goes_by_any_of_its_names(name):
    assert "valueQuantity" in select_elements(OBSERVATION, [name])
    assert "valueQuantity" not in select_elements(OBSERVATION, ["valueString"])


def test_names_of_another_type_do_not_count():
    assert "valueQuantity" not in select_elements(OBSERVATION, ["Patient.name"])


def test_every_unknown_name_is_refused_and_none_with_strange_characters_repeated():
    names = ["nope", "name.family", "Patient.nope", "Robot.name", "$where", "_id", "code"]
    with pytest.raises(Invalid) as caught:
        select_elements(OBSERVATION, names)
    assert len(caught.value.issues) == 6
    assert "$where" not in str(caught.value)
    assert "nope" in str(caught.value)
    with pytest.raises(Invalid):
        check_elements("Patient", ["value"])


def test_names_that_only_the_match_knows_are_passed_over_for_what_is_included():
    assert "name" in select_elements(PATIENT, ["name", "value"], strict=False)
