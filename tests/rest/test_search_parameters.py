"""Search parameters that callers define: checked, published, indexed, taken back (http://hl7.org/fhir/R4/searchparameter.html)."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from fhir_server.access import policy
from fhir_server.access.caller import OPEN_CALLER
from fhir_server.app import Composition, build_app
from fhir_server.search.ast import Everything, Node, Nothing
from fhir_server.worker import Worker
from tests.rest.fhir import Fhir, Reply, entry, patient

EYES = "http://example.org/eye-colour"


def definition(**more: Any) -> dict[str, Any]:
    """Return a SearchParameter by the colour of a patient's eyes."""
    return {
        "resourceType": "SearchParameter",
        "url": "http://example.org/SearchParameter/eyes",
        "name": "Eyes",
        "status": "active",
        "description": "By the colour of the eyes",
        "code": "eyes",
        "base": ["Patient"],
        "type": "token",
        "expression": f"Patient.extension('{EYES}').value",
        **more,
    }


def with_eyes(colour: str, **more: Any) -> dict[str, Any]:
    """Return a patient with eyes of this colour."""
    return patient(extension=[{"url": EYES, "valueCode": colour}], **more)


@pytest.fixture
def served(make_composition: Callable[..., Composition]) -> tuple[Composition, Fhir]:
    """A server, and its parts for the jobs that its own process would run."""
    composition = make_composition()
    return composition, Fhir(build_app(composition))


def search(fhir: Fhir, query: str, **headers: str) -> Reply:
    """Return the answer to a search of patients."""
    return fhir.get(f"Patient?{query}", **headers)


def test_a_published_parameter_finds_what_was_there_and_what_comes(served: tuple[Composition, Fhir]) -> None:
    composition, fhir = served
    fhir.create(with_eyes("green", id="x"))
    assert search(fhir, "eyes=green").status == 400
    created = fhir.create(definition())
    waiting = search(fhir, "eyes=green")
    assert waiting.status == 422
    assert waiting.issues[0]["code"] == "processing"
    said = waiting.issues[0]["details"]["text"]
    assert "eyes" in said
    assert "0 %" in said
    fhir.create(with_eyes("green"))
    fhir.create(with_eyes("brown"))
    assert Worker(composition).run_due() == 1
    found = search(fhir, "eyes=green&_total=accurate")
    assert found.status == 200, found.content
    assert found.body["total"] == 2
    assert fhir.delete(f"SearchParameter/{created['id']}").status == 204
    assert search(fhir, "eyes=green").status == 400


def test_a_lenient_search_warns_that_the_index_is_not_complete(served: tuple[Composition, Fhir]) -> None:
    _, fhir = served
    fhir.create(patient())
    fhir.create(definition())
    reply = search(fhir, "eyes=green", Prefer="handling=lenient")
    assert reply.status == 200
    modes = [one["search"]["mode"] for one in reply.body["entry"]]
    assert sorted(modes) == ["match", "outcome"]
    outcome = next(one for one in reply.resources if one["resourceType"] == "OperationOutcome")
    assert outcome["issue"][0]["severity"] == "warning"
    assert "eyes" not in (reply.link("self") or "")


def test_every_worker_sees_a_parameter_once_its_author_has_the_answer(
    make_composition: Callable[..., Composition],
) -> None:
    first, second = Fhir(build_app(make_composition())), Fhir(build_app(make_composition()))
    assert search(second, "eyes=green").status == 400
    created = first.create(definition())
    assert search(second, "eyes=green").status == 422
    assert first.delete(f"SearchParameter/{created['id']}").status == 204
    assert search(second, "eyes=green").status == 400


def test_a_retired_parameter_disappears_and_a_changed_one_is_indexed_anew(served: tuple[Composition, Fhir]) -> None:
    composition, fhir = served
    fhir.create(with_eyes("green"))
    created = fhir.create(definition())
    worker = Worker(composition)
    worker.run_due()
    described = {**created, "description": "Said better"}
    assert fhir.put(f"SearchParameter/{created['id']}", described).status == 200
    assert search(fhir, "eyes=green").status == 200, "another description needs no other index"
    changed = {**created, "expression": f"Patient.extension('{EYES}').value.where($this = 'brown')"}
    assert fhir.put(f"SearchParameter/{created['id']}", changed).status == 200
    assert search(fhir, "eyes=green").status == 422
    worker.run_due()
    assert search(fhir, "eyes=green").body.get("entry") is None
    patch = [{"op": "replace", "path": "/status", "value": "retired"}]
    retired = fhir.patch(f"SearchParameter/{created['id']}", patch, Content_Type="application/json-patch+json")
    assert retired.status == 200, retired.content
    assert search(fhir, "eyes=green").status == 400


