"""What lies in both worlds, and how the second is made to differ where a caller may not look."""

import copy
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tests.access.records import (
    DENTIST,
    GP,
    NURSE,
    binary,
    circle,
    concept,
    consent,
    document,
    guardian,
    labelled,
    of,
    resource,
)

Resource = dict[str, Any]
PATIENTS = ("marie", "luc", "lea", "closed")
LABELS = ((), (), ("MASQUE_PS",), ("INVISIBLE_PATIENT",), ("INVISIBLE_REPRESENTANTS_LEGAUX",))
LISTING: Mapping[str, tuple[tuple[str, str], ...]] = {
    "List": (("entry", "item"),),
    "Provenance": (("target", ""), ("entity", "what")),
    "DocumentReference": (("relatesTo", "target"),),
    "DiagnosticReport": (("result", ""),),
    "Observation": (("hasMember", ""), ("derivedFrom", ""), ("focus", "")),
    "Condition": (("evidence", "detail"),),
}
"""Where a resource lists others: an element and the member of it that holds the reference, or the references."""
DECIDING = frozenset({"Consent", "CareTeam", "RelatedPerson"})
"""What others' rights depend on: the same in both worlds, seen or not."""
CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
CLINICAL = "http://terminology.hl7.org/CodeSystem/condition-clinical"


def population() -> list[Resource]:
    """Return all resources in the order in which they are stored."""
    return [*_directory(), *(one for patient in PATIENTS for one in _record(patient)), *_rights()]


def later_versions() -> list[Resource]:
    """Return second versions: labels put on and taken off, a correction."""
    return [
        observation("marie", 0, "MASQUE_PS", status="amended"),
        observation("marie", 2, status="amended"),
        observation("lea", 1, "INVISIBLE_REPRESENTANTS_LEGAUX", status="amended"),
        document("marie-doc3", "marie", "INVISIBLE_PATIENT", description="second"),
        resource("Patient/luc", **{**_identity("luc"), "gender": "male"}),
    ]


def deletions() -> list[str]:
    """Return what is deleted in the end."""
    return [f"Observation/{patient}-obs9" for patient in PATIENTS]


def _directory() -> Iterator[Resource]:
    yield resource("Organization/hospital", name="Hôpital", active=True)
    yield resource("Organization/clinic", name="Clinique", partOf=of("Organization/hospital"))
    for id in ("gp", "nurse", "other", "dentist", "blocked"):
        yield resource(f"Practitioner/{id}", name=[{"family": id.title()}])
        yield resource(
            f"PractitionerRole/{id}", practitioner=of(f"Practitioner/{id}"), organization=of("Organization/hospital")
        )
    yield resource("Location/ward", name="Ward", status="active", managingOrganization=of("Organization/hospital"))
    yield resource(
        "ValueSet/biology",
        url="http://example.org/vs",
        status="active",
        compose={"include": [{"system": "http://loinc.org", "concept": [{"code": "718-7"}, {"code": "2345-7"}]}]},
    )


def _identity(id: str) -> Resource:
    born = {"marie": "1979-03-28", "luc": "1977-11-01", "lea": "2015-07-12", "closed": "1950-02-01"}
    return {
        "birthDate": born[id],
        "gender": "male" if id == "luc" else "female",
        "name": [{"family": "Martin" if id == "luc" else "Dupont", "given": [id.title()]}],
        "identifier": [{"system": "http://example.org/ids", "value": f"n-{id}"}],
        "managingOrganization": of("Organization/hospital"),
        "generalPractitioner": [of("Practitioner/gp")],
        **({"active": False} if id == "closed" else {}),
    }


