"""Attacks 16 to 23: two worlds that differ in nothing but what the caller may not see give the same answers.

Ten thousand requests, drawn from seeds, by callers of every kind. What is hidden in the second world is not there,
is another, is there more often, or is gone; bodies, status, headers, totals, order and pages must be equal but for
ids that the server gives and times. A failure prints the request and the difference.
"""

import os
import random
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fhir_server.access.caller import Caller
from fhir_server.access.resource_groups import PUBLIC
from fhir_server.access.scopes import parse_scopes
from fhir_server.app import Composition
from fhir_server.repository.facts import EMERGENCIES
from fhir_server.settings import Settings
from fhir_server.storage.embedded import EmbeddedMongod
from tests.access.callers import IDNAT, World, backend, operator, patient, professional, representative
from tests.access.records import DENTIST, GP, NURSE, OTHER
from tests.access.two_worlds.comparing import Side, Twins
from tests.access.two_worlds.population import (
    DECIDING,
    altered,
    deletions,
    later_versions,
    observation,
    pointing,
    population,
    relisted,
)
from tests.access.two_worlds.requests import Drawing
from tests.rest.fhir import entry
from tests.trail import ALL_BUT_FRAMES

EMERGENCY = f"{IDNAT}|899700000055"


def scoped(text: str) -> dict[str, Any]:
    return {"scopes": parse_scopes(text).scopes}


CALLERS: Mapping[str, Caller] = {
    "patient": patient("marie"),
    "patient-of-another-record": patient("luc"),
    "patient-with-a-closed-record": patient("closed"),
    "patient-app-v1-reading": patient("marie", **scoped("patient/*.read")),
    "patient-app-of-observations": patient("marie", **scoped("patient/Observation.cruds patient/Patient.rs")),
    "patient-app-of-laboratory": patient(
        "marie", **scoped("patient/Observation.rs?category=laboratory patient/DocumentReference.cruds?status=current")
    ),
    "patient-app-that-searches": patient("marie", **scoped("patient/*.s patient/Condition.r")),
    "patient-app-that-writes": patient("marie", **scoped("patient/*.write patient/Observation.s")),
    "minor": patient("lea"),
    "representative": representative("lea", "mother"),
    "representative-no-more": representative("lea", "father"),
    "attending-doctor": professional("gp", GP),
    "doctor-with-patient": professional("gp", GP, patient="marie", **scoped("patient/*.cruds")),
    "nurse": professional("nurse", NURSE, "60"),
    "dentist": professional("dentist", DENTIST, "40"),
    "doctor-permitted": professional("other", OTHER),
    "doctor-blocked": professional("blocked", "899700000044"),
    "doctor-in-emergency": professional("samu", "899700000055", mode="bris_de_glace", reason="x"),
    "profession-without-matrix": professional("gp", GP, "99"),
    "hospital": backend("hospital"),
    "feeder": backend("hospital", **scoped("system/DocumentReference.c system/Binary.c system/Observation.crs")),
    "trusted-service": backend("insurer", trusted=True, **scoped("system/Observation.cruds?category=laboratory")),
    "trusted-service-of-observations": backend(
        "insurer",
        trusted=True,
        **scoped("system/Observation.cruds system/Patient.rs system/Condition.cruds?verification-status=confirmed"),
    ),
    "operator": operator(),
    "auditor": operator(roles=("auditor",)),
}

REQUESTS = int(os.environ.get("TWO_WORLDS_REQUESTS", "10000")) // len(CALLERS)


@pytest.fixture(scope="session")
def compositions(mongod: EmbeddedMongod, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Composition]]:
    """Two servers, and what fills their databases without a look at references."""
    folder = tmp_path_factory.mktemp("worlds")
    made = [_composition(mongod, folder, name, strict) for strict in (True, False) for name in ("first", "second")]
    yield made
    for one in made:
        one.close()


def _composition(mongod: EmbeddedMongod, folder: Path, name: str, strict: bool) -> Composition:
    settings = Settings.from_environment(
        {},
        mongodb_uri=mongod.uri,
        database=f"twin-{name}",
        data_directory=folder,
        base_url="http://localhost/fhir",
        referential_integrity_write=strict,
        referential_integrity_delete=strict,
        conditional_delete="multiple",
    )
    return Composition(settings)


@pytest.fixture
def sides(compositions: list[Composition]) -> Iterator[list[tuple[Side, World]]]:
    """Two empty worlds, each with the one that fills it."""
    yield [(Side(World(one)), World(filling)) for one, filling in zip(compositions[:2], compositions[2:], strict=True)]
    for one in compositions[:2]:
        database = one.store().connection.database
        for name in database.list_collection_names():
            database[name].delete_many(ALL_BUT_FRAMES)


@pytest.mark.parametrize("name", CALLERS)
def test_what_is_hidden_changes_no_answer(sides: list[tuple[Side, World]], name: str) -> None:
    caller, seed = CALLERS[name], sum(map(ord, name))
    twins = make_twins(sides, caller, random.Random(seed))
    drawing = Drawing(seed, list(twins.first.updated), anchors=sorted(visible_to(caller, twins.first)))
    sent = 0
    while sent < REQUESTS:
        sent += twins.compare(caller, drawing.request())


