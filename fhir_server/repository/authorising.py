"""The policy on documents that have been read and on changes that are about to be written.

What the caller may not see is treated as if it were not there; what they see but may not change so is refused.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from fhir_server.access.decision import Decision, Delta
from fhir_server.access.labels import differing
from fhir_server.access.policy import Policy
from fhir_server.access.resource_groups import TRAIL
from fhir_server.access.rule import Action
from fhir_server.errors import FhirError, Forbidden, Text, join_errors
from fhir_server.fhir.json import parse_stored
from fhir_server.fhir.reference import CONTENT, local_references
from fhir_server.search.ast import PointsTo, TypeIs
from fhir_server.search.building import build_and, build_not
from fhir_server.search.closed import CLOSED
from fhir_server.search.compiler import to_filter
from fhir_server.search.matcher import index_document
from fhir_server.storage.store import Document, Query, Store

POLICY_INDEX = ("t", "r", "x", "ds", "de", CLOSED)
"""Index fields that policies ask about, besides whose a resource is and its labels."""
Carriers = Mapping[str, Sequence[Document]]
"""What carries each Binary, by the Binary's reference."""
_MOST_CARRIERS = 1_000
_META = frozenset({"id", "meta", "resourceType"})
_SETTLED = frozenset({"versionId", "lastUpdated", "security"})
"""Of ``meta`` what the server sets, and the labels, which have rules of their own."""


class Change(Protocol):
    """One resource that is about to change: what it was, if it was there, and what it becomes."""

    @property
    def action(self) -> Action:
        """The policy's word for it; ``create`` where nothing was."""

    @property
    def before(self) -> Document | None:
        """The present version, with its index and body."""

    @property
    def after(self) -> Document | None:
        """The new version with its index; None for a deletion."""

    @property
    def location(self) -> str | None:
        """Where the request asks for it (``Bundle.entry[3].resource``)."""


