"""Chained parameters over HTTP (http://hl7.org/fhir/R4/search.html#chaining)."""

from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.rest.fhir import Fhir, entry, observation

FORM = "application/x-www-form-urlencoded"


def follow(fhir: Fhir, query: str) -> list[str]:
    """Return the ids of all pages."""
    reply = fhir.get(query)
    found = []
    while True:
        assert reply.status == 200, reply.content
        found += reply.ids
        following = reply.link("next")
        if following is None:
            return found
        parts = urlsplit(following)
        reply = fhir.get(f"{parts.path.removeprefix('/fhir/').removeprefix('/fhir')}?{parts.query}")


def put(fhir: Fhir, reference: str, **more: Any) -> str:
    kind, _, id = reference.partition("/")
    reply = fhir.put(reference, {"resourceType": kind, "id": id, **more})
    assert reply.status in (200, 201), reply.content
    return id


def report(fhir: Fhir, id: str, subject: str) -> str:
    return put(fhir, f"DiagnosticReport/{id}", status="final", code={"text": "x"}, subject={"reference": subject})


@pytest.fixture
def reports(fhir: Fhir) -> Fhir:
    """Peter is a patient of Saint-Luc with a report, Paul one of Bichat; a group and a device have theirs."""
    put(fhir, "Organization/top", name="Groupe Nord")
    put(fhir, "Organization/luc", name="Clinique Saint-Luc", partOf={"reference": "Organization/top"})
    put(fhir, "Organization/bichat", name="Bichat")
    peter = {"name": [{"family": "Dupont", "given": ["Peter"]}], "gender": "male", "birthDate": "1979-03-28"}
    paul = {"name": [{"family": "Petit", "given": ["Paul"]}], "gender": "female"}
    put(fhir, "Patient/peter", managingOrganization={"reference": "Organization/luc"}, **peter)
    put(fhir, "Patient/paul", managingOrganization={"reference": "Organization/bichat"}, **paul)
    put(fhir, "Device/pump", deviceName=[{"name": "Peter's pump", "type": "user-friendly-name"}])
    put(fhir, "Location/ward", name="Peterhof")
    report(fhir, "of-peter", "Patient/peter")
    report(fhir, "of-paul", "Patient/paul")
    report(fhir, "of-pump", "Device/pump")
    report(fhir, "of-ward", "Location/ward")
    return fhir


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("subject.name=peter", {"of-peter", "of-ward"}),  # the page's own example; Device calls it device-name
        ("subject:Patient.name=peter", {"of-peter"}),
        ("subject:Location.name=peter", {"of-ward"}),
        ("subject:Device.device-name=peter", {"of-pump"}),
        ("subject.device-name=peter", {"of-pump"}),
        ("patient.name=peter", {"of-peter"}),
        ("patient.name=nobody", set()),
        ("patient.name=peter,paul", {"of-peter", "of-paul"}),
        ("patient.gender=female", {"of-paul"}),
        ("patient.gender:not=female", {"of-peter"}),
        ("patient.name:exact=Peter", {"of-peter"}),
        ("patient.name:exact=peter", set()),
        ("patient.birthdate=ge1979-03&patient.birthdate=lt1980", {"of-peter"}),
        ("patient.birthdate:missing=true", {"of-paul"}),
        ("patient._id=peter", {"of-peter"}),
        ("patient._lastUpdated=gt2020", {"of-peter", "of-paul"}),
        ("patient.organization=luc", {"of-peter"}),
        ("patient.organization.name=bichat", {"of-paul"}),
        ("subject:Patient.organization.name=clinique", {"of-peter"}),
        ("patient.organization:Organization.partof.name=groupe", {"of-peter"}),
        ("patient.organization.partof:missing=true", {"of-paul"}),
        ("patient.organization.partof._id=top,bichat", {"of-peter"}),
        ("patient.name=peter&patient.gender=male", {"of-peter"}),
        ("patient.name=peter&patient.gender=female", set()),
        ("subject.name=peter&status=final&_sort=_id&_summary=false", {"of-peter", "of-ward"}),
        ("result.code=x", set()),
    ],
)
def test_a_chain_finds_by_what_is_referred_to(reports: Fhir, query: str, expected: set[str]) -> None:
    reply = reports.get(f"DiagnosticReport?{query}")
    assert reply.status == 200, reply.content
    assert set(reply.ids) == expected
    assert reply.body["total"] == len(expected)
    shown = reply.link("self")
    assert shown is not None
    assert query.partition("=")[0] in shown


