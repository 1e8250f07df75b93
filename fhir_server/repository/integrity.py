"""Referential integrity of local references, on write and on delete, each by its own setting.

Spec: http://hl7.org/fhir/R4/references.html, http://hl7.org/fhir/R4/http.html#delete
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fhir_server.access.policy import Policy
from fhir_server.errors import BusinessRule, Conflict, Issue, Text
from fhir_server.fhir.reference import CONTENT, local_references
from fhir_server.repository.authorising import POLICY_INDEX, Authority
from fhir_server.repository.images import Image
from fhir_server.repository.sight import Sight
from fhir_server.search.apart import APART_TYPES
from fhir_server.search.closed import content_of
from fhir_server.storage.store import Document, Store

_LISTED = 10


@dataclass(frozen=True, slots=True)
class Integrity:
    """What one caller's writes are held to: ``targets`` and ``referrers`` say which way references are checked."""

    store: Store
    policy: Policy
    base_url: str
    targets: bool = True
    referrers: bool = True

    def check(self, images: Sequence[Image], known: Mapping[str, Document]) -> Mapping[str, Document]:
        """Check what is written and deleted together; ``known`` are documents that are read already.

        Returns them with those that have been read for it.
        Raises ``BusinessRule`` for references that lead nowhere or open content, ``Conflict`` for what holds a
        deleted resource.
        """
        written = {image.step.reference for image in images if not image.step.deletes}
        deleted = {image.step.reference for image in images if image.change is not None and image.step.deletes}
        # An event tells what was, here or elsewhere: its references may lead nowhere.
        writes = [
            image
            for image in images
            if image.change is not None and not image.step.deletes and image.resource["resourceType"] not in APART_TYPES
        ]
        if self.targets and writes:
            missing = missing_targets((image.index for image in writes), written, known)
            if missing:
                known = {**known, **self._targets(missing)}
            located = [(image.step.proposal.location or "", image.resource, image.index) for image in writes]
            check_targets(located, written, deleted, known, self.base_url)
        if writes and not self.policy.unrestricted:
            self._check_content(writes, written)
        if self.referrers and deleted:
            after = {image.step.reference: image.index for image in writes}
            check_referrers(self.store, deleted, after, self._visible)
        return known

    def _check_content(self, writes: Sequence[Image], written: Collection[str]) -> None:
        """Let nobody open content to themselves by carrying it: it must be theirs to refer to, or written along."""
        carried = [
            (image, new_content(image.index, image.before.index if image.before else {}) - set(written))
            for image in writes
        ]
        wanted = {target for _, content in carried for target in content}
        if wanted:
            located = [(image.location or "", image.resource["resourceType"], content) for image, content in carried]
            check_content(located, self._targets(wanted))

    def _targets(self, references: Iterable[str]) -> dict[str, Document]:
        """Return what may be referred to of these."""
        if self.policy.unrestricted:
            return self.store.get_many(references, with_body=False)
        found = self.store.get_many(references, with_body=False, index_fields=POLICY_INDEX)
        return self._sight.referable(found)

    def _visible(self, references: Iterable[str]) -> Collection[str]:
        """Return those of the references that the caller may know of."""
        wanted = list(references)
        if self.policy.unrestricted or not wanted:
            return wanted
        found = self.store.get_many(wanted, with_body=False, index_fields=POLICY_INDEX)
        return self._sight.visible(found)

    @property
    def _sight(self) -> Sight:
        return Sight(Authority(self.policy, self.store), self.base_url)


def missing_targets(
    indexes: Iterable[Mapping[str, Any]], planned: Collection[str], known: Mapping[str, Document]
) -> set[str]:
    """Return the local targets that neither the plan writes nor ``known`` tells anything about."""
    targets: set[str] = set()
    for index in indexes:
        targets.update(_references(index))
    return {target for target in targets if target not in planned and target not in known}


def check_targets(
    images: Iterable[tuple[str, Mapping[str, Any], Mapping[str, Any]]],
    written: Collection[str],
    deleted: Collection[str],
    known: Mapping[str, Document],
    base_url: str,
) -> None:
    """Raise ``BusinessRule`` with every reference to a resource that will not be there.

    ``images`` are (location, resource, index) of what is written; ``location`` prefixes the expressions.
    """
    issues: list[Issue] = []
    for location, resource, index in images:
        dead = {target for target in _references(index) if not _lives(target, written, deleted, known)}
        if dead:
            issues.extend(_dangling(location, resource, dead, base_url))
    if issues:
        raise BusinessRule(issues)


def new_content(index: Mapping[str, Any], before: Mapping[str, Any]) -> set[str]:
    """Return the references of the Binaries that a resource carries and did not carry before."""
    return set(content_of(index)).difference(content_of(before))


def check_content(images: Iterable[tuple[str, str, Collection[str]]], known: Mapping[str, Document]) -> None:
    """Raise ``BusinessRule`` with every resource that would carry content which may not be referred to.

    ``images`` are (location, resource type, new content): who carries content opens it to its own readers.
    """
    issues = [
        Issue("business-rule", _text_of_missing("Binary"), expression=(location or kind,))
        for location, kind, content in images
        if any(not _lives(target, (), (), known) for target in content)
    ]
    if issues:
        raise BusinessRule(issues)


def _references(index: Mapping[str, Any]) -> list[str]:
    return [target for target in index.get("x", ()) if not target.startswith(CONTENT)]


def _lives(target: str, written: Collection[str], deleted: Collection[str], known: Mapping[str, Document]) -> bool:
    if target in written:
        return True
    document = known.get(target)
    return document is not None and not document.deleted and target not in deleted


def _dangling(location: str, resource: Mapping[str, Any], dead: set[str], base_url: str) -> Iterable[Issue]:
    for reference, path in local_references(resource, base_url):
        if f"{reference.type}/{reference.id}" in dead:
            text = _text_of_missing(reference.type)
            where = path if not location else location + path[path.index(".") :]
            yield Issue("business-rule", text, expression=(where,))


def _text_of_missing(resource_type: str) -> Text:
    return Text(
        f"The {resource_type} that is referred to does not exist here",
        f"La ressource {resource_type} à laquelle il est fait référence n’existe pas ici",
    )


def check_referrers(
    store: Store,
    deleted: Collection[str],
    after: Mapping[str, Mapping[str, Any]],
    visible: Callable[[Iterable[str]], Collection[str]],
    limit: int = _LISTED,
) -> None:
    """Raise ``Conflict`` when something that the caller may know of would still point to a deleted resource.

    ``after`` holds the indexes of what the same plan writes, by reference: those count as they will be. ``visible``
    returns those of some references that the caller may know of: what is hidden holds nothing back.
    """
    pointing = [
        (target, referrer)
        for target, referrers in store.find_referrers(deleted, limit + len(deleted) + len(after)).items()
        for referrer in referrers
        if referrer not in deleted and referrer not in after
    ]
    known = visible(dict.fromkeys(referrer for _, referrer in pointing))
    # In an order of their own: the one in which the database comes across them depends on what else there is.
    issues = [_referred_issue(target, referrer) for target, referrer in sorted(pointing) if referrer in known]
    issues += [
        _referred_issue(target, referrer)
        for referrer, index in after.items()
        for target in _references(index)
        if target in deleted
    ]
    if issues:
        raise Conflict(issues[:limit])


def _referred_issue(target: str, referrer: str) -> Issue:
    return Issue(
        "conflict",
        Text(
            f"{target} cannot be deleted: {referrer} refers to it",
            f"{referrer} fait référence à {target}, qui ne peut donc être supprimé",
        ),
    )
