"""The images of a write: of each step what is there before it, and what it leaves behind.

Spec: http://hl7.org/fhir/R4/http.html#versioning
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from fhir_server.access.policy import Action
from fhir_server.errors import Processing
from fhir_server.fhir.json import parse_stored
from fhir_server.fhir.reference import rewrite
from fhir_server.repository.change import Resource
from fhir_server.repository.planning import Step
from fhir_server.repository.sight import Part
from fhir_server.repository.versions import build_body, merge_meta, next_instant
from fhir_server.search.closed import CLOSED
from fhir_server.search.history_filter import to_policy_fields
from fhir_server.search.indexer import to_index
from fhir_server.storage.store import Change, Document
from fhir_server.validation.structure import check_structure


@dataclass(frozen=True, slots=True)
class Image:
    """A step with what it leaves behind: ``resource`` and ``index`` are empty for a delete.

    They are what the caller gives; the change may keep more of what was there.
    """

    step: Step
    change: Change | None
    resource: Resource
    index: Mapping[str, Any]

    @property
    def action(self) -> Action:
        """What the step does to the resource, as a policy calls it."""
        return "create" if self.step.live is None else self.step.proposal.action

    @property
    def before(self) -> Document | None:
        """The present version, None where there is none or a deleted one."""
        return self.step.live

    @property
    def after(self) -> Document | None:
        """The new version; None for a delete."""
        return None if self.step.deletes or self.change is None else to_document(self)

    @property
    def location(self) -> str | None:
        """Where the request asks for it."""
        return self.step.proposal.location


def build_image(
    step: Step,
    mapping: Mapping[str, str],
    versions: Mapping[str, str],
    now: datetime,
    base_url: str,
    owners: tuple[str, ...] = (),
    part: Part | None = None,
) -> Image:
    """Return the step with its change; one that would change nothing has none.

    ``owners`` are the keys of who puts a new resource here; it stays theirs, whoever changes it. ``part`` is what the
    caller sees of the present version, if that is not all: what they do not see stays in its places.
    """
    if step.keep:
        return Image(step, None, {}, {})
    if step.deletes:
        return _deletion(step, now)
    given = _wanted(step, part)
    if mapping:
        given = rewrite(given, mapping, versions)
    resource = part.restore(given) if part is not None else given
    meta = resource.get("meta") or {}
    live = step.live
    if live is not None and live.body is not None:
        if step.proposal.action != "patch":
            meta = merge_meta(meta, parse_stored(live.body).get("meta") or {})
        if build_body(resource, live.id, live.version, live.updated, meta) == live.body:
            return Image(replace(step, keep=True), None, {}, {})
    image = _new_version(step, resource, meta, now, base_url, owners)
    # What the caller answers for is what they gave, not what has been there all along.
    return image if part is None else replace(image, resource=given, index=to_index({**given, "meta": meta}, base_url))


def _wanted(step: Step, part: Part | None) -> Resource:
    proposal = step.proposal
    if proposal.patch is None:
        assert proposal.resource is not None
        return proposal.resource
    assert step.before is not None
    assert step.before.body is not None
    patched = proposal.patch(parse_stored(step.before.body) if part is None else part.shown)
    if issues := check_structure(patched, expected_type=proposal.resource_type):
        raise Processing(issues)
    return patched


def _new_version(
    step: Step, resource: Resource, meta: Mapping[str, Any], now: datetime, base_url: str, owners: tuple[str, ...]
) -> Image:
    before = step.before
    version = before.version + 1 if before else 1
    updated = next_instant(now, before.updated if before else None)
    id = step.reference.partition("/")[2]
    body = build_body(resource, id, version, updated, meta)
    index = to_index({**resource, "id": id, "meta": meta}, base_url)
    kept = {"o": owners} if before is None else {name: before.index.get(name, ()) for name in ("o", CLOSED)}
    index |= {name: list(values) for name, values in kept.items() if values}
    restates = before is not None and to_policy_fields(before.index) != to_policy_fields(index)
    change = Change(
        step.reference,
        version - 1,
        version,
        step.proposal.method,
        updated,
        body,
        index,
        step.proposal.position,
        restates,
        _marks_of(step),
    )
    return Image(step, change, resource, index)


def _deletion(step: Step, now: datetime) -> Image:
    live = step.live
    if live is None:
        return Image(step, None, {}, {})
    updated = next_instant(now, live.updated)
    change = Change(
        step.reference,
        live.version,
        live.version + 1,
        "DELETE",
        updated,
        None,
        live.index,
        step.proposal.position,
        closed=_marks_of(step),
    )
    return Image(step, change, {}, {})


def _marks_of(step: Step) -> tuple[str, ...]:
    """Return how the present version is marked; a deleted one bears its mark where no change looks for it."""
    return tuple(step.live.index.get(CLOSED, ())) if step.live is not None else ()


def to_document(image: Image) -> Document:
    """Return the version that the image's change makes."""
    change = image.change
    assert change is not None
    return Document(
        change.reference, change.version, change.updated, change.body is None, change.body, change.method, change.index
    )