def test_what_a_parameter_needs_may_come_in_one_transaction(served: tuple[Composition, Fhir]) -> None:
    composition, fhir = served
    reply = fhir.transact(
        entry("POST", "Patient", with_eyes("green")),
        entry("POST", "SearchParameter", definition()),
        entry("POST", "SearchParameter", definition(url="http://example.org/b", code="eyes-too")),
    )
    assert reply.status == 200, reply.content
    assert Worker(composition).run_due() == 2
    assert len(search(fhir, "eyes=green&eyes-too=green").resources) == 1


def test_a_parameter_of_every_type_is_one_of_each(served: tuple[Composition, Fhir]) -> None:
    composition, fhir = served
    source = {"source": "http://example.org/hospital"}
    fhir.create(patient(meta=source))
    fhir.create({"resourceType": "Basic", "code": {"text": "x"}, "meta": source})
    fhir.create(definition(code="came-from", type="uri", base=["Resource"], expression="Resource.meta.source"))
    Worker(composition).run_due()
    assert len(fhir.get("?came-from=http://example.org/hospital").resources) == 2
    assert len(search(fhir, "came-from=http://example.org/hospital").resources) == 1


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"code": "name"}, "SearchParameter.code"),
        ({"code": "_eyes"}, "SearchParameter.code"),
        ({"code": "eyes:exact"}, "SearchParameter.code"),
        ({"code": "eyes.colour"}, "SearchParameter.code"),
        ({"type": "special"}, "SearchParameter.type"),
        ({"type": "quantity", "expression": "Patient.name"}, "SearchParameter.expression"),
        ({"type": "date", "expression": "Patient.gender"}, "SearchParameter.expression"),
        ({"expression": "Patient.nothing"}, "SearchParameter.expression"),
        ({"expression": "Observation.code"}, "SearchParameter.expression"),
        ({"expression": "Patient.name["}, "SearchParameter.expression"),
        ({"expression": None}, "SearchParameter.expression"),
        ({"url": "http://hl7.org/fhir/SearchParameter/individual-gender"}, "SearchParameter.url"),
        ({"type": "composite"}, "SearchParameter.component"),
    ],
)
def test_a_definition_that_cannot_be_is_refused(fhir: Fhir, change: dict[str, Any], where: str) -> None:
    reply = fhir.post("SearchParameter", {k: v for k, v in definition(**change).items() if v is not None})
    assert reply.status == 422, reply.content
    assert where in [place for issue in reply.issues for place in issue["expression"]]


@pytest.mark.parametrize("name", ["url", "code", "base", "type", "base[0]"])
def test_what_only_an_extension_stands_for_is_not_given(fhir: Fhir, name: str) -> None:
    absent = {
        "extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}]
    }
    given = definition(status="draft")
    published = fhir.create(given)
    if name == "base[0]":
        given |= {"base": [None], "_base": [absent]}
    elif name == "base":
        del given["base"]
        given["_base"] = [absent]
    else:
        del given[name]
        given[f"_{name}"] = absent
    reply = fhir.put(f"SearchParameter/{published['id']}", {**given, "id": published["id"], "status": "active"})
    assert reply.status == 422, reply.content
    assert f"SearchParameter.{name.partition('[')[0]}" in reply.issues[0]["expression"][0]


def test_a_base_that_is_no_type_is_refused(fhir: Fhir) -> None:
    reply = fhir.post("SearchParameter", definition(base=["Nobody"]))
    assert reply.issues[0]["expression"] == ["SearchParameter.base[0]"]


