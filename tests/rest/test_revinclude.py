"""_revinclude over HTTP: what points to the matches comes along (http://hl7.org/fhir/R4/search.html#revinclude)."""

from collections.abc import Callable

import pytest

from tests.rest.fhir import Fhir, entry, observation, patient
from tests.rest.test_include import included, matched, put, ward

__all__ = ["ward"]

AGENT = [{"who": {"display": "x"}}]


def test_what_points_to_the_matches_comes_along_once(ward: Fhir) -> None:
    reply = ward.get("Patient?_id=a,b&_revinclude=Observation:subject&_revinclude=Observation:patient")
    assert sorted(matched(reply)) == ["Patient/a", "Patient/b"]
    assert included(reply) == ["Observation/o1", "Observation/o2", "Observation/o3"]
    assert reply.body["total"] == 2


def test_each_page_brings_its_own(ward: Fhir) -> None:
    page = ward.get("Patient?_sort=_id&_count=1&_revinclude=Observation:subject")
    assert included(page) == ["Observation/o1", "Observation/o2"]
    assert included(ward.get(page.link("next") or "")) == ["Observation/o3"]


def test_a_target_type_narrows(ward: Fhir) -> None:
    assert included(ward.get("Patient?_id=b&_revinclude=Observation:subject:Patient")) == ["Observation/o3"]
    refused = ward.get("Patient?_revinclude=Observation:subject:Group")
    assert refused.status == 400
    assert included(ward.get("?_id=b&_type=Patient,Group&_revinclude=Observation:subject:Group")) == []


def test_a_star_means_every_reference_that_can_be_searched(ward: Fhir) -> None:
    put(
        ward, "Provenance", "p", target=[{"reference": "Patient/b"}], recorded="2020-01-01T00:00:00Z", agent=AGENT
    )  # fmt: skip
    assert included(ward.get("Patient?_id=b&_revinclude=*")) == ["Observation/o3", "Provenance/p"]
    assert included(ward.get("Patient?_id=b&_revinclude=Observation:*")) == ["Observation/o3"]
    assert included(ward.get("?_id=b&_revinclude=*")) == ["Observation/o3", "Provenance/p"]


def test_include_and_revinclude_iterate_together(ward: Fhir) -> None:
    put(
        ward, "Provenance", "p", target=[{"reference": "Observation/o3"}], recorded="2020-01-01T00:00:00Z", agent=AGENT
    )  # fmt: skip
    query = "Patient?_id=b&_revinclude=Observation:subject&_revinclude:iterate=Provenance:target"
    assert included(ward.get(query)) == ["Observation/o3", "Provenance/p"]
    both = ward.get(f"{query}&_include:iterate=Observation:encounter")
    assert included(both) == ["Encounter/e", "Observation/o3", "Provenance/p"]
    parts = "_revinclude:iterate=Organization:partof&_revinclude:iterate=Patient:organization"
    down = ward.get(f"Organization?_id=top&{parts}")
    assert included(down) == ["Organization/ward", "Patient/a"]


def test_a_reference_to_any_version_points_to_the_resource(fhir: Fhir) -> None:
    put(fhir, "Patient", "v")
    one = fhir.create(observation("Patient/v/_history/1"))
    assert included(fhir.get("Patient?_revinclude=Observation:subject")) == [f"Observation/{one['id']}"]


def test_canonicals_point_by_url_and_version(fhir: Fhir) -> None:
    for id, version in (("q1", "1.0"), ("q2", "2.0-A")):
        put(fhir, "Questionnaire", id, url="http://example.org/q", version=version, status="active")
    for id, version in (("r1", "|1.0"), ("r2", "|2.0-A"), ("r0", "")):
        put(fhir, "QuestionnaireResponse", id, questionnaire=f"http://example.org/q{version}", status="completed")
    revinclude = "_revinclude=QuestionnaireResponse:questionnaire"
    expected = ["QuestionnaireResponse/r0", "QuestionnaireResponse/r2"]
    assert included(fhir.get(f"Questionnaire?_id=q2&{revinclude}")) == expected


def test_nothing_deleted_comes_along(ward: Fhir) -> None:
    ward.delete("Observation/o3")
    assert included(ward.get("Patient?_id=b&_revinclude=Observation:subject")) == []


@pytest.mark.parametrize(
    "query",
    [
        "_revinclude=Observation:code",
        "_revinclude=Observation:nonsense",
        "_revinclude=Observation:encounter",
        "_revinclude=Nonsense:subject",
        "_revinclude=Observation",
        "_revinclude:often=Observation:subject",
        "_revinclude=Observation:subject&_summary=text",
    ],
)
def test_a_revinclude_that_brings_nothing_is_refused_or_warned_about(ward: Fhir, query: str) -> None:
    refused = ward.get(f"Patient?{query}")
    assert refused.status == 400
    assert "_revinclude" in refused.issues[0]["details"]["text"]
    french = ward.get(f"Patient?{query}", Accept_Language="fr")
    assert french.issues[0]["details"]["text"].startswith("Le paramètre de recherche _revinclude")
    lenient = ward.get(f"Patient?{query}", Prefer="handling=lenient")
    assert lenient.body["entry"][-1]["search"]["mode"] == "outcome"
    assert included(lenient) == []


def test_too_many_are_refused_or_cut_with_a_warning(fhir_with: Callable[..., Fhir]) -> None:
    fhir = fhir_with(max_included=5)
    put(fhir, "Patient", "p")
    for _ in range(6):
        fhir.create(observation("Patient/p"))
    query = "Patient?_revinclude=Observation:subject"
    assert fhir.get(query).issues[0]["code"] == "too-costly"
    lenient = fhir.get(query, Prefer="handling=lenient")
    assert len(included(lenient)) == 5
    assert lenient.body["entry"][-1]["resource"]["issue"][0]["code"] == "too-costly"


def test_a_star_over_a_large_page_is_bounded_by_its_keys(fhir: Fhir) -> None:
    fhir.transact(*(entry("PUT", f"Patient/p{n}", patient(id=f"p{n}")) for n in range(150)))
    assert fhir.get("Patient?_revinclude=*&_count=50").status == 200
    refused = fhir.get("Patient?_revinclude=*&_count=150")
    assert refused.issues[0]["code"] == "too-costly"
