"""What consents come to for one caller: the latest prevails, and what cannot be decided never opens anything."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.access.consents import Effect, effects_of, prevail
from fhir_server.search.ast import Everything, Node, Nothing
from fhir_server.search.matcher import matches

NOW = datetime(2026, 6, 1, tzinfo=UTC)
ME = "Practitioner/me"
LABEL = {"system": "http://labels", "code": "R"}


def document(id: str, *, labels: tuple[str, ...] = (), owner: str = "", refers: tuple[str, ...] = ()) -> dict[str, Any]:
    kind = "Observation"
    return {"_id": f"{kind}/{id}", "type": kind, "l": list(labels), "o": [owner], "r": list(refers), "x": list(refers)}


PLAIN = document("plain")
LABELLED = document("labelled", labels=("http://labels|R",))
MINE = document("mine", owner=ME)
REFERRING = document("referring", refers=("Observation/plain",))
ALL = {"plain": PLAIN, "labelled": LABELLED, "mine": MINE, "referring": REFERRING}


def consent(kind: str | None = None, when: str = "2026-01-01", **provision: Any) -> dict[str, Any]:
    typed = {"type": kind} if kind else {}
    return {
        "resourceType": "Consent",
        "status": "active",
        "scope": {"coding": [{"code": "patient-privacy"}]},
        "dateTime": when,
        "provision": {**typed, **provision},
    }


def about(meaning: str, reference: str) -> list[dict[str, Any]]:
    return [{"meaning": meaning, "reference": {"reference": reference}}]


def is_me(reference: Mapping[str, Any]) -> bool:
    return reference.get("reference") == ME


def seen(*consents: dict[str, Any], base: Node | None = None, purpose: str = "TREAT") -> set[str]:
    tree = prevail(base or Nothing(), effects_of(consents, is_me, NOW), purpose)
    return {name for name, one in ALL.items() if matches(tree, one)}


def test_the_latest_prevails_whatever_the_order_they_are_found_in() -> None:
    permit, deny = consent("permit", "2026-01-01"), consent("deny", "2026-02-01")
    assert seen(permit) == set(ALL)
    assert seen(permit, deny) == seen(deny, permit) == set()
    assert seen(deny, consent("permit", "2026-03-01")) == set(ALL)
    undated = {name: value for name, value in deny.items() if name != "dateTime"}
    assert seen(permit, undated) == set(ALL), "what is undated is the oldest"


@pytest.mark.parametrize(
    "change",
    [
        {"status": "inactive"},
        {"status": "entered-in-error"},
        {"scope": {"coding": [{"code": "adr"}]}},
        {"provision": None},
    ],
)
def test_what_is_not_in_force_says_nothing(change: dict[str, Any]) -> None:
    assert seen({**consent("permit"), **change}) == set()


@pytest.mark.parametrize(
    ("period", "holds"),
    [
        ({"start": "2026-01-01"}, True),
        ({"end": "2026-06-01"}, True),
        ({"end": "2026-05-31"}, False),
        ({"start": "2026-06-02"}, False),
        ({}, True),
    ],
)
def test_a_provision_holds_within_its_period(period: dict[str, str], holds: bool) -> None:
    assert seen(consent("permit", period=period)) == (set(ALL) if holds else set())


def test_a_provision_concerns_its_actors_or_everybody() -> None:
    assert seen(consent("permit", actor=[{"reference": {"reference": ME}}])) == set(ALL)
    assert seen(consent("permit", actor=[{"reference": {"reference": "Practitioner/other"}}])) == set()
    assert seen(consent("permit", actor=[{}])) == set()


def test_a_provision_without_a_type_denies() -> None:
    assert seen(consent(actor=[{"reference": {"reference": ME}}]), base=Everything()) == set()


def test_purposes_bound_what_a_provision_is_for() -> None:
    emergency = consent("deny", purpose=[{"code": "BTG"}])
    assert seen(emergency, base=Everything(), purpose="TREAT") == set(ALL)
    assert seen(emergency, base=Everything(), purpose="BTG") == set()


@pytest.mark.parametrize(
    ("provision", "expected"),
    [
        ({"data": about("instance", "Observation/plain")}, {"plain"}),
        ({"data": about("related", "Observation/plain")}, {"plain", "referring"}),
        ({"data": about("dependents", "Observation/plain")}, {"plain", "referring"}),
        ({"data": about("authoredby", ME)}, {"mine"}),
        ({"securityLabel": [LABEL]}, {"labelled"}),
        ({"data": about("authoredby", ME), "securityLabel": [LABEL]}, set()),
    ],
)
def test_a_provision_is_about_the_data_it_names(provision: dict[str, Any], expected: set[str]) -> None:
    assert seen(consent("permit", **provision)) == expected
    assert seen(consent("deny", **provision), base=Everything()) == set(ALL) - expected


@pytest.mark.parametrize(
    "undecided",
    [
        {"class": [{"code": "x"}]},
        {"code": [{"text": "x"}]},
        {"action": [{"text": "x"}]},
        {"dataPeriod": {"start": "2020-01-01"}},
        {"data": about("other", "Observation/plain")},
        {"data": [{"meaning": "instance", "reference": {"display": "that one"}}]},
        {"data": [*about("instance", "Observation/plain"), {"meaning": "instance", "reference": {"display": "x"}}]},
    ],
)
def test_what_cannot_be_decided_permits_nothing_and_denies_all(undecided: dict[str, Any]) -> None:
    assert seen(consent("permit", **undecided)) == set()
    assert seen(consent("deny", **undecided), base=Everything()) == set()


def test_an_exception_turns_its_provision_round_within_it() -> None:
    nested = [{"data": about("instance", "Observation/plain")}]
    assert seen(consent("permit", provision=nested)) == set(ALL) - {"plain"}
    assert seen(consent("deny", provision=nested), base=Everything()) == {"plain"}
    assert seen(consent("permit", provision=[{"type": "permit", **nested[0]}])) == set(ALL)
    labelled = {"securityLabel": [LABEL]}
    assert seen(consent("deny", **labelled, provision=nested), base=Everything()) == set(ALL) - {"labelled"}
    other = [{"actor": [{"reference": {"reference": "Practitioner/other"}}]}]
    assert seen(consent("permit", provision=other)) == set(ALL)


def test_an_exception_that_cannot_be_decided_opens_nothing() -> None:
    twice = {"data": about("instance", "Observation/plain"), "provision": [{"data": about("authoredby", ME)}]}
    assert seen(consent("deny", **twice), base=Everything()) == set(ALL) - {"plain"}
    deeper = [{"provision": [{}]}]
    assert seen(consent("deny", provision=deeper), base=Everything()) == set()
    labels = {"securityLabel": [LABEL], "provision": [{"securityLabel": [{**LABEL, "code": "V"}]}]}
    assert seen(consent("deny", **labels), base=Everything()) == set(ALL) - {"labelled"}


@given(st.lists(st.booleans(), max_size=6))
def test_each_effect_on_the_whole_record_overrides_those_before(order: list[bool]) -> None:
    tree = prevail(Nothing(), [Effect(permits) for permits in order], "TREAT")
    assert matches(tree, PLAIN) == (order[-1] if order else False)