@pytest.mark.parametrize(
    "expression",
    [
        "Patient.repeat(children())",
        "Patient.descendants()",
        "Patient.name.given.matches('(a+)+$')",
        "Patient.name.given.where(replaceMatches('(a|a)*$', '') = '')",
        "Patient.name.select($this | $this).select($this | $this)",
        "Patient.name.combine(name).combine(name)",
        "Patient.name.aggregate($total + 1)",
        "Patient.managingOrganization.resolve().name",
        "%resource.name.where(%resource.name.exists())",
        "Patient.birthDate.where($this < today())",
        "Patient.name.where(" * 40 + "true" + ")" * 40,
        "Patient.name" + " | Patient.name" * 400,
    ],
    ids=lambda expression: expression[:30],
)
def test_attack_12_an_expression_without_bounds_is_refused(fhir: Fhir, expression: str) -> None:
    reply = fhir.post("SearchParameter", definition(type="string", expression=expression))
    assert reply.status == 422, reply.content
    assert reply.issues[0]["expression"] == ["SearchParameter.expression"]


def test_a_code_is_taken_once_even_by_two_who_come_together(fhir: Fhir) -> None:
    with ThreadPoolExecutor(2) as pool:
        replies = list(pool.map(lambda n: fhir.post("SearchParameter", definition(url=f"http://x.org/{n}")), range(2)))
    assert sorted(reply.status for reply in replies) == [201, 422]


def test_a_composite_of_stored_and_published_parameters(served: tuple[Composition, Fhir]) -> None:
    composition, fhir = served
    fhir.create(with_eyes("green", gender="female"))
    fhir.create(with_eyes("brown", gender="male"))
    eyes = "http://example.org/SearchParameter/eyes"
    given = {
        "url": "http://example.org/SearchParameter/sex-and-state",
        "code": "sex-and-state",
        "type": "composite",
        "expression": "Patient",
        "component": [
            {"definition": "http://hl7.org/fhir/SearchParameter/individual-gender", "expression": "gender"},
            {"definition": eyes, "expression": "maritalStatus"},
        ],
    }
    unknown = fhir.post("SearchParameter", definition(**given))
    assert unknown.status == 422
    assert unknown.issues[0]["expression"] == ["SearchParameter.component[1].definition"]
    fhir.create(definition())
    assert fhir.post("SearchParameter", definition(**given)).status == 201
    Worker(composition).run_due()
    assert search(fhir, "sex-and-state=female$x").status == 200
    nested = [{"definition": given["url"], "expression": "gender"}] * 2
    refused = fhir.post("SearchParameter", definition(**{**given, "url": "http://x", "code": "y", "component": nested}))
    assert refused.status == 422


def test_a_draft_and_a_repetition_of_r4_have_no_effect(fhir: Fhir) -> None:
    fhir.create(definition(status="draft", expression="Patient.repeat(children())"))
    assert search(fhir, "eyes=green").status == 400
    fhir.create(
        definition(url="http://hl7.org/fhir/SearchParameter/Patient-active", code="active", expression="Patient.active")
    )
    assert search(fhir, "active=true").status == 200


def test_attack_25_only_who_may_define_writes_definitions(fhir: Fhir, monkeypatch: pytest.MonkeyPatch) -> None:
    created = fhir.create(definition())

    def nobody_defines(self: policy.Policy, resource_type: str | None, action: policy.Action) -> Node:
        return Nothing() if action == "define" else Everything()

    monkeypatch.setattr(policy.Policy, "filter", nobody_defines)
    assert policy.Policy(OPEN_CALLER).filter("SearchParameter", "define") == Nothing()
    assert fhir.post("SearchParameter", definition(code="other")).status == 403
    assert fhir.put(f"SearchParameter/{created['id']}", {**created, "status": "retired"}).status == 403
    assert fhir.delete(f"SearchParameter/{created['id']}").status == 403
    assert fhir.transact(entry("POST", "SearchParameter", definition(code="other"))).status == 403
    assert search(fhir, "eyes=green").status == 422


def test_the_statement_claims_a_parameter_once_its_index_is_complete(served: tuple[Composition, Fhir]) -> None:
    composition, fhir = served

    def claimed() -> bool:
        resources = fhir.get("metadata").body["rest"][0]["resource"]
        of_patients = next(one for one in resources if one["type"] == "Patient")["searchParam"]
        return any(one["name"] == "eyes" for one in of_patients)

    created = fhir.create(definition())
    assert not claimed()
    Worker(composition).run_due()
    assert claimed()
    assert fhir.delete(f"SearchParameter/{created['id']}").status == 204
    assert not claimed()
