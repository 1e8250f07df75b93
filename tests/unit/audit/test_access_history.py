"""What the holder of a record reads of an event."""

from datetime import UTC, datetime
from typing import Any

import pytest

from fhir_server.access.caller import Caller
from fhir_server.audit.access_history import TABS, Row, build_row, tab_name, to_paris
from fhir_server.audit.tde import PROFILE, to_tde
from fhir_server.audit.templates import Occasion
from fhir_server.audit.touched import Touched
from fhir_server.audit.trail import Origin, Trail
from fhir_server.fhir.json import parse_json
from tests.trail import unpacked

NIGHT = datetime(2026, 6, 14, 0, 11, 5, 120_000, tzinfo=UTC)
DOCTOR = Caller("d", "professional", client_name="LPS", user="Practitioner/d", user_name="Dr Medioni")


def event_of(caller: Caller, *touched: Touched, status: int = 200) -> dict[str, Any]:
    trail = Trail(Origin(Occasion(caller, "https://x.example/fhir"), "req", NIGHT, lambda: NIGHT))
    if status >= 400:
        return dict(parse_json(unpacked(trail.refusal(touched[0].action, status, "forbidden", touched[0]))[0]["body"]))
    trail.disclose(touched)
    return dict(parse_json(unpacked(trail.events())[0]["body"]))


def row_of(caller: Caller, action: str, *types: str, status: int = 200) -> Row:
    touched = [Touched(action, f"{kind}/1", 1, ("Patient/p",)) for kind in types]
    return build_row(event_of(caller, *touched, status=status))


@pytest.mark.parametrize(
    ("action", "types", "english", "french"),
    [
        (
            "read",
            ["DocumentReference"],
            "Dr Medioni looked at documents on 14 June 2026 at 02:11.",
            "Dr Medioni a consulté des documents le 14 juin 2026 à 02 h 11.",
        ),
        (
            "create",
            ["Observation", "Condition"],
            "Dr Medioni added measurements and results and health problems on 14 June 2026 at 02:11.",
            "Dr Medioni a ajouté des mesures et résultats et des problèmes de santé le 14 juin 2026 à 02 h 11.",
        ),
        (
            "history",
            ["DocumentReference"],
            "Dr Medioni looked at the history of documents on 14 June 2026 at 02:11.",
            "Dr Medioni a consulté l’historique de documents le 14 juin 2026 à 02 h 11.",
        ),
        (
            "search",
            ["Observation", "Condition", "Procedure", "Basic"],
            "Dr Medioni looked at measurements and results, health problems and other data of the record on"
            " 14 June 2026 at 02:11.",
            "Dr Medioni a consulté des mesures et résultats, des problèmes de santé et d’autres données du dossier le"
            " 14 juin 2026 à 02 h 11.",
        ),
        (
            "delete",
            ["Patient"],
            "Dr Medioni deleted the identity data on 14 June 2026 at 02:11.",
            "Dr Medioni a supprimé les données d’identité le 14 juin 2026 à 02 h 11.",
        ),
    ],
)
def test_an_access_is_one_plain_sentence(action: str, types: list[str], english: str, french: str) -> None:
    row = row_of(DOCTOR, action, *types)
    assert (row.text.en, row.text.fr) == (english, french)
    assert row.tab == "professionals"


def test_an_emergency_and_a_refusal_are_said() -> None:
    urgent = Caller(
        "u", "professional", user="Practitioner/u", user_name="Dr Garde", mode="bris_de_glace", reason="AVC"
    )
    row = row_of(urgent, "read", "Observation")
    assert row.emergency
    assert row.text.fr.endswith(", en urgence.")
    assert "AVC" not in row.text.fr
    refused = row_of(DOCTOR, "update", "Observation", status=403)
    assert refused.refused
    assert refused.text.en == (
        "Dr Medioni tried to change measurements and results on 14 June 2026 at 02:11, which was refused."
    )


@pytest.mark.parametrize(
    ("kind", "tab"),
    [("patient", "activities"), ("representative", "activities"), ("system", "services"), ("operator", "services")],
)
def test_each_kind_of_caller_has_its_tab(kind: Any, tab: str) -> None:
    assert row_of(Caller("k", kind, client_id="c"), "read", "Observation").tab == tab


def test_somebody_without_a_name_is_still_told() -> None:
    event = {"id": "x", "recorded": "2026-01-01T00:00:00Z", "agent": [{"requestor": True}], "outcome": "0"}
    assert build_row(event).text.fr == "Une personne inconnue a consulté le dossier le 1er janvier 2026 à 01 h 00."


def test_the_tabs_have_headings_in_both_languages() -> None:
    assert [tab_name(tab, for_child=False).fr for tab in TABS] == [
        "Professionnels",
        "Mes activités",
        "Services synchronisés",
    ]
    assert tab_name("activities", for_child=True).fr == "Représentants légaux"


@pytest.mark.parametrize(
    ("utc", "hour"),
    [
        ("2026-03-29T00:59:59Z", 1),
        ("2026-03-29T01:00:00Z", 3),
        ("2026-10-25T00:59:59Z", 2),
        ("2026-10-25T01:00:00Z", 2),
        ("2027-01-15T12:00:00Z", 13),
    ],
)
def test_the_clock_is_that_of_paris(utc: str, hour: int) -> None:
    assert to_paris(datetime.fromisoformat(utc)).hour == hour


def test_the_national_projection_has_two_agents_one_subtype_and_a_start() -> None:
    projected = to_tde(event_of(DOCTOR, Touched("read", "Observation/o", 1, ("Patient/p",))))
    assert projected["meta"]["profile"] == [PROFILE]
    assert [agent.get("name", agent["who"].get("display")) for agent in projected["agent"]] == [
        "Dr Medioni",
        "https://x.example/fhir",
    ]
    assert len(projected["subtype"]) == 1
    bare = {"resourceType": "AuditEvent", "recorded": "2026-01-01T00:00:00Z", "agent": [{}, {}, {}]}
    assert to_tde(bare)["period"] == {"start": "2026-01-01T00:00:00Z"}
    assert len(to_tde(bare)["agent"]) == 2
