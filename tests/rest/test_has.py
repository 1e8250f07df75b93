"""Reverse chaining over HTTP (http://hl7.org/fhir/R4/search.html#has)."""

from typing import Any

import pytest

from tests.rest.fhir import Fhir, entry, observation, patient
from tests.rest.test_chains import follow, put

LOINC = "http://loinc.org"


def observe(fhir: Fhir, id: str, subject: str, code: str, **more: Any) -> str:
    concept = {"coding": [{"system": LOINC, "code": code}]}
    return put(fhir, f"Observation/{id}", status="final", code=concept, subject={"reference": subject}, **more)


def originate(fhir: Fhir, id: str, target: str, agent: str) -> str:
    return put(
        fhir,
        f"Provenance/{id}",
        recorded="2020-01-01T00:00:00Z",
        agent=[{"who": {"reference": agent}}],
        target=[{"reference": target}],
    )


@pytest.fixture(params=[1, 1000])
def ward(fhir_with: Any, request: pytest.FixtureRequest) -> Fhir:
    """Three patients; Ada and Bob have been observed, Bob by Dr Martin, and where Ada's came from is on record."""
    fhir: Fhir = fhir_with(search_join_keys=request.param)
    put(fhir, "Organization/luc", name="Saint-Luc")
    put(fhir, "Practitioner/martin", name=[{"family": "Martin"}])
    put(fhir, "Practitioner/durand", name=[{"family": "Durand"}])
    put(fhir, "Patient/ada", gender="female", managingOrganization={"reference": "Organization/luc"})
    put(fhir, "Patient/bob", gender="male")
    put(fhir, "Patient/cyd", gender="male")
    put(fhir, "Group/g", type="person", actual=True, member=[{"entity": {"reference": "Patient/ada"}}])
    observe(fhir, "one", "Patient/ada", "1234-5")
    observe(fhir, "two", "Patient/ada", "9999-9", effectiveDateTime="2021-05-05")
    observe(fhir, "three", "Patient/bob", "1234-5", performer=[{"reference": "Practitioner/martin"}])
    observe(fhir, "group", "Group/g", "1234-5")
    originate(fhir, "read", "Observation/one", "Practitioner/durand")
    return fhir


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("Patient?_has:Observation:patient:code=1234-5", {"ada", "bob"}),
        (f"Patient?_has:Observation:patient:code={LOINC}|9999-9", {"ada"}),
        ("Patient?_has:Observation:subject:code=1234-5", {"ada", "bob"}),
        ("Patient?_has:Observation:patient:code=1234-5,9999-9", {"ada", "bob"}),
        ("Patient?_has:Observation:patient:code=nothing", set()),
        ("Patient?_has:Observation:patient:code:not=1234-5", {"ada"}),
        ("Patient?_has:Observation:patient:date=ge2021", {"ada"}),
        ("Patient?_has:Observation:patient:date:missing=true", {"ada", "bob"}),
        ("Patient?_has:Observation:patient:_id=two", {"ada"}),
        ("Patient?_has:Observation:patient:code=1234-5&_has:Observation:patient:code=9999-9", {"ada"}),
        ("Patient?_has:Observation:patient:code=1234-5&gender=male", {"bob"}),
        ("Patient?_has:Observation:patient:status=final&_has:Observation:performer:status=final", set()),
        # nested, as on the page
        ("Patient?_has:Observation:patient:_has:Provenance:target:agent=durand", {"ada"}),
        ("Patient?_has:Observation:patient:_has:Provenance:target:agent=Practitioner/martin", set()),
        ("Patient?_has:Group:member:_id=g", {"ada"}),
        # chains on its side
        ("Patient?_has:Observation:patient:performer.name=martin", {"bob"}),
        ("Patient?_has:Observation:patient:performer:Practitioner.name=durand", set()),
        ("Patient?_has:Observation:patient:_has:Provenance:target:agent:Practitioner.name=durand", {"ada"}),
        # and on ours
        ("Observation?patient._has:Observation:patient:code=9999-9", {"one", "two"}),
        ("Observation?subject:Patient._has:Group:member:_id=g", {"one", "two"}),
        ("Observation?patient.organization.name=saint&patient._has:Observation:subject:code=1234-5", {"one", "two"}),
        ("Practitioner?_has:Observation:performer:patient.gender=male", {"martin"}),
        ("Organization?_has:Patient:organization:_has:Observation:patient:code=1234-5", {"luc"}),
        ("Group?_has:Observation:subject:code=1234-5", {"g"}),
        ("?_type=Patient,Group&_has:Observation:subject:code=1234-5", {"ada", "bob", "g"}),
        ("?_type=Patient,Group&_has:Observation:subject:_has:Provenance:target:agent=durand", {"ada"}),
    ],
)
def test_has_finds_what_is_referred_to(ward: Fhir, query: str, expected: set[str]) -> None:
    reply = ward.get(query)
    assert reply.status == 200, reply.content
    assert set(reply.ids) == expected
    assert sorted(follow(ward, f"{query}&_count=1")) == sorted(expected)
    assert ward.get(f"{query}&_summary=count").body["total"] == len(expected)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("_has=x", "_has"),
        ("_has:Observation=x", "_has:Observation"),
        ("_has:Observation:patient=x", "_has:Observation:patient"),
        ("_has:Observation:patient:=x", "_has:Observation:patient:"),
        ("_has:Nonsense:patient:code=x", "_has:Nonsense:patient:code"),
        ("_has:Observation:nonsense:code=x", "_has:Observation:nonsense:code"),
        ("_has:Observation:code:code=x", "_has:Observation:code:code"),
        ("_has:Observation:performer:nonsense=x", "_has:Observation:performer:nonsense"),
        ("_has:Observation:encounter:code=x", "_has:Observation:encounter:code"),
        ("_has:Observation:patient:date=nonsense", "_has:Observation:patient:date"),
        ("_has:Observation:patient:code=", "_has:Observation:patient:code"),
    ],
)
def test_what_no_has_can_be_is_refused_by_name(fhir: Fhir, query: str, said: str) -> None:
    refused = fhir.get(f"Patient?{query}")
    assert refused.status == 400, refused.content
    assert f"The search parameter {said} cannot" in refused.issues[0]["details"]["text"]
    assert fhir.get(f"Patient?{query}", Prefer="handling=lenient").body["entry"][-1]["search"]["mode"] == "outcome"


