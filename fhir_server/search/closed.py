"""The mark of what lies in a closed record: the index field ``cl`` names the patients whose records are closed.

A search without a patient in context cannot look at the state of every record it meets; so the state is in the index
of what is in the record. It is no value of the resource: who closes or opens a record sets it on all that is there, and
who writes sets it on what they write (``repository.closing``).

What has a patient (``pt``) is of that patient's record alone, whoever else it mentions: nobody's data goes out of sight
because another's record has been closed. What has no single patient, such as an appointment of two, is of the record of
each, and closed with the first of them. Content is closed with what carries it.
"""

from collections.abc import Mapping
from typing import Any

from fhir_server.fhir.reference import CONTENT

CLOSED = "cl"
_PATIENT = "Patient/"


def records_of(index: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the patients (``Patient/id``) whose records a resource is of, by its index."""
    patient = index.get("pt")
    if patient is not None:
        return (patient,)
    return tuple(one for one in index.get("c", ()) if one.startswith(_PATIENT))


def content_of(index: Mapping[str, Any]) -> list[str]:
    """Return the Binaries that a resource carries: those that its urls lead to and those that it refers to."""
    targets = (target.removeprefix(CONTENT) for target in index.get("x", ()))
    return [target for target in targets if target.startswith("Binary/")]


def to_record_filter(patient: str, at: str = "", **more: Any) -> dict[str, Any]:
    """Return the filter on what is of a patient's record, by the index fields below ``at`` (``now.``).

    ``more`` are conditions on further such fields; they go into each branch, where the index of it is asked.
    """
    conditions = {f"{at}{name}": value for name, value in more.items()}
    single = {f"{at}pt": patient, **conditions}
    several = {f"{at}c": patient, f"{at}pt": None, **conditions}
    return {"$or": [single, several]}