@pytest.mark.parametrize(
    "query",
    [
        "patient.name=peter",
        "patient.organization.name=clinique",
        "patient.gender:not=female",
        "subject:Patient.name=pe",
    ],
)
@pytest.mark.parametrize("keys", [1, 2, 1000])
def test_looking_up_and_probing_find_the_same(fhir_with: Any, query: str, keys: int) -> None:
    fhir = fhir_with(search_join_keys=keys)
    put(fhir, "Organization/0", name="Bichat")
    put(fhir, "Organization/1", name="Clinique")
    put(fhir, "Organization/2", name="Clinique du Nord")
    for number in range(12):
        put(
            fhir,
            f"Patient/{number}",
            name=[{"family": "Peter" if number % 3 else "Paul"}],
            gender="female" if number % 2 else "male",
            managingOrganization={"reference": f"Organization/{number % 3}"},
        )
        fhir.create({**observation(f"Patient/{number}"), "effectiveDateTime": f"2020-01-{number + 1:02}"})
        fhir.create(observation(f"Patient/{number}"))
    fhir.create(observation())
    males = {str(number) for number in range(0, 12, 2)}
    wanted = {str(number) for number in range(12) if number % 3} if "gender" not in query else males
    for shape in ("", "&_sort=date", "&_sort=-_lastUpdated", "&_sort=_id"):
        ids = follow(fhir, f"Observation?{query}{shape}&_count=5")
        whole = fhir.get(f"Observation?{query}{shape}&_count=100")
        assert whole.ids == ids
        assert len(ids) == len(set(ids)) == 2 * len(wanted)
        subjects = {one["subject"]["reference"].partition("/")[2] for one in whole.resources}
        assert subjects == wanted
    assert fhir.get(f"Observation?{query}&_summary=count").body["total"] == 2 * len(wanted)
    assert fhir.get(f"Observation?{query}&_count=3&_total=accurate").body["total"] == 2 * len(wanted)
    assert fhir.get(f"Observation?{query}&_count=3&_total=estimate").body["total"] == 2 * len(wanted)


def test_pages_of_a_probed_chain_turn_back(fhir_with: Any) -> None:
    fhir = fhir_with(search_join_keys=1)
    for number in range(9):
        put(fhir, f"Patient/{number}", gender="female" if number % 3 else "male")
        fhir.create(observation(f"Patient/{number}", effectiveDateTime=f"2020-01-0{number + 1}"))
    whole = fhir.get("Observation?patient.gender=female").ids
    first = fhir.get("Observation?patient.gender=female&_count=2")
    second = fhir.get(_path(first.link("next")))
    third = fhir.get(_path(second.link("next")))
    assert [*first.ids, *second.ids, *third.ids] == whole
    assert third.link("next") is None
    assert fhir.get(_path(third.link("previous"))).ids == second.ids
    assert fhir.get(_path(second.link("previous"))).ids == first.ids


def _path(url: str | None) -> str:
    assert url is not None
    parts = urlsplit(url)
    return f"{parts.path.removeprefix('/fhir/')}?{parts.query}"


def test_a_versioned_reference_leads_to_the_resource_as_it_is(fhir: Fhir) -> None:
    put(fhir, "Patient/p", gender="male")
    found = put(fhir, "Observation/o", **_bare(observation("Patient/p/_history/1")))
    put(fhir, "Patient/p", gender="female")
    assert fhir.get("Observation?patient.gender=female").ids == [found]
    assert fhir.get("Observation?patient.gender=male").ids == []
    assert fhir.get("Patient?_has:Observation:patient:status=final").ids == ["p"]


def test_an_absolute_reference_to_this_server_is_followed_and_no_other(fhir: Fhir) -> None:
    put(fhir, "Patient/p", gender="male")
    base = fhir.get("Patient").link("self")
    assert base is not None
    here = put(fhir, "Observation/here", **_bare(observation(f"{base.partition('/Patient')[0]}/Patient/p")))
    put(fhir, "Observation/there", **_bare(observation("http://elsewhere.example/fhir/Patient/p")))
    assert fhir.get("Observation?patient.gender=male").ids == [here]