def observation(patient: str, number: int, *labels: str, **more: Any) -> Resource:
    """Return one of the ten observations of a patient."""
    fixed = {
        "status": "final",
        "identifier": [{"system": "http://example.org/obs", "value": f"{number}"}],
        "category": [concept("laboratory" if number % 2 else "vital-signs", CATEGORY)],
        "code": concept(("718-7", "2345-7", "8867-4")[number % 3], text=f"mesure {number}"),
        "subject": of(f"Patient/{patient}"),
        "encounter": of(f"Encounter/{patient}-enc"),
        "performer": [of("Practitioner/gp" if number % 2 else "Organization/hospital")],
        "effectiveDateTime": f"2025-0{number % 9 + 1}-10T08:00:00Z",
        "valueQuantity": {"value": 10 + number, "unit": "g/L", "system": "http://unitsofmeasure.org", "code": "g/L"},
        "component": [{"code": concept("8480-6"), "valueQuantity": {"value": number, "code": "mm[Hg]"}}],
        "note": [{"text": f"note {number}"}],
    }
    if number > 5:
        fixed["derivedFrom"] = [of(f"Observation/{patient}-obs{number - 4}")]
        fixed["hasMember"] = [of(f"Observation/{patient}-obs{number - 5}")]
    return resource(f"Observation/{patient}-obs{number}", **labelled(*labels), **{**fixed, **more})


def _record(patient: str) -> Iterator[Resource]:
    subject = of(f"Patient/{patient}")
    yield resource(f"Patient/{patient}", **_identity(patient))
    yield resource(
        f"Encounter/{patient}-enc",
        status="finished",
        **{"class": {"code": "AMB"}},
        subject=subject,
        serviceProvider=of("Organization/hospital"),
        period={"start": "2025-01-01", "end": "2025-01-02"},
    )
    for number in range(10):
        yield observation(patient, number, *LABELS[number % len(LABELS)])
    for number in range(5):
        yield binary(f"{patient}-doc{number}")
        yield document(
            f"{patient}-doc{number}",
            patient,
            *LABELS[number],
            code="68599-0" if number == 1 else "11502-2",
            date=f"2025-02-0{number + 1}T00:00:00Z",
            author=[of("Practitioner/gp")],
            description=f"document {number}",
            **({"relatesTo": [{"code": "appends", "target": of(f"DocumentReference/{patient}-doc{number - 1}")}]}
               if number else {}),
        )  # fmt: skip
    for number, labels in enumerate(LABELS[1:]):
        yield from _clinical(patient, number, *labels)


def _clinical(patient: str, number: int, *labels: str) -> Iterator[Resource]:
    subject, meta, id = of(f"Patient/{patient}"), labelled(*labels), f"{patient}-{number}"
    yield resource(
        f"Condition/{id}",
        **meta,
        subject=subject,
        code=concept(("38341003", "73211009")[number % 2], "http://snomed.info/sct", text="hypertension"),
        clinicalStatus=concept("active", CLINICAL),
        onsetDateTime=f"202{number}-05-01",
        evidence=[{"detail": [of(f"Observation/{patient}-obs{number}")]}],
        encounter=of(f"Encounter/{patient}-enc"),
    )
    yield resource(
        f"MedicationStatement/{id}",
        **meta,
        status="active",
        subject=subject,
        medicationCodeableConcept=concept("G03AA07", "http://www.whocc.no/atc"),
        effectiveDateTime="2025-03-01",
        reasonReference=[of(f"Condition/{id}")],
    )
    yield resource(
        f"DiagnosticReport/{id}",
        **meta,
        status="final",
        code=concept("58410-2"),
        subject=subject,
        result=[of(f"Observation/{patient}-obs{number}"), of(f"Observation/{patient}-obs{number + 2}")],
    )
    yield resource(
        f"List/{id}",
        **meta,
        status="current",
        mode="working",
        subject=subject,
        entry=[{"item": of(f"DocumentReference/{patient}-doc{one}")} for one in range(number, 5)],
    )
    yield resource(
        f"Provenance/{id}",
        **meta,
        target=[of(f"Observation/{patient}-obs{number}")],
        recorded="2025-01-01T00:00:00Z",
        agent=[{"who": of("Practitioner/gp")}],
    )
    yield resource(
        f"Communication/{id}",
        **meta,
        status="completed",
        subject=subject,
        recipient=[of(f"Patient/{patient}"), of("Practitioner/nurse" if number % 2 else "Practitioner/gp")],
        payload=[{"contentString": "bonjour"}],
    )
    yield resource(
        f"Task/{id}",
        **meta,
        status="requested",
        intent="order",
        **{"for": subject},
        focus=of(f"Observation/{patient}-obs{number}"),
    )
    yield resource(
        f"FamilyMemberHistory/{id}", **meta, status="completed", patient=subject, relationship=concept("FTH")
    )


