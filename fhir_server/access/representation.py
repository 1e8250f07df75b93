"""Whether a RelatedPerson is a legal representative in force of a patient.

L1111-2, R1111-42: parents and guardians of minors; of adults only under a measure of protection.
"""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from fhir_server.fhir.datatypes import period_range

PROTECTION = "https://espace-sante.example/fhir/StructureDefinition/mesure-protection"
_ROLE_CLASSES = frozenset({
    "https://mos.esante.gouv.fr/NOS/TRE_R260-HL7RoleClass/FHIR/TRE-R260-HL7RoleClass",
    "http://terminology.hl7.org/CodeSystem/v3-RoleClass",
})  # fmt: skip
_GUARDIAN = "GUARD"
_MAJORITY = 18
_PARIS = ZoneInfo("Europe/Paris")


def is_representative(related_person: Mapping[str, Any], patient: Mapping[str, Any], now: datetime) -> bool:
    """Say whether the RelatedPerson may act for the Patient at ``now``."""
    if related_person.get("patient", {}).get("reference") != f"Patient/{patient.get('id')}":
        return False
    if related_person.get("active") is False or not _is_guardian(related_person):
        return False
    start, end = period_range(related_person.get("period", {}))
    return start <= now <= end and (not is_adult(patient, now) or _is_protected(related_person, now))


def is_adult(patient: Mapping[str, Any], now: datetime) -> bool:
    """Say whether the patient has come of age: from 00:00 of the 18th birthday in Paris.

    Who has no complete birth date counts as an adult: a representative needs a minor that is known to be one.
    """
    try:
        born = date.fromisoformat(patient.get("birthDate", ""))
    except ValueError:
        return True
    today = now.astimezone(_PARIS).date()
    return (today.year - _MAJORITY, today.month, today.day) >= (born.year, born.month, born.day)


def _is_guardian(related_person: Mapping[str, Any]) -> bool:
    return any(
        coding.get("code") == _GUARDIAN and coding.get("system") in _ROLE_CLASSES
        for concept in related_person.get("relationship", ())
        for coding in concept.get("coding", ())
    )


def _is_protected(related_person: Mapping[str, Any], now: datetime) -> bool:
    for extension in related_person.get("extension", ()):
        if extension.get("url") == PROTECTION:
            parts = {part.get("url"): part for part in extension.get("extension", ())}
            names = {"start": parts.get("start", {}).get("valueDate"), "end": parts.get("end", {}).get("valueDate")}
            start, end = period_range(names)
            return start <= now <= end
    return False
