"""The search parameters that are stored as resources here, beside those of the R4 definitions.

What is in force is one immutable snapshot, set at the beginning of a request and read by everything below it: parser,
indexer and results see the same parameters from the first line of a request to its last, whatever is published in the
meantime, and two servers in one process do not see each other's. It goes by a context variable because it is asked for
in the depth of every parser and extractor, where no request is known.
Spec: http://hl7.org/fhir/R4/searchparameter.html
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fhir_server.search.parameters import SearchParameter


@dataclass(frozen=True, slots=True, eq=False)
class StoredParameters:
    """The stored parameters in force at one ``generation``, which grows by one with every change of any of them.

    A snapshot is equal to itself alone: whatever is kept of what was read under one ends with it.

    ``by_type`` holds them by resource type and code (``Resource``: those that every type has); ``definitions`` are
    the resources by their url, as far as they are in force.
    """

    generation: int = 0
    by_type: Mapping[str, Mapping[str, "SearchParameter"]] = field(default_factory=dict)
    definitions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


NONE_STORED = StoredParameters()
_IN_FORCE: ContextVar[StoredParameters] = ContextVar("stored_parameters", default=NONE_STORED)


def stored_parameters() -> StoredParameters:
    """Return the snapshot in force for the current request."""
    return _IN_FORCE.get()


def stored_parameters_of(resource_type: str) -> tuple["SearchParameter", ...]:
    """Return the stored parameters of one type; mostly ()."""
    found = _IN_FORCE.get().by_type.get(resource_type)
    return tuple(found.values()) if found else ()


def stored_parameter(resource_type: str, code: str) -> "SearchParameter | None":
    """Return a stored parameter of a type, or None."""
    found = _IN_FORCE.get().by_type.get(resource_type)
    return found.get(code) if found else None


def use_stored_parameters(snapshot: StoredParameters) -> None:
    """Put a snapshot in force for what this thread does from here on; the next request sets its own."""
    _IN_FORCE.set(snapshot)


@contextmanager
def stored_parameters_in_force(snapshot: StoredParameters) -> Iterator[None]:
    """Put a snapshot in force within the block."""
    token = _IN_FORCE.set(snapshot)
    try:
        yield
    finally:
        _IN_FORCE.reset(token)
