"""What the trail notes of a document: whose it is, how it is labelled, which rule let it through."""

from collections.abc import Iterable, Sequence

from fhir_server.access.policy import Action
from fhir_server.audit.trail import Touched
from fhir_server.repository.authorising import Authority
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


def touch_contents(touched: Sequence[Touched], contents: Sequence[Document], authority: Authority) -> list[Touched]:
    """Return what the trail notes with content told in each record that it is carried in. One round trip.

    A Binary is nobody's by itself; who reads one sees what the resource that carries it is about, and a label on that
    one hides the trace as well. ``contents`` are those that the touched may be of.
    """
    carriers = authority.carriers(contents)
    return [told for one in touched for told in _in_records(one, carriers.get(one.reference, ()))]


def _in_records(touched: Touched, carriers: Iterable[Document]) -> Iterable[Touched]:
    told = dict.fromkeys(_carried(touched, to_touched("read", one)) for one in carriers)
    return told or (touched,)


def _carried(touched: Touched, carrier: Touched) -> Touched:
    labels = tuple(dict.fromkeys((*touched.labels, *carrier.labels)))
    return touched._replace(patients=carrier.patients, labels=labels)
