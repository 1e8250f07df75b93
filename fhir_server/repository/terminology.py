"""Stored code systems and value sets as a search's caller may see them, for ``terminology`` to read.

Spec: http://hl7.org/fhir/R4/references.html#canonical
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fhir_server.access.policy import Policy
from fhir_server.fhir.json import parse_json
from fhir_server.search.ast import Node, ReferenceIs, TokenIn, TypeIs
from fhir_server.search.building import build_and
from fhir_server.search.compiler import to_filter
from fhir_server.search.entries import bounded
from fhir_server.search.param_types.token import code_key
from fhir_server.storage.store import Document, Query, Store

_LOCAL = re.compile(r"(?:CodeSystem|ValueSet)/[A-Za-z0-9.-]{1,64}")
_MOST_VERSIONS = 20


@dataclass(frozen=True, slots=True)
class StoredTerminology:
    """Finds a stored CodeSystem or ValueSet; what the caller may not find is as if it were not there."""

    store: Store
    policy: Policy

    def __call__(self, kind: str, canonical: str) -> Mapping[str, Any] | None:
        """Return the resource of ``Type/id`` or of a canonical: its version, or else the newest, active ones first.

        One round trip.
        """
        local = _LOCAL.fullmatch(canonical) is not None
        condition = ReferenceIs((canonical,)) if local else _by_canonical(kind, canonical)
        tree = build_and([TypeIs((kind,)), condition, self.policy.filter(kind, "search")])
        query = Query(to_filter(tree), (("updated", -1), ("_id", -1)), _MOST_VERSIONS, index_fields=("t",))
        found = sorted(self.store.find(query), key=_is_retired)
        resource: Mapping[str, Any] | None = parse_json(found[0].body or b"") if found else None
        return resource


def _by_canonical(kind: str, canonical: str) -> Node:
    url, _, version = canonical.partition("|")
    conditions: list[Node] = [TokenIn((bounded(f"{kind}.url|{url}"),))]
    if version:
        conditions.append(TokenIn((code_key(f"{kind}.version", version),)))
    return build_and(conditions)


def _is_retired(document: Document) -> bool:
    return f"{document.resource_type}.status||active" not in document.index.get("t", ())