@dataclass(frozen=True, slots=True)
class Authority:
    """One caller's policy with the store to look at what carries a Binary."""

    policy: Policy
    store: Store

    def about(self, documents: Iterable[Mapping[str, Any]]) -> "Authority":
        """Return the authority with the facts of the patients whose index documents these are."""
        patients = [one["pt"] for one in documents if one.get("pt")]
        return Authority(self.policy.about(patients), self.store)

    def require_scope(self, resource_type: str | None, action: Action) -> None:
        """Raise ``Forbidden`` when no scope names the action on the type; that tells nothing of any resource."""
        if resource_type is not None and not self.policy.is_scoped(resource_type, action):
            raise Forbidden(
                Text(
                    f"The access token does not allow {action} on {resource_type}",
                    f"Le jeton d’accès ne permet pas {action} sur {resource_type}",
                ),
                headers={"WWW-Authenticate": 'Bearer error="insufficient_scope"'},
            )

    def decide(self, action: Action, document: Document, carriers: Carriers | None = None) -> Decision:
        """Return the decision on a document that was read with the index fields that the policy asks about.

        ``carriers``: what carries the Binaries among those decided on together, if it has been read.
        """
        described = to_index_document(document)
        authority = self.about([described]) if self.policy.is_of_many else self
        if is_content(document) and action in ("read", "search", "refer"):
            known = self.carriers([document]) if carriers is None else carriers
            return authority._decide_content(action, document, described, known.get(document.reference, ()))
        return authority.policy.permits(action, described)

    def carriers(self, contents: Sequence[Document]) -> Carriers:
        """Return what carries each Binary. One round trip, unless some are carried by very many."""
        references = [one.reference for one in contents]
        found = self._naming(references)
        if len(references) > 1 and len(found) == _MOST_CARRIERS:
            return {one: tuple(self._naming([one])) for one in references}
        carriers: dict[str, list[Document]] = {one: [] for one in references}
        for document in found:
            for target in {name.removeprefix(CONTENT) for name in document.index.get("x", ())} & carriers.keys():
                carriers[target].append(document)
        return carriers

    def visible(self, documents: Mapping[str, Document]) -> dict[str, Document]:
        """Return the documents that the caller may know of."""
        return self._allowed(documents, ("read", "search"))

    def check(self, changes: Sequence[Change]) -> list[Decision]:
        """Return the decisions on all changes. Raises ``Forbidden`` naming every change that is not allowed."""
        images = [one for change in changes for one in (change.before, change.after) if one is not None]
        self._gather(map(to_index_document, images))
        decisions: list[Decision] = []
        failures: list[FhirError] = []
        for change in changes:
            decision = self._decide_change(change)
            decisions.append(decision)
            if not decision.allowed:
                error = Forbidden(_refusal(decision))
                failures.append(error.within(change.location) if change.location else error)
        if failures:
            raise join_errors(failures)
        return decisions

    def referable(self, documents: Mapping[str, Document]) -> dict[str, Document]:
        """Return the documents that the caller may refer to, and the deleted ones."""
        live = {name: one for name, one in documents.items() if not one.deleted}
        allowed = self._allowed(live, ("refer",))
        return {name: one for name, one in documents.items() if one.deleted or name in allowed}

    def _allowed(self, documents: Mapping[str, Document], actions: Sequence[Action]) -> dict[str, Document]:
        """Return the documents on which any of the actions is allowed; what has to be read for it is read at once."""
        contents = [one for one in documents.values() if is_content(one)]
        carriers = self.carriers(contents) if contents else {}
        read = (*documents.values(), *(one for each in carriers.values() for one in each))
        self._gather(map(to_index_document, read))
        return {
            reference: one
            for reference, one in documents.items()
            if any(self.decide(action, one, carriers).allowed for action in actions)
        }

    def _gather(self, described: Iterable[Mapping[str, Any]]) -> None:
        """Read the facts of all these patients at once; what follows finds them read."""
        if self.policy.is_of_many:
            self.about(described).policy.facts()

    def _decide_change(self, change: Change) -> Decision:
        before, after = change.before, change.after
        delta = to_delta(before, after)
        described = [to_index_document(one) for one in (before, after) if one is not None]
        policy = self.about(described).policy
        decision = Decision(False, missing="rule")
        for document in described:
            decision = policy.permits(change.action, document, delta if after is not None else None)
            if not decision.allowed:
                return decision
        return decision

    def _naming(self, references: Sequence[str]) -> list[Document]:
        # What tells of a deed carries nothing: the Provenance of putting content here must not stand for its document.
        named = PointsTo(tuple(name for one in references for name in (f"{CONTENT}{one}", one)))
        tree = build_and([named, build_not(TypeIs(tuple(sorted(TRAIL))))])
        return self.store.find(Query(to_filter(tree), (), _MOST_CARRIERS, with_body=False, with_index=True))

    def _decide_content(
        self, action: Action, document: Document, described: Mapping[str, Any], carriers: Sequence[Document]
    ) -> Decision:
        """Decide on a Binary by what carries it; what nothing carries is its depositor's.

        Spec: http://hl7.org/fhir/R4/binary.html#security
        """
        if not self.policy.is_scoped("Binary", action):
            return Decision(False, missing="scope")
        if not carriers:
            decision = self.policy.permits(action, described)
        else:
            decisions = (self.decide("read", carrier) for carrier in carriers)
            decision = next((one for one in decisions if one.allowed), Decision(False, missing="rule"))
        return decision if decision.allowed and self._sees_context(document) else Decision(False, missing="rule")

    def _sees_context(self, document: Document) -> bool:
        """Say whether the resource that the Binary names as its ``securityContext``, if any, may be read.

        One that is not on this server may not.
        """
        named = self._context_of(document)
        if named is None:
            return True
        found = self.store.get_many([named], with_body=False, index_fields=("*",)).get(named)
        return found is not None and not found.deleted and self.decide("read", found).allowed

    def _context_of(self, document: Document) -> str | None:
        """Return the ``securityContext``: ``Type/id`` of one on this server, however it was written."""
        if document.body is None:  # read by its index alone, where a Binary refers to nothing else
            return next(iter(document.index.get("x", ())), None)
        context = parse_stored(document.body).get("securityContext", {})
        binary = {"resourceType": "Binary", "securityContext": context}
        local = local_references(binary, self.about(()).policy.facts().base_url)
        return str(local[0][0]) if local else context.get("reference")


def is_content(document: Document) -> bool:
    """Say whether it is a Binary that is there."""
    return document.resource_type == "Binary" and not document.deleted


def to_index_document(document: Document) -> dict[str, Any]:
    """Return what the matcher looks at, of a document read with index fields."""
    return index_document(document.reference, document.updated, document.index)


def to_delta(before: Document | None, after: Document | None) -> Delta:
    """Return how a change goes from one version to the next; of a new resource every label counts as put on."""
    if after is None:
        return Delta()
    labels = differing(before.index.get("l", ()) if before else (), after.index.get("l", ()))
    if before is None or before.body is None or after.body is None:
        return Delta(labels=labels)
    old, new = parse_stored(before.body), parse_stored(after.body)
    names = (old.keys() | new.keys()) - _META
    elements = frozenset(name.removeprefix("_") for name in names if old.get(name) != new.get(name))
    if _claims(old) != _claims(new):
        elements |= {"meta"}
    return Delta(elements, labels, moves=before.index.get("pt") != after.index.get("pt"))


def _claims(resource: Mapping[str, Any]) -> dict[str, Any]:
    """Return what ``meta`` says besides the version and the labels: source, profiles, tags."""
    return {name: value for name, value in resource.get("meta", {}).items() if name not in _SETTLED}


def _refusal(decision: Decision) -> Text:
    match decision.missing:
        case "scope":
            return Text("The access token does not allow this write", "Le jeton d’accès ne permet pas cette écriture")
        case "labels":
            return Text(
                "You may not put these security labels on, or take them off",
                "Vous ne pouvez ni poser ni retirer ces étiquettes de sécurité",
            )
        case "rights":
            return Text("You may not change this part of it", "Vous ne pouvez pas en modifier cette partie")
        case _:
            return Text("You may not write this here", "Vous ne pouvez pas écrire ceci ici")
