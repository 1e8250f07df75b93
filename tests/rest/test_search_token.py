"""Token parameters over HTTP: the examples of http://hl7.org/fhir/R4/search.html#token, value sets and hierarchies."""

from typing import Any
from urllib.parse import quote

import pytest

from tests.rest.fhir import Fhir, entry, patient

CODES = "http://acme.org/conditions/codes"
CLINICAL = "http://terminology.hl7.org/CodeSystem/condition-clinical"
ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
SNOMED = "http://snomed.info/sct"


def condition(*codings: dict[str, str], text: str | None = None, **more: Any) -> dict[str, Any]:
    code = {"coding": list(codings)} if codings else {}
    if text is not None:
        code["text"] = text  # type: ignore[assignment]
    return {"resourceType": "Condition", "subject": {"display": "x"}, **({"code": code} if code else {}), **more}


@pytest.fixture
def headache(fhir: Fhir) -> str:
    coding = {"system": CODES, "code": "ha125", "display": "Céphalées de tension"}
    return str(fhir.create(condition(coding, text="Chronic Headache, severe"))["id"])


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (f"code={CODES}|ha125", True),
        ("code=ha125", True),
        ("code=HA125", True),
        (f"code={CODES}|", True),
        ("code=|ha125", False),
        ("code:not=ha125", False),
        (f"code:not={CODES}|other", True),
        ("code:text=headache", True),
        ("code:text=chronic%20head", True),
        ("code:text=c%C3%A9phal%C3%A9e", True),
        ("code:text=cephalees%20de%20ten", True),
        ("code:text=ache", False),
        ("code:text=chronic%20severe", False),
        ("code:text=ha125", False),
        ("category:text=headache", False),
        ("code:missing=false", True),
        ("code:text=nothing,headache", True),
    ],
)
def test_a_concept_is_found_by_code_and_by_text(fhir: Fhir, headache: str, query: str, found: bool) -> None:
    reply = fhir.get(f"Condition?{query}")
    assert reply.status == 200, reply.content
    assert reply.ids == ([headache] if found else [])


def test_identifiers_booleans_ids_and_contact_points_are_tokens(fhir: Fhir) -> None:
    kind = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MR"}], "text": "Dossier n°"}
    one = fhir.create(
        patient(
            active=True,
            gender="male",
            identifier=[{"system": "http://acme.org/patient", "value": "2345", "type": kind}],
            telecom=[{"system": "phone", "value": "+33 1 23"}],
        )
    )
    for query in (
        "identifier=http://acme.org/patient|2345",
        "identifier=2345",
        "identifier:of-type=http://terminology.hl7.org/CodeSystem/v2-0203|MR|2345",
        "identifier:text=dossier",
        "gender=male",
        "gender:not=female",
        "gender=http://hl7.org/fhir/administrative-gender|male",
        "active=true",
        "active:not=false",
        "phone=%2B33%201%2023",
        f"_id={one['id']}",
        f"_id=|{one['id']}",
        "_id:not=other",
        "_id:missing=false",
    ):
        reply = fhir.get(f"Patient?{query}")
        assert reply.status == 200, reply.content
        assert reply.ids == [one["id"]], query
    for query in ("identifier:of-type=http://a|MR|2345", "gender:not=male", f"_id:not={one['id']}", "_id:missing=true"):
        assert fhir.get(f"Patient?{query}").ids == [], query


def test_case_counts_where_the_code_system_says_so(fhir: Fhir) -> None:
    act = fhir.create(condition({"system": ACT_CODE, "code": "AMB"}))
    loinc = fhir.create(condition({"system": "http://loinc.org", "code": "LA6576-8"}))
    assert fhir.get(f"Condition?code={ACT_CODE}|AMB").ids == [act["id"]]
    assert fhir.get(f"Condition?code={ACT_CODE}|amb").ids == []
    assert fhir.get("Condition?code=amb").ids == [act["id"]]
    assert fhir.get("Condition?code=http://loinc.org|la6576-8").ids == [loinc["id"]]


def test_a_section_is_found_or_not(fhir: Fhir) -> None:
    def composition(code: str) -> dict[str, Any]:
        section = [{"code": {"coding": [{"system": "http://loinc.org", "code": code}]}, "title": "x"}]
        return {
            "resourceType": "Composition",
            "status": "final",
            "type": {"text": "x"},
            "date": "2020",
            "author": [{"display": "x"}],
            "title": "x",
            "section": section,
        }

    one, other = fhir.create(composition("48765-2")), fhir.create(composition("1-2"))
    assert fhir.get("Composition?section=48765-2").ids == [one["id"]]
    assert fhir.get("Composition?section:not=48765-2").ids == [other["id"]]


def status(code: str) -> dict[str, Any]:
    return {"clinicalStatus": {"coding": [{"system": CLINICAL, "code": code}]}}


