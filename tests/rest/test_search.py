"""search over HTTP: what is found, in which order, on which pages (http://hl7.org/fhir/R4/search.html)."""

from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from tests.rest.fhir import Fhir, entry, observation, patient

LOINC = "http://loinc.org"
FORM = "application/x-www-form-urlencoded"


def coded(code: str, day: str | None = None, **more: object) -> dict[str, object]:
    when = {"effectiveDateTime": day} if day else {}
    return observation(**{"code": {"coding": [{"system": LOINC, "code": code}]}, **when, **more})  # type: ignore[arg-type]


@pytest.fixture
def ada(fhir: Fhir) -> dict[str, object]:
    return fhir.create(
        patient(
            name=[{"family": "Élodie Dupont", "given": ["Ada"]}],
            gender="female",
            birthDate="1979-03-28",
            identifier=[{"system": "http://example.org/ids", "value": "1"}],
            meta={"tag": [{"system": "http://example.org/tags", "code": "t"}], "profile": ["http://example.org/p"]},
        )
    )


@pytest.mark.parametrize(
    "query",
    [
        "name=elodie",
        "family=%C3%89LOD",
        "family:exact=%C3%89lodie%20Dupont",
        "given=ad",
        "gender=female",
        "gender:not=male",
        "birthdate=1979",
        "birthdate=ge1979-03-28&birthdate=lt1980",
        "identifier=http://example.org/ids|1",
        "identifier=|1,1",
        "identifier=http://example.org/ids|",
        "_tag=http://example.org/tags|t",
        "_profile=http://example.org/p",
        "_lastUpdated=gt2020",
        "birthdate:missing=false",
        "organization:missing=true",
        "name=nobody,elodie",
    ],
)
def test_a_patient_is_found(fhir: Fhir, ada: dict[str, object], query: str) -> None:
    fhir.create({"resourceType": "Basic", "code": {"text": "x"}})
    reply = fhir.get(f"Patient?{query}")
    assert reply.status == 200, reply.content
    assert reply.ids == [ada["id"]]
    assert reply.body["type"] == "searchset"
    assert reply.body["entry"][0]["search"]["mode"] == "match"
    assert reply.body["entry"][0]["fullUrl"].endswith(f"/fhir/Patient/{ada['id']}")


@pytest.mark.parametrize(
    "query",
    [
        "name=odie",
        "family:exact=elodie%20dupont",
        "gender=male",
        "birthdate=gt1979-03-28",
        "identifier=|1",
        "_tag=other|t",
    ],
)
def test_a_patient_is_not_found(fhir: Fhir, ada: dict[str, object], query: str) -> None:
    if query == "identifier=|1":
        assert fhir.get(f"Patient?{query}").ids == []
    assert ada["id"] not in fhir.get(f"Patient?{query}").ids


def test_a_deleted_resource_is_found_no_more(fhir: Fhir, ada: dict[str, object]) -> None:
    fhir.delete(f"Patient/{ada['id']}")
    for query in ("", "?name=elodie", "?birthdate:missing=false", "?gender:not=male", f"?_id={ada['id']}"):
        assert fhir.get(f"Patient{query}").body["total"] == 0
    assert fhir.get("").body["total"] == 0


def test_an_update_is_found_by_its_new_values_alone(fhir: Fhir, ada: dict[str, object]) -> None:
    fhir.put(f"Patient/{ada['id']}", {**ada, "gender": "unknown"})
    assert fhir.get("Patient?gender=female").ids == []
    assert fhir.get("Patient?gender=unknown").ids == [ada["id"]]


def test_references_are_found_in_every_form(fhir: Fhir, ada: dict[str, object]) -> None:
    one = fhir.create(observation(f"Patient/{ada['id']}"))
    base = fhir.get(f"Observation/{one['id']}/_history").body["entry"][0]["fullUrl"].partition("/Observation")[0]
    for query in (
        f"subject=Patient/{ada['id']}",
        f"subject={ada['id']}",
        f"patient={ada['id']}",
        f"subject:Patient={ada['id']}",
        f"subject={base}/Patient/{ada['id']}",
    ):
        assert fhir.get(f"Observation?{query}").ids == [one["id"]], query
    assert fhir.get(f"Observation?subject:Group={ada['id']}").ids == []


def test_the_patients_compartment_holds_what_is_about_them(fhir: Fhir, ada: dict[str, object]) -> None:
    one = fhir.create(observation(f"Patient/{ada['id']}"))
    fhir.create(observation())
    assert fhir.get(f"Patient/{ada['id']}/Observation").ids == [one["id"]]
    assert set(fhir.get(f"Patient/{ada['id']}/*").ids) == {one["id"], ada["id"]}
    assert fhir.get(f"Patient/{ada['id']}/Observation?code=nothing").ids == []
    assert fhir.get(f"Patient/{ada['id']}/Library").status == 404
    assert fhir.get(f"Observation/{one['id']}/Patient").status == 404


