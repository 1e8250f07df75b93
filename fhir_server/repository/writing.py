"""The one way in: proposals become a plan, and the plan one commit, however many they are.

Look-ups that a plan needs (matches of criteria, present versions, targets of references) take a fixed number of
round trips; everything between is computed. Whoever writes first wins: the plan carries the versions it has seen,
and when one has moved on, the whole is planned again.
Spec: http://hl7.org/fhir/R4/http.html#trules
"""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from fhir_server.access.decision import Decision
from fhir_server.access.facts import owner_keys
from fhir_server.access.policy import Policy
from fhir_server.audit.trail import Touched, Trail
from fhir_server.errors import Conflict, FhirError, Issue, MethodNotAllowed, Structure, Text, join_errors
from fhir_server.fhir.reference import split_url
from fhir_server.repository import criteria as conditions
from fhir_server.repository.authorising import POLICY_INDEX, Authority, is_content
from fhir_server.repository.change import UNCHANGING, Criteria, Known, Proposal, Resource, Written
from fhir_server.repository.closing import Marks, align, build_marks
from fhir_server.repository.images import Image, build_image, to_document
from fhir_server.repository.integrity import Integrity
from fhir_server.repository.looking_up import to_action
from fhir_server.repository.open_records import OpenRecords
from fhir_server.repository.planning import Step, check_conditions, identify_steps, references_of
from fhir_server.repository.provenances import provenance_changes
from fhir_server.repository.published import check_published
from fhir_server.repository.publishing import Defined, Publication, publish, wait_until_seen
from fhir_server.repository.sight import Part, Sight
from fhir_server.repository.stored_parameters import ParameterRegistry
from fhir_server.repository.touching import to_touched, touch_contents
from fhir_server.search.apart import APART_TYPES
from fhir_server.search.closed import CLOSED
from fhir_server.search.plans import DEFAULT_LIMITS, Limits
from fhir_server.search.stored import stored_parameters
from fhir_server.storage.store import Document, Guard, OutdatedIndex, Plan, Store, VersionConflict
from fhir_server.validation.structure import check_structure

_PAUSE = 0.002
_LONGEST_PAUSE = 0.1
_MOST_DELETED = 1_000


