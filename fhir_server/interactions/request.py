"""Requests and responses as plain values: HTTP, Bundle entries, portal pages and jobs all speak them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class FhirRequest:
    """One FHIR interaction asked for.

    ``segments`` are the decoded path parts below the base (``("Patient", "42", "_history")``); ``parameters`` the
    query's and form's pairs in order, without ``_format`` and ``_pretty``. ``resource`` is the parsed FHIR body
    (JSON or XML alike); a body that is not FHIR (a native Binary, a JSON or XML Patch) is ``content`` with its
    ``content_type``. ETags come parsed: ``if_match`` is the version id without ``W/"…"``.
    """

    method: str
    segments: tuple[str, ...] = ()
    parameters: tuple[tuple[str, str], ...] = ()
    resource: dict[str, Any] | None = None
    content: bytes | None = None
    content_type: str | None = None
    size: int = 0
    """Bytes of the body as received."""
    accept: tuple[str, ...] = ()
    """Media types in the caller's order of preference; Binary chooses its native type by it."""
    if_match: str | None = None
    if_none_match: str | None = None
    if_none_exist: str | None = None
    if_modified_since: datetime | None = None
    prefer_return: str | None = None
    handling: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    """Further headers by lower-case name, for operations that define their own."""


@dataclass(frozen=True, slots=True)
class FhirResponse:
    """One FHIR answer: ``body`` is FHIR JSON bytes as stored, a resource as a dict, or nothing.

    With ``content_type`` set the bytes are native content (a Binary) and are sent as they are.
    """

    status: int
    body: bytes | dict[str, Any] | None = None
    version_id: str | None = None
    last_modified: datetime | None = None
    location: str | None = None
    """Relative to the base: ``Patient/42/_history/1``; the edge makes it absolute."""
    content_type: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    route: str = ""
    """The template of the route taken (``/{type}/{id}``), for logs and metrics."""
