"""FranceConnect's identity pivot against INS traits: equal after normalisation, or not the same person."""

from typing import Any

import pytest

from fhir_server.accounts.identity_pivot import Traits, normalise, parse_pivot, traits_of

CLAIMS = {
    "family_name": "PAT-TROIS",
    "given_name": "DOMINIQUE MARIE-LOUISE",
    "birthdate": "1979-03-28",
    "gender": "female",
    "birthplace": "51215",
    "birthcountry": "99100",
}
TRAITS = Traits("PAT-TROIS", "DOMINIQUE", "1979-03-28", "female", "51215")


def patient(**more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Patient",
        "id": "p",
        "name": [
            {"use": "usual", "family": "Autre", "given": ["Domi"]},
            {"use": "official", "family": "Pat-Trois", "given": ["Dominique", "Marie-Louise"]},
        ],
        "gender": "female",
        "birthDate": "1979-03-28",
        "extension": [birth_place("51215")],
        **more,
    }


def birth_place(code: str) -> dict[str, Any]:
    insee = "https://hl7.fr/ig/fhir/core/StructureDefinition/fr-core-address-insee-code"
    address = {"extension": [{"url": "https://example.org/other"}, {"url": insee, "valueCoding": {"code": code}}]}
    return {"url": "http://hl7.org/fhir/StructureDefinition/patient-birthPlace", "valueAddress": address}


def reliability(code: str) -> dict[str, Any]:
    return {
        "url": "https://hl7.fr/ig/fhir/core/StructureDefinition/fr-core-identity-reliability",
        "extension": [{"url": "identityStatus", "valueCoding": {"code": code}}, {"url": "validationDate"}],
    }


def test_a_complete_pivot_becomes_the_traits_of_our_patient() -> None:
    assert parse_pivot(CLAIMS) == TRAITS
    assert traits_of(patient()) == {TRAITS}
    assert traits_of(patient(extension=[birth_place("51215"), reliability("VALI")])) == {TRAITS}
    assert traits_of(patient(extension=[reliability("VALI"), birth_place("51215")])) == {TRAITS}


def test_who_was_born_abroad_is_compared_by_country() -> None:
    parsed = parse_pivot({**CLAIMS, "birthplace": "", "birthcountry": "99109"})
    assert parsed is not None
    assert parsed.place == "99109"


@pytest.mark.parametrize(
    "wrong",
    [
        {"family_name": ""},
        {"family_name": None},
        {"family_name": {"$ne": 1}},
        {"given_name": " "},
        {"birthdate": "1979-00-00x"},
        {"birthdate": "1979"},
        {"gender": "unknown"},
        {"birthplace": ""},
        {"birthplace": "5121"},
        {"birthcountry": 99109},
    ],
)
def test_an_incomplete_pivot_is_none(wrong: dict[str, Any]) -> None:
    changed = {**CLAIMS, **wrong}
    parsed = parse_pivot(changed)
    assert parsed is None or (wrong == {"birthcountry": 99109} and parsed == TRAITS)


@pytest.mark.parametrize("name", ["Évrard", "EVRARD", "évrard ", "E\u0301vrard"])
def test_accents_case_and_blanks_do_not_matter(name: str) -> None:
    assert normalise(name) == "EVRARD"


def test_letters_that_are_two_become_two() -> None:
    assert normalise("Cœur d’Ætius") == "COEUR D'AETIUS"
    assert normalise("Straße") == "STRASSE"


@pytest.mark.parametrize(
    "more",
    [
        {"active": False},
        {"deceasedBoolean": True},
        {"deceasedDateTime": "2025-01-01"},
        {"name": [{"use": "usual", "family": "Pat-Trois", "given": ["Dominique"]}]},
        {"name": [{"use": "official", "family": "Pat-Trois"}]},
        {"extension": [birth_place("51215"), reliability("DOUT")]},
        {"extension": [birth_place("51215"), reliability("USUR")]},
        {"extension": []},
        {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/patient-birthPlace"}]},
        {"gender": "male"},
        {"birthDate": "1979-03"},
    ],
)
def test_a_patient_whose_identity_is_not_sure_or_differs_has_other_traits(more: dict[str, Any]) -> None:
    assert TRAITS not in traits_of(patient(**more))
