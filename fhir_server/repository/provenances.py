"""The Provenances that go with a write, as changes of the same plan."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from fhir_server.access.caller import Caller
from fhir_server.access.facts import owner_keys
from fhir_server.audit.provenance import Wrote, build_attached, build_provenances
from fhir_server.repository.change import Resource
from fhir_server.repository.versions import build_body, new_id
from fhir_server.search.indexer import to_index
from fhir_server.storage.store import Change, Document


class Written(Protocol):
    """What is told here of a change: what it does, what was, what will be."""

    @property
    def action(self) -> Any:
        """create, update, patch or delete."""

    @property
    def before(self) -> Document | None:
        """The version that is replaced."""

    @property
    def change(self) -> Change | None:
        """The change."""


def provenance_changes(
    caller: Caller, images: Sequence[Written], attached: Resource | None, now: datetime, base_url: str
) -> tuple[Change, ...]:
    """Return the changes that create the Provenances of what is written. Raises ``Structure`` for the attached one."""
    written = [_wrote(image, image.change) for image in images if image.change is not None]
    changes = [
        _change(provenance, one.patient, (), now, base_url)
        for one, provenance in build_provenances(caller, written, now)
    ]
    if attached is not None and written:
        patients = {one.patient for one in written}
        whose = patients.pop() if len(patients) == 1 else None
        changes.append(_change(build_attached(attached, written, now), whose, owner_keys(caller), now, base_url))
    return tuple(changes)


def _wrote(image: Written, change: Change) -> Wrote:
    before = image.before
    index = change.index
    return Wrote(
        "delete" if change.body is None else image.action,
        change.reference,
        change.version,
        before.version if before is not None else 0,
        index.get("pt"),
        tuple(before.index.get("l", ())) if before is not None else (),
        tuple(index.get("l", ())),
        tuple(dict.fromkeys((*_categories(index), *(_categories(before.index) if before is not None else ())))),
    )


def _categories(index: Mapping[str, Any]) -> list[str]:
    """Return the codes of a Consent's category; of other types nothing is made of it."""
    start = "Consent.category||"
    return [key[len(start) :] for key in index.get("t", ()) if key.startswith(start)]


def _change(provenance: Resource, patient: str | None, owners: tuple[str, ...], now: datetime, base_url: str) -> Change:
    """Return the creation. It is of the record whose data it tells of, though it names the patient nowhere."""
    id = new_id()
    meta = provenance.get("meta", {})
    index = to_index({**provenance, "id": id, "meta": meta}, base_url)
    if patient is not None:
        index |= {"pt": patient, "c": list(dict.fromkeys((*index.get("c", ()), patient)))}
    if owners:
        index["o"] = list(owners)
    return Change(f"Provenance/{id}", 0, 1, "POST", now, build_body(provenance, id, 1, now, meta), index)