def test_post_joins_the_form_and_the_url(fhir: Fhir, ada: dict[str, object]) -> None:
    reply = fhir.post("Patient/_search?gender=female", "name=elodie&birthdate=1979", Content_Type=FORM)
    assert reply.status == 200, reply.content
    assert reply.ids == [ada["id"]]
    assert fhir.post("Patient/_search?gender=male", "name=elodie", Content_Type=FORM).ids == []
    assert set(fhir.post("_search", "_tag=http://example.org/tags|t", Content_Type=FORM).ids) == {ada["id"]}


def test_the_system_is_searched_by_what_all_types_have(fhir: Fhir, ada: dict[str, object]) -> None:
    basic = fhir.create({"resourceType": "Basic", "code": {"text": "x"}})
    assert set(fhir.get("").ids) == {ada["id"], basic["id"]}
    assert fhir.get(f"?_id={ada['id']}").ids == [ada["id"]]
    assert fhir.get("?_type=Basic").ids == [basic["id"]]
    assert fhir.get("?name=x").status == 400


def test_the_newest_come_first_and_those_without_a_date_last(fhir: Fhir) -> None:
    days = ["2020-01-01", None, "2022-05", "2021-01-01T10:00:00+02:00"]
    ids = {day: fhir.create(coded("1", day))["id"] for day in days}
    ordered = [ids["2022-05"], ids["2021-01-01T10:00:00+02:00"], ids["2020-01-01"], ids[None]]
    assert fhir.get("Observation").ids == ordered
    assert fhir.get("Observation?_sort=-date").ids == ordered
    assert fhir.get("Observation?_sort=date").ids == [*ordered[2::-1], ordered[3]]
    assert fhir.get("Observation?_sort=_id").ids == sorted(ordered)
    assert fhir.get("Observation?_sort=-_lastUpdated").ids == [ids[day] for day in reversed(days)]


@pytest.mark.parametrize("sort", ["", "&_sort=date", "&_sort=-_id", "&_sort=_lastUpdated"])
def test_pages_hold_everything_once_forward_and_backward(fhir: Fhir, sort: str) -> None:
    for number in range(11):
        fhir.create(coded("1", f"2020-01-{number // 2 + 1:02}" if number % 3 else None))
    whole = fhir.get(f"Observation?code={LOINC}|1&_count=50{sort}").ids
    assert len(set(whole)) == 11
    pages, url = [], f"Observation?code={LOINC}|1&_count=3{sort}"
    while True:
        page = fhir.get(url)
        pages.append(page)
        following = page.link("next")
        if following is None:
            break
        url = following
    assert [len(page.ids) for page in pages] == [3, 3, 3, 2]
    assert [id for page in pages for id in page.ids] == whole
    previous = pages[2].link("previous")
    assert previous is not None
    assert fhir.get(previous).ids == pages[1].ids
    assert fhir.get(pages[2].link("first") or "").ids == pages[0].ids
    assert pages[0].link("previous") is None


def test_a_page_link_tells_nothing_of_the_search(fhir: Fhir) -> None:
    for _ in range(2):
        fhir.create(patient(name=[{"family": "Secretname"}]))
    page = fhir.post("Patient/_search", "name=secretname&_count=1", Content_Type=FORM)
    following = page.link("next")
    assert following is not None
    assert "secret" not in following.lower()
    assert len(fhir.get(following).ids) == 1


def test_a_page_link_that_was_tampered_with_is_not_found(fhir: Fhir) -> None:
    for _ in range(2):
        fhir.create(patient())
    url = fhir.get("Patient?_count=1").link("next")
    assert url is not None
    token = urlsplit(url).query.partition("=")[2]
    for other in (token[:-1], token[:20], "A" + token[1:], token[:-4] + "AAAA", "", "é"):
        assert fhir.get(f"Patient?_page={other}").status == 404, other
    assert fhir.get(f"Observation?_page={token}").status == 404
    assert fhir.get(f"Patient/_history?_page={token}").status == 404
    assert fhir.get(f"Patient?_page={token}&name=x").status == 400


