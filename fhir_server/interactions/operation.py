"""The registry of FHIR operations: one file in ``fhir_server/operations`` each, published by being there.

Spec: http://hl7.org/fhir/R4/operations.html
"""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from fhir_server.errors import NotFound, Text
from fhir_server.interactions.request import FhirRequest, FhirResponse

if TYPE_CHECKING:
    from fhir_server.context import RequestContext
    from fhir_server.interactions.routes import Route

Handler = Callable[["RequestContext", FhirRequest, "Route"], FhirResponse]


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation as offered: its code, OperationDefinition, levels, types (empty: all) and methods."""

    code: str
    definition: str
    levels: frozenset[str]
    types: frozenset[str]
    methods: frozenset[str]
    handler: Handler
    affects_state: bool = False


_REGISTRY: dict[str, Operation] = {}


def operation(
    code: str,
    definition: str,
    *,
    levels: set[str],
    types: frozenset[str] = frozenset(),
    affects_state: bool = False,
) -> Callable[[Handler], Handler]:
    """Return a decorator that offers a function as the operation ``$code``; offering a code twice fails at start."""

    def register(handler: Handler) -> Handler:
        if code in _REGISTRY:
            raise RuntimeError(f"the operation ${code} is offered twice")
        methods = frozenset({"POST"} if affects_state else {"GET", "POST"})
        _REGISTRY[code] = Operation(code, definition, frozenset(levels), types, methods, handler, affects_state)
        return handler

    return register


@cache
def operations() -> dict[str, Operation]:
    """Return every operation by its code; loads the files of ``fhir_server.operations`` once."""
    package = importlib.import_module("fhir_server.operations")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"fhir_server.operations.{module.name}")
    return dict(_REGISTRY)


def get_operation(code: str, level: str, resource_type: str | None) -> Operation:
    """Return the operation offered at that level (``system``, ``type``, ``instance``), or raise ``NotFound``."""
    found = operations().get(code)
    if found is None or level not in found.levels or (found.types and resource_type not in found.types):
        raise NotFound(
            Text(f"The operation ${code} does not exist here", f"L’opération ${code} n’existe pas ici"),
        )
    return found