@pytest.mark.parametrize("keys", [1, 1000])
def test_a_canonical_is_followed_by_url_and_version(fhir_with: Any, keys: int) -> None:
    fhir = fhir_with(search_join_keys=keys)
    for version, title in (("1.0-RC", "old"), ("2.0", "new")):
        put(
            fhir,
            f"Questionnaire/{title}",
            url="http://example.org/q",
            version=version,
            title=f"{title} title",
            status="active",
        )
    for id, canonical in (("any", ""), ("first", "|1.0-RC"), ("second", "|2.0"), ("other", "|3"), ("else", "x")):
        put(
            fhir,
            f"QuestionnaireResponse/{id}",
            status="completed",
            questionnaire=f"http://example.org/q{canonical}",
        )
    assert set(fhir.get("QuestionnaireResponse?questionnaire.title=old").ids) == {"any", "first"}
    assert set(fhir.get("QuestionnaireResponse?questionnaire.title=new").ids) == {"any", "second"}
    assert set(fhir.get("QuestionnaireResponse?questionnaire.status=active").ids) == {"any", "first", "second"}
    assert set(fhir.get("Questionnaire?_has:QuestionnaireResponse:questionnaire:_id=first").ids) == {"old"}
    assert set(fhir.get("Questionnaire?_has:QuestionnaireResponse:questionnaire:_id=any").ids) == {"old", "new"}
    assert fhir.get("Questionnaire?_has:QuestionnaireResponse:questionnaire:_id=other,else").ids == []
    assert set(fhir.get("Questionnaire?_has:QuestionnaireResponse:questionnaire:status=completed").ids) == {
        "old",
        "new",
    }


def _bare(resource: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in resource.items() if name != "resourceType"}


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("DiagnosticReport?subject.nonsense=x", "subject.nonsense"),
        ("DiagnosticReport?nonsense.name=x", "nonsense.name"),
        ("DiagnosticReport?status.name=x", "status.name"),
        ("DiagnosticReport?patient:Group.name=x", "patient:Group.name"),
        ("DiagnosticReport?subject:Nonsense.name=x", "subject:Nonsense.name"),
        ("DiagnosticReport?subject:missing.name=x", "subject:missing.name"),
        ("DiagnosticReport?patient.name:nonsense=x", "patient.name:nonsense"),
        ("DiagnosticReport?patient.birthdate=nonsense", "patient.birthdate"),
        ("DiagnosticReport?patient.name=", "patient.name"),
        ("DiagnosticReport?patient.organization.nonsense=x", "patient.organization.nonsense"),
        ("DiagnosticReport?patient.=x", "patient."),
        ("DiagnosticReport?.name=x", "?"),
        ("?patient.name=x", "patient.name"),
        ("?_has:Observation:patient:code=x", "_has:Observation:patient:code"),
        ("?_type=Observation,Organization&patient.name=x", "patient.name"),
    ],
)
def test_what_no_chain_can_be_is_refused_by_name(fhir: Fhir, query: str, said: str) -> None:
    refused = fhir.get(query)
    assert refused.status == 400, refused.content
    assert f"The search parameter {said} cannot" in refused.issues[0]["details"]["text"]
    french = fhir.get(query, Accept_Language="fr").issues[0]["details"]["text"]
    assert f"Le paramètre de recherche {said} est" in french
    lenient = fhir.get(query, Prefer="handling=lenient")
    assert lenient.status == 200
    outcome = lenient.body["entry"][-1]
    assert outcome["search"]["mode"] == "outcome"
    shown = lenient.link("self")
    assert shown is not None
    assert "patient" not in shown


def test_depth_and_breadth_have_limits_that_say_so(fhir: Fhir) -> None:
    deep = ".".join(["partof"] * 8) + ".name"
    assert fhir.get(f"Organization?{deep}=x").status == 200
    refused = fhir.get(f"Organization?partof.{deep}=x")
    assert refused.status == 400
    assert refused.issues[0]["code"] == "too-costly"
    assert f"partof.{deep}" in refused.issues[0]["details"]["text"]
    wide = fhir.get("Provenance?target.patient.organization.name=x")
    assert wide.status == 200 or wide.issues[0]["code"] == "too-costly"
    assert fhir.get(f"Provenance?{'target.' * 50}name=x").issues[0]["code"] == "too-costly"