def test_a_walk_while_others_write_sees_what_was_there_once(fhir: Fhir) -> None:
    ids = [fhir.create(coded("walk", "2020-01-01"))["id"] for _ in range(30)]

    def disturb() -> None:
        for number in range(20):
            one = fhir.create(coded("walk", f"20{10 + number}-01-01"))
            if number % 2:
                fhir.delete(f"Observation/{one['id']}")

    with ThreadPoolExecutor(3) as pool:
        for _ in range(3):
            pool.submit(disturb)
        seen: list[str] = []
        url: str | None = f"Observation?code={LOINC}|walk&_count=4"
        while url:
            page = fhir.get(url)
            assert page.status == 200
            seen += page.ids
            url = page.link("next")
    assert [id for id in seen if id in ids] == sorted(ids, reverse=True)
    assert len(seen) == len(set(seen))


def test_the_total_is_told_where_it_is_known_or_asked_for(fhir: Fhir) -> None:
    for _ in range(5):
        fhir.create(patient())
    assert fhir.get("Patient").body["total"] == 5
    assert "total" not in fhir.get("Patient?_count=2").body
    assert fhir.get("Patient?_count=2&_total=accurate").body["total"] == 5
    assert fhir.get("Patient?_count=2&_total=estimate").body["total"] == 5
    assert "total" not in fhir.get("Patient?_total=none").body
    for query in ("_summary=count", "_count=0"):
        body = fhir.get(f"Patient?{query}").body
        assert body["total"] == 5
        assert "entry" not in body


def test_hits_can_be_shaped(fhir: Fhir, ada: dict[str, object]) -> None:
    resource = fhir.get("Patient?_elements=birthDate").resources[0]
    assert resource["birthDate"] == "1979-03-28"
    assert "name" not in resource
    assert {"code": "SUBSETTED"}.items() <= resource["meta"]["tag"][-1].items()
    assert "text" not in fhir.get("Patient?_summary=data").resources[0]


@pytest.mark.parametrize(
    "query",
    [
        "unknown=1",
        "name:wrong=x",
        "birthdate=notadate",
        "birthdate=zz2020",
        "_count=-1",
        "_count=x",
        "_sort=nonsense",
        "_total=maybe",
        "_summary=some",
        "_elements=nonsense",
        "organization.nonsense=x",
        "_has:Observation:nonsense:code=x",
        "_include=Patient:nonsense",
        "near=1",
        "gender=",
        "_id=a_b",
    ],
)
def test_strict_handling_refuses_and_lenient_warns(fhir: Fhir, ada: dict[str, object], query: str) -> None:
    refused = fhir.get(f"Patient?{query}&name=elodie")
    assert refused.status == 400
    assert refused.issues[0]["details"]["text"]
    reply = fhir.get(f"Patient?{query}&name=elodie", Prefer="handling=lenient")
    assert reply.status == 200, reply.content
    outcomes = [one for one in reply.body["entry"] if one["search"]["mode"] == "outcome"]
    assert outcomes[0]["resource"]["issue"][0]["severity"] == "warning"
    assert query.partition("=")[0] + "=" not in (reply.link("self") or "")
    assert "name=elodie" in (reply.link("self") or "")


def test_every_problem_of_a_query_is_told_at_once(fhir: Fhir) -> None:
    assert len(fhir.get("Patient?unknown=1&birthdate=x&name:wrong=y").issues) == 3


@pytest.mark.parametrize(
    "query",
    [
        "name[$ne]=x",
        "name=%7B%22$gt%22:%22%22%7D",
        "$where=1",
        "name=.*",
        "name=%24where",
        "_id[$regex]=.",
        "name=(a%2B)%2B$",
    ],
)
def test_operators_and_patterns_are_only_text(fhir: Fhir, ada: dict[str, object], query: str) -> None:
    reply = fhir.get(f"Patient?{query}")
    assert reply.status == 400 or reply.ids == []


def test_quantities_and_numbers_are_found_by_their_precision(fhir: Fhir) -> None:
    unit = {"system": "http://unitsofmeasure.org", "code": "mg", "unit": "mg"}
    one = fhir.create(coded("q", valueQuantity={"value": 5.4, **unit}))
    ucum = "http://unitsofmeasure.org|mg"
    for query in (f"5.4|{ucum}", "5.4", f"gt5.3|{ucum}", "le5.4||mg", f"ap5|{ucum}", "sa5"):
        assert fhir.get(f"Observation?value-quantity={query}").ids == [one["id"]], query
    for query in (f"5.40001|{ucum}", "5.4|http://unitsofmeasure.org|g", "gt5.4", "ne5.4"):
        assert fhir.get(f"Observation?value-quantity={query}").ids == [], query


def test_a_search_in_a_bundle_is_a_search(fhir: Fhir, ada: dict[str, object]) -> None:
    reply = fhir.transact(entry("GET", "Patient?name=elodie"), kind="batch")
    assert reply.resources[0]["entry"][0]["resource"]["id"] == ada["id"]
