"""What the trail notes of a document: whose it is, how it is labelled, which rule let it through."""

from fhir_server.access.policy import Action
from fhir_server.audit.trail import Touched
from fhir_server.storage.store import Document


def to_touched(action: Action, document: Document, rule: str = "") -> Touched:
    """Return what the trail notes of a document."""
    known = document.touched
    if isinstance(known, Touched) and known.action == action and known.rule == rule:
        return known
    index = document.index
    patient, labels = index.get("pt"), index.get("l")
    if patient is not None:
        patients: tuple[str, ...] = (patient,)
    else:
        patients = tuple([one for one in index.get("c", ()) if one.startswith("Patient/")])
    touched = Touched(action, document.reference, document.version, patients, tuple(labels) if labels else (), rule)
    document.note(touched=touched)
    return touched
