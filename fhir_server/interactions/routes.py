"""The whole REST surface on one screen: which interaction a method and a path mean.

Bundle entries go through it as they are. Spec: http://hl7.org/fhir/R4/http.html#summary
"""

import re
from dataclasses import dataclass

from fhir_server.errors import Invalid, MethodNotAllowed, NotFound, Text
from fhir_server.fhir.definitions import is_resource_type
from fhir_server.repository.change import UNCHANGING
from fhir_server.search.apart import APART_TYPES

ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_RESERVED = ("", "_", "$")
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True, slots=True)
class Route:
    """One interaction on one target; ``template`` names the path without its values, for logs and metrics."""

    interaction: str
    template: str
    resource_type: str | None = None
    id: str | None = None
    version_id: str | None = None
    name: str | None = None
    """The operation's code, or the type that a compartment search looks for."""


def match_route(method: str, segments: tuple[str, ...]) -> Route:
    """Return the route. Raises ``NotFound``, ``MethodNotAllowed`` (with ``Allow``) or ``Invalid`` (a malformed id)."""
    method = "GET" if method == "HEAD" else method
    route = _match(method, segments)
    if route is None:
        allowed = [other for other in _METHODS if _match(other, segments) is not None]
        if not allowed:
            raise NotFound(Text("There is nothing at this address", "Il n’y a rien à cette adresse"))
        listed = ", ".join(allowed)
        raise MethodNotAllowed(
            Text(f"{method} is not offered here, but {listed}", f"{method} n’est pas offert ici, mais {listed}"),
            headers={"Allow": ", ".join([*allowed, *(["HEAD"] if "GET" in allowed else []), "OPTIONS"])},
        )
    _check_target(route)
    _check_unchanging(route)
    return route


def _match(method: str, segments: tuple[str, ...]) -> Route | None:
    match segments:
        case (kind, id) if id[:1] not in _RESERVED:
            name = _ON_INSTANCES.get(method)
            return Route(name, "/{type}/{id}", kind, id) if name is not None else None
        case ():
            name = {"GET": "search-system", "POST": "bundle"}.get(method)
            return Route(name, "/") if name is not None else None
        case (word,) if word[:1] in _RESERVED or word == "metadata":
            return _match_system(method, word)
        case (kind,):
            name = _ON_TYPES.get(method)
            return Route(name, "/{type}" if method in _ASKING else "/{type}?", kind) if name is not None else None
        case (kind, word):
            return _match_type(method, kind, word)
        case (kind, id, *rest):
            return _match_instance(method, kind, id, tuple(rest))
    return None


_ASKING = ("GET", "POST")
_ON_TYPES = {"GET": "search-type", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_ON_INSTANCES = {"GET": "read", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


def _match_system(method: str, word: str) -> Route | None:
    """Return the route of what stands where a type would."""
    match method, word:
        case "GET", "metadata":
            return Route("capabilities", "/metadata")
        case "GET", "_history":
            return Route("history-system", "/_history")
        case "POST", "_search":
            return Route("search-system", "/_search")
        case (("GET" | "POST"), code) if code[:1] == "$":
            return Route("operation-system", f"/{_known(code)}", name=code[1:])
    return None


def _match_type(method: str, kind: str, word: str) -> Route | None:
    """Return the route of what stands after a type where an id would."""
    match method, word:
        case "POST", "_search":
            return Route("search-type", "/{type}/_search", kind)
        case "GET", "_history":
            return Route("history-type", "/{type}/_history", kind)
        case (("GET" | "POST"), code) if code[:1] == "$":
            return Route("operation-type", f"/{{type}}/{_known(code)}", kind, name=code[1:])
    return None


def _match_instance(method: str, kind: str, id: str, rest: tuple[str, ...]) -> Route | None:
    """Return the route of what stands after a type and an id."""
    match method, rest:
        case "GET", ("_history",):
            return Route("history-instance", "/{type}/{id}/_history", kind, id)
        case "GET", ("_history", version):
            return Route("vread", "/{type}/{id}/_history/{vid}", kind, id, version)
        case (("GET" | "POST"), (code,)) if code[:1] == "$":
            return Route("operation-instance", f"/{{type}}/{{id}}/{_known(code)}", kind, id, name=code[1:])
        case (("GET" | "POST"), ("_history", version, code)) if code[:1] == "$":
            template = f"/{{type}}/{{id}}/_history/{{vid}}/{_known(code)}"
            return Route("operation-instance", template, kind, id, version, code[1:])
        case "GET", (member,) if member[:1] != "_":
            return Route("search-compartment", "/{type}/{id}/{type}", kind, id, name=member)
    return None


def _check_unchanging(route: Route) -> None:
    if route.resource_type in APART_TYPES and route.interaction in ("update", "patch", "delete"):
        raise MethodNotAllowed(
            UNCHANGING, headers={"Allow": "GET, HEAD, OPTIONS" if route.id else "GET, POST, OPTIONS"}
        )


def _known(code: str) -> str:
    from fhir_server.interactions.operation import operations

    return code if code[1:] in operations() else "$"


def _check_target(route: Route) -> None:
    kind = route.resource_type
    if kind is not None and not is_resource_type(kind):
        raise NotFound(
            Text("There is no such resource type in FHIR R4", "Ce type de ressource n’existe pas en FHIR R4")
        )
    if route.id is not None and not ID.fullmatch(route.id):
        raise Invalid(
            Text(
                "An id has 1 to 64 characters out of A-Z, a-z, 0-9, - and .",
                "Un identifiant a de 1 à 64 caractères parmi A-Z, a-z, 0-9, - et .",
            ),
            expression=f"{kind}.id",
        )
