"""Every claim of the CapabilityStatement about searching, shown by a result: strictly, over HTTP.

Type × parameter × modifier × prefix: a search that finds the resource with the value and not the one with another,
nor the one without any (``claimed`` says which). Type × include, type × revinclude: what is referred to comes along,
and nothing else. Whatever the statement claims and no search here shows fails the test, and so does the reverse.
"""

import json
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from fhir_server.app import Composition, build_app
from fhir_server.fhir.definitions import resource_types, structure
from fhir_server.fhir.json import to_json
from fhir_server.search.indexer import to_index
from fhir_server.search.parameters import SearchParameter, search_parameter, supported_parameters
from fhir_server.settings import Settings
from fhir_server.storage.embedded import EmbeddedMongod
from fhir_server.storage.store import Change, Plan
from tests.conformance.claimed import PREFIXED, WITH_THE_UPPER, Proof, cases, proofs, terminology
from tests.conformance.generated import build
from tests.rest.conftest import mongod as mongod
from tests.rest.fhir import Fhir

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SLICES = 16
TYPES = sorted(resource_types())
AT_ONCE = 90
LINKED = 3
"""The number of what includes lead to, which no test of parameters refers to."""
Resource = dict[str, Any]
Claim = tuple[str, str]


class World:
    """A server, what it says of itself, and a way to store resources that no validation would let through."""

    def __init__(self, composition: Composition) -> None:
        self.fhir = Fhir(build_app(composition))
        self._store = composition.store()
        self.statement: Resource = self.fhir.get("metadata").body["rest"][0]
        self.by_type = {one["type"]: one for one in self.statement["resource"]}

    def store(self, resources: list[Resource], updated: datetime = NOW) -> None:
        """Store resources, those of an earlier test in their places gone."""
        references = [f"{one['resourceType']}/{one['id']}" for one in resources]
        known = self._store.get_many(references, with_body=False)
        versions = [known[name].version if name in known else 0 for name in references]
        changes = [
            Change(name, version, version + 1, "PUT", updated, to_json(one), to_index(one))
            for name, version, one in zip(references, versions, resources, strict=True)
        ]
        for start in range(0, len(changes), 1_000):
            self._store.commit(Plan(tuple(changes[start : start + 1_000])))

    def find(self, path: str, pairs: list[tuple[str, str]]) -> tuple[int, set[str], set[str]]:
        """Return the status, and the ids of the matches and the names of what is included."""
        reply = self.fhir.get(f"{path}?{urlencode(pairs)}", Prefer="handling=strict")
        if reply.status != 200:
            return reply.status, {str(reply.issues[0]["details"]["text"])}, set()
        entries = [(one["search"]["mode"], one["resource"]) for one in reply.body.get("entry", ())]
        found = [resource["id"] for mode, resource in entries if mode == "match"]
        included = [f"{one['resourceType']}/{one['id']}" for mode, one in entries if mode == "include"]
        assert len(set(found)) + len(set(included)) == len(entries)
        return 200, set(found), set(included)


