"""Whether a search finds a resource, without a database: parsed, indexed and matched as the server does it."""

from datetime import UTC, datetime
from typing import Any

from fhir_server.search.indexer import to_index
from fhir_server.search.matcher import index_document, matches
from fhir_server.search.parser import parse_search

BASE = "http://here.example/fhir"
NOW = datetime(2024, 1, 1, tzinfo=UTC)


def finds(resource: dict[str, Any], name: str, value: str) -> bool:
    """Say whether ``name=value`` finds the resource."""
    search = parse_search(resource["resourceType"], [(name, value)], strict=True, base_url=BASE, now=NOW)
    document = index_document(f"{resource['resourceType']}/1", NOW, to_index({"id": "1", **resource}, BASE))
    return matches(search.tree, document)