@dataclass(frozen=True, slots=True)
class WriteRules:
    """The settings that bear on writing."""

    update_as_create: bool = True
    check_targets: bool = True
    check_referrers: bool = True
    attempts: int = 40
    joins: Limits = DEFAULT_LIMITS
    """What criteria and searches may cost by their chains, ``_has`` and ``_list``."""
    published: frozenset[str] = frozenset()
    """References of what the server itself publishes."""


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes proposals under one caller's policy."""

    store: Store
    policy: Policy
    rules: WriteRules
    base_url: str
    clock: Callable[[], datetime]
    registry: ParameterRegistry
    trail: Trail = field(default_factory=Trail)
    records: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    """Further documents to be committed with what is written."""
    provenance: Resource | None = None
    """The Provenance that the request attaches to all it writes."""

    def write(self, proposals: Sequence[Proposal]) -> list[Written]:
        """Write all proposals or none and return what became of each, in their order.

        Raises the errors of ``validation``, ``planning``, ``criteria`` and ``integrity`` with the issues of every
        proposal, and ``Conflict`` when others kept writing the same resources all the while.
        """
        check_unchanging(proposals)
        check_resources(proposals)
        self._check_scopes(proposals)
        conditional = conditions.conditional_references_of(proposals, self.base_url)
        for attempt in range(self.rules.attempts):
            try:
                return self._attempt(proposals, conditional)
            except OutdatedIndex:
                self.registry.refresh()
            except VersionConflict:
                time.sleep(random.uniform(0, min(_LONGEST_PAUSE, _PAUSE * 2**attempt)))
        raise Conflict(_BUSY)

    def _attempt(self, proposals: Sequence[Proposal], conditional: dict[str, Criteria]) -> list[Written]:
        if any(one.resource_type == "SearchParameter" for one in proposals):
            self.registry.refresh()
        guards, matches = self._match(proposals, conditional)
        steps = identify_steps(proposals, Known(matches=matches))
        created = {
            step.proposal.criteria.key: step.reference for step in steps if step.guarded and step.proposal.criteria
        }
        mapping = conditions.resolve_references(conditional, matches, created)
        mapping.update(_full_urls(steps, self.base_url))
        known = self._known(steps)
        steps = check_conditions(steps, Known(known), self._creates_by_update)
        images = self._images(steps, mapping, self._sight.parts(_changed(steps)))
        changing = [image for image in images if image.change is not None]
        decisions = self._authorise(changing)
        check_published((image.step.reference for image in changing), self.rules.published, self.policy.caller)
        known = self._integrity.check(images, known)
        if changing:
            publication, marks = self._publish(changing), self._marks(changing, known)
            touched = self.trail.records(self._touched(changing, decisions))
            locks = (*_guards(steps, guards), *publication.guards)
            records = (*self.records, *publication.records, *touched, *marks.records)
            self.store.commit(Plan(marks.changes, locks, records, stored_parameters().generation, marks.markings))
            self._settle(publication, marks, changing)
        return _outcomes(proposals, images)

    def _marks(self, images: Sequence[Image], known: Mapping[str, Document]) -> Marks:
        """Return the changes and the Provenances of them, all as they lie in records that are open or closed."""
        now = self.clock()
        changes = tuple(image.change for image in images if image.change is not None)
        changes += provenance_changes(self.policy.caller, images, self.provenance, now, self.base_url)
        return build_marks(self.store, self.policy, images, changes, known, now)

    def _settle(self, publication: Publication, marks: Marks, images: Sequence[Image]) -> None:
        """Return when what has been written holds for everybody, in every process."""
        if publication.guards:
            wait_until_seen(self.registry)
        if any(map(_closes_record, images)):
            OpenRecords().settle()
        for patient in marks.turned:
            align(self.store, patient)

    def _creates_by_update(self, resource_type: str) -> bool:
        return self.rules.update_as_create and self.policy.chooses_ids(resource_type)

    def _check_scopes(self, proposals: Sequence[Proposal]) -> None:
        """Raise ``Forbidden`` when the caller's token is not for what is asked, whatever is there."""
        authority = Authority(self.policy, self.store)
        for proposal in proposals:
            authority.require_scope(proposal.resource_type, proposal.action)
            if self.provenance is not None:
                authority.require_scope("Provenance", "create")
            if proposal.criteria is not None:
                authority.require_scope(proposal.resource_type, "search")

    def _known(self, steps: Sequence[Step]) -> Mapping[str, Document]:
        """Return the present versions of what the steps name, as far as the caller may know of them."""
        references = references_of(steps)
        if not references:
            return {}
        if self.policy.unrestricted:
            return self.store.get_many(references, index_fields=("t", CLOSED))
        known = self.store.get_many(references, index_fields=POLICY_INDEX)
        return self._sight.visible(known)

    @property
    def _sight(self) -> Sight:
        return Sight(Authority(self.policy, self.store), self.base_url)

    def _authorise(self, images: Sequence[Image]) -> list[Decision]:
        """Return the decision on each change, what was and what will be. Raises ``Forbidden`` with all that fail."""
        if self.policy.unrestricted:
            return [Decision(True, self.policy.caller.kind)] * len(images)
        return Authority(self.policy, self.store).check(images)

    def _touched(self, images: Sequence[Image], decisions: Sequence[Decision]) -> list[Touched]:
        touched = [
            to_touched(image.action, to_document(image), decision.rule)
            for image, decision in zip(images, decisions, strict=True)
        ]
        contents = [image.before for image in images if image.before is not None and is_content(image.before)]
        if not contents or self.trail.origin is None:
            return touched
        return touch_contents(touched, contents, Authority(self.policy, self.store))

    def _publish(self, images: Sequence[Image]) -> Publication:
        defined = [
            Defined(
                image.change,
                None if image.step.deletes else image.resource,
                image.step.live,
                image.step.proposal.location,
            )
            for image in images
            if image.change is not None and image.step.reference.startswith("SearchParameter/")
        ]
        return publish(defined, self.policy, stored_parameters(), self.clock()) if defined else Publication()

    def _match(
        self, proposals: Sequence[Proposal], conditional: Mapping[str, Criteria]
    ) -> tuple[dict[str, int], dict[str, tuple[Document, ...]]]:
        wanted = [(one.criteria, one.action) for one in proposals if one.criteria is not None]
        written = {criteria.key for criteria, _ in wanted}
        guarded = {criteria.key for criteria, action in wanted if action in ("create", "update")}
        # What is written on a condition is found by searching, though a reference by the same criteria might find more.
        referred = [(one, "search" if one.key in written else to_action(one)) for one in conditional.values()]
        # The guards are read first: a match that appears in between then shows as a guard that has moved.
        guards = dict.fromkeys(guarded, 0) | (self.store.guards(guarded) if guarded else {})
        matches = conditions.find_matches(
            self.store,
            self.policy,
            [*wanted, *referred],
            _MOST_DELETED + 1 if any(one.multiple and one.criteria for one in proposals) else 2,
            self.rules.joins,
            self.base_url,
        )
        return guards, matches

    def _images(self, steps: Sequence[Step], mapping: Mapping[str, str], parts: Mapping[str, Part]) -> list[Image]:
        images: list[Image] = []
        failures: list[FhirError] = []
        now = self.clock()
        versions = {step.reference: str(step.before.version + 1 if step.before else 1) for step in steps}
        for step in steps:
            try:
                images.append(
                    build_image(step, mapping, versions, now, self.base_url, self._owners, parts.get(step.reference))
                )
            except FhirError as error:
                failures.append(error.within(step.proposal.location) if step.proposal.location else error)
        if failures:
            raise join_errors(failures)
        return images

    @property
    def _integrity(self) -> Integrity:
        rules = self.rules
        return Integrity(self.store, self.policy, self.base_url, rules.check_targets, rules.check_referrers)

    @property
    def _owners(self) -> tuple[str, ...]:
        return () if self.policy.unrestricted else owner_keys(self.policy.caller)


