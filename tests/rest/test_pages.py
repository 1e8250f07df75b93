"""Pages over HTTP: totals, links, and walks while others write (http://hl7.org/fhir/R4/http.html#paging)."""

import threading
from collections.abc import Callable
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from fhir_server.access.caller import Caller
from fhir_server.app import Composition, build_app
from fhir_server.context import current_time
from fhir_server.search.compiler import Keyset
from fhir_server.search.paging import PageState
from tests.rest.fhir import Fhir, Reply, observation, patient

LOINC = "http://loinc.org"


def fill(fhir: Fhir, count: int, code: str = "x") -> list[str]:
    """Create Observations with dates in pairs, every third without; return their ids."""
    entries = []
    for number in range(count):
        when = {"effectiveDateTime": f"2020-01-{number // 2 % 28 + 1:02}"} if number % 3 else {}
        coding = {"coding": [{"system": LOINC, "code": f"{code}{number % 4}"}]}
        resource = {**observation(), "id": f"{code}{number:03}", "code": coding, **when}
        entries.append({"request": {"method": "PUT", "url": f"Observation/{resource['id']}"}, "resource": resource})
    assert fhir.transact(*entries).status == 200
    return [f"{code}{number:03}" for number in range(count)]


def pages_of(fhir: Fhir, url: str, relation: str = "next") -> list[Reply]:
    found = [fhir.get(url)]
    while True:
        following = found[-1].link(relation)
        if following is None:
            return found
        found.append(fhir.get(following))


def test_total_and_count_say_what_they_are_asked_with_everything(fhir: Fhir) -> None:
    fill(fhir, 9)
    base = "Observation?status=final&_include=Observation:subject&_sort=code"
    assert fhir.get(base).body["total"] == 9
    assert "total" not in fhir.get(f"{base}&_count=4").body
    assert "total" not in fhir.get(f"{base}&_total=none").body
    for total in ("accurate", "estimate"):
        assert fhir.get(f"{base}&_count=4&_total={total}").body["total"] == 9
    for alone in ("_count=0", "_summary=count", "_count=0&_total=accurate", "_summary=count&_total=estimate"):
        body = fhir.get(f"{base}&{alone}").body
        assert body["total"] == 9
        assert "entry" not in body
        assert [link["relation"] for link in body["link"]] == ["self"]
    assert fhir.get("Observation?code=nothing").body["total"] == 0


def test_the_total_is_told_on_every_page_that_asks_for_it(fhir: Fhir) -> None:
    fill(fhir, 5)
    assert [page.body["total"] for page in pages_of(fhir, "Observation?_count=2&_total=accurate")] == [5, 5, 5]


def test_a_larger_count_is_cut_and_the_self_link_says_so(fhir_with: Callable[..., Fhir]) -> None:
    fhir = fhir_with(max_count=3, default_count=2)
    fill(fhir, 5)
    page = fhir.get("Observation?_count=500")
    assert len(page.ids) == 3
    assert "_count=3" in (page.link("self") or "")
    assert len(fhir.get("Observation").ids) == 2


@pytest.mark.parametrize("sort", ["", "date", "-date", "_id", "-_lastUpdated", "code", "-code,date", "status,-_id"])
def test_every_page_leads_on_and_back(fhir: Fhir, sort: str) -> None:
    fill(fhir, 11)
    order = f"&_sort={sort}" if sort else ""
    whole = fhir.get(f"Observation?_count=50{order}").ids
    forward = pages_of(fhir, f"Observation?_count=3{order}")
    assert [id for page in forward for id in page.ids] == whole
    backward = pages_of(fhir, forward[-1].link("previous") or "", "previous")
    assert [id for page in reversed(backward) for id in page.ids] == whole[:9]
    assert [page.link("next") is not None for page in forward] == [True, True, True, False]
    assert fhir.get(backward[-1].link("next") or "").ids == whole[3:6]
    assert all(fhir.get(page.link("first") or "").ids == whole[:3] for page in forward)