def test_conditional_writes_take_has(ward: Fhir) -> None:
    kept = ward.post("Patient", {"resourceType": "Patient"}, If_None_Exist="_has:Observation:patient:code=9999-9")
    assert kept.status == 200
    assert kept.body["id"] == "ada"
    assert ward.put("Patient?_has:Observation:patient:code=1234-5", {"resourceType": "Patient"}).status == 412


def test_what_was_deleted_is_no_reason(ward: Fhir) -> None:
    ward.delete("Provenance/read")
    ward.delete("Observation/two")
    assert ward.get("Patient?_has:Observation:patient:code=9999-9").ids == []
    assert ward.get("Patient?_has:Observation:patient:_has:Provenance:target:agent=durand").ids == []


def test_rare_matches_are_found_from_the_other_side_within_the_budget(fhir_with: Any) -> None:
    fhir = fhir_with(search_join_keys=100, search_budget=700)
    people = [entry("PUT", f"Patient/p{number:03}", patient(id=f"p{number:03}")) for number in range(900)]
    many = [entry("POST", "Observation", observation("Patient/p001")) for _ in range(150)]
    assert fhir.transact(*people, *many).status == 200
    for query in ("_has:Observation:patient:status=final", "_has:Observation:patient:status=final&_sort=_id"):
        assert fhir.get(f"Patient?{query}").ids == ["p001"]
    assert fhir.get("Patient?_has:Observation:patient:status=final&_summary=count").body["total"] == 1
    assert fhir.get("Patient?_has:Observation:patient:status=final&_sort=name").ids == ["p001"]


def test_an_estimate_goes_by_the_first_thousand_that_were_looked_at(fhir_with: Any) -> None:
    fhir: Fhir = fhir_with(search_join_keys=1)
    patients = [f"Patient/p{number:04d}" for number in range(1_010)]
    entries = [entry("PUT", one, patient(id=one.partition("/")[2])) for one in patients]
    assert (
        fhir.transact(*entries, *(entry("POST", "Observation", observation(one)) for one in patients[::2])).status
        == 200
    )

    def total(how: str) -> int:
        reply = fhir.get(f"Patient?_has:Observation:subject:status=final&_total={how}&_count=1")
        return int(reply.body["total"])

    assert total("accurate") == 505
    assert abs(total("estimate") - 505) < 10
