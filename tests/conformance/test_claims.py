"""Every claim of the CapabilityStatement about searching, held against the server: strictly, over HTTP, with 200.

Type × parameter × modifier × prefix and type × include are walked. A strict search refuses what the server does not do
and says so, and its self link shows what it has used: a claim holds when the search succeeds and the link has it.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from fhir_server.fhir.definitions import resource_types
from fhir_server.search.parameters import search_parameter
from tests.rest.conftest import fhir as fhir
from tests.rest.conftest import fhir_with as fhir_with
from tests.rest.conftest import make_composition as make_composition
from tests.rest.conftest import mongod as mongod
from tests.rest.fhir import Fhir

AT_ONCE = 90
VALUES = {
    "number": "1",
    "date": "2020-01-01",
    "string": "x",
    "token": "http://example.org/system|x",
    "reference": "Patient/1",
    "quantity": "1|http://unitsofmeasure.org|mg",
    "uri": "http://example.org/x",
}
SPECIAL = {
    "_id": "1",
    "_filter": "_id eq x",
    "_list": "1",
    "_text": "x",
    "_content": "x",
    "near": "48.85|2.35|10|km",
    "_lastUpdated": "2020-01-01",
}
BY_MODIFIER = {
    "missing": "true",
    "of-type": "http://example.org/system|MR|1",
    "identifier": "http://example.org/system|1",
    "in": "http://hl7.org/fhir/ValueSet/administrative-gender",
    "not-in": "http://hl7.org/fhir/ValueSet/administrative-gender",
    "above": "http://hl7.org/fhir/administrative-gender|male",
    "below": "http://hl7.org/fhir/administrative-gender|male",
    "text": "x",
}


@pytest.fixture
def statement(fhir: Fhir) -> dict[str, Any]:
    """What the server says of itself."""
    return dict(fhir.get("metadata").body["rest"][0])


def test_every_parameter_modifier_and_prefix_that_is_claimed_works(fhir: Fhir, statement: dict[str, Any]) -> None:
    walked = 0
    for resource in statement["resource"]:
        kind = resource["type"]
        pairs = [pair for each in resource["searchParam"] for pair in claims_of(kind, each)]
        walked += len(pairs)
        check(fhir, kind, pairs)
    pairs = [pair for each in statement["searchParam"] for pair in claims_of("Resource", each)]
    check(fhir, "", pairs)
    assert walked > 10_000


@pytest.mark.parametrize(("name", "claimed"), [("_include", "searchInclude"), ("_revinclude", "searchRevInclude")])
def test_every_include_that_is_claimed_works(fhir: Fhir, statement: dict[str, Any], name: str, claimed: str) -> None:
    for resource in statement["resource"]:
        values = resource.get(claimed, ())
        assert "*" in values
        check(fhir, resource["type"], [(name, value) for value in values])


def test_what_is_not_claimed_is_refused(fhir: Fhir, statement: dict[str, Any]) -> None:
    every = {":exact", ":contains", ":text", ":not", ":above", ":below", ":in", ":not-in"}
    wrong: list[str] = []
    for resource in statement["resource"][::10]:
        for each in resource["searchParam"]:
            for modifier in sorted(every - set(modifiers_of(each))):
                query = f"{resource['type']}?{each['name']}{modifier}=x"
                if fhir.get(query, Prefer="handling=strict").status != 400:
                    wrong.append(query)
    assert wrong == []


def claims_of(kind: str, claimed: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield a parameter of the query for every claim about one search parameter."""
    name, value = claimed["name"], value_of(kind, claimed)
    yield name, value
    for modifier in modifiers_of(claimed):
        if modifier == ":[type]":
            parameter = search_parameter(kind, name)
            assert parameter is not None
            yield f"{name}:{parameter.targets[0]}", "1"
        else:
            yield f"{name}{modifier}", value_with(claimed, modifier[1:], value)
    for prefix in re.findall(r"[a-z]{2}", re.search(r"Prefixes: ([^.]*)|$", documentation(claimed))[1] or ""):  # type: ignore[index]
        yield name, f"{prefix}{value}"


def value_of(kind: str, claimed: dict[str, Any]) -> str:
    """Return a value of the parameter's form."""
    name = claimed["name"]
    if name in SPECIAL:
        return SPECIAL[name]
    if claimed["type"] == "composite":
        parameter = search_parameter(kind, name)
        assert parameter is not None
        return "$".join(VALUES[one.type] for one in parameter.components)
    parameter = search_parameter(kind, name)
    targets = parameter.targets if parameter is not None and parameter.type == "reference" else ()
    return f"{targets[0]}/1" if targets else VALUES[claimed["type"]]


def value_with(claimed: dict[str, Any], modifier: str, value: str) -> str:
    """Return a value of the form that the modifier asks for."""
    if claimed["type"] in ("uri", "reference") and modifier in ("above", "below"):
        return "http://example.org/x"
    return BY_MODIFIER.get(modifier, value)


def documentation(claimed: dict[str, Any]) -> str:
    """Return what is said of modifiers and prefixes."""
    return str(claimed.get("documentation", ""))


def modifiers_of(claimed: dict[str, Any]) -> list[str]:
    """Return the modifiers claimed."""
    found = re.search(r"Modifiers: ([^.]*)\.", documentation(claimed))
    return found[1].split(", ") if found else []


def check(fhir: Fhir, kind: str, pairs: Sequence[tuple[str, str]]) -> None:
    """Search by all pairs, some at a time; each must be understood and used."""
    for start in range(0, len(pairs), AT_ONCE):
        part = list(pairs[start : start + AT_ONCE])
        reply = fhir.get(f"{kind}?{urlencode(part)}&_summary=false", Prefer="handling=strict")
        assert reply.status == 200, (kind, reply.content)
        used = parse_qsl(urlsplit(reply.link("self") or "").query)
        assert [pair for pair in part if pair not in used] == [], kind


def test_every_type_is_claimed(statement: dict[str, Any]) -> None:
    assert {one["type"] for one in statement["resource"]} == resource_types()