def test_r4s_hierarchies_are_followed_down_and_up(fhir: Fhir) -> None:
    ids = {code: fhir.create(condition(**status(code)))["id"] for code in ("active", "relapse", "resolved", "inactive")}

    def found(query: str) -> set[str]:
        reply = fhir.get(f"Condition?{query}")
        assert reply.status == 200, reply.content
        return {code for code, id in ids.items() if id in reply.ids}

    assert found(f"clinical-status:below={CLINICAL}|active") == {"active", "relapse"}
    assert found(f"clinical-status:below={CLINICAL}|relapse") == {"relapse"}
    assert found(f"clinical-status:above={CLINICAL}|relapse") == {"active", "relapse"}
    assert found(f"clinical-status:above={CLINICAL}|resolved,{CLINICAL}|active") == {"inactive", "resolved", "active"}
    assert found("clinical-status:in=http://hl7.org/fhir/ValueSet/condition-clinical") == set(ids)
    assert found("clinical-status:not-in=http://hl7.org/fhir/ValueSet/condition-clinical") == set()


def test_a_stored_value_set_is_asked_by_url_version_and_reference(fhir: Fhir) -> None:
    inside = fhir.create(condition({"system": SNOMED, "code": "1"}, {"system": CODES, "code": "z"}))
    outside = fhir.create(condition({"system": SNOMED, "code": "2"}))
    nothing = fhir.create(condition())
    made = {
        "resourceType": "ValueSet",
        "url": "http://acme.org/vs",
        "version": "1",
        "status": "active",
        "compose": {"include": [{"system": SNOMED, "concept": [{"code": "1"}]}]},
    }
    stored = fhir.create(made)
    for value in ("http://acme.org/vs", "http://acme.org/vs|1", "http://acme.org/vs\\|1", f"ValueSet/{stored['id']}"):
        assert fhir.get(f"Condition?code:in={quote(value)}").ids == [inside["id"]], value
    missing = fhir.get("Condition?code:not-in=http://acme.org/vs")
    assert set(missing.ids) == {outside["id"], nothing["id"]}
    assert fhir.get("Condition?code:in=http://acme.org/vs|2").status == 400
    fhir.create({**made, "version": "2", "compose": {"include": [{"system": SNOMED}]}})
    assert set(fhir.get("Condition?code:in=http://acme.org/vs|2").ids) == {inside["id"], outside["id"]}
    fhir.delete(f"ValueSet/{stored['id']}")
    assert fhir.get("Condition?code:in=http://acme.org/vs|1").status == 400


def test_a_stored_code_system_has_a_hierarchy(fhir: Fhir) -> None:
    concepts = [{"code": "cancer", "concept": [{"code": "liver"}]}, {"code": "cold"}]
    fhir.create(
        {
            "resourceType": "CodeSystem",
            "url": CODES,
            "status": "active",
            "content": "complete",
            "concept": concepts,
        }
    )
    liver = fhir.create(condition({"system": CODES, "code": "liver"}))
    cold = fhir.create(condition({"system": CODES, "code": "cold"}))
    assert fhir.get(f"Condition?code:below={CODES}|cancer").ids == [liver["id"]]
    assert fhir.get(f"Condition?code:below={CODES}|cold").ids == [cold["id"]]
    assert fhir.get(f"Condition?code:above={CODES}|liver").ids == [liver["id"]]
    assert fhir.get(f"Condition?code:below={CODES}|unknown").status == 400


@pytest.mark.parametrize(
    "query",
    [
        "code:in=http://snomed.info/sct?fhir_vs=isa/126851005",
        "code:below=http://snomed.info/sct|126851005",
        "code:below=126851005",
        "code:in=http://nowhere.example/vs",
        "code:in=ValueSet/nobody",
        "code:of-type=a|b|c",
        "code:exact=x",
        "code:contains=x",
        "code:below:not=x",
        "code:text=!!!",
        "code:text=",
        "recorded-date:text=2020",
    ],
)
def test_what_cannot_be_answered_completely_is_refused(fhir: Fhir, headache: str, query: str) -> None:
    """R4's example with SNOMED CT among them, whose hierarchy this server does not have."""
    reply = fhir.get(f"Condition?{query}")
    assert reply.status == 400, reply.content
    issue = reply.issues[0]
    assert issue["severity"] == "error"
    assert query.partition(":")[0] in issue["details"]["text"]


def test_value_sets_work_in_criteria_chains_and_batches(fhir: Fhir) -> None:
    gender = "http://hl7.org/fhir/ValueSet/administrative-gender"
    one = fhir.create(patient(gender="male"))
    bare = fhir.create(patient())
    about = fhir.create({**condition(**status("relapse")), "subject": {"reference": f"Patient/{one['id']}"}})
    assert fhir.get(f"Condition?subject:Patient.gender:in={gender}").ids == [about["id"]]
    assert fhir.get(f"Patient?_has:Condition:subject:clinical-status:below={CLINICAL}|active").ids == [one["id"]]
    assert fhir.get(f"Patient?gender:not-in={gender}").ids == [bare["id"]]
    reply = fhir.transact(entry("GET", f"Patient?gender:in={gender}"), kind="batch")
    assert [found["resource"]["id"] for found in reply.body["entry"][0]["resource"]["entry"]] == [one["id"]]
    again = fhir.post("Patient", patient(gender="female"), If_None_Exist=f"gender:in={gender}")
    assert again.status == 200
