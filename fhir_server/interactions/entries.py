"""The entries of a batch or transaction, read as requests.

Spec: http://hl7.org/fhir/R4/bundle.html#transaction, http://hl7.org/fhir/R4/http.html#trules
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, unquote

from fhir_server.context import RequestContext
from fhir_server.errors import FhirError, Invalid, Required, Structure, Text, TooCostly
from fhir_server.fhir.datatypes import parse_instant
from fhir_server.interactions.conditional import parse_etag
from fhir_server.interactions.request import FhirRequest
from fhir_server.repository.change import Resource
from fhir_server.validation.structure import check_structure

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry as a request; ``location`` is where its resource stands in the bundle."""

    position: int
    location: str
    request: FhirRequest
    full_url: str | None


def check_bundle(bundle: Resource, limit: int) -> list[dict[str, Any]]:
    """Return the entries once everything but their resources is well-formed; those are checked where they are used.

    Raises ``Structure`` with every problem, ``TooCostly`` for more than ``limit`` entries.
    """
    entries: Any = bundle.get("entry", [])
    if isinstance(entries, list):
        if len(entries) > limit:
            text = Text(f"A bundle has {limit} entries at the most", f"Un lot compte au plus {limit} entrées")
            raise TooCostly(text, expression="Bundle.entry")
        hollow = [_without_resource(entry) for entry in entries]
        bundle = {**bundle, "entry": hollow} if hollow else bundle
    if issues := check_structure(bundle, expected_type="Bundle"):
        raise Structure(issues)
    checked: list[dict[str, Any]] = entries
    return checked


def _without_resource(entry: Any) -> Any:
    """Return the entry without its resource, never empty: what it lacks is told by ``build_entry``."""
    if not isinstance(entry, dict):
        return entry
    return {"fullUrl": "urn:x", **{name: value for name, value in entry.items() if name != "resource"}}


def build_entry(ctx: RequestContext, outer: FhirRequest, entry: Mapping[str, Any], position: int) -> Entry:
    """Return the entry as a request. Raises ``Invalid`` or ``Required`` located in the bundle."""
    location = f"Bundle.entry[{position}]"
    try:
        request = _build_request(ctx, outer, entry)
    except FhirError as error:
        raise error.within(f"{location}.request") from None
    return Entry(position, f"{location}.resource", request, entry.get("fullUrl"))


def _build_request(ctx: RequestContext, outer: FhirRequest, entry: Mapping[str, Any]) -> FhirRequest:
    asked = entry.get("request")
    if asked is None:
        raise Required(Text("Every entry needs a request", "Chaque entrée doit avoir un request"))
    method = asked["method"]
    if method not in _METHODS:
        raise Invalid(Text("No such method", "Cette méthode n’existe pas"), expression="request.method")
    path, _, query = _relative(asked["url"], ctx.base_url).partition("?")
    return FhirRequest(
        method,
        tuple(unquote(part, errors="strict") for part in path.split("/") if part),
        tuple(parse_qsl(query, keep_blank_values=True)),
        resource=_resource(entry),
        accept=("application/fhir+json",),
        if_match=_etag(asked, "ifMatch"),
        if_none_match=_etag(asked, "ifNoneMatch"),
        if_none_exist=asked.get("ifNoneExist"),
        if_modified_since=_instant(asked.get("ifModifiedSince")),
        prefer_return=outer.prefer_return or "minimal",
        handling=outer.handling,
        size=outer.size,
    )


def _resource(entry: Mapping[str, Any]) -> Resource | None:
    resource = entry.get("resource")
    if resource is not None and not isinstance(resource, dict):
        raise Structure(Text("A resource is an object", "Une ressource est un objet"), expression="resource")
    return resource


def _relative(url: str, base_url: str) -> str:
    if url == base_url or url.startswith((f"{base_url}/", f"{base_url}?")):
        return url[len(base_url) :].lstrip("/")
    if "://" in url.partition("?")[0]:
        raise Invalid(
            Text("The url must be relative to this server's base", "L’url doit être relative à la base de ce serveur"),
            expression="request.url",
        )
    return url.lstrip("/")


def _etag(asked: Mapping[str, Any], name: str) -> str | None:
    text = asked.get(name)
    return None if text is None else parse_etag(text, f"request.{name}")


def _instant(text: str | None) -> datetime | None:
    return None if text is None else parse_instant(text)
