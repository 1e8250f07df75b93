"""Resources of a small country: who is who, and what lies in their records."""

from typing import Any

from fhir_server.access.labels import VISIBILITY
from tests.access.callers import IDNAT

GP = "899700218896"
NURSE = "899700000011"
OTHER = "899700000022"
DENTIST = "899700000033"
ROLE = "https://mos.esante.gouv.fr/NOS/TRE_R260-HL7RoleClass/FHIR/TRE-R260-HL7RoleClass"
LOINC = "http://loinc.org"
TITLED = [{"attachment": {"title": "compte rendu"}}]
"""Content of a document without a Binary."""


def resource(reference: str, **more: Any) -> dict[str, Any]:
    """Return a resource of this type and id."""
    kind, _, id = reference.partition("/")
    return {"resourceType": kind, "id": id, **more}


def concept(code: str, system: str = LOINC, **more: Any) -> dict[str, Any]:
    """Return a CodeableConcept of one coding."""
    return {"coding": [{"system": system, "code": code}], **more}


def of(reference: str) -> dict[str, str]:
    """Return a Reference."""
    return {"reference": reference}


def labelled(*labels: str) -> dict[str, Any]:
    """Return ``meta`` with labels of visibility, or nothing."""
    return {"meta": {"security": [{"system": VISIBILITY, "code": one} for one in labels]}} if labels else {}


def document(id: str, patient: str, *labels: str, code: str = "11502-2", **more: Any) -> dict[str, Any]:
    """Return a DocumentReference of a patient to ``Binary/<id>``."""
    security = {"securityLabel": [concept(label, VISIBILITY) for label in labels]} if labels else {}
    fixed = {"status": "current", "type": concept(code), "content": [{"attachment": {"url": f"Binary/{id}"}}]}
    return resource(f"DocumentReference/{id}", subject=of(f"Patient/{patient}"), **{**fixed, **security, **more})


def binary(id: str) -> dict[str, Any]:
    """Return a Binary."""
    return resource(f"Binary/{id}", contentType="text/plain", data="c2VjcmV0")


def consent(id: str, patient: str, kind: str, number: str | None = None, **provision: Any) -> dict[str, Any]:
    """Return a Consent about the professional with this national identifier, or about all."""
    logical = {"type": "Practitioner", "identifier": {"system": IDNAT, "value": number}}
    actor = {
        "role": concept("IRCP", "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"),
        "reference": logical,
    }
    return resource(
        f"Consent/{id}",
        status="active",
        scope=concept("patient-privacy", "http://terminology.hl7.org/CodeSystem/consentscope"),
        category=[concept("59284-0")],
        patient=of(f"Patient/{patient}"),
        dateTime="2026-06-13T18:00:00+02:00",
        policy=[{"uri": "https://espace-sante.example/policy"}],
        provision={"type": kind, **provision, **({"actor": [actor]} if number else {})},
    )


def encounter(
    id: str, patient: str, *labels: str, start: str = "2026-05-04", end: str = "", **more: Any
) -> dict[str, Any]:
    """Return an ambulatory Encounter of a patient."""
    period = {"start": start, **({"end": end} if end else {})}
    kind = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"}
    fixed = {"status": "finished", "class": kind, "subject": of(f"Patient/{patient}"), "period": period}
    return resource(f"Encounter/{id}", **{**fixed, **labelled(*labels), **more})


def circle(patient: str, *members: tuple[str, str]) -> dict[str, Any]:
    """Return the CareTeam of a patient with these (number, role)."""
    return resource(
        f"CareTeam/{patient}",
        status="active",
        subject=of(f"Patient/{patient}"),
        participant=[
            {"member": {"identifier": {"system": IDNAT, "value": number}}, "role": [{"coding": [{"code": role}]}]}
            for number, role in members
        ],
    )


def guardian(id: str, patient: str, **more: Any) -> dict[str, Any]:
    """Return a RelatedPerson who is the patient's guardian."""
    return resource(
        f"RelatedPerson/{id}", patient=of(f"Patient/{patient}"), relationship=[concept("GUARD", ROLE)], **more
    )
