"""Criteria of conditional interactions and references: parsed once, resolved all in one round trip (+1 for each hop
of a join in them).

Spec: http://hl7.org/fhir/R4/http.html#ccreate, http://hl7.org/fhir/R4/http.html#trules (conditional references)
"""

from collections.abc import Iterable, Sequence
from urllib.parse import parse_qsl, urlencode

from fhir_server.access.policy import Action, Policy
from fhir_server.errors import FhirError, Invalid, Issue, PreconditionFailed, Text, TooCostly, join_errors
from fhir_server.fhir.reference import conditional_references
from fhir_server.repository.change import Criteria, Proposal
from fhir_server.repository.searching import without_joins
from fhir_server.search.apart import check_changing
from fhir_server.search.ast import TypeIs
from fhir_server.search.building import build_and
from fhir_server.search.compiler import to_filter
from fhir_server.search.parser import parse_search
from fhir_server.search.plans import DEFAULT_LIMITS, Limits
from fhir_server.storage.store import Document, Store

_NOT_CRITERIA = frozenset({
    "_count", "_sort", "_total", "_summary", "_elements", "_include", "_revinclude", "_contained", "_containedType",
})  # fmt: skip


def build_criteria(resource_type: str, parameters: Sequence[tuple[str, str]], base_url: str = "") -> Criteria:
    """Return the criteria that ``parameters`` state; always read strictly, for a guess could hit another's record.

    Raises ``Invalid`` when there are none, when one is unknown, or when one only shapes a result;
    ``NotSupported`` for AuditEvents, which are never written on a condition.
    """
    if not parameters:
        raise Invalid(
            Text("A conditional interaction needs search criteria", "Une interaction conditionnelle exige des critères")
        )
    check_changing(resource_type)
    shaping = sorted({name for name, _ in parameters if name.partition(":")[0] in _NOT_CRITERIA})
    if shaping:
        listed = ", ".join(shaping)
        raise Invalid(Text(f"{listed}: not criteria", f"{listed} : ce ne sont pas des critères"))
    search = parse_search(resource_type, parameters, strict=True, base_url=base_url)
    key = f"{resource_type}?{urlencode(sorted(parameters))}"
    return Criteria(resource_type, key, search.tree)


def parse_criteria(text: str, base_url: str = "") -> Criteria:
    """Return the criteria of ``Type?query``, as in a conditional reference."""
    resource_type, _, query = text.partition("?")
    return build_criteria(resource_type, parse_qsl(query, keep_blank_values=True), base_url)


def find_matches(
    store: Store,
    policy: Policy,
    criteria: Iterable[tuple[Criteria, Action]],
    limit: int = 2,
    joins: Limits = DEFAULT_LIMITS,
    base_url: str = "",
) -> dict[str, tuple[Document, ...]]:
    """Return the live matches of each criteria by its key; two are enough to tell none, one and many.

    Raises ``TooCostly`` when a larger ``limit`` is reached: what lies beyond must not be left out in silence.
    """
    wanted = {one.key: (one, action) for one, action in criteria}
    if not wanted:
        return {}
    trees = [
        build_and([TypeIs((one.resource_type,)), one.tree, policy.filter(one.resource_type, _seen_by(action))])
        for one, action in wanted.values()
    ]
    settled = [without_joins(store, policy, joins, tree, limit, base_url) for tree in trees]
    found = store.find_each([to_filter(tree) for tree in settled], limit)
    if limit > 2 and any(len(each) == limit for each in found):
        raise TooCostly(_TOO_MANY)
    return {key: tuple(each) for key, each in zip(wanted, found, strict=True)}


def _seen_by(action: Action) -> Action:
    """Criteria find what the caller may find by searching, whatever is then to be done with it."""
    return "refer" if action == "refer" else "search"


def conditional_references_of(proposals: Iterable[Proposal], base_url: str) -> dict[str, Criteria]:
    """Return the criteria of the conditional references in the proposals' resources by their text as written."""
    found: dict[str, Criteria] = {}
    failures: list[FhirError] = []
    for proposal in proposals:
        for text, path in conditional_references(proposal.resource) if proposal.resource else ():
            if text in found:
                continue
            try:
                found[text] = parse_criteria(text, base_url)
            except FhirError as error:
                failures.append(error.within(_place(proposal, path)))
    if failures:
        raise join_errors(failures)
    return found


def resolve_references(
    conditional: dict[str, Criteria], matches: dict[str, tuple[Document, ...]], created: dict[str, str]
) -> dict[str, str]:
    """Return the reference that each conditional reference stands for.

    ``created`` are the references that the plan itself creates, by the key of their criteria.
    Raises ``PreconditionFailed`` naming every one that matches nothing or more than one resource.
    """
    resolved: dict[str, str] = {}
    issues: list[Issue] = []
    for text, criteria in conditional.items():
        found = [match.reference for match in matches[criteria.key]] or [created.get(criteria.key, "")]
        if len(found) == 1 and found[0]:
            resolved[text] = found[0]
        else:
            issues.append(_unresolved(criteria, many=len(found) > 1))
    if issues:
        raise PreconditionFailed(issues)
    return resolved


def _unresolved(criteria: Criteria, *, many: bool) -> Issue:
    kind = criteria.resource_type
    if many:
        text = Text(
            f"A conditional reference matches more than one {kind}",
            f"Une référence conditionnelle correspond à plusieurs ressources {kind}",
        )
        return Issue("multiple-matches", text)
    text = Text(
        f"A conditional reference matches no {kind}",
        f"Une référence conditionnelle ne correspond à aucune ressource {kind}",
    )
    return Issue("not-found", text)


def _place(proposal: Proposal, path: str) -> str:
    return f"{proposal.location}{path[path.index('.') :]}" if proposal.location else path


_TOO_MANY = Text(
    "The criteria match more resources than one request may delete",
    "Les critères correspondent à plus de ressources qu’une requête ne peut en supprimer",
)
