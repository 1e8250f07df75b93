"""_sort over HTTP: by every kind of parameter, in both directions, page by page."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any
from urllib.parse import quote

import pytest

from tests.rest.fhir import Fhir, observation, patient

UCUM = "http://unitsofmeasure.org"
Resource = dict[str, Any]


def load(fhir: Fhir, resources: dict[str, Resource]) -> None:
    entries = [
        {"request": {"method": "PUT", "url": f"{one['resourceType']}/{id}"}, "resource": {**one, "id": id}}
        for id, one in resources.items()
    ]
    assert fhir.transact(*entries).status == 200


def walk(fhir: Fhir, path: str) -> list[str]:
    """Return the ids of all pages forward, having checked that they read the same backward."""
    pages, url = [], path
    while url:
        page = fhir.get(url)
        assert page.status == 200, page.content
        pages.append(page)
        url = page.link("next") or ""
    for before, page in pairwise(pages):
        assert fhir.get(page.link("previous") or "").ids == before.ids
    assert pages[0].link("previous") is None
    return [id for page in pages for id in page.ids]


NAMES: dict[str, Resource] = {
    "p1": patient(name=[{"family": "Martin", "given": ["Zoé"]}], gender="male"),
    "p2": patient(name=[{"family": "émile"}, {"family": "Zola"}], gender="female"),
    "p3": patient(gender="female"),
    "p4": patient(name=[{"family": "Bernard"}]),
    "p5": patient(name=[{"family": "MARTIN", "given": ["Anne"]}], gender="male"),
}


@pytest.mark.parametrize("count", [1, 2, 50])
@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("family", "p4 p2 p1 p5 p3"),
        ("-family", "p2 p5 p1 p4 p3"),
        ("gender,family", "p2 p3 p1 p5 p4"),
        ("-gender,-family", "p5 p1 p2 p3 p4"),
        ("gender,-_id", "p3 p2 p5 p1 p4"),
        ("family,given", "p4 p2 p5 p1 p3"),
        ("given", "p5 p1 p2 p3 p4"),
        ("-given", "p1 p5 p4 p3 p2"),
        ("organization", "p1 p2 p3 p4 p5"),
        ("gender,_lastUpdated,-family", "p2 p3 p1 p5 p4"),
    ],
)
def test_patients_by_name_and_gender(fhir: Fhir, sort: str, expected: str, count: int) -> None:
    load(fhir, NAMES)
    assert walk(fhir, f"Patient?_sort={sort}&_count={count}") == expected.split()


def test_resources_are_sorted_by_every_type_of_parameter(fhir: Fhir) -> None:
    def measured(value: str, unit: str) -> Resource:
        return {"value": float(value), "unit": unit, "system": UCUM, "code": unit}

    def coded(code: str, **more: Any) -> Resource:
        return observation(**{"code": {"coding": [{"system": "http://loinc.org", "code": code}]}, **more})

    load(fhir, {"pa": patient(), "pb": patient()})
    load(
        fhir,
        {
            "o1": coded("b", valueQuantity=measured("5", "mg"), subject="Patient/pb"),
            "o2": coded("A", valueQuantity=measured("0.004", "g"), subject="Patient/pa"),
            "o3": coded("c", valueDateTime="2020-05", effectiveDateTime="2021"),
            "o4": coded("d", valueDateTime="2020-04-01", effectiveDateTime="2022"),
        },
    )
    assert fhir.get("Observation?_sort=code").ids == ["o2", "o1", "o3", "o4"]
    assert fhir.get("Observation?_sort=-code").ids == ["o4", "o3", "o1", "o2"]
    assert fhir.get("Observation?_sort=value-quantity").ids == ["o2", "o1", "o3", "o4"]
    assert fhir.get("Observation?_sort=-value-quantity").ids == ["o1", "o2", "o4", "o3"]
    assert fhir.get("Observation?_sort=value-date").ids == ["o4", "o3", "o1", "o2"]
    assert fhir.get("Observation?_sort=-value-date").ids == ["o3", "o4", "o2", "o1"]
    assert fhir.get("Observation?_sort=subject").ids == ["o2", "o1", "o3", "o4"]
    assert fhir.get("Observation?_sort=status,-date").ids == ["o4", "o3", "o1", "o2"]
    assert fhir.get("Observation?_sort=-date,code").ids == ["o4", "o3", "o2", "o1"]


def test_numbers_and_uris_are_sorted(fhir: Fhir) -> None:
    def risk(*numbers: float) -> Resource:
        return {
            "resourceType": "RiskAssessment",
            "status": "final",
            "subject": {"display": "x"},
            "prediction": [{"probabilityDecimal": number} for number in numbers],
        }

    load(fhir, {"r1": risk(0.5), "r2": risk(0.05, 0.9), "r3": risk(0.25)})
    assert fhir.get("RiskAssessment?_sort=probability").ids == ["r2", "r3", "r1"]
    assert fhir.get("RiskAssessment?_sort=-probability").ids == ["r2", "r1", "r3"]
    for id, url in (("v1", "http://b"), ("v2", "http://a")):
        load(fhir, {id: {"resourceType": "ValueSet", "status": "draft", "url": url}})
    assert fhir.get("ValueSet?_sort=url").ids == ["v2", "v1"]


def test_several_types_are_sorted_by_what_they_all_have(fhir: Fhir) -> None:
    def tagged(code: str) -> Resource:
        return {"meta": {"tag": [{"system": "http://example.org", "code": code}]}}

    load(fhir, {"p": patient(**tagged("b")), "o": observation(**tagged("c")), "q": patient(**tagged("a"))})
    assert fhir.get("?_sort=_tag").ids == ["q", "p", "o"]
    assert fhir.get("?_type=Patient,Observation&_sort=-_tag").ids == ["o", "p", "q"]
    assert fhir.get("?_type=Patient,Observation&_sort=gender").status == 400


def test_a_sort_holds_within_a_search(fhir: Fhir) -> None:
    load(fhir, NAMES)
    assert walk(fhir, "Patient?gender=male&_sort=given&_count=1") == ["p5", "p1"]
    assert fhir.get("Patient?gender:missing=false&_sort=-family&_total=accurate&_count=1").body["total"] == 4
    form = "application/x-www-form-urlencoded"
    assert fhir.post("Patient/_search", "_sort=family", Content_Type=form).ids == ["p4", "p2", "p1", "p5", "p3"]


@pytest.mark.parametrize(
    "sort",
    ["nonsense", "-", "", "family,", "family,-family", "family:exact", "$where", "name,$natural", "_text", "--family"],
)
def test_what_is_no_order_is_refused_or_warned_about(fhir: Fhir, sort: str) -> None:
    load(fhir, NAMES)
    refused = fhir.get(f"Patient?_sort={quote(sort)}")
    assert refused.status == 400, refused.content
    assert "_sort" in refused.issues[0]["details"]["text"]
    lenient = fhir.get(f"Patient?_sort={quote(sort)}", Prefer="handling=lenient")
    assert lenient.status == 200
    assert lenient.body["entry"][-1]["search"]["mode"] == "outcome"
    assert "_sort" not in (lenient.link("self") or "")


def test_composites_have_no_order(fhir: Fhir) -> None:
    assert "composite" in fhir.get("Observation?_sort=code-value-quantity").issues[0]["details"]["text"]
    assert fhir.get(f"Patient?_sort={','.join(['family'] * 11)}").status == 400


def test_an_order_without_index_over_too_many_is_refused(fhir_with: Callable[..., Fhir]) -> None:
    fhir = fhir_with(search_budget=4)
    load(fhir, NAMES)
    refused = fhir.get("Patient?_sort=family")
    assert refused.status == 400
    assert refused.issues[0]["code"] == "too-costly"
    assert fhir.get("Patient?_sort=family&gender=male").ids == ["p1", "p5"]
    assert fhir.get("Patient?_sort=-birthdate").status == 200