def test_the_budget_is_kept_and_the_parameter_named(fhir_with: Any) -> None:
    fhir = fhir_with(search_join_keys=2, search_budget=12)
    for number in range(12):
        put(fhir, f"Patient/{number}", gender="female" if number else "male")
        fhir.create(observation(f"Patient/{number}"))
    few = fhir.get("Observation?patient.gender=male")
    assert len(few.ids) == 1
    for query in ("Observation?patient.gender=female", "Observation?patient.gender=female&_summary=count"):
        refused = fhir.get(query)
        assert refused.status == 400, refused.content
        assert refused.issues[0]["code"] == "too-costly"
        assert "patient.gender" in refused.issues[0]["details"]["text"]
        assert refused.issues[0]["expression"] == ["http.patient.gender"]


def test_types_searched_together_share_parameters_and_chains(reports: Fhir) -> None:
    put(reports, "Observation/o", **_bare(observation("Patient/peter")))
    both = "_type=Observation,DiagnosticReport"
    assert set(reports.get(f"?{both}&patient=Patient/peter").ids) == {"o", "of-peter"}
    assert set(reports.get(f"?{both}&patient.name=peter").ids) == {"o", "of-peter"}
    assert set(reports.get(f"?{both}&status=final&code:missing=true").ids) == set()
    assert set(reports.get(f"?{both}&status=final&subject.name=peter").ids) == {"o", "of-peter", "of-ward"}
    assert set(reports.post("_search", f"{both}&patient.name=peter", Content_Type=FORM).ids) == {"o", "of-peter"}
    refused = reports.get(f"?{both}&value-quantity=1")
    assert refused.status == 400
    assert "value-quantity" in refused.issues[0]["details"]["text"]


def test_chains_work_in_compartments_posts_and_batches(reports: Fhir) -> None:
    assert reports.get("Patient/peter/DiagnosticReport?patient.organization.name=clinique").ids == ["of-peter"]
    assert reports.get("Patient/peter/DiagnosticReport?patient.organization.name=bichat").ids == []
    form = "patient.name=peter"
    assert reports.post("DiagnosticReport/_search?patient.gender=male", form, Content_Type=FORM).ids == ["of-peter"]
    reply = reports.transact(entry("GET", "DiagnosticReport?patient.name=peter"), kind="batch")
    assert [one["resource"]["id"] for one in reply.body["entry"][0]["resource"]["entry"]] == ["of-peter"]
    reply = reports.transact(entry("GET", "DiagnosticReport?patient.name=paul"))
    assert [one["resource"]["id"] for one in reply.body["entry"][0]["resource"]["entry"]] == ["of-paul"]


@pytest.mark.parametrize("keys", [1, 1000])
def test_conditional_writes_and_references_take_chains(fhir_with: Any, keys: int) -> None:
    fhir = fhir_with(search_join_keys=keys)
    for number in range(4):
        put(fhir, f"Patient/{number}", name=[{"family": f"Name{number}"}], gender="male")
        put(fhir, f"Observation/o{number}", **_bare(observation(f"Patient/{number}")))
    criteria = "patient.name=name2&patient.gender=male"
    kept = fhir.post("Observation", observation("Patient/2"), If_None_Exist=criteria)
    assert kept.status == 200
    assert kept.body["id"] == "o2"
    made = fhir.post("Observation", observation("Patient/2"), If_None_Exist="patient.name=nobody")
    assert made.status == 201
    many = fhir.put("Observation?patient.gender=male", observation("Patient/2"))
    assert many.status == 412
    changed = fhir.put("Observation?patient.name=name1", {**observation("Patient/1"), "status": "amended"})
    assert changed.status == 200
    assert changed.body["id"] == "o1"
    flag = {"resourceType": "Flag", "status": "active", "code": {"text": "x"}}
    by_reference = {**flag, "subject": {"reference": "Patient?_has:Observation:patient:status=amended"}}
    reply = fhir.transact(
        entry("POST", "Flag", by_reference),
        entry("DELETE", "Observation?patient.name=name0"),
    )
    assert reply.status == 200, reply.content
    assert fhir.get("Flag").resources[0]["subject"]["reference"] == "Patient/1"
    assert fhir.get("Observation/o0").status == 410
