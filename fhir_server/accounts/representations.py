"""For whom a patient's account may act: children and protected adults whose legal representative the patient is.

A ``Person`` links the parent's Patient with the RelatedPersons that they are; each of these is asked anew at every use,
so that a representation that ends takes effect at once.
Spec: http://hl7.org/fhir/R4/person.html, http://hl7.org/fhir/R4/relatedperson.html
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from fhir_server.access.periods import today_in_paris
from fhir_server.access.representation import is_guardian, may_represent
from fhir_server.accounts.reading import Resource, find_resources, search, to_name
from fhir_server.storage.store import Store

_TRUSTED = ("level3", "level4")


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
    today = today_in_paris(now)
    guarded = {each["patient"]["reference"]: each for each in related if is_guardian(each, now)}
    found = find_resources(store, guarded)
    others = [
        Person(patient["id"], to_name(patient, "usual", "official"), f"RelatedPerson/{guarded[reference]['id']}")
        for reference, patient in found.items()
        if patient.get("active") is not False and may_represent(guarded[reference], patient, today)
    ]
    own = Person(holder["id"], to_name(holder, "usual", "official"))
    return (own, *sorted(others, key=lambda each: (each.name.casefold(), each.patient)))


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
