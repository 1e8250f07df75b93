"""Bundles that the server answers with, spliced from stored bytes: a body is never parsed to be listed.

Spec: http://hl7.org/fhir/R4/bundle.html, http://hl7.org/fhir/R4/http.html#search
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

import orjson

from fhir_server.fhir.datatypes import format_instant
from fhir_server.fhir.json import to_json

Body = bytes | dict[str, Any]
Link = tuple[str, str]
"""A link relation (``self``, ``next``) and its URL."""


@dataclass(frozen=True, slots=True)
class SearchEntry:
    """A hit (``match``), what comes along (``include``), or an OperationOutcome (``outcome``)."""

    full_url: str | None
    body: Body
    mode: Literal["match", "include", "outcome"] = "match"
    score: Decimal | None = None


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One version and the interaction that made it; ``body`` is None for a deletion."""

    full_url: str
    body: Body | None
    method: str
    url: str
    status: str
    version: int
    updated: datetime


def splice_matches(base_url: str, hits: Iterable[tuple[str, bytes]]) -> list[bytes]:
    """Return the entries of hits, each ``Type/id`` with its JSON, as ``build_searchset`` takes them."""
    start = b'{"fullUrl":%b' % orjson.dumps(f"{base_url}/")[:-1]
    return [
        b'%b%b","resource":%b,"search":{"mode":"match"}}' % (start, reference.encode(), body)
        for reference, body in hits
    ]


def build_searchset(
    entries: Iterable[SearchEntry | bytes],
    *,
    links: Iterable[Link] = (),
    total: int | None = None,
    id: str | None = None,
    updated: datetime | None = None,
    tags: Iterable[Mapping[str, Any]] = (),
) -> bytes:
    """Return the JSON of a searchset Bundle; entries and bodies given as bytes are taken over as they are."""
    written = [entry if isinstance(entry, bytes) else _search_entry(entry) for entry in entries]
    return _build("searchset", written, links, total, id, updated, tags)


def build_history(
    entries: Iterable[HistoryEntry],
    *,
    links: Iterable[Link] = (),
    total: int | None = None,
    id: str | None = None,
    updated: datetime | None = None,
) -> bytes:
    """Return the JSON of a history Bundle with the request and response of each version."""
    return _build("history", [_history_entry(entry) for entry in entries], links, total, id, updated, ())


def build_response_bundle(
    type: Literal["transaction-response", "batch-response"], entries: Iterable[Mapping[str, Any]]
) -> bytes:
    """Return the JSON of the answer to a batch or transaction.

    ``entries`` are ``Bundle.entry`` objects whose ``resource`` may be an ``orjson.Fragment`` of stored bytes.
    """
    return _build(type, [to_json(entry) for entry in entries], (), None, None, None, ())


def _build(
    type: str,
    entries: list[bytes],
    links: Iterable[Link],
    total: int | None,
    id: str | None,
    updated: datetime | None,
    tags: Iterable[Mapping[str, Any]],
) -> bytes:
    head: dict[str, Any] = {"resourceType": "Bundle"}
    if id is not None:
        head["id"] = id
    meta: dict[str, Any] = {} if updated is None else {"lastUpdated": format_instant(updated)}
    if tags := list(tags):
        meta["tag"] = tags
    if meta:
        head["meta"] = meta
    head["type"] = type
    if total is not None:
        head["total"] = total
    if shown := [{"relation": relation, "url": url} for relation, url in links]:
        head["link"] = shown
    start = to_json(head)
    # FHIR knows no empty arrays.
    return b'%b,"entry":[%b]}' % (start[:-1], b",".join(entries)) if entries else start


_SEARCH = {mode: b'"search":{"mode":"%b"}}' % mode.encode() for mode in ("match", "include", "outcome")}


def _search_entry(entry: SearchEntry) -> bytes:
    body = entry.body if isinstance(entry.body, bytes) else to_json(entry.body)
    start = b"{" if entry.full_url is None else b'{"fullUrl":%b,' % orjson.dumps(entry.full_url)
    if entry.score is None:
        return b'%b"resource":%b,%b' % (start, body, _SEARCH[entry.mode])
    search = to_json({"mode": entry.mode, "score": entry.score})
    return b'%b"resource":%b,"search":%b}' % (start, body, search)


def _history_entry(entry: HistoryEntry) -> bytes:
    members: dict[str, Any] = {"fullUrl": entry.full_url}
    if entry.body is not None:
        members["resource"] = orjson.Fragment(entry.body) if isinstance(entry.body, bytes) else entry.body
    members["request"] = {"method": entry.method, "url": entry.url}
    members["response"] = {
        "status": entry.status,
        "etag": f'W/"{entry.version}"',
        "lastModified": format_instant(entry.updated),
    }
    return to_json(members)
