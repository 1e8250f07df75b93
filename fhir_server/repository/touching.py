"""What the trail notes of a document: whose it is, how it is labelled, which rule let it through."""

from fhir_server.access.policy import Action
from fhir_server.audit.trail import Touched
from fhir_server.storage.store import Document


def to_touched(action: Action, document: Document, rule: str = "") -> Touched:
    """Return what the trail notes of a document."""
    index = document.index
    patients = (index["pt"],) if "pt" in index else tuple(one for one in index.get("c", ()) if one[:8] == "Patient/")
    return Touched(action, document.reference, document.version, patients, tuple(index.get("l", ())), rule)
