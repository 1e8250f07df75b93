"""Marks what lies in closed records, so that every search and read sees it as what it is (``search.closed``).

A record is closed while its Patient is inactive or deleted. The commit that closes or opens one marks what is there;
what is written into a closed record, by the few who may, bears the mark from the start. Nobody who writes into an open
record takes part in a lock for it; so a deposit that saw the record open may commit just after the closing. Therefore
the record is looked over again before the closing is answered, when what had begun before has mostly ended, and once
more by a job after the longest time that a commit is tried. Until then such a late deposit is seen by who made it.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from fhir_server.access.policy import Policy
from fhir_server.fhir.json import parse_stored
from fhir_server.jobs import COLLECTION, Job, Jobs, build_job
from fhir_server.repository.images import Image
from fhir_server.search.apart import APART_TYPES
from fhir_server.search.closed import CLOSED, content_of, records_of
from fhir_server.storage.store import Change, Document, Marking, Plan, Store, VersionConflict

CLOSING = "closing"
"""The kind of the jobs that look closed and opened records over once more."""
LATER = timedelta(seconds=60)
"""Commits are tried for 20 seconds (``storage.transaction``), and the database ends any transaction after 60."""
_BATCH = 5_000
"""Versions that one commit marks; what a record has beyond is marked by further ones."""
_INACTIVE = b'"active":false'


@dataclass(frozen=True, slots=True)
class Marks:
    """What goes into a plan with its changes; ``turned`` are the patients whose records it closes or opens."""

    changes: tuple[Change, ...]
    markings: tuple[Marking, ...] = ()
    records: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    turned: tuple[str, ...] = ()


def build_marks(
    store: Store,
    policy: Policy,
    images: Sequence[Image],
    changes: Sequence[Change],
    known: Mapping[str, Document],
    now: datetime,
) -> Marks:
    """Return the changes as they are to be marked, with what closes or opens records. No round trip if none is.

    ``changes`` are those of ``images`` and what goes with them; ``known`` are documents that have been read.
    """
    states = {**_carried_states(images), **_states_of(known), **_written_states(images)}
    if policy.unrestricted or policy.caller.trusted:  # nobody else writes into what is closed
        unknown = {patient for one in changes for patient in _records_of(one)} - states.keys()
        states |= _states_of(store.get_many(unknown, with_body=False))
    marked = tuple(_marked(one, states) for one in changes)
    written = [marking for one in marked for marking in _with_content(one)]
    turned = _turned(images)
    if not turned:
        return Marks(marked, tuple(written))
    markings = [one for patient, closed in turned.items() for one in _next_markings(store, patient, closed)]
    job = {**build_job(CLOSING, {"patients": list(turned)}, now), "after": now + LATER}
    return Marks(marked, (*written, *markings), ((COLLECTION, job),), tuple(turned))


def align(store: Store, patient: str) -> None:
    """Mark all of a patient's record as its state says now. Two round trips where nothing is to be marked.

    Whoever marks looks again afterwards: what they have marked by a state that has passed, they set right themselves.
    """
    while markings := _misaligned(store, patient):
        with suppress(VersionConflict):  # others write what is to be marked
            store.commit(Plan((), markings=markings))


def is_closed(patient: Document) -> bool:
    """Say whether a record is closed, by its Patient as it was read with its body."""
    if patient.deleted or patient.body is None:
        return True
    return _INACTIVE in patient.body and parse_stored(patient.body).get("active") is False


def find_unaligned(store: Store, documents: Iterable[Document]) -> list[str]:
    """Return the patients of whose records any of these resources is not marked as it should be. One round trip."""
    named = [(patient, one) for one in documents for patient in records_of(one.index)]
    patients = store.get_many(dict.fromkeys(patient for patient, _ in named))
    wrong = [
        patient
        for patient, one in named
        if patient in patients and (patient in one.index.get(CLOSED, ())) != is_closed(patients[patient])
    ]
    return list(dict.fromkeys(wrong))


@dataclass(frozen=True, slots=True)
class Realignment:
    """Does the jobs that closings and openings leave behind."""

    store: Store
    jobs: Jobs

    def run(self, job: Job) -> bool:
        """Do a claimed job; return True, for it is always done to its end. Raises ``StoreUnavailable``."""
        for patient in job.input["patients"]:
            align(self.store, patient)
        self.jobs.finish(job, {})
        return True


def _states_of(documents: Mapping[str, Document]) -> dict[str, bool]:
    """Return which records are closed, of the Patients among documents that were read with their marks."""
    patients = {name: one for name, one in documents.items() if name.startswith("Patient/")}
    return {name: one.deleted or name in one.index.get(CLOSED, ()) for name, one in patients.items()}


def _written_states(images: Sequence[Image]) -> dict[str, bool]:
    """Return which records will be closed, of the Patients that are written."""
    patients = [one for one in images if one.step.reference.startswith("Patient/")]
    return {one.step.reference: one.step.deletes or one.resource.get("active") is False for one in patients}


def _carried_states(images: Sequence[Image]) -> dict[str, bool]:
    """Return which records are closed, by the marks of what is changed."""
    present = [one.before.index for one in images if one.before is not None]
    return {patient: patient in one.get(CLOSED, ()) for one in present for patient in records_of(one)}


def _turned(images: Sequence[Image]) -> dict[str, bool]:
    """Return the records that are closed or opened, or whose content is not marked yet as it should be."""
    before = _states_of({one.step.reference: one.step.before for one in images if one.step.before is not None})
    after = _written_states(images)
    return {patient: closed for patient, closed in after.items() if before.get(patient, False) != closed}


def _marked(change: Change, states: Mapping[str, bool]) -> Change:
    """Return the change with the mark of what it leaves behind."""
    if change.reference.startswith("Binary/"):  # content is closed with what carries it
        return change
    wanted = tuple(one for one in _records_of(change) if states.get(one, False))
    if wanted == tuple(change.index.get(CLOSED, ())):
        return change
    index = {name: value for name, value in change.index.items() if name != CLOSED}
    if wanted:
        index[CLOSED] = list(wanted)
    restates = change.body is not None and change.expected > 0
    return replace(change, index=index, restates=restates or change.restates)


def _records_of(change: Change) -> tuple[str, ...]:
    """Return the patients whose records the change is in; none for the trail, which stays what it is."""
    return () if change.reference.partition("/")[0] in APART_TYPES else records_of(change.index)


def _with_content(change: Change) -> list[Marking]:
    """Return the markings of the content that a resource in closed records carries."""
    content = tuple(sorted(set(content_of(change.index))))
    if change.body is None or not content:
        return []
    return [Marking(patient, True, contents=content) for patient in change.index.get(CLOSED, ())]


def _misaligned(store: Store, patient: str) -> tuple[Marking, ...]:
    """Return what is to be marked next of a record by its state now, if anything is; of a patient who is there."""
    document = store.get(patient)
    return () if document is None else _next_markings(store, patient, is_closed(document))


def _next_markings(store: Store, patient: str, closed: bool) -> tuple[Marking, ...]:
    """Return what is to be marked next of a record, if anything is; two round trips then."""
    versions = store.find_unmarked(patient, closed=closed, limit=_BATCH)
    if not versions:
        return ()
    marking = Marking(patient, closed, tuple(versions))
    present = store.get_many(marking.references, with_body=False, index_fields=("x",)).values()
    carrying = [one for one in present if patient in records_of(one.index)]
    content = {name for one in carrying for name in content_of(one.index)}
    return (replace(marking, contents=tuple(sorted(content))),)
