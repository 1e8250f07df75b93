"""References are understood, found wherever they stand, and rewritten as transactions ask."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.errors import Value
from fhir_server.fhir.reference import (
    AbsoluteReference,
    Conditional,
    Fragment,
    LocalReference,
    Urn,
    conditional_references,
    local_references,
    local_targets,
    parse_reference,
    rewrite,
    split_url,
    walk,
)

UUID = "urn:uuid:6f2a1c1e-1111-4222-8333-444455556666"
BASE = "https://example.org/fhir"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Patient/1", LocalReference("Patient", "1")),
        ("Patient/a-b.C/_history/2", LocalReference("Patient", "a-b.C", "2")),
        ("Patient/1#part", LocalReference("Patient", "1")),
        (f"{BASE}/Patient/1", LocalReference("Patient", "1")),
        (f"{BASE}/Patient/1/_history/3", LocalReference("Patient", "1", "3")),
        (f"{BASE}/Patient?identifier=a%7Cb", Conditional("Patient", "identifier=a%7Cb")),
        (
            "https://example.org/fhirs/Patient/1",
            AbsoluteReference("https://example.org/fhirs/Patient/1", "Patient", "1"),
        ),
        ("http://x/y/Patient/1/_history/2", AbsoluteReference("http://x/y/Patient/1/_history/2", "Patient", "1", "2")),
        ("http://acme.com/anything", AbsoluteReference("http://acme.com/anything")),
        ("Patient?identifier=a|b/c#d", Conditional("Patient", "identifier=a|b/c#d")),
        ("#med", Fragment("med")),
        ("#", Fragment("")),
        (UUID, Urn(UUID)),
        ("urn:oid:1.2.3", Urn("urn:oid:1.2.3")),
    ],
)
def test_every_form_of_reference_is_understood(text, expected):
    assert parse_reference(text, BASE) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Patient",
        "Patient/",
        "patient/1",
        "Robot/1",
        "Robot?x=1",
        "Patient?",
        "Patient/1/2",
        "Patient/a b",
        "Patient/1\n",
        "Patient/" + "1" * 65,
        "/Patient/1",
        "Patient/1/_history/",
        "../Patient/1",
        "Patient/%2e%2e",
    ],
)
def test_what_is_no_reference_is_refused(text):
    with pytest.raises(Value):
        parse_reference(text, BASE)


def test_without_a_base_every_url_is_elsewhere():
    assert isinstance(parse_reference(f"{BASE}/Patient/1"), AbsoluteReference)


def test_a_restful_url_is_split():
    assert split_url("http://x/fhir/Patient/1/_history/2") == "Patient/1"
    assert [split_url(url) for url in (UUID, "http://x/Robot/1", "Patient/1", "http://x/fhir/Patient?a=b")] == [
        None
    ] * 4


OBSERVATION = {
    "resourceType": "Observation",
    "meta": {"source": UUID, "profile": [UUID]},
    "text": {
        "status": "generated",
        "div": f"<div><p title='{UUID}'>{UUID}</p><a class=\"x\" href='{UUID}#p'>a</a><img src=\"{UUID}\"/></div>",
    },
    "contained": [{"resourceType": "Patient", "id": "p", "link": [{"other": {"reference": UUID}, "type": "refer"}]}],
    "extension": [
        {"url": "urn:x", "valueReference": {"reference": f"{UUID}#frag"}},
        {"url": "urn:y", "valueUri": UUID},
    ],
    "identifier": [{"system": "urn:ietf:rfc:3986", "value": UUID}],
    "status": "final",
    "_status": {"extension": [{"url": "urn:z", "valueReference": {"reference": "Patient/9"}}]},
    "code": {"text": UUID, "coding": [{"code": UUID, "system": "http://loinc.org"}]},
    "subject": {"reference": UUID, "display": UUID},
    "focus": [{"reference": f"{UUID}/_history/7"}, {"reference": "Patient?identifier=a|b"}, {"reference": "#p"}],
    "instantiatesCanonical": UUID,
    "valueString": UUID,
    "derivedFrom": [{"reference": "Observation/5"}, {"reference": "http://x/fhir/Observation/6"}],
}


def test_local_references_are_found_with_their_paths():
    assert [(str(reference), path) for reference, path in local_references(OBSERVATION)] == [
        ("Patient/9", "Observation.status.extension[0].valueReference.reference"),
        ("Observation/5", "Observation.derivedFrom[0].reference"),
    ]
    assert str(local_references(OBSERVATION, "http://x/fhir/")[2][0]) == "Observation/6"


def test_conditional_references_are_found_as_written():
    assert conditional_references(OBSERVATION) == [("Patient?identifier=a|b", "Observation.focus[1].reference")]


def test_walking_yields_every_link_with_its_kind():
    found = {(kind, path) for _, _, kind, path in walk(OBSERVATION)}
    assert {path for kind, path in found if kind == "reference"} == {
        "Observation.contained[0].link[0].other.reference",
        "Observation.extension[0].valueReference.reference",
        "Observation.status.extension[0].valueReference.reference",
        "Observation.subject.reference",
        "Observation.focus[0].reference",
        "Observation.focus[1].reference",
        "Observation.focus[2].reference",
        "Observation.derivedFrom[0].reference",
        "Observation.derivedFrom[1].reference",
    }
    assert {path for kind, path in found if kind == "canonical"} == {"Observation.meta.profile"}
    assert {path for kind, path in found if kind == "narrative"} == {"Observation.text.div"}
    assert ("uri", "Observation.extension[1].valueUri") in found


def test_links_are_rewritten_wherever_they_may_stand_and_nowhere_else():
    before = copy.deepcopy(OBSERVATION)
    after = rewrite(OBSERVATION, {UUID: "Patient/1", "Patient?identifier=a|b": "Patient/2"})
    assert before == OBSERVATION
    assert after["meta"] == {"source": "Patient/1", "profile": [UUID]}
    assert after["text"]["div"] == (
        f"<div><p title='{UUID}'>{UUID}</p><a class=\"x\" href='Patient/1#p'>a</a><img src=\"Patient/1\"/></div>"
    )
    assert after["contained"][0]["link"][0]["other"]["reference"] == "Patient/1"
    assert after["extension"][0]["valueReference"]["reference"] == "Patient/1#frag"
    assert after["extension"][1] == {"url": "urn:y", "valueUri": "Patient/1"}
    assert after["subject"] == {"reference": "Patient/1", "display": UUID}
    assert [item["reference"] for item in after["focus"]] == ["Patient/1/_history/7", "Patient/2", "#p"]
    for untouched in ("identifier", "code", "valueString", "instantiatesCanonical", "_status", "derivedFrom"):
        assert after[untouched] is OBSERVATION[untouched]


def test_a_version_specific_reference_gets_the_version_that_is_written():
    after = rewrite(OBSERVATION, {UUID: "Patient/1"}, {"Patient/1": "4"})
    assert after["focus"][0]["reference"] == "Patient/1/_history/4"


def test_attachments_and_escaped_narrative_links_are_rewritten():
    document = {
        "resourceType": "DocumentReference",
        "text": {"div": '<div><a href="http://x/Binary/1?a=b&amp;c=d">x</a></div>'},
        "content": [{"attachment": {"url": "http://x/Binary/1"}}],
    }
    after = rewrite(document, {"http://x/Binary/1": "Binary/9", "http://x/Binary/1?a=b&c=d": "Binary/8?a&b"})
    assert after["content"][0]["attachment"]["url"] == "Binary/9"
    assert after["text"]["div"] == '<div><a href="Binary/8?a&amp;b">x</a></div>'


def test_what_has_nothing_to_rewrite_is_returned_itself():
    assert rewrite(OBSERVATION, {"urn:uuid:other": "Patient/1"}) is OBSERVATION
    assert rewrite(OBSERVATION, {}) is OBSERVATION


def test_the_entries_of_a_bundle_are_left_alone():
    bundle = {"resourceType": "Bundle", "entry": [{"fullUrl": UUID, "resource": OBSERVATION}]}
    assert rewrite(bundle, {UUID: "Patient/1"}) is bundle
    assert local_references(bundle) == []


def test_a_parameters_resource_is_looked_into():
    parameters = {"resourceType": "Parameters", "parameter": [{"name": "a", "resource": OBSERVATION}]}
    assert len(local_references(parameters)) == 2


KEYS = st.sampled_from(["reference", "subject", "extension", "url", "text", "div", "resourceType", "contained", "meta"])
CONTENT = st.recursive(
    st.none() | st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner)
)


@given(CONTENT)
def test_malformed_resources_are_walked_without_a_crash(content):
    resource = {
        "resourceType": "Observation",
        "subject": content,
        "contained": [content],
        "text": content,
        "extension": content,
    }
    for value in (resource, {"resourceType": content}, {}):
        assert rewrite(value, {"urn:x": "Patient/1"}) is value
        assert isinstance(local_references(value), list)
        assert list(walk(value)) is not None


def test_the_targets_for_the_index_are_those_of_the_local_references() -> None:
    assigner = {"reference": f"{BASE}/Organization/9"}
    resource = {
        "resourceType": "Patient",
        "contained": [{"resourceType": "Group", "member": [{"entity": {"reference": "Patient/2/_history/1"}}]}],
        "extension": [{"url": "http://x", "valueReference": {"reference": "Patient/3"}}],
        "identifier": [{"assigner": assigner}, {"assigner": assigner}],
        "generalPractitioner": [{"reference": "#p"}, {"reference": "Patient?x=1"}, {"reference": "http://y/Patient/4"}],
        "photo": [{"url": "Binary/5"}],
    }
    assert local_targets(resource, BASE) == ["Patient/2", "Patient/3", "Organization/9", "@Binary/5"]
    referred = dict.fromkeys(str(one) for one, _ in local_references(resource, BASE))
    assert local_targets(resource, BASE) == [*referred, "@Binary/5"]
