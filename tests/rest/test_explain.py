"""``__explain=true``: how a search is run, without a value of anybody's."""

from collections.abc import Callable

import pytest

from fhir_server.fhir.json import parse_json
from fhir_server.validation.structure import check_structure
from tests.rest.fhir import Fhir, entry, observation, patient

SEARCHES = [
    "Patient?name=secretname&birthdate=1979-03-28&identifier=http://secret.example|secretvalue",
    "Observation?subject:Patient.name=secretname&code=http://secret.example|secretcode",
    "Observation?code=secretcode&_sort=-date&_total=accurate",
    "Patient?_id=secret&_summary=count",
    "Patient?_has:Observation:subject:code=secretcode",
    "Patient/secret/Observation?code=secretcode",
    "?_type=Patient,Observation&_lastUpdated=ge1979-03-28&_tag=secret",
]


@pytest.mark.parametrize("query", SEARCHES)
def test_an_account_tells_how_and_nothing_of_what(fhir: Fhir, query: str) -> None:
    subject = fhir.create(patient(name=[{"family": "Secretname"}], birthDate="1979-03-28"))
    coding = [{"system": "http://secret.example", "code": "secretcode"}]
    fhir.create(observation(f"Patient/{subject['id']}", code={"coding": coding}))
    reply = fhir.get(f"{query}&__explain=true")
    assert reply.status == 200, reply.content
    assert check_structure(parse_json(reply.content)) == []
    names = [one["name"] for one in reply.body["parameter"]]
    assert names[0] == "tree"
    assert "step" in names
    said = reply.content.decode().casefold()
    assert "secret" not in said
    assert "1979" not in said
    assert subject["id"] not in said


def test_an_account_names_parameters_indexes_and_figures(fhir: Fhir) -> None:
    fhir.create(patient(identifier=[{"system": "http://x", "value": "1"}]))
    body = fhir.get("Patient?identifier=http://x|1&__explain=true").body
    tree = [one["valueString"] for one in body["parameter"] if one["name"] == "tree"]
    assert any("TokenIn Patient.identifier" in line for line in tree)
    (step,) = [one["part"] for one in body["parameter"] if one["name"] == "step"]
    (query,) = [one["part"] for one in step if one["name"] == "query"]
    figures = {part["name"]: part.get("valueString", part.get("valueInteger")) for part in query}
    assert figures["index"] == "token"
    assert (figures["keysExamined"], figures["documentsExamined"], figures["returned"]) == (1, 1, 1)
    assert "‹text›" in str(figures["shape"])


def test_joins_includes_and_totals_are_steps_too(fhir_with: Callable[..., Fhir]) -> None:
    fhir = fhir_with(search_join_keys=1)
    for family in ("Dupont", "Dupond", "Durand"):
        subject = fhir.create(patient(name=[{"family": family}]))
        fhir.create(observation(f"Patient/{subject['id']}"))

    def steps(query: str) -> set[str]:
        reply = fhir.get(f"{query}&__explain=true")
        assert reply.status == 200, reply.content
        found = [one["part"] for one in reply.body["parameter"] if one["name"] == "step"]
        return {part[0]["valueString"] for part in found}

    assert steps("Observation?subject:Patient.name=du&_include=Observation:subject") >= {"find"}
    assert steps("Patient?_has:Observation:subject:status=final") >= {"find"}
    assert "estimate" in steps("Observation?_total=estimate&_count=1")
    assert "count" in steps("Observation?_total=accurate&_count=1")
    assert "walk" in steps("Patient?_has:Observation:subject:status=final&_summary=count")


def steps_of(fhir: Fhir, query: str) -> list[str]:
    """Return the names of the round trips, in their order."""
    reply = fhir.get(f"{query}&__explain=true")
    assert reply.status == 200, reply.content
    return [one["part"][0]["valueString"] for one in reply.body["parameter"] if one["name"] == "step"]


def test_what_is_probed_of_candidates_is_a_step_too(fhir_with: Callable[..., Fhir]) -> None:
    fhir = fhir_with(search_join_keys=1)
    often, hardly = (f"Patient/{fhir.create(patient())['id']}" for _ in range(2))
    fhir.transact(*(entry("POST", "Observation", observation(often)) for _ in range(9)))
    fhir.create(observation(hardly))
    assert "find each" in steps_of(fhir, "Patient?_has:Observation:subject:status=final")


def test_an_account_of_very_many_steps_tells_the_first_fifty(fhir: Fhir) -> None:
    fhir.create(observation(f"Patient/{fhir.create(patient())['id']}"))
    asked = "&".join(f"_has:Observation:subject:status:not=s{number}" for number in range(60))
    assert len(steps_of(fhir, f"Patient?{asked}")) == 50


def test_a_page_link_can_be_explained(fhir: Fhir) -> None:
    for _ in range(3):
        fhir.create(patient())
    following = fhir.get("Patient?_count=1").link("next")
    assert following is not None
    reply = fhir.get(f"{following}&__explain=true")
    assert [one["name"] for one in reply.body["parameter"]] == ["milliseconds", "step"]


def test_a_wrong_search_is_refused_as_ever(fhir: Fhir) -> None:
    assert fhir.get("Patient?nothing=1&__explain=true").status == 400
    assert fhir.get("Patient?__explain=perhaps").status == 400
    assert fhir.get("Patient?__explain=false").body["resourceType"] == "Bundle"


def test_a_server_may_keep_it_to_itself(fhir_with: Callable[..., Fhir]) -> None:
    fhir = fhir_with(explain=False)
    assert fhir.get("Patient?__explain=true").status == 403
    assert fhir.get("Patient?_count=1").status == 200
