"""Searches that are asked again and again are read once.

The same text means the same search for as long as the same search parameters are in force, but for ``ap``, which
measures dates by the moment of the question.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache

from fhir_server.search.parser import Search, parse_search
from fhir_server.search.stored import StoredParameters, stored_parameters

_MOST = 1_000
_LONGEST = 300
"""Characters of a search that is remembered."""


def parsed_search(
    resource_type: str | None, parameters: Sequence[tuple[str, str]], *, strict: bool, base_url: str, now: datetime
) -> Search:
    """Return, and raise, what ``parse_search`` does."""
    size = 0
    for name, value in parameters:
        size += len(name) + len(value)
        if size > _LONGEST or "ap" in value:
            return parse_search(resource_type, parameters, strict=strict, base_url=base_url, now=now)
    return _parse(resource_type, tuple(parameters), strict, base_url, stored_parameters())


@lru_cache(maxsize=_MOST)
def _parse(
    resource_type: str | None, parameters: tuple[tuple[str, str], ...], strict: bool, base_url: str, _: StoredParameters
) -> Search:
    return parse_search(resource_type, parameters, strict=strict, base_url=base_url)
