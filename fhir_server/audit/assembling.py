"""An event as it is served and searched: a frame with its gaps filled, and the index that search needs. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

from fhir_server.audit.frames import HEAD, Frame
from fhir_server.audit.moulds import Cast, details_of
from fhir_server.fhir.json import parse_json
from fhir_server.search.indexer import to_index
from fhir_server.search.stored import stored_parameters_of
from fhir_server.storage.splicing import Stored, to_document

_PATIENT = "AuditEvent.patient>"


class Told(Protocol):
    """Whom and what one event names: the patient, and resources with the versions shown (0: not known)."""

    @property
    def patient(self) -> str | None:
        """The patient whose record it is about, ``Patient/id``."""

    @property
    def resources(self) -> Mapping[str, tuple[int, ...]]:
        """The versions of each resource."""


def assemble(id: str, frame: Frame, common: Cast, told: Told, recorded: datetime) -> Stored:
    """Return the document of one event."""
    start = f'{{"resourceType":"AuditEvent","id":"{id}{common.after_id}'
    body = f"{start}{_entities(frame, told)}{common.end}".encode()
    own: dict[str, Any] = {"_id": f"AuditEvent/{id}", "body": body}
    if stored_parameters_of("AuditEvent"):
        index = to_index(parse_json(body), frame.base_url)
        return to_document({**own, **HEAD, "updated": recorded, **index})
    return to_document({**own, **to_pointers(frame, told)}, common.shared)


def _entities(frame: Frame, told: Told) -> str:
    """Return the JSON of whom and what the event names, a comma after each."""
    start, end = '{"what":{"reference":"', frame.data_after_reference
    parts = [f"{start}{reference}{end}{details_of(versions)}}}," for reference, versions in told.resources.items()]
    if told.patient is not None:
        parts.append(f"{start}{told.patient}{frame.patient_end},")
    return "".join(parts)


def to_pointers(frame: Frame, told: Told) -> dict[str, Any]:
    """Return of the index, as ``to_index`` would of the body, what names somebody or something: r, x, c, pt."""
    references = dict.fromkeys(told.resources)
    if told.patient is not None:
        references[told.patient] = None
    patients = [one for one in references if one.startswith("Patient/")]
    pointers = [f"AuditEvent.entity>{one}" for one in references]
    pointers += [f"{_PATIENT}{one}" for one in patients]
    compartments = list(dict.fromkeys((*frame.compartments, *patients)))
    index: dict[str, Any] = {
        "r": list(dict.fromkeys((*frame.references, *pointers))),
        "x": list(dict.fromkeys((*frame.targets, *references))),
        "c": compartments,
    }
    records = [one for one in compartments if one.startswith("Patient/")]
    if len(records) == 1:
        index["pt"] = records[0]
    return {name: value for name, value in index.items() if value}
