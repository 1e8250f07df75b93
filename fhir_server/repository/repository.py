"""The door to clinical data: whoever holds a ``Repository`` can reach what its caller may reach, and nothing else."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from fhir_server.access.caller import LOCAL_CALLER
from fhir_server.access.care_circle import is_attending
from fhir_server.access.policy import Action, Policy
from fhir_server.audit.codes import HIDDEN_FROM_REPRESENTATIVES, to_coding
from fhir_server.audit.provenance import build_consequence
from fhir_server.audit.templates import EMERGENCY
from fhir_server.audit.touched import Touched
from fhir_server.audit.trail import Trail
from fhir_server.errors import Deleted, NotFound
from fhir_server.fhir.json import parse_stored
from fhir_server.repository.authorising import POLICY_INDEX, Authority, is_content
from fhir_server.repository.change import Criteria, Proposal, Resource, Written
from fhir_server.repository.concerned import Asked, find_concerned, find_unseen
from fhir_server.repository.criteria import build_criteria, find_matches
from fhir_server.repository.facts import FactsReader
from fhir_server.repository.including import Included, find_included
from fhir_server.repository.past import count_versions, find_versions
from fhir_server.repository.planning import absent, gone
from fhir_server.repository.searching import PlannedSearch, plan_search
from fhir_server.repository.sight import Sight
from fhir_server.repository.stored_parameters import ParameterRegistry
from fhir_server.repository.touching import to_touched, touch_contents
from fhir_server.repository.writing import Writer, WriteRules
from fhir_server.search.ast import Everything, Node, PatientIs, TokenIn, TypeIs
from fhir_server.search.building import build_and
from fhir_server.search.compiler import to_filter
from fhir_server.search.history_filter import to_history_filter
from fhir_server.search.includes import Include
from fhir_server.search.param_types.token import code_key
from fhir_server.storage.documents import collection_of
from fhir_server.storage.records import Records
from fhir_server.storage.store import Document, HistoryQuery, Query, Store


@dataclass(frozen=True, slots=True)
class Repository:
    """Reads and writes under one caller's policy. ``base_url`` is the server's own, without a trailing slash."""

    store: Store
    policy: Policy
    rules: WriteRules
    base_url: str
    clock: Callable[[], datetime]
    registry: ParameterRegistry
    trail: Trail = field(default_factory=Trail)
    provenance: Resource | None = None
    """What the request attaches to all it writes (``X-Provenance``)."""

    def read(self, resource_type: str, id: str) -> Document:
        """Return the current version. Raises ``NotFound``, or ``Deleted`` when it is gone.

        Spec: http://hl7.org/fhir/R4/http.html#read
        """
        document = self.find(resource_type, id)
        if document is None:
            raise NotFound(absent(resource_type))
        if document.deleted:
            raise Deleted(gone(resource_type), headers={"ETag": f'W/"{document.version}"'})
        return document

    def find(self, resource_type: str, id: str) -> Document | None:
        """Return the current version, a deleted one included, or ``None`` when the caller may see none.

        Raises ``Forbidden`` when the caller's token is not for reading the type at all.
        """
        reference = f"{resource_type}/{id}"
        brought = self._bring_along(reference)
        authority = self.authority
        authority.require_scope(resource_type, "read")
        tree = self.policy.filter(resource_type, "read")
        if isinstance(tree, Everything):
            found = self.store.get(reference)
            return self._show("read", found) if found is not None else None
        identity = self.policy.is_by_identity(resource_type, "read") and not self.policy.is_of_many
        found = brought.get(reference) if brought is not None and identity else self._get(reference, identity)
        if found is None:
            return None
        decision = authority.decide("read", found)
        return self._show("read", found, decision.rule) if decision.allowed else None

    def vread(self, resource_type: str, id: str, version: int) -> Document:
        """Return one version. Raises ``NotFound``, or ``Deleted`` when that version is a deletion.

        Spec: http://hl7.org/fhir/R4/http.html#vread
        """
        reference = f"{resource_type}/{id}"
        self.authority.require_scope(resource_type, "vread")
        restriction = self._history_filter(resource_type, reference)
        if restriction:
            filter = {"$and": [{"version": version}, restriction]}
            found = self.store.history(HistoryQuery(reference, limit=1, filter=filter))
            document = found[0] if found else None
        else:
            document = self.store.get_version(reference, version)
        document = self._show("vread", document) if document is not None else None
        if document is None:
            raise NotFound(absent(resource_type))
        if document.deleted:
            raise Deleted(gone(resource_type))
        return document

    def history(self, query: HistoryQuery) -> list[Document]:
        """Return the versions that ``query`` asks for and the caller may see, newest first.

        The last of ``query.limit`` tells that there are more, and is not to be shown.
        """
        found = find_versions(self.store, self.sight, self._restrict(query))
        self.disclose("history", found[: query.limit - 1])
        return found

    def count_history(self, query: HistoryQuery) -> int:
        """Return how many versions ``history`` would list over all its pages, up to the store's bound."""
        return count_versions(self.store, self.sight, self._restrict(query))

    @property
    def records(self) -> Records:
        """The collections of what is not FHIR."""
        return self.store.records

    @property
    def authority(self) -> Authority:
        """The policy as it is asked about documents and changes."""
        return Authority(self.policy, self.store)

    @property
    def sight(self) -> Sight:
        """What the caller is shown of resources that list others."""
        return Sight(self.authority, self.base_url)

    def disclose(self, action: Action, documents: Sequence[Document], rule: str = "") -> None:
        """Note that the caller is about to be shown these."""
        if self.trail.origin is None:
            return
        touched = [to_touched(action, one, rule) for one in documents]
        if contents := [one for one in documents if is_content(one)]:
            touched = touch_contents(touched, contents, self.authority)
        self.trail.disclose(self._in_emergency(touched) if self.policy.caller.kind == "professional" else touched)

    def _in_emergency(self, touched: Sequence[Touched]) -> list[Touched]:
        """Return what is noted, with the mode of the emergency that the caller has declared for its patient."""
        rules = {patients: self._emergency_rule(patients) for patients in {one.patients for one in touched}}
        return [one._replace(rule=rules[one.patients] or one.rule) for one in touched]

    def _emergency_rule(self, patients: tuple[str, ...]) -> str:
        """Return the rule of an access in the emergency that is declared for the patients; empty if none is."""
        records = self.policy.about(patients).facts().records if patients else ()
        return next((f"{EMERGENCY}{record.emergency}" for record in records if record.emergency), "")

    def find_concerned(self, asked: Sequence[Asked]) -> list[Touched]:
        """Return what was asked for in vain, with the patients to be told; see ``concerned``. For the trail alone."""
        return find_concerned(self.sight, asked)

    def find_unseen(self, references: Iterable[str]) -> list[str]:
        """Return those of the references under which there is nothing that the caller may know of."""
        return find_unseen(self.sight, references)

    def restrict(self, resource_type: str | None, tree: Node, action: Action = "search") -> Node:
        """Return ``tree`` narrowed to what the caller may see of the type.

        Raises ``Forbidden`` when the caller's token is not for searching the type at all.
        """
        self.authority.require_scope(resource_type, action)
        return build_and([tree, self.policy.filter(resource_type, action)])

    def plan(self, tree: Node) -> PlannedSearch:
        """Return a restricted tree with its joins resolved, ready for its pages and its count. Raises ``TooCostly``."""
        return plan_search(self.store, self.policy, self.rules.joins, tree, self.disclose, self.base_url)

    def include(self, includes: Sequence[Include], matches: Sequence[Document], limit: int) -> Included:
        """Return what the includes bring along with a page of ``plan`` that the caller may see; see ``including``."""
        found = find_included(self.store, self.sight, includes, matches, limit)
        self.disclose("search", found.documents)
        return found

    def match(self, criteria: Criteria, action: Action) -> tuple[Document, ...]:
        """Return at most two live matches, without bodies."""
        wanted = [(criteria, action)]
        found = find_matches(self.store, self.policy, wanted, joins=self.rules.joins, base_url=self.base_url)
        return found[criteria.key]

    def criteria(self, resource_type: str, parameters: Sequence[tuple[str, str]]) -> Criteria:
        """Return the criteria that ``parameters`` state, or raise ``Invalid``."""
        return build_criteria(resource_type, parameters, self.base_url)

    def write(self, proposals: Sequence[Proposal]) -> list[Written]:
        """Write all or nothing; see ``Writer.write``."""
        writer = Writer(
            self.store,
            self.policy,
            self.rules,
            self.base_url,
            self.clock,
            self.registry,
            self.trail,
            provenance=self.provenance,
        )
        written = writer.write(proposals)
        documents = [one.document for one in written if one.document is not None]
        shown = iter(self.sight.shown(documents, written=True))
        written = [replace(one, document=next(shown)) if one.document is not None else one for one in written]
        self.disclose("read", [one.document for one in written if one.document is not None and not one.changed])
        return written

    def write_as_server(
        self,
        proposals: Sequence[Proposal],
        *records: tuple[str, Mapping[str, Any]],
        article: str,
        reason: str,
    ) -> list[Written]:
        """Write what the server itself has to say about what the caller does, with further records, all or nothing.

        It is noted in the caller's trail, and a Provenance says by which ``article`` and for what ``reason``.
        For consequences that the law attaches to an act, never for the act itself. Those of a secret connection are
        kept from representatives, as its traces are.
        """
        if self.policy.caller.secret:
            proposals = [_kept_from_representatives(one) for one in proposals]
        policy, caused = Policy(LOCAL_CALLER), build_consequence(self.policy.caller, article, reason)
        writer = Writer(
            self.store, policy, self.rules, self.base_url, self.clock, self.registry, self.trail, records, caused
        )
        return writer.write(proposals)

    def attending_doctors(self, patient: str) -> list[dict[str, Any]]:
        """Return references to the attending doctors (médecin traitant) in a patient's active care circles."""
        tree = build_and(
            [TypeIs(("CareTeam",)), PatientIs((patient,)), TokenIn((code_key("CareTeam.status", "active"),))]
        )
        circles = self.store.find(Query(to_filter(tree), ()))
        return [
            member["member"]
            for circle in circles
            if circle.body is not None
            for member in parse_stored(circle.body).get("participant", ())
            if "member" in member and is_attending(member)
        ]

    def _show(self, action: Action, document: Document, rule: str = "") -> Document | None:
        """Return the document as the caller is shown it, and note that; None if it would tell them nothing."""
        shown = self.sight.shown([document])
        self.disclose(action, shown, rule)
        return shown[0] if shown else None

    def _bring_along(self, reference: str) -> dict[str, Document] | None:
        """Return the resource with the record that a patient's policy asks about, both in one round trip."""
        source = self.policy.source
        own = source.own_record if isinstance(source, FactsReader) else None
        if own is None or not isinstance(source, FactsReader) or collection_of(reference) != "resources":
            return None
        asked = source.open_records.clock()
        found = self.store.get_many({own, reference})
        source.take(own, found.get(own), asked)
        return found

    def _get(self, reference: str, identity: bool) -> Document | None:
        """Return the document with what the policy asks about; the shortest way where that is whose it is."""
        if identity:
            return self.store.get(reference)
        return self.store.get_many([reference], index_fields=POLICY_INDEX).get(reference)

    def _restrict(self, query: HistoryQuery) -> HistoryQuery:
        kind = query.resource_type if query.reference is None else query.reference.partition("/")[0]
        self.authority.require_scope(kind, "history")
        return replace(query, filter=self._history_filter(kind, query.reference))

    def _history_filter(self, resource_type: str | None, reference: str | None) -> Mapping[str, Any]:
        policy = self.policy
        if reference is not None and policy.is_of_many:
            now = self.store.get_many([reference], with_body=False).get(reference)
            policy = policy.about([now.index["pt"]] if now is not None and "pt" in now.index else [])
        return to_history_filter(policy.filter(resource_type, "history"))


def _kept_from_representatives(proposal: Proposal) -> Proposal:
    resource = proposal.resource or {}
    meta = resource.get("meta", {})
    labels = [*meta.get("security", ()), to_coding(HIDDEN_FROM_REPRESENTATIVES)]
    return replace(proposal, resource={**resource, "meta": {**meta, "security": labels}})
