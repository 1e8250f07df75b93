"""_include over HTTP: what comes along with the matches (http://hl7.org/fhir/R4/search.html#include)."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.rest.fhir import Fhir, Reply, entry, observation, patient


def included(reply: Reply) -> list[str]:
    """Return ``Type/id`` of what was included, in order."""
    assert reply.status == 200, reply.content
    return [name for name, mode in modes(reply) if mode == "include"]


def matched(reply: Reply) -> list[str]:
    return [name for name, mode in modes(reply) if mode == "match"]


def modes(reply: Reply) -> list[tuple[str, str]]:
    return [
        (f"{one['resource']['resourceType']}/{one['resource'].get('id')}", one["search"]["mode"])
        for one in reply.body.get("entry", [])
    ]


def put(fhir: Fhir, kind: str, id: str, **more: Any) -> dict[str, Any]:
    reply = fhir.put(f"{kind}/{id}", {"resourceType": kind, "id": id, **more})
    assert reply.status in (200, 201), reply.content
    return dict(reply.body)


@pytest.fixture
def ward(fhir: Fhir) -> Fhir:
    """An organisation within another, a doctor, two patients, an encounter and three observations."""
    put(fhir, "Organization", "top", name="Top")
    put(fhir, "Organization", "ward", name="Ward", partOf={"reference": "Organization/top"})
    put(fhir, "Practitioner", "doc")
    put(fhir, "Patient", "a", managingOrganization={"reference": "Organization/ward"}, gender="female")
    put(fhir, "Patient", "b", generalPractitioner=[{"reference": "Practitioner/doc"}])
    put(
        fhir, "Encounter", "e", status="finished", subject={"reference": "Patient/a"},
        **{"class": {"code": "AMB"}},
    )  # fmt: skip
    for id, subject in (("o1", "a"), ("o2", "a"), ("o3", "b")):
        resource = observation(f"Patient/{subject}", encounter={"reference": "Encounter/e"})
        put(fhir, "Observation", id, **{key: value for key, value in resource.items() if key != "resourceType"})
    return fhir


def test_what_the_matches_point_to_comes_along_once(ward: Fhir) -> None:
    reply = ward.get("Observation?_include=Observation:subject&_include=Observation:encounter")
    assert sorted(matched(reply)) == ["Observation/o1", "Observation/o2", "Observation/o3"]
    assert included(reply) == ["Encounter/e", "Patient/a", "Patient/b"]
    assert reply.body["total"] == 3
    assert reply.body["entry"][3]["fullUrl"].endswith("/fhir/Encounter/e")


def test_includes_concern_the_page_alone_and_each_page_brings_its_own(ward: Fhir) -> None:
    page = ward.get("Observation?_sort=_id&_count=2&_include=Observation:patient")
    assert included(page) == ["Patient/a"]
    following = ward.get(page.link("next") or "")
    assert (matched(following), included(following)) == (["Observation/o3"], ["Patient/b"])
    assert included(ward.get(following.link("previous") or "")) == ["Patient/a"]
    assert "_include=Observation:patient" in (page.link("self") or "")


def test_a_match_is_not_included_as_well(ward: Fhir) -> None:
    reply = ward.get("Organization?_include=Organization:partof")
    assert sorted(matched(reply)) == ["Organization/top", "Organization/ward"]
    assert included(reply) == []
    assert included(ward.get("Organization?name=ward&_include=Organization:partof")) == ["Organization/top"]


@pytest.mark.parametrize("iterate", ["iterate", "recurse"])
def test_iterate_goes_on_from_what_was_included(ward: Fhir, iterate: str) -> None:
    query = f"Observation?_id=o1&_include=Observation:subject&_include:{iterate}=Patient:organization"
    assert included(ward.get(query)) == ["Organization/ward", "Patient/a"]
    further = f"{query}&_include:{iterate}=Organization:partof"
    assert included(ward.get(further)) == ["Organization/top", "Organization/ward", "Patient/a"]


def test_iterate_ends_where_references_go_round(fhir: Fhir) -> None:
    put(fhir, "Organization", "x")
    put(fhir, "Organization", "y", partOf={"reference": "Organization/x"})
    put(fhir, "Organization", "x", partOf={"reference": "Organization/y"})
    reply = fhir.get("Organization?_id=x&_include:iterate=Organization:partof")
    assert (matched(reply), included(reply)) == (["Organization/x"], ["Organization/y"])


def test_a_star_means_every_reference(ward: Fhir) -> None:
    everything = ["Encounter/e", "Patient/a"]
    assert included(ward.get("Observation?_id=o1&_include=*")) == everything
    assert included(ward.get("Observation?_id=o1&_include=Observation:*")) == everything
    assert included(ward.get("Observation?_id=o1&_include=Observation:*:Encounter")) == ["Encounter/e"]
    assert included(ward.get("?_type=Observation,Encounter&_id=o1&_include=*")) == everything
    star = ward.get("Observation?_id=o1&_include:iterate=*")
    assert included(star) == ["Encounter/e", "Organization/top", "Organization/ward", "Patient/a"]


def test_a_target_type_narrows(ward: Fhir) -> None:
    assert included(ward.get("Observation?_id=o1&_include=Observation:subject:Patient")) == ["Patient/a"]
    assert included(ward.get("Observation?_id=o1&_include=Observation:subject:Group")) == []


def test_a_versioned_reference_brings_that_version(fhir: Fhir) -> None:
    put(fhir, "Patient", "v", gender="male")
    put(fhir, "Patient", "v", gender="female")
    one = fhir.create(observation("Patient/v/_history/1"))
    reply = fhir.get(f"Observation?_id={one['id']}&_include=Observation:subject")
    assert [resource["gender"] for resource in reply.resources if resource["id"] == "v"] == ["male"]
    both = fhir.create(observation("Patient/v"))
    reply = fhir.get(f"Observation?_id={one['id']},{both['id']}&_include=Observation:subject")
    assert included(reply) == ["Patient/v", "Patient/v"]
    assert sorted(resource["meta"]["versionId"] for resource in reply.resources if resource["id"] == "v") == ["1", "2"]


def test_a_version_that_is_not_there_gives_way_to_the_current_one(fhir: Fhir) -> None:
    put(fhir, "Patient", "v", gender="male")
    for version in ("9", "x", "1"):
        one = fhir.create(observation(f"Patient/v/_history/{version}"))
        reply = fhir.get(f"Observation?_id={one['id']}&_include=Observation:subject")
        assert included(reply) == ["Patient/v"], version


def test_an_included_version_is_followed_further(fhir: Fhir) -> None:
    put(fhir, "Organization", "old")
    put(fhir, "Patient", "v", managingOrganization={"reference": "Organization/old"})
    put(fhir, "Patient", "v")
    one = fhir.create(observation("Patient/v/_history/1"))
    query = f"Observation?_id={one['id']}&_include=Observation:subject&_include:iterate=Patient:organization"
    assert included(fhir.get(query)) == ["Organization/old", "Patient/v"]


def test_canonicals_are_followed_by_url_and_version(fhir: Fhir) -> None:
    for id, version in (("q1", "1.0"), ("q2", "2.0-A")):
        put(fhir, "Questionnaire", id, url="http://example.org/q", version=version, status="active")
    answers = {"status": "completed"}
    for id, canonical in (("r1", "http://example.org/q|2.0-A"), ("r2", "http://example.org/q"), ("r3", "http://x.org")):
        put(fhir, "QuestionnaireResponse", id, questionnaire=canonical, **answers)
    include = "_include=QuestionnaireResponse:questionnaire"
    assert included(fhir.get(f"QuestionnaireResponse?_id=r1&{include}")) == ["Questionnaire/q2"]
    assert included(fhir.get(f"QuestionnaireResponse?_id=r2&{include}")) == ["Questionnaire/q1", "Questionnaire/q2"]
    assert included(fhir.get(f"QuestionnaireResponse?_id=r3&{include}")) == []


def test_what_is_deleted_elsewhere_or_contained_is_not_included(fhir_with: Callable[..., Fhir]) -> None:
    fhir = fhir_with(referential_integrity_delete=False, referential_integrity_write=False)
    put(fhir, "Patient", "gone")
    for subject in ("Patient/gone", "Patient/never", "http://other.example/fhir/Patient/gone", "#p"):
        fhir.create(observation(subject, contained=[{"resourceType": "Patient", "id": "p"}]))
    fhir.delete("Patient/gone")
    reply = fhir.get("Observation?_include=Observation:subject")
    assert len(matched(reply)) == 4
    assert included(reply) == []


def test_includes_come_by_post_in_a_compartment_and_in_a_batch(ward: Fhir) -> None:
    form = "application/x-www-form-urlencoded"
    reply = ward.post("Observation/_search", "_id=o3&_include=Observation:subject", Content_Type=form)
    assert included(reply) == ["Patient/b"]
    assert included(ward.get("Patient/a/Observation?_include=Observation:encounter")) == ["Encounter/e"]
    batch = ward.transact(entry("GET", "Observation?_id=o3&_include=Observation:subject"), kind="batch")
    assert [one["search"]["mode"] for one in batch.resources[0]["entry"]] == ["match", "include"]


def test_includes_can_be_asked_for_in_xml(ward: Fhir) -> None:
    reply = ward.get("Observation?_id=o3&_include=Observation:subject", Accept="application/fhir+xml")
    assert b'<mode value="include"/>' in reply.content


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("_include=Observation:nonsense", 400),
        ("_include=Observation:code", 400),
        ("_include=Observation", 400),
        ("_include=Observation:", 400),
        ("_include=", 400),
        ("_include=Nonsense:subject", 400),
        ("_include=Observation:subject:Medication", 400),
        ("_include=Observation:subject:", 400),
        ("_include=Observation:subject:Patient:x", 400),
        ("_include=Patient:organization", 400),
        ("_include:forever=Observation:subject", 400),
        ("_include:=Observation:subject", 400),
        ("_include=Observation:subject,Observation:encounter", 400),
        ("_include=Observation:subject&_summary=text", 400),
    ],
)
def test_an_include_that_brings_nothing_is_refused_or_warned_about(ward: Fhir, query: str, status: int) -> None:
    refused = ward.get(f"Observation?{query}")
    assert refused.status == status
    assert "_include" in refused.issues[0]["details"]["text"]
    lenient = ward.get(f"Observation?{query}", Prefer="handling=lenient")
    assert lenient.status == 200
    assert lenient.body["entry"][-1]["search"]["mode"] == "outcome"
    assert included(lenient) == []
    assert "_include" not in (lenient.link("self") or "")


def test_a_document_within_a_bundle_is_no_include(fhir: Fhir) -> None:
    assert fhir.get("Bundle?_include=Bundle:composition").status == 400


def test_too_many_includes_are_refused_or_cut_with_a_warning(fhir_with: Callable[..., Fhir]) -> None:
    fhir = fhir_with(max_included=3)
    for number in range(4):
        put(fhir, "Patient", f"p{number}")
        fhir.create(observation(f"Patient/p{number}"))
    query = "Observation?_include=Observation:subject"
    assert len(included(fhir.get(f"{query}&_count=3"))) == 3
    refused = fhir.get(query)
    assert refused.status == 400
    assert refused.issues[0]["code"] == "too-costly"
    lenient = fhir.get(query, Prefer="handling=lenient")
    assert len(included(lenient)) == 3
    warning = lenient.body["entry"][-1]["resource"]["issue"][0]
    assert (warning["severity"], warning["code"]) == ("warning", "too-costly")


def test_chains_of_iterations_end_with_a_word(fhir: Fhir) -> None:
    put(fhir, "Organization", "o0")
    for number in range(1, 25):
        put(fhir, "Organization", f"o{number}", partOf={"reference": f"Organization/o{number - 1}"})
    query = "Organization?_include:iterate=Organization:partof&_id="
    assert len(included(fhir.get(f"{query}o16"))) == 16
    assert fhir.get(f"{query}o24").issues[0]["code"] == "too-costly"


def test_elements_concern_included_resources_only_by_their_type(ward: Fhir) -> None:
    query = "Observation?_id=o1&_include=Observation:subject&_elements="
    plain = {one["resourceType"]: one for one in ward.get(f"{query}status").resources}
    assert "encounter" not in plain["Observation"]
    assert plain["Patient"]["gender"] == "female"
    assert "tag" not in plain["Patient"]["meta"]
    typed = {one["resourceType"]: one for one in ward.get(f"{query}Patient.gender").resources}
    assert "encounter" in typed["Observation"]
    assert "managingOrganization" not in typed["Patient"]
    assert typed["Patient"]["meta"]["tag"][-1]["code"] == "SUBSETTED"
    assert ward.get(f"{query}Patient.nonsense").status == 400


def test_a_summary_concerns_included_resources_too(ward: Fhir) -> None:
    for mode in ("true", "data"):
        reply = ward.get(f"Observation?_id=o1&_include=Observation:subject&_summary={mode}")
        assert [one["meta"]["tag"][-1]["code"] for one in reply.resources] == ["SUBSETTED", "SUBSETTED"]
    assert "entry" not in ward.get("Observation?_include=Observation:subject&_summary=count").body
    assert "entry" not in ward.get("Observation?_include=Observation:subject&_count=0").body


def test_a_binary_is_included_as_the_resource_it_is(fhir: Fhir) -> None:
    binary = fhir.create({"resourceType": "Binary", "contentType": "text/plain", "data": "eA=="})
    put(
        fhir, "Provenance", "p", target=[{"reference": f"Binary/{binary['id']}"}], recorded="2020-01-01T00:00:00Z",
        agent=[{"who": {"display": "x"}}],
    )  # fmt: skip
    reply = fhir.get("Provenance?_include=Provenance:target")
    assert included(reply) == [f"Binary/{binary['id']}"]
    assert reply.resources[1]["data"] == "eA=="


def test_criteria_take_no_includes(fhir: Fhir) -> None:
    reply = fhir.post("Patient", patient(), If_None_Exist="gender=male&_include:iterate=Patient:organization")
    assert reply.status == 400
