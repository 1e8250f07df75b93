"""Attack 18: whatever is included is narrowed by the policy of its own type; what is hidden leaves no trace."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from fhir_server.access.caller import OPEN_CALLER
from fhir_server.access.policy import Action, Policy
from fhir_server.app import Composition
from fhir_server.context import RequestContext
from fhir_server.errors import TooCostly
from fhir_server.fhir.json import parse_json
from fhir_server.interactions.dispatch import dispatch
from fhir_server.interactions.request import FhirRequest
from fhir_server.repository.change import Proposal
from fhir_server.search.ast import Everything, HasLabel, InCompartment, Node, Nothing
from fhir_server.search.building import build_not
from fhir_server.settings import Settings
from fhir_server.storage.embedded import EmbeddedMongod
from tests.trail import ALL_BUT_FRAMES

SECRET = {"system": "http://example.org/labels", "code": "secret"}
NOT_SECRET = build_not(HasLabel(("http://example.org/labels|secret",)))


@dataclass(frozen=True, slots=True)
class Rules(Policy):
    """A policy written out by type, or by type and action; what is not named is open."""

    trees: Mapping[str, Node] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        return repr(self.trees)

    def filter(self, resource_type: str | None, action: Action) -> Node:
        return self.trees.get(f"{resource_type}:{action}") or self.trees.get(resource_type or "", Everything())


Search = Callable[..., dict[str, Any]]


@pytest.fixture
def context(mongod: EmbeddedMongod, tmp_path: Path) -> Iterator[RequestContext]:
    """An open context on an empty database."""
    settings = Settings.from_environment(
        {}, mongodb_uri=mongod.uri, database=f"a{os.getpid()}", data_directory=tmp_path, max_included=4
    )
    composition = Composition(settings)
    yield composition.open_local_context("test", "en")
    database = composition.store().connection.database
    for name in database.list_collection_names():
        database[name].delete_many(ALL_BUT_FRAMES)
    composition.close()


@pytest.fixture
def search(context: RequestContext) -> Search:
    """Return what searches under a policy and gives the parsed Bundle."""

    def run(path: str, trees: Mapping[str, Node]) -> dict[str, Any]:
        kind, _, query = path.partition("?")
        pairs = tuple((name, value) for name, _, value in (one.partition("=") for one in query.split("&")))
        narrowed = replace(context, repository=replace(context.repository, policy=Rules(OPEN_CALLER, trees)))
        answer = dispatch(narrowed, FhirRequest("GET", tuple(kind.split("/")), pairs))
        assert isinstance(answer.body, bytes)
        return dict(parse_json(answer.body))

    return run


def write(ctx: RequestContext, kind: str, id: str, *, secret: bool = False, **more: Any) -> None:
    meta = {"meta": {"security": [SECRET]}} if secret else {}
    resource = {"resourceType": kind, "id": id, **meta, **more}
    ctx.repository.write([Proposal("update", "PUT", kind, id, resource)])


def observe(ctx: RequestContext, id: str, subject: str, *, secret: bool = False, **more: Any) -> None:
    fixed = {"status": "final", "code": {"text": "x"}, "subject": {"reference": subject}}
    write(ctx, "Observation", id, secret=secret, **fixed, **more)


def names(bundle: Mapping[str, Any], mode: str = "include") -> list[str]:
    return [
        f"{one['resource']['resourceType']}/{one['resource']['id']}"
        for one in bundle.get("entry", [])
        if one["search"]["mode"] == mode
    ]


def told(bundle: Mapping[str, Any]) -> list[Any]:
    """Return all of a Bundle that is not its time or its sealed links."""
    return [bundle.get("entry"), bundle.get("total"), [link["relation"] for link in bundle["link"]]]


@pytest.mark.parametrize("include", ["_include=Observation:subject", "_include=*", "_include:iterate=*"])
def test_include_returns_nothing_the_policy_hides(context: RequestContext, search: Search, include: str) -> None:
    write(context, "Patient", "open")
    write(context, "Patient", "hidden", secret=True)
    observe(context, "o1", "Patient/open")
    observe(context, "o2", "Patient/hidden")
    bundle = search(f"Observation?{include}", {"Patient": NOT_SECRET})
    assert names(bundle) == ["Patient/open"]
    assert bundle["total"] == 2
    assert names(search(f"Observation?{include}", {"Patient": Nothing()})) == []


@pytest.mark.parametrize("include", ["_revinclude=Observation:subject", "_revinclude=*", "_revinclude:iterate=*"])
def test_revinclude_returns_nothing_the_policy_hides(context: RequestContext, search: Search, include: str) -> None:
    write(context, "Patient", "p")
    observe(context, "o1", "Patient/p")
    observe(context, "o2", "Patient/p", secret=True)
    assert names(search(f"Patient?{include}", {"Observation": NOT_SECRET})) == ["Observation/o1"]
    assert names(search(f"Patient?{include}", {"Observation": Nothing()})) == []


def test_nothing_is_reached_through_what_is_hidden(context: RequestContext, search: Search) -> None:
    write(context, "Organization", "clinic")
    write(context, "Patient", "hidden", secret=True, managingOrganization={"reference": "Organization/clinic"})
    observe(context, "o1", "Patient/hidden")
    query = "Observation?_include=Observation:subject&_include:iterate=Patient:organization"
    assert names(search(query, {"Patient": NOT_SECRET})) == []
    assert names(search(query, {})) == ["Organization/clinic", "Patient/hidden"]


def test_each_type_has_its_own_policy(context: RequestContext, search: Search) -> None:
    for patient in ("a", "b"):
        write(context, "Patient", patient)
        write(context, "Encounter", f"e{patient}", status="finished", subject={"reference": f"Patient/{patient}"},
              **{"class": {"code": "AMB"}})  # fmt: skip
        observe(context, f"o{patient}", f"Patient/{patient}", encounter={"reference": f"Encounter/e{patient}"})
    query = "Observation?_include=Observation:subject&_include=Observation:encounter"
    own = InCompartment("Patient", "a")
    assert names(search(query, {"Encounter": own})) == ["Encounter/ea", "Patient/a", "Patient/b"]
    assert names(search(query, {"Encounter": own, "Patient": own})) == ["Encounter/ea", "Patient/a"]


def test_a_version_is_narrowed_as_history_is(context: RequestContext, search: Search) -> None:
    write(context, "Patient", "v")
    write(context, "Patient", "v", secret=True)
    observe(context, "o1", "Patient/v/_history/1")
    query = "Observation?_include=Observation:subject"

    def versions(trees: Mapping[str, Node]) -> list[str]:
        return [one["resource"]["meta"]["versionId"] for one in search(query, trees)["entry"][1:]]

    assert versions({}) == ["1"]
    assert versions({"Patient": NOT_SECRET}) == [], "what is secret now was not secret then, and is not shown either"
    assert versions({"Patient:history": Nothing()}) == ["2"]
    assert versions({"Patient:history": Nothing(), "Patient": NOT_SECRET}) == []
    observe(context, "o1", "Patient/v/_history/2")
    assert versions({"Patient": NOT_SECRET}) == []


def test_canonicals_are_narrowed_too(context: RequestContext, search: Search) -> None:
    for id, secret in (("q1", False), ("q2", True)):
        write(context, "Questionnaire", id, secret=secret, url="http://example.org/q", status="active")
    write(context, "QuestionnaireResponse", "r", questionnaire="http://example.org/q", status="completed")
    query = "QuestionnaireResponse?_include=QuestionnaireResponse:questionnaire"
    assert names(search(query, {"Questionnaire": NOT_SECRET})) == ["Questionnaire/q1"]
    back = "Questionnaire?_id=q1&_revinclude=QuestionnaireResponse:questionnaire"
    assert names(search(back, {"QuestionnaireResponse": Nothing()})) == []


def test_what_is_hidden_does_not_count_towards_the_limit(context: RequestContext, search: Search) -> None:
    write(context, "Patient", "p")
    for number in range(8):
        observe(context, f"o{number}", "Patient/p", secret=number > 3)
    assert len(names(search("Patient?_revinclude=Observation:subject", {"Observation": NOT_SECRET}))) == 4
    with pytest.raises(TooCostly):
        search("Patient?_revinclude=Observation:subject", {})


@pytest.mark.parametrize(
    "query",
    [
        "Observation?_include=*",
        "Observation?_include=Observation:subject&_total=accurate&_count=1",
        "Patient?_revinclude=*&_sort=family",
        "Patient?_sort=-birthdate&_total=accurate",
        "Patient?_sort=gender,family&_count=1",
        "Patient?_summary=count",
    ],
)
def test_two_worlds_that_differ_in_what_is_hidden_answer_alike(
    context: RequestContext, search: Search, query: str
) -> None:
    trees = {"Patient": NOT_SECRET, "Observation": NOT_SECRET}
    write(context, "Patient", "p", name=[{"family": "M"}])
    observe(context, "o1", "Patient/p")
    before = told(search(query, trees))
    write(context, "Patient", "hidden", secret=True, name=[{"family": "A"}], birthDate="2020-01-01")
    observe(context, "o3", "Patient/p", secret=True)
    write(context, "Patient", "hidden2", secret=True, name=[{"family": "Z"}])
    assert told(search(query, trees)) == before