def check_unchanging(proposals: Sequence[Proposal]) -> None:
    """Raise ``MethodNotAllowed`` when a proposal changes what is only ever added to."""
    if any(one.resource_type in APART_TYPES and one.action != "create" for one in proposals):
        raise MethodNotAllowed(UNCHANGING)


def check_resources(proposals: Sequence[Proposal]) -> None:
    """Raise ``Structure`` with every structural problem of every proposed resource."""
    issues: list[Issue] = []
    for proposal in proposals:
        if proposal.resource is not None:
            found = check_structure(proposal.resource, expected_type=proposal.resource_type)
            if found and proposal.location:
                found = list(Structure(found).within(proposal.location).issues)
            issues.extend(found)
    if issues:
        raise Structure(issues)


def _closes_record(image: Image) -> bool:
    """Say whether a patient's record that was there is closed, or gone."""
    if not image.step.reference.startswith("Patient/") or image.step.live is None:
        return False
    return image.step.deletes or image.resource.get("active") is False


def _changed(steps: Sequence[Step]) -> list[Document]:
    """Return the present versions of what is updated or patched."""
    return [step.live for step in steps if step.live is not None and not step.keep and not step.deletes]


def _full_urls(steps: Sequence[Step], base_url: str) -> dict[str, str]:
    """Return what stands for each entry in the others: its fullUrl, and its relative form when that is a REST URL."""
    mapping: dict[str, str] = {}
    for step in steps:
        full_url = step.proposal.full_url
        if full_url is None or step.deletes:
            continue
        relative = split_url(full_url)
        if relative is not None and relative != step.reference:
            mapping[relative] = step.reference
        if full_url != step.reference:
            mapping[full_url] = step.reference
    return mapping


def _guards(steps: Sequence[Step], counters: Mapping[str, int]) -> tuple[Guard, ...]:
    keys = {step.proposal.criteria.key for step in steps if step.guarded and step.proposal.criteria}
    return tuple(Guard(key, counters[key]) for key in sorted(keys))


def _outcomes(proposals: Sequence[Proposal], images: Sequence[Image]) -> list[Written]:
    documents = {image.step.reference: to_document(image) for image in images if image.change is not None}
    taken: dict[int, list[Image]] = {}
    for image in images:
        taken.setdefault(id(image.step.proposal), []).append(image)
    return [_outcome(taken.get(id(proposal), []), documents) for proposal in proposals]


def _outcome(images: Sequence[Image], documents: Mapping[str, Document]) -> Written:
    changed = [image for image in images if image.change is not None]
    if not images or (images[0].step.deletes and not changed):
        return Written(None, changed=False, count=0)
    first = (changed or images)[0]
    document = documents.get(first.step.reference, first.step.before)
    created = bool(changed) and first.step.live is None and not first.step.deletes
    return Written(document, created, bool(changed), len(changed))


_BUSY = Text(
    "Others keep changing the same resource: try again",
    "D’autres modifient sans cesse la même ressource : réessayez",
)