@pytest.mark.parametrize("sort", ["_id", "date", "code,_id"])
def test_a_page_on_which_nothing_is_left_leads_back(fhir: Fhir, sort: str) -> None:
    ids = fill(fhir, 4)
    first = fhir.get(f"Observation?_count=2&_sort={sort}")
    for id in set(ids) - set(first.ids):
        fhir.delete(f"Observation/{id}")
    last = fhir.get(first.link("next") or "")
    assert last.ids == []
    assert last.link("next") is None
    assert fhir.get(last.link("previous") or "").ids == first.ids


@pytest.mark.parametrize("sort", ["_id", "-date", "code"])
def test_a_first_page_on_which_nothing_is_left_leads_on(fhir: Fhir, sort: str) -> None:
    fill(fhir, 4)
    first = fhir.get(f"Observation?_count=2&_sort={sort}")
    second = fhir.get(first.link("next") or "")
    for id in first.ids:
        fhir.delete(f"Observation/{id}")
    empty = fhir.get(second.link("previous") or "")
    assert empty.ids == []
    assert empty.link("previous") is None
    assert fhir.get(empty.link("next") or "").ids == second.ids


@pytest.mark.parametrize("sort", ["", "&_sort=code", "&_sort=-code,date", "&_sort=_lastUpdated"])
def test_a_walk_while_four_write_sees_what_stays_once_and_in_order(fhir: Fhir, sort: str) -> None:
    staying = fill(fhir, 60, "s")
    expected = fhir.get(f"Observation?_count=100{sort}").ids
    moving = fill(fhir, 40, "m")
    stop = threading.Event()

    def disturb(part: int) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            id = moving[(4 * number + part) % len(moving)]
            coding = {"coding": [{"system": LOINC, "code": f"s{number % 4}"}]}
            when = {"effectiveDateTime": f"20{10 + number % 20}-01-01"}
            fhir.put(f"Observation/{id}", {**observation(), "id": id, "code": coding, **when})
            if number % 2:
                fhir.delete(f"Observation/{id}")
            else:
                fhir.create({**observation(), "code": coding})

    writers = [threading.Thread(target=disturb, args=(part,)) for part in range(4)]
    for writer in writers:
        writer.start()
    try:
        seen: list[str] = []
        url = f"Observation?_count=7{sort}"
        for _ in range(200):
            page = fhir.get(url)
            assert page.status == 200
            seen += page.ids
            url = page.link("next") or ""
            if not url or set(staying) <= set(seen):
                break
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    assert [id for id in seen if id in set(staying)] == expected


def token_of(page: Reply) -> str:
    return parse_qs(urlsplit(page.link("next") or "").query)["_page"][0]


@pytest.mark.parametrize("sort", ["", "&_sort=code"])
def test_a_page_link_belongs_to_its_caller_and_policy(composition: Composition, sort: str) -> None:
    fhir = Fhir(build_app(composition))
    fill(fhir, 3)
    token, now = token_of(fhir.get(f"Observation?_count=1{sort}")), current_time()
    state = composition.pages().open(token, "open", "open", now)
    assert state.path == "Observation"
    for caller, digest in (("other", "open"), ("open", "other"), ("", "")):
        with pytest.raises(Exception, match="page link"):
            composition.pages().open(token, caller, digest, now)
    stolen = PageState(state.path, state.parameters, state.keyset, state.expires)
    assert fhir.get(f"Observation?_page={composition.pages().seal(stolen, 'other', 'open')}").status == 404
    assert Caller("other", "open").key == "other"


def test_a_page_link_expires(composition: Composition) -> None:
    fhir = Fhir(build_app(composition))
    fill(fhir, 3)
    token = token_of(fhir.get("Observation?_count=1"))
    state = composition.pages().open(token, "open", "open", current_time())
    late = current_time() + timedelta(seconds=composition.settings.page_link_lifetime + 1)
    with pytest.raises(Exception, match="page link"):
        composition.pages().open(token, "open", "open", late)
    old = PageState(state.path, state.parameters, state.keyset, current_time() - timedelta(seconds=1))
    assert fhir.get(f"Observation?_page={composition.pages().seal(old, 'open', 'open')}").status == 404


