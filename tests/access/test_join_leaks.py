"""Chains, ``_has`` and ``_list`` tell nothing of what the caller may not see: two worlds, one answer.

The worlds differ in nothing but resources that the policy hides. Whatever is asked through them (found, counted,
sorted, refused, written on a condition) must come out alike.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl

import pytest

from fhir_server.access.policy import Action, Policy
from fhir_server.app import Composition
from fhir_server.context import RequestContext
from fhir_server.errors import FhirError
from fhir_server.interactions.dispatch import dispatch
from fhir_server.interactions.request import FhirRequest
from fhir_server.search.ast import HasLabel, Node
from fhir_server.search.building import build_not
from tests.trail import ALL_BUT_FRAMES

SYSTEM = "http://example.org/labels"
SECRET = {"meta": {"security": [{"system": SYSTEM, "code": "secret"}]}}


@dataclass(frozen=True, slots=True)
class Hiding(Policy):
    """Hides what bears the label; ``but_for`` is an action that it is left open to."""

    but_for: Action | None = None

    def filter(self, resource_type: str | None, action: Action) -> Node:
        """Return all that is not labelled secret."""
        return build_not(HasLabel(() if action == self.but_for else (f"{SYSTEM}|secret",)))


def resource(reference: str, **more: Any) -> dict[str, Any]:
    kind, _, id = reference.partition("/")
    return {"resourceType": kind, "id": id, **more}


def observation(id: str, subject: str, **more: Any) -> dict[str, Any]:
    coded = {"coding": [{"system": "http://loinc.org", "code": "1234-5"}]}
    return resource(f"Observation/{id}", status="final", code=coded, subject={"reference": subject}, **more)


OPEN = [
    resource("Organization/o", name="Bichat"),
    resource("Patient/open", gender="male", managingOrganization={"reference": "Organization/o"}),
    resource("Patient/other", gender="male"),
    observation("plain", "Patient/open"),
    observation("of-secret", "Patient/secret"),
    observation("by-secret", "Patient/other", performer=[{"reference": "Organization/secret"}]),
    resource(
        "List/both",
        status="current",
        mode="working",
        entry=[{"item": {"reference": "Patient/open"}}, {"item": {"reference": "Patient/secret"}}],
    ),
]
HIDDEN = [
    resource("Patient/secret", gender="female", managingOrganization={"reference": "Organization/o"}, **SECRET),
    resource("Organization/secret", name="Secret Service", partOf={"reference": "Organization/o"}, **SECRET),
    observation("secret", "Patient/open", effectiveDateTime="2021-01-01", **SECRET),
    resource(
        "Provenance/secret",
        target=[{"reference": "Observation/plain"}],
        recorded="2020-01-01T00:00:00Z",
        agent=[{"type": {"coding": [{"code": "author"}]}, "who": {"display": "x"}}],
        **SECRET,
    ),
    resource(
        "List/secret", status="current", mode="working", entry=[{"item": {"reference": "Patient/open"}}], **SECRET
    ),
]
QUESTIONS = [
    "Observation?patient.gender=female",
    "Observation?patient.gender:not=male",
    "Observation?patient.gender:missing=false",
    "Observation?patient._id=secret",
    "Observation?patient._id=open,secret",
    "Observation?patient._security=http://example.org/labels|secret",
    "Observation?patient.organization.name=bichat",
    "Observation?performer:Organization.name=secret",
    "Observation?performer:Organization.partof.name=bichat",
    "Patient?_has:Observation:patient:_id=secret",
    "Patient?_has:Observation:patient:date=2021",
    "Patient?_has:Observation:patient:date:missing=false",
    "Patient?_has:Observation:patient:code=1234-5",
    "Patient?_has:Observation:patient:_has:Provenance:target:agent-type=author",
    "Patient?_has:Observation:performer:status=final",
    "Organization?_has:Patient:organization:gender=female",
    "Organization?_has:Patient:organization:gender=male,female",
    "Organization?_has:Organization:partof:name=secret",
    "Observation?subject:Patient._has:Observation:patient:date=2021",
    "Patient?_list=secret",
    "Patient?_list=both",
    "Observation?patient._list=both",
    "Observation?patient._list=secret",
    "?_type=Patient,List&_list=secret",
    "?_type=Observation,Encounter&patient.gender=female",
    "Patient/open/Observation?patient._has:Observation:patient:date=2021",
    "Patient/secret/Observation?patient.gender=female",
]
SHAPES = ["", "&_summary=count", "&_total=accurate&_count=1", "&_sort=-_lastUpdated&_count=1", "&_total=estimate"]

Ask = Callable[[str, str, dict[str, Any] | None, str | None], Any]


def fill(ctx: RequestContext, resources: list[dict[str, Any]]) -> None:
    for one in resources:
        dispatch(ctx, FhirRequest("PUT", (one["resourceType"], one["id"]), resource=one))


def asker(ctx: RequestContext) -> Ask:
    def ask(method: str, url: str, body: dict[str, Any] | None = None, if_none_exist: str | None = None) -> Any:
        path, _, query = url.partition("?")
        request = FhirRequest(
            method,
            tuple(path.split("/")) if path else (),
            tuple(parse_qsl(query, keep_blank_values=True)),
            resource=body,
            if_none_exist=if_none_exist,
        )
        try:
            answer = dispatch(ctx, request)
        except FhirError as error:
            return error.status, [(issue.code, issue.text) for issue in error.issues]
        return answer.status, told(answer.body)

    return ask


def told(body: Any) -> Any:
    """Return what an answer tells, apart from times, versions and seals."""
    content = json.loads(body) if isinstance(body, bytes) else body
    if not content or content["resourceType"] != "Bundle":
        return None
    ids = [entry["resource"]["id"] for entry in content.get("entry", []) if "resource" in entry]
    return ids, content.get("total"), [link["relation"] for link in content["link"]]


@pytest.fixture(params=[1, 2, 1000])
def answers(make_composition: Callable[..., Composition], request: pytest.FixtureRequest) -> Any:
    """Return a function that runs questions in both worlds under the hiding policy."""
    limits = {"search_join_keys": request.param, "referential_integrity_write": False}

    def run(question: Callable[[Ask], Any], **settings: Any) -> tuple[Any, Any]:
        found = []
        composition = make_composition(**limits, **settings)
        database = composition.store().connection.database
        for world in ([*OPEN, *HIDDEN], OPEN):
            for name in ("resources", "history", "guards"):
                database[name].delete_many(ALL_BUT_FRAMES)
            ctx = composition.open_local_context("test", "en")
            fill(ctx, world)
            seen = replace(ctx.repository, policy=Hiding(ctx.caller))
            found.append(question(asker(replace(ctx, repository=seen))))
        return found[0], found[1]

    return run


def test_searches_answer_as_if_hidden_resources_did_not_exist(answers: Any) -> None:
    def question(ask: Ask) -> Any:
        return {f"{url}{shape}": ask("GET", f"{url}{shape}", None, None) for url in QUESTIONS for shape in SHAPES}

    with_secrets, without = answers(question)
    for url, answer in without.items():
        assert with_secrets[url] == answer, url
    assert without["Observation?patient.gender=female"][1][0] == []
    assert without["Patient?_list=both"][1][0] == ["open"]


def test_the_policy_is_what_hides(answers: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hiding, "filter", Policy.filter)

    def question(ask: Ask) -> Any:
        return {url: ask("GET", url, None, None) for url in QUESTIONS}

    with_secrets, without = answers(question)
    differing = [url for url in QUESTIONS if with_secrets[url] != without[url]]
    assert len(differing) >= 20, set(QUESTIONS) - set(differing)


def test_the_budget_counts_nothing_that_is_hidden(answers: Any) -> None:
    def question(ask: Ask) -> Any:
        return [ask("GET", url, None, None) for url in QUESTIONS]

    with_secrets, without = answers(question, search_budget=4)
    assert with_secrets == without


def test_conditional_writes_are_no_oracle(answers: Any) -> None:
    note = resource("Basic/x", code={"text": "x"})
    del note["id"]
    new = observation("new", "Patient/open")
    del new["id"]

    def question(ask: Ask) -> Any:
        return [
            ask("POST", "Observation", new, "patient.gender=female"),
            ask("POST", "Observation", new, "patient._has:Observation:patient:date=2021"),
            ask("POST", "Patient", resource("Patient/n", gender="other"), "_list=secret"),
            ask("POST", "Basic", {**note, "subject": {"reference": "Patient?_list=secret"}}, None),
            ask(
                "POST", "Basic", {**note, "subject": {"reference": "Patient?_has:Observation:patient:date=2021"}}, None
            ),
            ask("PUT", "Observation?patient.organization.name=bichat&_id=of-secret", new, None),
            ask("DELETE", "Observation?performer:Organization.name=secret", None, None),
            ask("GET", "Observation?_summary=count", None, None),
        ]

    with_secrets, without = answers(question)
    assert with_secrets == without
    assert [status for status, _ in without][:3] == [201, 201, 201]


@pytest.mark.parametrize("but_for", ["read", "history"])
def test_what_may_be_read_but_not_searched_is_no_stepping_stone(
    make_composition: Callable[..., Composition], but_for: Action
) -> None:
    composition = make_composition(referential_integrity_write=False)
    ctx = composition.open_local_context("test", "en")
    fill(ctx, [*OPEN, *HIDDEN])
    ask = asker(replace(ctx, repository=replace(ctx.repository, policy=Hiding(ctx.caller, but_for))))
    assert ask("GET", "Observation?patient.gender=female", None, None)[1][0] == []
    assert ask("GET", "Patient?_has:Observation:patient:date=2021", None, None)[1][0] == []
    listed = ask("GET", "Patient?_list=secret", None, None)[1][0]
    assert listed == (["open"] if but_for == "read" else [])