def make_twins(sides: list[tuple[Side, World]], caller: Caller, draw: random.Random) -> Twins:
    """Fill both worlds; the second differs in what the caller sees nothing of in the first."""
    (first, filling), (second, filling_second) = sides
    fill(first, filling, population(), later_versions())
    seen = visible_to(caller, first)
    others = hidden_others(caller, seen)

    def hides(reference: str) -> bool:
        return reference not in seen and others(reference)

    stored, later = [], []
    for one in population():
        reference = f"{one['resourceType']}/{one['id']}"
        stored += variants(one, sorted(seen), draw) if hides(reference) else [lists_other(caller, one, hides, draw)]
    for one in later_versions():
        reference = f"{one['resourceType']}/{one['id']}"
        if any(f"{each['resourceType']}/{each['id']}" == reference for each in stored):
            later.append(altered(one, draw) if hides(reference) else lists_other(caller, one, hides, draw))
    fill(second, filling_second, stored, later)
    assert caller.trusted or not any("/closed" in one for one in seen), "a closed record is nobody's to see"
    assert visible_to(caller, second) == seen, "the second world differs in what can be seen: the test is wrong"
    return Twins(first, second)


def lists_other(
    caller: Caller, one: dict[str, Any], hides: Callable[[str], bool], draw: random.Random
) -> dict[str, Any]:
    """Return what is seen with other hidden things among what it lists; trusted services are shown what is stored."""
    return one if caller.trusted else relisted(one, hides, draw)


def fill(side: Side, filling: World, resources: list[dict[str, Any]], later: list[dict[str, Any]]) -> None:
    filling.put(*resources)
    filling.put(*later)
    for reference in deletions():
        assert filling.local.delete(reference).status in (204, 200)
    records = side.world.composition.store().records
    for number, one in enumerate(("luc", "lea")):
        declared = {"keys": [EMERGENCY, "rpps|99700000055"], "mode": "bris_de_glace"}
        until = datetime.now(UTC) + timedelta(hours=1)
        records.insert(EMERGENCIES, {**declared, "_id": number, "patient": f"Patient/{one}", "until": until})
    hand_over(side)
    deposits(side)
    for found in side.world.local.get("_history?_count=1000").resources:
        reference = f"{found['resourceType']}/{found['id']}"
        if reference not in side.made:
            side.updated.setdefault(reference, found["meta"]["lastUpdated"])
    side.updated.update(dict.fromkeys(deletions(), "2099-01-01T00:00:00Z"))


def hand_over(side: Side) -> None:
    """Let what is in the closed record be what the hospital has put there, content and what carries it aside."""
    database = side.world.composition.store().connection.database
    of_record = {"type": {"$nin": ["Patient", "Binary", "DocumentReference"]}, "pt": "Patient/closed"}
    for name in ("resources", "history"):
        handed = database[name].update_many(of_record, {"$set": {"o": ["Organization/hospital"]}})
        assert handed.modified_count


def deposits(side: Side) -> None:
    """Let those who feed records do so: what they put there stays theirs to see."""
    for caller, labels in ((CALLERS["nurse"], ("MASQUE_PS",)), (CALLERS["hospital"], ()), (CALLERS["patient"], ())):
        made = observation("marie", 3, *labels)
        del made["encounter"], made["id"]
        reply = side.world.ask(caller).post("Observation", made)
        assert reply.status == 201, (caller.key, reply.content)
        side.made.append(f"Observation/{reply.body['id']}")


def visible_to(caller: Caller, side: Side) -> set[str]:
    """Return what the caller can read (or read that it is gone) or find, of what has been stored under a chosen id."""
    references = list(side.updated)
    asked = [one.replace("/", "?_id=") for one in references]
    reply = side.world.ask(caller).transact(*(entry("GET", one) for one in (*references, *asked)), kind="batch")
    assert reply.status == 200, reply.content
    answers = reply.body["entry"]
    half = len(references)
    return {
        reference
        for reference, read, found in zip(references, answers[:half], answers[half:], strict=True)
        if read["response"]["status"][:3] in ("200", "410") or found.get("resource", {}).get("entry")
    }


def hidden_others(caller: Caller, seen: set[str]) -> Callable[[str], bool]:
    """Return whether something hidden may differ.

    Not what rights depend on, nor whom one may deposit something for, nor the directory, which everybody refers to.
    """
    feeds = caller.kind in ("professional", "system")

    def may_differ(reference: str) -> bool:
        kind = reference.partition("/")[0]
        own = reference in (f"Patient/{caller.patient}", caller.user)
        return kind not in DECIDING | PUBLIC and not own and not (feeds and kind == "Patient")

    return may_differ


def variants(one: dict[str, Any], seen: list[str], draw: random.Random) -> list[dict[str, Any]]:
    """Return what is in the second world in the place of something hidden: nothing, another, or more."""
    fate = draw.randrange(4)
    last = next((later for later in later_versions() if later["id"] == one["id"]), one)
    targets = [name for name in seen if not name.startswith(("Patient/", "Binary/"))]
    if fate == 0 and one["id"] != "marie":  # for whom something is deposited in both worlds
        return []
    if fate == 1:
        return [altered(one, draw)]
    if fate == 2 and one["resourceType"] not in ("Patient", "Binary") and targets and not lists_nothing(one, seen):
        return [one, *(pointing(last, f"{one['id']}-more{number}", targets, draw) for number in range(3))]
    return [one]


def lists_nothing(one: dict[str, Any], seen: list[str]) -> bool:
    """Say whether it is hidden for naming nothing that is seen: others of its record and labels are seen."""
    twins = (f"{kind}/{one['id']}" for kind in ("Condition", "Task", "FamilyMemberHistory", "Communication"))
    return one["resourceType"] in ("List", "Provenance") and any(twin in seen for twin in twins)