def test_a_page_link_keeps_values_of_any_kind_to_itself(composition: Composition) -> None:
    fhir = Fhir(build_app(composition))
    for family in ("Secretname", "Zyx"):
        fhir.create(patient(name=[{"family": family}]))
    page = fhir.get("Patient?_sort=family,birthdate&_count=1")
    assert "secretname" not in page.link("next").lower()  # type: ignore[union-attr]
    state = composition.pages().open(token_of(page), "open", "open", current_time())
    assert state.keyset is not None
    assert state.keyset.values[:2] == ("Patient.family:secretname", True)
    assert isinstance(state.keyset, Keyset)


@pytest.mark.parametrize(
    ("query", "status"), [("_contained=true", 400), ("_contained=both", 400), ("_containedType=contained", 400),
                          ("_contained=x", 400), ("_contained=false", 200)],
)  # fmt: skip
def test_contained_resources_are_not_searched_and_that_is_said(fhir: Fhir, query: str, status: int) -> None:
    reply = fhir.get(f"Patient?{query}")
    assert reply.status == status
    if status == 400:
        assert query.partition("=")[0] in reply.issues[0]["details"]["text"]


@pytest.mark.parametrize("query", ["_elements=status&_summary=true", "_elements=code.text", "_elements=Nonsense.code"])
def test_shapes_that_cannot_be_are_refused(fhir: Fhir, query: str) -> None:
    assert fhir.get(f"Observation?{query}").status == 400
    assert fhir.get(f"Observation?{query}", Prefer="handling=lenient").status == 200


def test_every_summary_shapes_every_match(fhir: Fhir) -> None:
    narrative = {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">x</div>'}
    fhir.create(observation(text=narrative, note=[{"text": "n"}]))
    kept = {
        "true": {"status", "code"},
        "text": {"status", "code", "text"},
        "data": {"status", "code", "note"},
        "false": {"status", "code", "text", "note"},
    }
    for mode, expected in kept.items():
        (found,) = fhir.get(f"Observation?_summary={mode}").resources
        assert found.keys() - {"resourceType", "id", "meta"} == expected
        assert (mode == "false") is ("tag" not in found["meta"])
    assert fhir.get("Observation?_summary=text&_sort=code&_count=1").body["entry"][0]["search"]["mode"] == "match"
    system = fhir.get("?_elements=note,birthDate").resources[0]
    assert system.keys() - {"resourceType", "id", "meta"} == {"status", "code", "note"}


def test_the_pages_of_a_lenient_search_are_lenient_and_say_why(fhir: Fhir) -> None:
    fill(fhir, 5)
    page = fhir.get("Observation?unknown=1&status=final&_count=2", Prefer="handling=lenient")
    warning = page.body["entry"][-1]
    assert warning["search"]["mode"] == "outcome"
    for relation in ("next", "next", "previous", "first"):
        page = fhir.get(page.link(relation) or "", Prefer="handling=strict")
        assert page.status == 200
        assert page.body["entry"][-1] == warning
        assert "unknown" not in (page.link("self") or "")


@pytest.mark.parametrize(("handling", "status"), [("lenient", 200), ("strict", 400)])
def test_too_many_includes_are_treated_on_each_page_as_the_first_was_asked_for(
    fhir_with: Callable[..., Fhir], handling: str, status: int
) -> None:
    fhir = fhir_with(max_included=1, default_handling="strict" if handling == "lenient" else "lenient")
    one, other = (f"Patient/{fhir.create(patient())['id']}" for _ in range(2))
    fhir.create(observation(one, effectiveDateTime="2023"))
    fhir.create(observation(one, effectiveDateTime="2022", performer=[{"reference": other}]))
    first = fhir.get("Observation?_include=*&_sort=-date&_count=1", Prefer=f"handling={handling}")
    assert len(first.resources) == 2
    assert fhir.get(first.link("next") or "").status == status
