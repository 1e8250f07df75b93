"""For whom a patient's account may act: children and protected adults whose legal representative the patient is.

A ``Person`` links the parent's Patient with the RelatedPersons that they are; each of these is asked anew at every use,
so that a representation that ends takes effect at once.
Spec: http://hl7.org/fhir/R4/person.html, http://hl7.org/fhir/R4/relatedperson.html
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from fhir_server.accounts.reading import Resource, codings, find_resources, search, to_name
from fhir_server.storage.store import Store

ROLE_SYSTEM = "https://mos.esante.gouv.fr/NOS/TRE_R260-HL7RoleClass/FHIR/TRE-R260-HL7RoleClass"
PROTECTION_URL = "https://espace-sante.example/fhir/StructureDefinition/mesure-protection"
"""Extension of RelatedPerson: the measure that protects an adult: ``type`` and its ``period``."""

REPRESENTING_MEASURES = frozenset({"tutelle", "habilitation-familiale", "mandat-protection-future"})
"""Measures that give the power to represent; under a curatelle the adult decides."""

MAJORITY = 18
PARIS = ZoneInfo("Europe/Paris")
_TRUSTED = ("level3", "level4")
_GUARDIAN = {(ROLE_SYSTEM, "GUARD"), ("http://terminology.hl7.org/CodeSystem/v3-RoleClass", "GUARD")}


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody whose record an account may open; ``related_person`` is ``RelatedPerson/id``, None for the holder."""

    patient: str
    name: str
    related_person: str | None = None


def find_persons(store: Store, patient: str, now: datetime) -> tuple[Person, ...]:
    """Return whom the holder of ``Patient/id`` may act for at this moment: first themselves, then others by name.

    Three round trips at most; nobody when the holder's own record is gone.
    """
    holder = find_resources(store, [patient]).get(patient)
    if holder is None:
        return ()
    related = _related_persons(store, patient)
    today = now.astimezone(PARIS).date()
    guarded = {each["patient"]["reference"]: each for each in related if is_guardian(each, now)}
    found = find_resources(store, guarded)
    others = [
        Person(patient["id"], to_name(patient, "usual", "official"), f"RelatedPerson/{guarded[reference]['id']}")
        for reference, patient in found.items()
        if patient.get("active") is not False and may_represent(guarded[reference], patient, today)
    ]
    own = Person(holder["id"], to_name(holder, "usual", "official"))
    return (own, *sorted(others, key=lambda each: (each.name.casefold(), each.patient)))


def is_guardian(related: Resource, now: datetime) -> bool:
    """Whether a RelatedPerson is a legal representative now."""
    if related.get("active") is False or not codings(related.get("relationship", [])) & _GUARDIAN:
        return False
    return covers(related.get("period", {}), now)


def may_represent(related: Resource, patient: Resource, today: date) -> bool:
    """Whether a guardian represents this patient: a minor, or an adult under a measure that gives that power."""
    birth = patient.get("birthDate", "")
    return is_minor(birth, today) or any(_protects(each, today) for each in related.get("extension", []))


def is_minor(birth: str, today: date) -> bool:
    """Whether somebody of this birth date (possibly partial) is certainly younger than 18 on a day in Paris.

    The 18th birthday itself is no longer within; who is born on 29 February comes of age on 1 March.
    """
    if not birth:
        return False
    year, month, day = (*(int(part) for part in birth.split("-")), 1, 1)[:3]
    return (today.year - year, today.month, today.day) < (MAJORITY, month, day)


def covers(period: dict[str, Any], now: datetime) -> bool:
    """Whether a FHIR Period holds an instant; days are those of Paris, and the last one belongs to it."""
    return _reached(period.get("start"), now, before=True) and _reached(period.get("end"), now, before=False)


def _reached(limit: str | None, now: datetime, *, before: bool) -> bool:
    if limit is None:
        return True
    if "T" in limit:
        moment = datetime.fromisoformat(limit)
        return moment <= now if before else now <= moment
    today = now.astimezone(PARIS).date().isoformat()[: len(limit)]
    return limit <= today if before else today <= limit


def _protects(extension: dict[str, Any], today: date) -> bool:
    if extension.get("url") != PROTECTION_URL:
        return False
    parts = {each.get("url"): each for each in extension.get("extension", [])}
    kind = parts.get("type", {}).get("valueCode", "")
    start, end = parts.get("start", {}).get("valueDate", ""), parts.get("end", {}).get("valueDate", "9999")
    return kind in REPRESENTING_MEASURES and bool(start) and start <= today.isoformat() <= end


def _related_persons(store: Store, patient: str) -> list[Resource]:
    """Return the RelatedPersons that the patient is, as living Persons say who are surely the patient."""
    persons = [each for each in search(store, "Person", [("patient", patient)]) if each.get("active") is not False]
    links = [frozenset(_links(person)) for person in persons]
    references = sorted({reference for linked in links if patient in linked for reference in linked})
    related = find_resources(store, (each for each in references if each.startswith("RelatedPerson/")))
    return [each for each in related.values() if each["patient"].get("reference", "").startswith("Patient/")]


def _links(person: Resource) -> Iterator[str]:
    for link in person.get("link", []):
        if link.get("assurance") in _TRUSTED and "reference" in link["target"]:
            yield link["target"]["reference"]