def _rights() -> Iterator[Resource]:
    yield guardian("mother", "lea")
    yield guardian("father", "lea", period={"end": "2020-01-01"})
    yield circle("marie", (GP, "PCP"), (NURSE, "ATT"), (DENTIST, "ATT"))
    yield circle("lea", (GP, "PCP"))
    yield consent("block", "marie", "deny", "899700000044")
    yield consent("block-gp", "luc", "permit", NURSE)
    yield consent("other-luc", "luc", "permit", "899700000022")


def altered(one: Resource, draw: random.Random) -> Resource:
    """Return the resource with other content, of the same patient and under the same labels."""
    changed = copy.deepcopy(one)
    match one["resourceType"]:
        case "Observation":
            changed["valueQuantity"] = {
                "value": draw.randrange(100),
                "system": "http://unitsofmeasure.org",
                "code": "g/L",
            }
            changed["code"] = concept(draw.choice(("718-7", "2345-7", "8867-4")), text="mesure")
            changed["effectiveDateTime"] = f"20{draw.randrange(10, 25)}-01-01T00:00:00Z"
            changed["status"] = draw.choice(("final", "amended"))
            changed["identifier"][0]["value"] = str(draw.randrange(10))
        case "Patient":
            changed["name"] = [{"family": draw.choice(("Aaa", "Dupont", "Zzz"))}]
            changed["gender"] = draw.choice(("male", "female"))
            changed["identifier"] = [{"system": "http://example.org/ids", "value": draw.choice(("n-marie", "n-x"))}]
        case "Condition":
            changed["onsetDateTime"] = f"20{draw.randrange(10, 25)}-01-01"
            changed["code"] = concept(draw.choice(("38341003", "73211009")), "http://snomed.info/sct", text="asthme")
        case "DocumentReference":
            changed["date"] = f"20{draw.randrange(10, 25)}-01-01T00:00:00Z"
            changed["description"] = "autre"
            changed["status"] = draw.choice(("current", "superseded"))
        case _:
            changed["language"] = draw.choice(("fr", "en"))
    return changed


def relisted(one: Resource, hides: Callable[[str], bool], draw: random.Random) -> Resource:
    """Return the resource with other items in the place of those that name something hidden: none, others, more."""
    changed = copy.deepcopy(one)
    for name, member in LISTING.get(one["resourceType"], ()):
        items: list[Any] = []
        for item in changed.get(name, ()):
            held = item.get(member, item) if member else item
            if member == "detail":
                item[member] = [each for one in held for each in _renamed(one, one, hides, draw)]
                items += [item] if item[member] else []
            else:
                items += _renamed(item, held, hides, draw)
        changed = {key: value for key, value in changed.items() if key != name}
        if items:
            changed[name] = items
    return {name: changed[name] for name in (*one, *changed) if name in changed}


def _renamed(item: Any, held: Resource, hides: Callable[[str], bool], draw: random.Random) -> list[Any]:
    """Return what an item becomes: the same if it names something seen, else nothing, the same, another, or both."""
    if not hides(held["reference"]):
        return [item]
    other = copy.deepcopy(item)
    where = next(each for each in (other, *other.values()) if isinstance(each, dict) and "reference" in each)
    where["reference"] = f"{held['reference'].partition('/')[0]}/nowhere-{draw.randrange(3)}"
    return draw.choice(([], [item], [other], [other, item], [item, other, other]))


def pointing(one: Resource, id: str, visible: list[str], draw: random.Random) -> Resource:
    """Return one more resource like a hidden one that also refers to what can be seen."""
    more = {**altered(one, draw), "id": id}
    target = draw.choice(visible)
    match one["resourceType"]:
        case "Observation":
            more["focus"] = [of(target)]
        case "List":
            more["entry"] = [{"item": of(name)} for name in draw.sample(visible, min(4, len(visible)))]
        case "Provenance":
            more["target"] = [*one["target"], of(target)]
        case "Task":
            more["focus"] = of(target)
        case "Communication":
            more["about"] = [of(target)]
    return more