@pytest.fixture(scope="module")
def world(mongod: EmbeddedMongod, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    database = f"claims{os.getpid()}"
    given: dict[str, Any] = {"mongodb_uri": mongod.uri, "database": database, "max_included": 50_000, "auth": "open"}
    data = Path(tmp_path_factory.mktemp("claims"))
    composition = Composition(Settings.from_environment({}, data_directory=data, log_level="error", **given))
    made = World(composition)
    systems = {one.system for kind in TYPES for one in supported_parameters(kind) if one.system}
    made.store([*terminology(systems), *({"resourceType": kind, "id": "none"} for kind in TYPES)])
    made.store([target(kind) for kind in TYPES])
    yield made
    composition.store().connection.client.drop_database(database)
    composition.close()


def target(kind: str) -> Resource:
    """Return what the references of generated resources lead to, by id or by canonical."""
    named = {"url": f"http://example.org/{kind}/{LINKED}/x", "version": "1.4.2"}
    return {"resourceType": kind, "id": str(LINKED), **{code: url for code, url in named.items() if _has(kind, code)}}


def _has(kind: str, code: str) -> bool:
    return search_parameter(kind, code) is not None and code in structure(kind).properties


def claims_of(declared: list[Resource]) -> set[Claim]:
    """Return what is said of parameters: (name, ""), (name, ":missing"), (name, "gt")."""
    claims: set[Claim] = set()
    for each in declared:
        said = str(each.get("documentation", ""))
        modifiers = re.search(r"Modifiers: ([^.]*)\.", said)
        prefixes = re.search(r"Prefixes: ([^.]*)\.", said)
        listed = ["", *(one for found in (modifiers, prefixes) if found for one in found[1].split(", "))]
        claims |= {(each["name"], one) for one in listed}
    return claims


# ---------------------------------------------------------------- parameters


@pytest.mark.parametrize("part", range(SLICES))
def test_every_parameter_modifier_and_prefix_claimed_finds_what_it_should(world: World, part: int) -> None:
    wrong: list[Any] = []
    for kind in TYPES[part::SLICES]:
        shown = set(show(world, kind, kind, wrong)) | set(show_common(world, kind, kind, wrong))
        claimed = claims_of(world.by_type[kind]["searchParam"])
        wrong += [(kind, "not shown", *one) for one in sorted(claimed - shown)]
        wrong += [(kind, "not claimed", *one) for one in sorted(shown - claimed)]
    assert wrong == []


def test_every_claim_about_searches_of_all_types_finds_what_it_should(world: World) -> None:
    wrong: list[Any] = []
    declared = world.statement["searchParam"]
    common = {one["name"] for one in declared}
    shown = {*show(world, "Basic", "", wrong, common), *show_common(world, "Basic", "", wrong)}
    assert claims_of(declared) == {one for one in shown if one[0] in common}
    assert wrong == []


def show(world: World, kind: str, path: str, wrong: list[Any], only: set[str] | None = None) -> Iterator[Claim]:
    """Yield the claims that a type's index entries show; add to ``wrong`` what is not found, or found and no match."""
    parameters = [one for one in supported_parameters(kind) if not one.in_document]
    known = list(cases([one for one in parameters if only is None or one.code in only]))
    named = [(f"c{case.number}{name}", built) for case in known for name, built in (("a", case.a), ("b", case.b))]
    world.store([{**built.resource, "id": id} for id, built in named])
    for case in known:
        for proof in proofs(case):
            check(world, kind, path, proof, {name: case.ids(name) for name in "ab-"}, wrong)
            yield proof.name.partition(":")[0], proof.claim


def show_common(world: World, kind: str, path: str, wrong: list[Any]) -> Iterator[Claim]:
    """Yield the claims about what a document itself or its texts answer for."""
    for id, word, year in (("da", "gammaone", 2020), ("db", "gammatwo", 2024)):
        text = {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{word}</div>'}
        narrative = {"text": text} if "text" in structure(kind).properties else {}
        resource = {"resourceType": kind, "id": id, "meta": {"tag": [{"display": word}]}, **narrative}
        world.store([resource], datetime(year, 1, 1, tzinfo=UTC))
    ids = {"a": {"da"}, "b": {"db"}, "-": {"none"}}
    for parameter in supported_parameters(kind):
        for proof in common_proofs(parameter) if parameter.in_document else ():
            check(world, kind, path, proof, ids, wrong)
            yield proof.name.partition(":")[0], proof.claim


def common_proofs(parameter: SearchParameter) -> Iterator[Proof]:
    name = parameter.code
    asked = {"_id": "da", "_lastUpdated": "2020-01-01", "_filter": "_id eq da"}.get(name, "gammaone")
    yield Proof("", name, asked, "a")
    without = "-" if name == "_text" else ""  # every resource has an id, a time and content
    missing = [("true", without), ("false", "ab" if without else "ab-")]
    for modifier in parameter.modifiers:
        for value, finds in missing if modifier == "missing" else [(asked, "b-")]:
            yield Proof(f":{modifier}", f"{name}:{modifier}", value, finds)
    for prefix in parameter.prefixes:
        value = "2024-01-01" if prefix in WITH_THE_UPPER else asked
        yield Proof(prefix, name, f"{prefix}{value}", PREFIXED[prefix].replace("b", "b-"))


def check(world: World, kind: str, path: str, proof: Proof, ids: dict[str, set[str]], wrong: list[Any]) -> None:
    """Search among three resources, and note if not those are found that should be."""
    pairs = [("_id", ",".join(sorted(set().union(*ids.values())))), (proof.name, proof.value)]
    status, found, _ = world.find(path, pairs if path else [("_type", kind), *pairs])
    if status != 200 or found != set().union(*(ids[name] for name in proof.finds)):
        wrong.append((kind, proof, status, found))


# ---------------------------------------------------------------- includes


@pytest.mark.parametrize("part", range(SLICES))
def test_every_include_and_revinclude_claimed_brings_what_it_should(world: World, part: int) -> None:
    for source in TYPES[part::SLICES]:
        referring = links_of(source)
        world.store([resource for resources in referring.values() for resource in resources.values()])
        claimed = set(world.by_type[source]["searchInclude"])
        assert claimed == {"*", f"{source}:*", *(f"{source}:{code}" for code, _ in referring)}
        check_includes(world, source, referring)
        check_revincludes(world, source, referring)


Referring = dict[Claim, dict[str, Resource]]
"""By parameter and type of value: the resource that refers to each type of target."""


def links_of(source: str) -> Referring:
    """Return, for each reference parameter of a type, resources that refer by it to each type that it may point to."""
    found: Referring = {}
    for parameter in supported_parameters(source):
        if parameter.type != "reference":
            continue
        built = [
            (one, build(parameter, part, LINKED, "", one)) for part in parameter.parts for one in parameter.targets
        ]
        for number, (kind, one) in enumerate(built):
            if one.kind != "Resource":
                resource = {**one.resource, "id": f"i{len(found)}-{number}"}
                if not _has(kind, "version"):
                    resource = json.loads(json.dumps(resource).replace("|1.4.2", ""))
                found.setdefault((parameter.code, ""), {}).setdefault(kind, resource)
    return found


def check_includes(world: World, source: str, referring: Referring) -> None:
    none = ("_id", "none")
    for (code, _), resources in referring.items():
        ids = ("_id", ",".join([*(one["id"] for one in resources.values()), "none"]))
        expected = {f"{kind}/{LINKED}" for kind in resources}
        count = ("_count", "1000")
        for value in (f"{source}:{code}", f"{source}:*", "*"):
            assert world.find(source, [ids, count, ("_include", value)])[2] == expected, (source, value)
        only = next(iter(resources))
        assert world.find(source, [ids, count, ("_include", f"{source}:{code}:{only}")])[2] == {f"{only}/{LINKED}"}
        assert world.find(source, [none, ("_include", "*")])[2] == set()


def check_revincludes(world: World, source: str, referring: Referring) -> None:
    for kind in sorted({kind for resources in referring.values() for kind in resources}):
        leading = {code: resources[kind]["id"] for (code, _), resources in referring.items() if kind in resources}
        assert {f"{source}:{code}" for code in leading} <= set(world.by_type[kind]["searchRevInclude"]), kind
        asked = [("_revinclude", f"{source}:{code}") for code in leading]
        expected = {f"{source}/{id}" for id in leading.values()}
        for start in range(0, len(asked), AT_ONCE):
            _, _, included = world.find(kind, [("_id", f"{LINKED},none"), *asked[start : start + AT_ONCE]])
            assert included == expected, (kind, source)
        assert world.find(kind, [("_id", "none"), *asked])[2] == set()


def test_every_revinclude_claimed_is_walked(world: World) -> None:
    walked = {
        (kind, f"{source}:{code}")
        for source in TYPES
        for (code, _), resources in links_of(source).items()
        for kind in resources
    }
    claimed = {(kind, one) for kind in TYPES for one in world.by_type[kind]["searchRevInclude"] if one != "*"}
    assert claimed == walked


# ---------------------------------------------------------------- what is not claimed


def test_what_is_not_claimed_is_refused(world: World) -> None:
    every = {":exact", ":contains", ":text", ":not", ":above", ":below", ":in", ":not-in", ":of-type", ":identifier"}
    wrong: list[str] = []
    for resource in world.statement["resource"][::10]:
        claims = claims_of(resource["searchParam"])
        for name in {one for one, _ in claims}:
            for modifier in sorted(every - {claim for one, claim in claims if one == name}):
                query = f"{resource['type']}?{name}{modifier}=x"
                if world.fhir.get(query, Prefer="handling=strict").status != 400:
                    wrong.append(query)
    assert wrong == []


def test_every_type_is_claimed(world: World) -> None:
    assert set(world.by_type) == resource_types()
