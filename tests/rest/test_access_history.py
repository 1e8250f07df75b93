"""``$historique-acces`` and ``$tde``: the trail as its holder and the national guide have it."""

from collections.abc import Callable
from typing import Any

import pytest

from fhir_server.app import Composition
from tests.rest.audited import HIDDEN_FROM_REPRESENTATIVES, audited
from tests.rest.fhir import Fhir, Reply
from tests.rest.stored import put_all

SYSTEM, CODE = HIDDEN_FROM_REPRESENTATIVES.split("|")


@pytest.fixture
def fhir(make_composition: Callable[..., Composition]) -> Fhir:
    """A server with a record that several have looked at; what put it there was not audited."""
    fhir = audited(make_composition())
    code, subject = {"text": "x"}, {"reference": "Patient/p"}
    plain = {"resourceType": "Observation", "id": "o", "status": "final", "code": code, "subject": subject}
    hidden = {**plain, "id": "h", "meta": {"security": [{"system": SYSTEM, "code": CODE}]}}
    put_all(fhir, {"resourceType": "Patient", "id": "p"}, {"resourceType": "Patient", "id": "q"}, plain, hidden)
    for caller, path in (
        ("doctor", "Observation/o"),
        ("hospital", "Patient/p/Observation?_id=o"),
        ("parent", "Patient/p"),
        ("secret", "Observation/o"),
        ("doctor", "Observation/h"),
        ("urgent", "Observation?patient=p&_id=o"),
        ("doctor", "Patient/q"),
    ):
        assert fhir.get(path, X_Test_Caller=caller).status == 200
    return fhir


def accesses(reply: Reply) -> list[dict[str, Any]]:
    assert reply.status == 200, reply.content
    rows = [one["part"] for one in reply.body["parameter"] if one["name"] == "access"]
    return [{part["name"]: value for part in row for key, value in part.items() if key != "name"} for row in rows]


def authors(reply: Reply) -> list[str]:
    return [row.get("author", "") for row in accesses(reply)]


def test_the_holder_reads_who_looked_newest_first(fhir: Fhir) -> None:
    reply = fhir.get("Patient/p/$historique-acces", X_Test_Caller="holder", Accept_Language="fr")
    assert authors(reply) == ["Dr Garde", "Dr Medioni", "Dr Medioni", "Camille", "CHU Exemple", "Dr Medioni"]
    first = accesses(reply)[0]
    assert first["text"].startswith("Dr Garde a consulté des mesures et résultats le ")
    assert first["text"].endswith(", en urgence.")
    assert first["emergency"] is True
    assert "inconscient" not in str(reply.body)


def test_the_type_level_is_the_callers_own_record_in_either_name(fhir: Fhir) -> None:
    own = accesses(fhir.get("Patient/$historique-acces", X_Test_Caller="holder"))
    english = accesses(fhir.get("Patient/$access-history", X_Test_Caller="holder"))
    first_look = [row for row in english if "looked at the history of accesses" in row["text"]]
    assert first_look
    assert own == english[len(first_look) :]
    assert fhir.get("Patient/$historique-acces", X_Test_Caller="hospital").status == 400


def test_what_is_hidden_from_representatives_is_absent_for_them(fhir: Fhir) -> None:
    reply = fhir.get("Patient/p/$historique-acces", X_Test_Caller="parent")
    assert authors(reply) == ["Dr Garde", "Camille", "CHU Exemple", "Dr Medioni"]
    titles = [one["part"][1]["valueString"] for one in reply.body["parameter"] if one["name"] == "tab"]
    assert titles == ["Professionals", "Legal representatives", "Connected services"]


@pytest.mark.parametrize(
    ("tab", "expected"),
    [
        ("professionals", ["Dr Garde", "Dr Medioni", "Dr Medioni", "Dr Medioni"]),
        ("activities", ["Camille"]),
        ("services", ["CHU Exemple"]),
    ],
)
def test_a_tab_can_be_asked_for_by_itself(fhir: Fhir, tab: str, expected: list[str]) -> None:
    assert authors(fhir.get(f"Patient/p/$historique-acces?tab={tab}", X_Test_Caller="holder")) == expected


def test_it_comes_in_pages(fhir: Fhir) -> None:
    found: list[str] = []
    path: str | None = "Patient/p/$historique-acces?_count=2&tab=professionals"
    while path:
        reply = fhir.get(path, X_Test_Caller="holder")
        found += authors(reply)
        path = next((one["valueUri"] for one in reply.body["parameter"] if one["name"] == "next"), None)
    assert found == ["Dr Garde", "Dr Medioni", "Dr Medioni", "Dr Medioni"]


def test_a_parameters_resource_asks_the_same(fhir: Fhir) -> None:
    given = [{"name": "tab", "valueCode": "activities"}, {"name": "date", "valueString": "ge2020"}]
    body = {"resourceType": "Parameters", "parameter": given}
    assert authors(fhir.post("Patient/p/$historique-acces", body, X_Test_Caller="holder")) == ["Camille"]


@pytest.mark.parametrize(("caller", "path"), [("doctor", "p"), ("hospital", "p"), ("holder", "q"), ("parent", "q")])
def test_nobody_else_has_this_view(fhir: Fhir, caller: str, path: str) -> None:
    assert fhir.get(f"Patient/{path}/$historique-acces", X_Test_Caller=caller).status == 404


@pytest.mark.parametrize("query", ["tab=all", "code=x"])
def test_what_it_does_not_take_is_refused_by_name(fhir: Fhir, query: str) -> None:
    assert fhir.get(f"Patient/p/$historique-acces?{query}", X_Test_Caller="holder").status == 400


def test_the_national_projection_is_a_search(fhir: Fhir) -> None:
    reply = fhir.get("AuditEvent/$tde?date=ge2020&patient=p&_count=2")
    assert reply.status == 200
    assert len(reply.resources) == 2
    assert all(len(one["agent"]) <= 2 and "start" in one["period"] for one in reply.resources)
    following = reply.link("next")
    assert following is not None
    assert "/AuditEvent/$tde?" in following
    assert len(fhir.get(following).resources) == 2
    assert fhir.get("AuditEvent/$tde?patient=p").status == 400
