"""What Pro Santé Connect says of a professional, and who is let in by it."""

from typing import Any

import pytest

from fhir_server.accounts.professions import parse_professional, structure_identifiers

PRACTICES = [
    {
        "codeProfession": "10",
        "codeSavoirFaire": "SM54",
        "activities": [
            {"codeSecteurDactivite": "SA07", "numeroFinessSite": "750803447", "raisonSocialeSite": "Cabinet Medioni"},
            {"codeSecteurDactivite": "SA01", "numeroFinessSite": None, "raisonSocialeSite": "Hôpital"},
        ],
    },
    {"codeProfession": "41", "activities": [{"codeSecteurDactivite": "SA01"}]},
]
CLAIMS: dict[str, Any] = {
    "sub": "f:1:899700218896",
    "SubjectNameID": "899700218896",
    "given_name": "Stéphane",
    "family_name": "MEDIONI",
    "SubjectRole": ["10^1.2.250.1.213.1.1.5.5"],
    "Secteur_Activite": "SA07^1.2.250.1.71.4.2.4",
    "SubjectOrganization": "CABINET",
    "SubjectOrganizationID": "R95141",
    "Acces_Regulation_Medicale": "FAUX",
    "SubjectRefPro": {"exercices": PRACTICES},
}


def test_each_activity_is_a_situation_and_professions_that_do_not_count_are_left_out() -> None:
    read = parse_professional(CLAIMS)
    assert read is not None
    assert read.name == "Stéphane MEDIONI"
    assert read.identifiers == ("urn:oid:1.2.250.1.71.4.2.1|899700218896", "https://rpps.esante.gouv.fr|99700218896")
    first, second = read.situations
    assert (first.profession, first.specialty, first.sector, first.organization_name) == (
        "10",
        "SM54",
        "SA07",
        "Cabinet Medioni",
    )
    assert first.organization_identifiers == (
        "urn:oid:1.2.250.1.71.4.2.2|1750803447",
        "https://finess.esante.gouv.fr|750803447",
    )
    assert (second.sector, second.organization_identifiers) == ("SA01", ())


def test_a_situation_has_the_same_id_at_every_login() -> None:
    first, again = parse_professional(CLAIMS), parse_professional({**CLAIMS, "Acces_Regulation_Medicale": "VRAI"})
    assert first is not None
    assert again is not None
    assert [each.id for each in first.situations] == [each.id for each in again.situations]
    assert len({each.id for each in first.situations}) == 2
    assert [each.regulation for each in again.situations] == [True, True]


def test_without_practices_the_role_is_the_situation() -> None:
    read = parse_professional({**CLAIMS, "SubjectRefPro": None, "SubjectOrganizationID": "750803447"})
    assert read is not None
    (only,) = read.situations
    assert (only.profession, only.sector, only.organization_name) == ("10", "SA07", "CABINET")
    assert only.organization_identifiers[0] == "urn:oid:1.2.250.1.71.4.2.2|1750803447"


def test_a_practice_without_activities_is_a_situation_of_the_sector_claimed() -> None:
    read = parse_professional(
        {**CLAIMS, "SubjectRefPro": {"exercices": [{"codeProfession": "60", "activities": None}]}}
    )
    assert read is not None
    assert [(each.profession, each.sector) for each in read.situations] == [("60", "SA07")]


@pytest.mark.parametrize(
    "wrong",
    [
        {"SubjectNameID": None},
        {"SubjectNameID": "x|y"},
        {"SubjectNameID": ["899700218896"]},
        {"SubjectRefPro": {"exercices": [{"codeProfession": "41"}]}},
        {"SubjectRefPro": {"exercices": "all"}},
        {"SubjectRefPro": None, "SubjectRole": ["10^1.2.3.4"]},
        {"SubjectRefPro": None, "SubjectRole": ["93"]},
        {"SubjectRefPro": None, "SubjectRole": None},
    ],
)
def test_who_is_no_professional_that_counts_is_none(wrong: dict[str, Any]) -> None:
    assert parse_professional({**CLAIMS, **wrong}) is None


def test_an_identifier_that_is_no_rpps_number_stands_alone() -> None:
    read = parse_professional({**CLAIMS, "SubjectNameID": "0123456789"})
    assert read is not None
    assert read.identifiers == ("urn:oid:1.2.250.1.71.4.2.1|0123456789",)


@pytest.mark.parametrize("text", ["", "R95141", "75080344", "7508034471"])
def test_what_is_no_finess_number_identifies_no_structure(text: str) -> None:
    assert structure_identifiers(text) == ()
