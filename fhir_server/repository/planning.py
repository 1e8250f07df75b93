"""From proposals to steps: which resource each one means, and whether its conditions hold. Pure.

Spec: http://hl7.org/fhir/R4/http.html#cond-update, #ccreate, #cdelete, #trules
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar, assert_never

from fhir_server.errors import (
    Deleted,
    Duplicate,
    FhirError,
    Invalid,
    Issue,
    MethodNotAllowed,
    MultipleMatches,
    NotFound,
    PreconditionFailed,
    Text,
    join_errors,
)
from fhir_server.repository.change import Known, Proposal
from fhir_server.repository.versions import new_id
from fhir_server.storage.store import Document, VersionConflict


@dataclass(frozen=True, slots=True)
class Step:
    """One resource that a proposal concerns.

    ``before`` is its present version, deleted ones included. ``keep`` says that what is there, or what an earlier
    step of the plan creates, already answers the proposal; ``fresh`` that the reference has just been made up;
    ``guarded`` that the step creates what its criteria did not find, ``matched`` that they found it.
    """

    proposal: Proposal
    reference: str
    before: Document | None = None
    keep: bool = False
    fresh: bool = False
    guarded: bool = False
    matched: bool = False

    @property
    def live(self) -> Document | None:
        """The present version unless it is a deleted one."""
        return None if self.before is None or self.before.deleted else self.before

    @property
    def deletes(self) -> bool:
        """Whether the step removes its resource."""
        return self.proposal.action == "delete"


Item = TypeVar("Item", Proposal, Step)
Result = TypeVar("Result")


def identify_steps(proposals: Sequence[Proposal], known: Known) -> list[Step]:
    """Return the steps in the order of the proposals; a conditional delete has one for each match, or none.

    Raises ``MultipleMatches``, ``NotFound``, ``Invalid`` or ``Duplicate`` with the issues of every proposal.
    """
    created: dict[str, str] = {}
    steps = [step for found in _collect(proposals, lambda one: _identify(one, known, created)) for step in found]
    _check_identities(steps)
    return steps


def check_conditions(steps: Sequence[Step], known: Known, update_as_create: Callable[[str], bool]) -> list[Step]:
    """Return the steps with their present versions, once every ``If-Match`` and state that they ask for holds.

    ``update_as_create`` tells of a resource type whether PUT to an unknown id creates.

    Raises ``PreconditionFailed``, ``NotFound``, ``Deleted`` or ``MethodNotAllowed`` with the issues of every step,
    ``VersionConflict`` when a match has been deleted in the meantime.
    """
    found = [replace(step, before=known.documents.get(step.reference)) for step in steps]
    if any(step.matched and step.live is None for step in found):
        raise VersionConflict  # what the criteria matched a moment ago is gone: match again
    _collect(found, lambda step: _check(step, update_as_create))
    return found


def _collect(items: Sequence[Item], work: Callable[[Item], Result]) -> list[Result]:
    results: list[Result] = []
    failures: list[FhirError] = []
    for item in items:
        try:
            results.append(work(item))
        except FhirError as error:
            location = (item.proposal if isinstance(item, Step) else item).location
            failures.append(error.within(location) if location else error)
    if failures:
        raise join_errors(failures)
    return results


def _identify(proposal: Proposal, known: Known, created: dict[str, str]) -> list[Step]:
    if proposal.criteria is None:
        reference = f"{proposal.resource_type}/{proposal.id or new_id()}"
        return [Step(proposal, reference, fresh=proposal.id is None)]
    matches = known.matches[proposal.criteria.key]
    if len(matches) > 1 and not proposal.multiple:
        raise MultipleMatches(_many(proposal.resource_type))
    match proposal.action:
        case "create":
            return [_create_unless_matched(proposal, matches, created)]
        case "update":
            return [_update_match(proposal, matches)]
        case "patch":
            if not matches:
                raise NotFound(_none(proposal.resource_type))
            return [Step(proposal, matches[0].reference, matched=True)]
        case "delete":
            return [Step(proposal, match.reference) for match in matches]
        case _:
            assert_never(proposal.action)


def _create_unless_matched(proposal: Proposal, matches: Sequence[Document], created: dict[str, str]) -> Step:
    if matches:
        return Step(proposal, matches[0].reference, keep=True, matched=True)
    assert proposal.criteria is not None
    twin = created.get(proposal.criteria.key)
    if twin is not None:
        return Step(proposal, twin, keep=True)
    reference = f"{proposal.resource_type}/{new_id()}"
    created[proposal.criteria.key] = reference
    return Step(proposal, reference, fresh=True, guarded=True)


def _update_match(proposal: Proposal, matches: Sequence[Document]) -> Step:
    given = proposal.resource.get("id") if proposal.resource else None
    if not matches:
        reference = f"{proposal.resource_type}/{given or new_id()}"
        return Step(proposal, reference, fresh=given is None, guarded=True)
    if given is not None and given != matches[0].id:
        text = Text(
            "The id of the resource is not that of the one resource which the criteria match",
            "L’identifiant de la ressource n’est pas celui de la seule ressource qui répond aux critères",
        )
        raise Invalid(text, expression=f"{proposal.resource_type}.id")
    return Step(proposal, matches[0].reference, matched=True)


def _check_identities(steps: Sequence[Step]) -> None:
    seen: dict[str, Step] = {}
    issues: list[Issue] = []
    for step in steps:
        if step.keep:
            continue
        if step.reference in seen:
            where = tuple(filter(None, (seen[step.reference].proposal.location, step.proposal.location)))
            issues.append(Issue("duplicate", _TWICE, expression=where))
        seen[step.reference] = step
    if issues:
        raise Invalid(issues)


def _check(step: Step, update_as_create: Callable[[str], bool]) -> None:
    proposal = step.proposal
    if step.keep:
        return
    if proposal.if_match is not None:
        _check_version(step, proposal.if_match)
    if proposal.if_none_match is not None and _none_match_fails(step, proposal.if_none_match):
        raise PreconditionFailed(_EXISTS)
    match proposal.action:
        case "create":
            if step.before is not None:
                raise Duplicate(_EXISTS)
        case "update":
            if step.before is None and not step.fresh and not update_as_create(proposal.resource_type):
                raise MethodNotAllowed(_NO_UPDATE_AS_CREATE, headers={"Allow": "POST"})
        case "patch":
            _check_patchable(step)
        case "delete":
            pass
        case _:
            assert_never(proposal.action)


def _check_version(step: Step, version_id: str) -> None:
    if step.live is None or not names_version(version_id, step.live.version):
        raise PreconditionFailed(_OTHER_VERSION)


def _none_match_fails(step: Step, version_id: str) -> bool:
    return step.live is not None and names_version(version_id, step.live.version)


def _check_patchable(step: Step) -> None:
    if step.before is None:
        raise NotFound(absent(step.proposal.resource_type))
    if step.before.deleted:
        raise Deleted(gone(step.proposal.resource_type))


def names_version(version_ids: str, version: int) -> bool:
    """Return whether a parsed ``If-Match`` or ``If-None-Match`` names the version: ``*``, ``3``, or ``3,4``."""
    return version_ids == "*" or str(version) in version_ids.split(",")


def references_of(steps: Iterable[Step]) -> set[str]:
    """Return the references whose present versions must be fetched before the conditions can be checked."""
    made_up = {step.reference for step in steps if step.fresh}
    return {step.reference for step in steps} - made_up


def absent(resource_type: str) -> Text:
    """Return the message for a resource that is not there."""
    return Text(f"There is no such {resource_type}", f"Cette ressource {resource_type} n’existe pas")


def gone(resource_type: str) -> Text:
    """Return the message for a resource that has been deleted."""
    return Text(f"This {resource_type} has been deleted", f"Cette ressource {resource_type} a été supprimée")


def _many(resource_type: str) -> Text:
    return Text(
        f"The criteria match more than one {resource_type}",
        f"Plusieurs ressources {resource_type} répondent aux critères",
    )


def _none(resource_type: str) -> Text:
    return Text(f"The criteria match no {resource_type}", f"Aucune ressource {resource_type} ne répond aux critères")


_EXISTS = Text("The resource already exists", "La ressource existe déjà")
_TWICE = Text(
    "Two entries of the transaction concern the same resource",
    "Deux entrées de la transaction concernent la même ressource",
)
_OTHER_VERSION = Text(
    "The present version is not the one named in If-Match: read it again and repeat the change",
    "La version actuelle n’est pas celle donnée dans If-Match : relisez-la puis refaites la modification",
)
_NO_UPDATE_AS_CREATE = Text(
    "This server assigns ids itself: create with POST",
    "Ce serveur attribue lui-même les identifiants : créez par POST",
)
