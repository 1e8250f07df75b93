"""Writes of SearchParameter resources: each is checked, and publishes, changes or takes back a parameter.

It happens in the transaction of the write itself: the resource, the next generation and the job that indexes what is
already there come together or not at all, and two who publish at once cannot both find their code free.
Spec: http://hl7.org/fhir/R4/searchparameter.html
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fhir_server.access.policy import Policy
from fhir_server.errors import FhirError, Forbidden, Issue, Processing, Text, join_errors
from fhir_server.fhir.json import parse_json
from fhir_server.jobs import COLLECTION, build_job
from fhir_server.repository.change import Resource
from fhir_server.repository.stored_parameters import FRESH, GENERATION, REINDEX, ParameterRegistry
from fhir_server.search.ast import Everything
from fhir_server.search.custom import bases_of, check_definition, has_same_meaning, is_published
from fhir_server.search.matcher import index_document, to_test
from fhir_server.search.stored import StoredParameters
from fhir_server.storage.store import Change, Document, Guard


@dataclass(frozen=True, slots=True)
class Defined:
    """One SearchParameter that is written: its change, what it becomes (None: deleted), what it was."""

    change: Change
    after: Resource | None
    before: Document | None
    location: str | None = None

    @property
    def published(self) -> Resource | None:
        """The definition that will be in force."""
        return self.after if is_published(self.after) else None

    @property
    def replaced(self) -> Resource | None:
        """The definition that has been in force."""
        before = None if self.before is None or self.before.body is None else parse_json(self.before.body)
        return before if is_published(before) else None


@dataclass(frozen=True, slots=True)
class Publication:
    """What is written together with the definitions: nothing if none of them is or was in force."""

    guards: tuple[Guard, ...] = ()
    records: tuple[tuple[str, Mapping[str, Any]], ...] = ()


def publish(defined: Iterable[Defined], policy: Policy, in_force: StoredParameters, now: datetime) -> Publication:
    """Return what publishes the definitions. ``in_force`` must be fresh: its generation is what the commit expects.

    Raises ``Forbidden`` for a caller who may not define, ``Processing`` with every reason against every definition.
    """
    written = list(defined)
    _authorise(written, policy)
    concerned = [one for one in written if one.published is not None or one.replaced is not None]
    if not concerned:
        return Publication()
    _check(concerned, in_force)
    records = []
    for one in concerned:
        if one.published is not None and not has_same_meaning(one.published, one.replaced):
            reference, generation = one.change.reference, in_force.generation + 1
            given = {"parameter": reference, "types": list(bases_of(one.published)), "generation": generation}
            records.append((COLLECTION, build_job(REINDEX, given, now)))
    return Publication((Guard(GENERATION, in_force.generation, lasting=True),), tuple(records))


def wait_until_seen(registry: ParameterRegistry) -> None:
    """Return when every worker sees what has just been published (``stored_parameters``)."""
    registry.refresh()
    time.sleep(FRESH)


def _authorise(written: Iterable[Defined], policy: Policy) -> None:
    tree = policy.filter("SearchParameter", "define")
    if isinstance(tree, Everything):
        return
    is_allowed = to_test(tree)
    changes = (one.change for one in written)
    if not all(is_allowed(index_document(one.reference, one.updated, one.index)) for one in changes):
        raise Forbidden(_NOT_ALLOWED)


def _check(concerned: Iterable[Defined], in_force: StoredParameters) -> None:
    gone = {one.change.reference.partition("/")[2] for one in concerned}
    definitions = {url: one for url, one in in_force.definitions.items() if one.get("id") not in gone}
    failures: list[FhirError] = []
    for one in concerned:
        if one.published is None:
            continue
        resource = {**one.published, "id": one.change.reference.partition("/")[2]}
        issues = [*_required(resource)] or check_definition(
            resource, StoredParameters(in_force.generation, {}, definitions)
        )
        if issues:
            error = Processing(issues)
            failures.append(error.within(one.location) if one.location else error)
        else:
            definitions[resource["url"]] = resource
    if failures:
        raise join_errors(failures)


def _required(resource: Mapping[str, Any]) -> Iterable[Issue]:
    """Structure is checked elsewhere; this is what everything after it counts on."""
    for name in ("url", "code", "base", "type"):
        value = resource.get(name)
        if not value or (isinstance(value, list) and None in value):  # where an extension stands for it
            yield Issue("required", _MISSING, "error", (f"SearchParameter.{name}",))


_MISSING = Text("It must be given.", "Il doit être donné.")
_NOT_ALLOWED = Text(
    "You may not define search parameters on this server.",
    "Vous ne pouvez pas définir de paramètres de recherche sur ce serveur.",
)
