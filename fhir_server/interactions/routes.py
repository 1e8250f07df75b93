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
    match method, segments:
        case "GET", (kind, id) if id[:1] not in _RESERVED:
            return Route("read", "/{type}/{id}", kind, id)
        case "GET", ():
            return Route("search-system", "/")
        case "POST", ():
            return Route("bundle", "/")
        case "GET", ("metadata",):
            return Route("capabilities", "/metadata")
        case "GET", ("_history",):
            return Route("history-system", "/_history")
        case (("GET" | "POST"), ("_search",)):
            return Route("search-system", "/_search") if method == "POST" else None
        case (("GET" | "POST"), (code,)) if code[:1] == "$":
            return Route("operation-system", f"/{_known(code)}", name=code[1:])
        case "GET", (kind,):
            return Route("search-type", "/{type}", kind)
        case "POST", (kind,):
            return Route("create", "/{type}", kind)
        case "PUT", (kind,):
            return Route("update", "/{type}?", kind)
        case "PATCH", (kind,):
            return Route("patch", "/{type}?", kind)
        case "DELETE", (kind,):
            return Route("delete", "/{type}?", kind)
        case "POST", (kind, "_search"):
            return Route("search-type", "/{type}/_search", kind)
        case "GET", (kind, "_history"):
            return Route("history-type", "/{type}/_history", kind)
        case (("GET" | "POST"), (kind, code)) if code[:1] == "$":
            return Route("operation-type", f"/{{type}}/{_known(code)}", kind, name=code[1:])
        case "PUT", (kind, id) if id[:1] not in _RESERVED:
            return Route("update", "/{type}/{id}", kind, id)
        case "PATCH", (kind, id) if id[:1] not in _RESERVED:
            return Route("patch", "/{type}/{id}", kind, id)
        case "DELETE", (kind, id) if id[:1] not in _RESERVED:
            return Route("delete", "/{type}/{id}", kind, id)
        case "GET", (kind, id, "_history"):
            return Route("history-instance", "/{type}/{id}/_history", kind, id)
        case "GET", (kind, id, "_history", version):
            return Route("vread", "/{type}/{id}/_history/{vid}", kind, id, version)
        case (("GET" | "POST"), (kind, id, code)) if code[:1] == "$":
            return Route("operation-instance", f"/{{type}}/{{id}}/{_known(code)}", kind, id, name=code[1:])
        case (("GET" | "POST"), (kind, id, "_history", version, code)) if code[:1] == "$":
            template = f"/{{type}}/{{id}}/_history/{{vid}}/{_known(code)}"
            return Route("operation-instance", template, kind, id, version, code[1:])
        case "GET", (kind, id, member) if member[:1] != "_":
            return Route("search-compartment", "/{type}/{id}/{type}", kind, id, name=member)
        case _:
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
