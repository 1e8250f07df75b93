"""Whether a RelatedPerson is a legal representative in force of a patient.

L1111-2, R1111-42: parents and guardians of minors; of adults only under a measure of protection that gives the power to
represent. Days are those of Paris.
Spec: http://hl7.org/fhir/R4/relatedperson.html
"""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from fhir_server.access.periods import covers, today_in_paris

ROLE_SYSTEM = "https://mos.esante.gouv.fr/NOS/TRE_R260-HL7RoleClass/FHIR/TRE-R260-HL7RoleClass"
PROTECTION_URL = "https://espace-sante.example/fhir/StructureDefinition/mesure-protection"
"""Extension of RelatedPerson: the measure that protects an adult, by ``type``, ``start`` and ``end``."""

REPRESENTING_MEASURES = frozenset({"tutelle", "habilitation-familiale", "mandat-protection-future"})
"""Measures that give the power to represent; under a curatelle the adult decides."""

MAJORITY = 18
_GUARDIAN = {(ROLE_SYSTEM, "GUARD"), ("http://terminology.hl7.org/CodeSystem/v3-RoleClass", "GUARD")}


def is_representative(related: Mapping[str, Any], patient: Mapping[str, Any], now: datetime) -> bool:
    """Say whether the RelatedPerson may act for the Patient at ``now``."""
    concerned = related.get("patient", {}).get("reference") == f"Patient/{patient.get('id')}"
    return concerned and is_guardian(related, now) and may_represent(related, patient, today_in_paris(now))


def is_adult(patient: Mapping[str, Any], now: datetime) -> bool:
    """Say whether the patient is not certainly a minor: a representative needs one that is known to be."""
    return not is_minor(patient.get("birthDate", ""), today_in_paris(now))


def is_guardian(related: Mapping[str, Any], now: datetime) -> bool:
    """Say whether a RelatedPerson is a legal representative now, of whomever."""
    held = {
        (coding.get("system"), coding.get("code"))
        for concept in related.get("relationship", ())
        for coding in concept.get("coding", ())
    }
    return related.get("active") is not False and bool(held & _GUARDIAN) and covers(related.get("period", {}), now)


def may_represent(related: Mapping[str, Any], patient: Mapping[str, Any], today: date) -> bool:
    """Say whether a guardian represents this patient: a minor, or an adult under a measure that gives that power."""
    birth = patient.get("birthDate", "")
    return is_minor(birth, today) or any(_protects(each, today) for each in related.get("extension", ()))


def is_minor(birth: str, today: date) -> bool:
    """Say whether somebody of this birth date (possibly partial) is certainly younger than 18 on a day.

    The 18th birthday itself is no longer within; who is born on 29 February comes of age on 1 March.
    """
    if not birth:
        return False
    year, month, day = (*(int(part) for part in birth.split("-")), 1, 1)[:3]
    return (today.year - year, today.month, today.day) < (MAJORITY, month, day)


def _protects(extension: Mapping[str, Any], today: date) -> bool:
    if extension.get("url") != PROTECTION_URL:
        return False
    parts = {each.get("url"): each for each in extension.get("extension", ())}
    kind = parts.get("type", {}).get("valueCode", "")
    start, end = parts.get("start", {}).get("valueDate", ""), parts.get("end", {}).get("valueDate", "9999")
    return kind in REPRESENTING_MEASURES and bool(start) and start <= today.isoformat() <= end
