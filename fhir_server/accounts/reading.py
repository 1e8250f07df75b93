"""Resources that accounts are about, read straight from the store: nobody's policy applies before somebody is known."""

from collections.abc import Iterable, Sequence
from typing import Any

from fhir_server.fhir.json import parse_stored
from fhir_server.repository.criteria import build_criteria
from fhir_server.search.ast import TypeIs
from fhir_server.search.building import build_and
from fhir_server.search.compiler import to_filter
from fhir_server.storage.store import Document, Query, Store

Resource = dict[str, Any]


def find_resource(store: Store, reference: str) -> Resource | None:
    """Return the current version of ``Type/id``, None when it is not there or deleted."""
    return next(iter(find_resources(store, [reference]).values()), None)


def find_resources(store: Store, references: Iterable[str]) -> dict[str, Resource]:
    """Return those of the references that are there, in one round trip."""
    wanted = list(dict.fromkeys(references))
    found = store.get_many(wanted)
    return {each: resource for each in wanted if each in found and (resource := to_resource(found[each])) is not None}


def search(store: Store, resource_type: str, parameters: Sequence[tuple[str, str]], limit: int = 0) -> list[Resource]:
    """Return the resources that search parameters without joins find, in order of id."""
    criteria = build_criteria(resource_type, parameters)
    tree = build_and([TypeIs((resource_type,)), criteria.tree])
    found = store.find(Query(to_filter(tree), limit=limit))
    return [resource for each in found if (resource := to_resource(each)) is not None]


def to_resource(document: Document) -> Resource | None:
    """Return a stored version's resource, None for a deletion."""
    return None if document.body is None else dict(parse_stored(document.body))


def to_name(resource: Resource, *uses: str) -> str:
    """Return a person's name to show: the first of the uses that there is, else the first name at all."""
    names: list[dict[str, Any]] = resource.get("name", [])
    ordered = [each for use in uses for each in names if each.get("use") == use] or names
    if not ordered:
        return ""
    name = ordered[0]
    parts = [*name.get("given", [])[:1], name.get("family", "")]
    return str(name.get("text") or " ".join(part for part in parts if part))


def codings(concepts: Iterable[dict[str, Any]]) -> set[tuple[str, str]]:
    """Return the (system, code) pairs of CodeableConcepts."""
    return {(each.get("system", ""), each.get("code", "")) for one in concepts for each in one.get("coding", [])}


def identifiers(resource: Resource) -> tuple[str, ...]:
    """Return a resource's identifiers as ``system|value``."""
    return tuple(
        f"{each.get('system', '')}|{each['value']}" for each in resource.get("identifier", []) if "value" in each
    )
