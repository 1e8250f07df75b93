"""What operations say of themselves, held against what they do; everybody reads it, nobody changes it."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from fhir_server.commands.publish import publish_definitions
from fhir_server.fhir.definitions import artifact, is_primitive
from fhir_server.interactions.operation import operations
from fhir_server.interactions.operation_definition import build_operation_definitions
from fhir_server.validation.structure import check_structure
from tests.access.callers import World, backend, operator
from tests.access.test_records import gp, marie, nurse, other, record
from tests.rest.fhir import Reply

__all__ = ["record"]

Json = dict[str, Any]
CODES = sorted(operations())
OWN = build_operation_definitions()
TRANSLATION = "http://hl7.org/fhir/StructureDefinition/translation"
PATIENT = {"valueReference": {"reference": "Patient/marie"}}
TAG = {"valueMeta": {"tag": [{"code": "x"}]}}
TRUSTED = backend("migration", trusted=True)
CALLS: dict[str, tuple[Any, str, dict[str, Json]]] = {
    "access-history": (marie, "Patient/marie", {"tab": {"valueCode": "services"}}),
    "declare-care": (other, "Patient", {"patient": PATIENT}),
    "emergency-access": (
        other,
        "Patient",
        {"patient": PATIENT, "mode": {"valueCode": "bris_de_glace"}, "reason": {"valueString": "x"}},
    ),
    "explain-access": (
        operator(),
        "",
        {
            "user": {"valueReference": {"reference": "Practitioner/other"}},
            "resource": {"valueReference": {"reference": "DocumentReference/plain"}},
            "action": {"valueCode": "read"},
        },
    ),
    "habilitation-matrix": (nurse, "", {}),
    "historique-acces": (marie, "Patient/marie", {"tab": {"valueCode": "services"}}),
    "meta": (marie, "DocumentReference/plain", {}),
    "meta-add": (TRUSTED, "DocumentReference/plain", {"meta": TAG}),
    "meta-delete": (TRUSTED, "DocumentReference/plain", {"meta": TAG}),
    "tde": (operator(roles=("auditor",)), "AuditEvent", {"date": {"valueString": "ge2020"}}),
}
"""For each operation: who calls it, on what, with what that it grants."""
VALUES: dict[str, Json] = {
    "_count": {"valueInteger": 2},
    "_sort": {"valueString": "-date"},
    "identifier": {"valueIdentifier": {"system": "urn:oid:1.2", "value": "1"}},
    "organization": {"valueReference": {"reference": "Organization/x"}},
    "patient": PATIENT,
    "profession": {"valueCode": "10"},
    "scope": {"valueString": "user/*.rs"},
    "trusted": {"valueBoolean": True},
}
"""A value for each optional parameter."""
SEARCHED = {"_filter": "date ge 2020-01-01", "date": "ge2020", "reference": "Patient/marie"}
"""A value by the name or type of a search parameter that takes no mere word."""


def definition_of(code: str) -> Json:
    found = operations()[code]
    return OWN[found.definition_id] if found.own else artifact("OperationDefinition", found.definition) or {}


def parameters_of(code: str, use: str) -> dict[str, Json]:
    return {one["name"]: one for one in definition_of(code).get("parameter", ()) if one["use"] == use}


def call(world: World, code: str, given: dict[str, Json]) -> Reply:
    caller, target, _ = CALLS[code]
    body = {"resourceType": "Parameters", "parameter": [{"name": name, **value} for name, value in given.items()]}
    return world.ask(caller).post(f"{target}/${code}".removeprefix("/"), body if given else None)


def value_for(code: str, parameter: Json) -> Json:
    given = CALLS[code][2]
    if parameter["name"] in given:
        return given[parameter["name"]]
    text = SEARCHED.get(parameter["name"]) or SEARCHED.get(parameter.get("searchType", ""), "x")
    return {"valueString": text} if "searchType" in parameter else VALUES[parameter["name"]]


# ---------------------------------------------------------------- the definitions


@pytest.mark.parametrize("code", CODES)
def test_every_operation_has_a_valid_definition_that_fits_where_it_is_offered(code: str) -> None:
    found, definition = operations()[code], definition_of(code)
    assert check_structure(definition) == []
    assert definition["url"] == found.definition
    assert definition["code"] == code
    assert {level for level in ("system", "type", "instance") if definition[level]} >= found.levels
    if found.own is not None:
        assert {level for level in ("system", "type", "instance") if definition[level]} == found.levels
        assert set(definition.get("resource", ())) == found.types
        assert definition["affectsState"] == found.affects_state


@pytest.mark.parametrize("id", sorted(OWN))
def test_every_text_of_a_definition_is_in_english_and_in_french(id: str) -> None:
    for each in [OWN[id], *all_parameters(OWN[id])]:
        for name in {"title", "description", "documentation"} & each.keys():
            [translation] = each[f"_{name}"]["extension"]
            assert translation["url"] == TRANSLATION
            assert translation["extension"][0] == {"url": "lang", "valueCode": "fr"}
            assert translation["extension"][1]["valueString"] != each[name]


def all_parameters(element: Json) -> Iterator[Json]:
    for each in [*element.get("parameter", ()), *element.get("part", ())]:
        yield each
        yield from all_parameters(each)


# ---------------------------------------------------------------- the claims, walked


@pytest.mark.parametrize("code", CODES)
def test_an_operation_takes_what_its_definition_requires(record: World, code: str) -> None:
    _, _, given = CALLS[code]
    reply = call(record, code, given)
    assert reply.status == 200, reply.content
    required = {name for name, one in parameters_of(code, "in").items() if one["min"]}
    for name in required:
        reply = call(record, code, {key: value for key, value in given.items() if key != name})
        assert (reply.status, reply.issues[0]["code"]) == (400, "required"), name
        assert name in reply.issues[0]["details"]["text"]


@pytest.mark.parametrize("code", CODES)
def test_an_operation_refuses_a_parameter_that_its_definition_does_not_have(record: World, code: str) -> None:
    _, _, given = CALLS[code]
    reply = call(record, code, {**given, "wrong": {"valueString": "x"}})
    assert reply.status == 400
    assert any("wrong" in str(issue.get("expression")) for issue in reply.issues)


@pytest.mark.parametrize("code", CODES)
def test_an_operation_accepts_each_parameter_that_its_definition_has(record: World, code: str) -> None:
    _, _, given = CALLS[code]
    for name, parameter in parameters_of(code, "in").items():
        reply = call(record, code, {**given, name: value_for(code, parameter)})
        assert reply.status == 200, (name, reply.content)


@pytest.mark.parametrize("code", CODES)
def test_a_value_of_another_type_is_refused(record: World, code: str) -> None:
    _, _, given = CALLS[code]
    for name in parameters_of(code, "in"):
        reply = call(record, code, {**given, name: {"valuePeriod": {"start": "2020"}}})
        assert (reply.status, reply.issues[0]["code"]) == (400, "value"), (name, reply.content)


@pytest.mark.parametrize("code", sorted(set(CODES) - {"tde"}))
def test_what_may_be_given_once_is_refused_twice(record: World, code: str) -> None:
    caller, target, given = CALLS[code]
    for name, parameter in parameters_of(code, "in").items():
        twice = [{"name": name, **value_for(code, parameter)}] * 2
        others = [{"name": key, **value} for key, value in given.items() if key != name]
        body = {"resourceType": "Parameters", "parameter": [*twice, *others]}
        reply = record.ask(caller).post(f"{target}/${code}".removeprefix("/"), body)
        assert (reply.status == 400) == (parameter["max"] == "1"), (name, reply.content)


@pytest.mark.parametrize("code", CODES)
def test_an_operation_gives_what_its_definition_says(record: World, code: str) -> None:
    reply = call(record, code, CALLS[code][2])
    declared = parameters_of(code, "out")
    if [one["type"] for one in declared.values() if "type" in one] == ["Bundle"]:
        assert reply.body["resourceType"] == "Bundle"
        return
    check_given(reply.body["parameter"], declared)


def check_given(given: list[Json], declared: dict[str, Json]) -> None:
    """Each value is declared with its type, and what must be there is."""
    assert {name for name, one in declared.items() if one["min"]} <= {one["name"] for one in given}
    for each in given:
        parameter = declared[each["name"]]
        if "part" in parameter:
            check_given(each["part"], {one["name"]: one for one in parameter["part"]})
            continue
        kind = parameter["type"]
        name = f"value{kind[:1].upper()}{kind[1:]}"
        assert set(each) == {"name", name}
        assert isinstance(each[name], dict) != is_primitive(kind)


# ---------------------------------------------------------------- as resources


@pytest.fixture
def published(record: World) -> World:
    publish_definitions(record.composition, "en")
    return record


@pytest.mark.parametrize("id", sorted(OWN))
def test_everybody_known_reads_the_definition_that_the_capability_statement_names(published: World, id: str) -> None:
    for caller in (marie, gp, operator()):
        ask = published.ask(caller)
        read = ask.get(f"OperationDefinition/{id}").body
        assert {**read, "meta": None} == {**OWN[id], "meta": None}
        assert ask.get(f"OperationDefinition?url={OWN[id]['url']}").ids == [id]


def test_starting_again_makes_no_new_version(published: World) -> None:
    publish_definitions(published.composition, "fr")
    versions = {published.local.get(f"OperationDefinition/{id}").body["meta"]["versionId"] for id in OWN}
    assert versions == {"1"}


@pytest.mark.parametrize("caller", [operator(), TRUSTED])
def test_nobody_changes_or_deletes_what_the_server_publishes(published: World, caller: Any) -> None:
    id, definition = next(iter(OWN.items()))
    path = f"OperationDefinition/{id}"
    changed = {**definition, "description": "x"}
    patch = [{"op": "replace", "path": "/description", "value": "x"}]
    ask = published.ask(caller)
    entry = {"resource": changed, "request": {"method": "PUT", "url": path}}
    replies = [
        ask.put(path, changed),
        ask.put(f"OperationDefinition?url={definition['url']}", {**changed, "id": id}),
        ask.patch(path, json.dumps(patch), Content_Type="application/json-patch+json"),
        ask.delete(path),
        ask.delete(f"OperationDefinition?url={definition['url']}"),
        ask.transact(entry),
        ask.post(f"{path}/$meta-add", {"resourceType": "Parameters", "parameter": [{"name": "meta", **TAG}]}),
    ]
    assert [one.status for one in replies] == [403] * len(replies)
    assert ask.get(path).body["description"] == definition["description"]
    own = {**definition, "id": "mine", "url": "https://example.org/OperationDefinition/mine"}
    assert ask.put("OperationDefinition/mine", own).status == 201
