"""What Pro Santé Connect says of a professional, as practice situations; who has none that counts is refused.

Spec: https://industriels.esante.gouv.fr/produits-et-services/pro-sante-connect/documentation-technique
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError, fields

from fhir_server.accounts.account import Situation

PROFESSIONS: Mapping[str, tuple[str, str]] = {
    "10": ("Doctor", "Médecin"),
    "21": ("Pharmacist", "Pharmacien"),
    "26": ("Hearing-aid specialist", "Audioprothésiste"),
    "28": ("Optician", "Opticien-lunetier"),
    "40": ("Dentist", "Chirurgien-dentiste"),
    "50": ("Midwife", "Sage-femme"),
    "60": ("Nurse", "Infirmier"),
    "69": ("Psychiatric nurse", "Infirmier psychiatrique"),
    "70": ("Physiotherapist", "Masseur-kinésithérapeute"),
    "80": ("Podiatrist", "Pédicure-podologue"),
    "81": ("Orthoprosthetist", "Orthoprothésiste"),
    "91": ("Speech therapist", "Orthophoniste"),
    "92": ("Orthoptist", "Orthoptiste"),
    "94": ("Occupational therapist", "Ergothérapeute"),
    "95": ("Dietitian", "Diététicien"),
    "96": ("Psychomotor therapist", "Psychomotricien"),
    "98": ("Radiographer", "Manipulateur ERM"),
}
"""TRE_G15-ProfessionSante, English and French; whoever has none of these is let in nowhere."""

NATIONAL_ID = "urn:oid:1.2.250.1.71.4.2.1"
RPPS = "https://rpps.esante.gouv.fr"
STRUCTURE_ID = "urn:oid:1.2.250.1.71.4.2.2"
FINESS = "https://finess.esante.gouv.fr"
PROFESSION_SYSTEM = "https://mos.esante.gouv.fr/NOS/TRE_G15-ProfessionSante/FHIR/TRE-G15-ProfessionSante"
_PROFESSION_OIDS = ("", "1.2.250.1.213.1.1.5.5", "1.2.250.1.71.1.2.7")
_NATIONAL_ID = re.compile(r"[0-9][0-9A-Za-z/]{5,20}\Z")
_FINESS = re.compile(r"[0-9][0-9AB][0-9]{7}\Z")
_RPPS_LENGTH = 12
_TRUE = "VRAI"


class _Activity(Schema):
    class Meta:
        unknown = EXCLUDE

    sector = fields.String(data_key="codeSecteurDactivite", load_default="", allow_none=True)
    finess = fields.String(data_key="numeroFinessSite", load_default="", allow_none=True)
    structure = fields.String(data_key="raisonSocialeSite", load_default="", allow_none=True)


class _Practice(Schema):
    class Meta:
        unknown = EXCLUDE

    profession = fields.String(data_key="codeProfession", load_default="", allow_none=True)
    specialty = fields.String(data_key="codeSavoirFaire", load_default="", allow_none=True)
    activities = fields.List(fields.Nested(_Activity), load_default=list, allow_none=True)


class _Reference(Schema):
    class Meta:
        unknown = EXCLUDE

    practices = fields.List(fields.Nested(_Practice), data_key="exercices", load_default=list, allow_none=True)


class _Claims(Schema):
    class Meta:
        unknown = EXCLUDE

    national_id = fields.String(data_key="SubjectNameID", required=True)
    given = fields.String(data_key="given_name", load_default="", allow_none=True)
    family = fields.String(data_key="family_name", load_default="", allow_none=True)
    roles = fields.List(fields.String(), data_key="SubjectRole", load_default=list, allow_none=True)
    sector = fields.String(data_key="Secteur_Activite", load_default="", allow_none=True)
    structure = fields.String(data_key="SubjectOrganization", load_default="", allow_none=True)
    structure_id = fields.String(data_key="SubjectOrganizationID", load_default="", allow_none=True)
    regulation = fields.String(data_key="Acces_Regulation_Medicale", load_default="", allow_none=True)
    reference = fields.Nested(_Reference, data_key="SubjectRefPro", load_default=None, allow_none=True)


@dataclass(frozen=True, slots=True)
class Professional:
    """A professional as their identity provider describes them; ``situations`` is never empty."""

    national_id: str
    given: str
    family: str
    situations: tuple[Situation, ...]

    @property
    def name(self) -> str:
        """Given and family name."""
        return f"{self.given} {self.family}".strip()

    @property
    def identifiers(self) -> tuple[str, ...]:
        """``system|value``: the national identifier, and the RPPS number that is in it."""
        return practitioner_identifiers(self.national_id)


def practitioner_identifiers(national_id: str) -> tuple[str, ...]:
    """Return an idNatPs as identifiers; one that begins with 8 holds an RPPS number."""
    own = f"{NATIONAL_ID}|{national_id}"
    is_rpps = len(national_id) == _RPPS_LENGTH and national_id.startswith("8")
    return (own, f"{RPPS}|{national_id[1:]}") if is_rpps else (own,)


def parse_professional(claims: Mapping[str, Any]) -> Professional | None:
    """Return the professional that claims describe; None when they are malformed or name no profession that counts."""
    try:
        read = _Claims().load(dict(claims))
    except ValidationError:
        return None
    known = {each.id: each for each in _situations(read) if each.profession in PROFESSIONS}
    if not _NATIONAL_ID.match(read["national_id"]) or not known:
        return None
    return Professional(read["national_id"], read["given"] or "", read["family"] or "", tuple(known.values()))


def _situations(read: Mapping[str, Any]) -> Iterator[Situation]:
    practices = (read["reference"] or {}).get("practices") or []
    regulation = read["regulation"] == _TRUE
    for practice in practices:
        for activity in practice["activities"] or [{}]:
            yield _situation(read, practice, activity, regulation)
    if not practices:
        for role in read["roles"] or []:
            yield _identified(_from_role(read, role, regulation))


def _situation(
    read: Mapping[str, Any], practice: Mapping[str, Any], activity: Mapping[str, Any], regulation: bool
) -> Situation:
    return _identified(
        Situation(
            "",
            practice["profession"] or "",
            practice["specialty"] or "",
            activity.get("sector") or _code(read["sector"]),
            activity.get("structure") or "",
            structure_identifiers(activity.get("finess") or ""),
            regulation,
        )
    )


def _from_role(read: Mapping[str, Any], role: str, regulation: bool) -> Situation:
    code, _, system = role.partition("^")
    profession = code if system in _PROFESSION_OIDS else ""
    organization = structure_identifiers(read["structure_id"] or "")
    return Situation("", profession, "", _code(read["sector"]), read["structure"] or "", organization, regulation)


def structure_identifiers(finess: str) -> tuple[str, ...]:
    """Return the identifiers of a structure of which the FINESS number is known, none for what is no such number."""
    if not _FINESS.match(finess):
        return ()
    return (f"{STRUCTURE_ID}|1{finess}", f"{FINESS}|{finess}")


def _identified(situation: Situation) -> Situation:
    """Return the situation with the id that its content gives it, the same at every login."""
    parts = (situation.profession, situation.specialty, situation.sector, situation.organization_name)
    text = "\0".join((*parts, *situation.organization_identifiers))
    return replace(situation, id=sha256(text.encode()).hexdigest()[:24])


def _code(text: str | None) -> str:
    return (text or "").partition("^")[0]
