"""What the authorization server is told of each HTTP request by the edge that it shares with FHIR."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fhir_server.access.caller import Caller
from fhir_server.context import RequestContext

Environ = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Edge:
    """Functions of the HTTP edge, handed over by ``app``: the packages of the edge do not know one another.

    ``base_url`` is the address of FHIR as this caller reached it, ``language`` ``en`` or ``fr``; ``cors`` are the
    headers for a page's origin, ``preflight`` those of an OPTIONS request besides. ``open_context`` returns the context
    of a request by a caller: language, FHIR base and network address.
    """

    base_url: Callable[[Environ], str]
    language: Callable[[Environ], str]
    cors: Callable[[str], list[tuple[str, str]]]
    preflight: Callable[[str], list[tuple[str, str]]]
    open_context: Callable[[Caller, str, str, str], RequestContext]
