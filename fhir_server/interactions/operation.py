"""The registry of FHIR operations: one file in ``fhir_server/operations`` each, published by being there.

Spec: http://hl7.org/fhir/R4/operations.html
"""

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from fhir_server.errors import NotFound, Text
from fhir_server.interactions.parameters import Parameter
from fhir_server.interactions.request import FhirRequest, FhirResponse

if TYPE_CHECKING:
    from fhir_server.context import RequestContext
    from fhir_server.interactions.routes import Route

Handler = Callable[["RequestContext", FhirRequest, "Route"], FhirResponse]
_CANONICAL = "https://espace-sante.example/fhir/OperationDefinition/"


@dataclass(frozen=True, slots=True)
class Definition:
    """What an operation of our own says of itself; with ``searches`` it also takes what a search of that type does."""

    title: Text
    description: Text
    takes: tuple[Parameter, ...] = ()
    gives: tuple[Parameter, ...] = ()
    searches: str | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation as offered: its code, levels, types (empty: all) and methods.

    ``definition`` is the canonical url of its OperationDefinition, ``own`` what that says where it is our own.
    """

    code: str
    definition: str
    levels: frozenset[str]
    types: frozenset[str]
    methods: frozenset[str]
    handler: Handler
    affects_state: bool = False
    own: Definition | None = None

    @property
    def definition_id(self) -> str:
        """The logical id of the OperationDefinition."""
        return self.definition.rpartition("/")[2]


_REGISTRY: dict[str, Operation] = {}


def operation(
    code: str,
    definition: str | Definition,
    *,
    levels: set[str],
    types: frozenset[str] = frozenset(),
    affects_state: bool = False,
) -> Callable[[Handler], Handler]:
    """Return a decorator that offers a function as the operation ``$code``; offering a code twice fails at start.

    ``definition`` is the canonical url of somebody else's OperationDefinition, or what ours says.
    """
    own = definition if isinstance(definition, Definition) else None
    # Ids are formed like R4's own: Patient-everything.
    url = definition if isinstance(definition, str) else _CANONICAL + "-".join([*sorted(types), code])

    def register(handler: Handler) -> Handler:
        if code in _REGISTRY:
            raise RuntimeError(f"the operation ${code} is offered twice")
        methods = frozenset({"POST"} if affects_state else {"GET", "POST"})
        _REGISTRY[code] = Operation(code, url, frozenset(levels), types, methods, handler, affects_state, own)
        return handler

    return register


@cache
def operations() -> dict[str, Operation]:
    """Return every operation by its code; loads the files of ``fhir_server.operations`` once."""
    package = importlib.import_module("fhir_server.operations")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"fhir_server.operations.{module.name}")
    return dict(_REGISTRY)


def own_definition_ids() -> Iterator[str]:
    """Yield the ids of the OperationDefinitions that are our own."""
    yield from (one.definition_id for one in operations().values() if one.own is not None)


def get_operation(code: str, level: str, resource_type: str | None) -> Operation:
    """Return the operation offered at that level (``system``, ``type``, ``instance``), or raise ``NotFound``."""
    found = operations().get(code)
    if found is None or level not in found.levels or (found.types and resource_type not in found.types):
        raise NotFound(
            Text(f"The operation ${code} does not exist here", f"L’opération ${code} n’existe pas ici"),
        )
    return found
