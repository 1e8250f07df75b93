"""The read commands, pure: what is asked of MongoDB for a query, a history, many small queries at once."""

from collections.abc import Mapping, Sequence
from typing import Any

from fhir_server.storage.connection import READ_CONCERN
from fhir_server.storage.documents import APART, HEAD, HISTORY, to_projection, to_version_key
from fhir_server.storage.indexes import INDEXES
from fhir_server.storage.markings import to_unmarked_filter
from fhir_server.storage.store import HistoryQuery, Query

MOST_BRANCHES = 300
"""$unionWith branches of one aggregation; each is two to three of the 1,000 stages that a pipeline may have."""

_ALL_AT_ONCE = 1_000_000
_HINTS = frozenset(one.name for one in INDEXES if one.collection == "resources")


def to_living(filter: Mapping[str, Any]) -> dict[str, Any]:
    """Return the filter without tombstones; one that asks for a type or a token cannot meet them: they have none."""
    return dict(filter) if _is_of_living(filter) else {**filter, "deleted": False}


def _is_of_living(filter: Mapping[str, Any]) -> bool:
    if "deleted" in filter or any(_names_values(filter.get(name)) for name in ("type", "t", "pt")):
        return True
    branches = filter.get("$or")
    if branches and all(map(_is_of_living, branches)):
        return True
    return any(map(_is_of_living, filter.get("$and", ())))


def _names_values(condition: Any) -> bool:
    if isinstance(condition, dict):
        condition = condition.get("$in") or (None,)
        return all(isinstance(one, str) for one in condition)
    return isinstance(condition, str)


def to_find(query: Query, milliseconds: int) -> dict[str, Any]:
    """Return the command of one page of current versions."""
    if query.computed:
        return _to_sorted_find(query, milliseconds)
    command = _find(query.collection, to_living(query.filter), milliseconds)
    projection = to_projection(query.with_body, query.with_index, query.index_fields)
    if projection:
        command["projection"] = projection
    if query.sort:
        command["sort"] = dict(query.sort)
    if query.limit:
        command["limit"] = query.limit
    if query.hint in _HINTS:
        command["hint"] = query.hint
    return command


def _to_sorted_find(query: Query, milliseconds: int) -> dict[str, Any]:
    """Return the command of a page in an order that is computed; no more than the page is ever held in memory."""
    projection = to_projection(query.with_body, query.with_index, query.index_fields)
    stages: list[dict[str, Any]] = [{"$match": to_living(query.filter)}, {"$set": dict(query.computed)}]
    if query.beyond is not None:
        stages.append({"$match": {"$expr": query.beyond}})
    if projection:
        stages.append({"$project": {**projection, **dict.fromkeys(query.computed, 1)}})
    stages += [{"$sort": dict(query.sort)}, {"$limit": query.limit}]
    return _aggregate(query.collection, stages, milliseconds)


def to_find_included(
    query: Query, versions: Sequence[str], restriction: Mapping[str, Any], milliseconds: int
) -> dict[str, Any]:
    """Return the command that finds current documents, and versions beside them; only the latter have a ``ref``."""
    projection = to_projection(query.with_body, query.with_index, query.index_fields)
    wanted = {"_id": {"$in": list(versions)}, "deleted": False}
    history = [{"$match": {"$and": [wanted, restriction]} if restriction else wanted}, {"$project": HISTORY}]
    stages: list[dict[str, Any]] = [
        {"$match": to_living(query.filter)},
        {"$limit": query.limit},
        {"$project": projection},
        {"$unionWith": {"coll": "history", "pipeline": history}},
    ]
    return _aggregate("resources", stages, milliseconds)


def to_find_ids(
    collection: str, ids: Sequence[str], projection: Mapping[str, int], milliseconds: int
) -> dict[str, Any]:
    """Return the command that reads documents by ``_id``; one alone takes the database's shortest way."""
    key = ids[0] if len(ids) == 1 else {"$in": list(ids)}
    return {**_find(collection, {"_id": key}, milliseconds), "projection": dict(projection)}


def to_find_unmarked(patient: str, closed: bool, limit: int, milliseconds: int) -> dict[str, Any]:
    """Return the command that finds the keys of versions of a record that are not marked as they should be."""
    command = _find("history", to_unmarked_filter(patient, closed=closed), milliseconds)
    return {**command, "projection": {"_id": 1}, "limit": limit}


def to_union(filters: Sequence[Mapping[str, Any]], limit: int, milliseconds: int) -> dict[str, Any]:
    """Return one aggregation that answers every filter with at most ``limit`` heads, ``branch`` telling which."""
    first, *others = (_branch(number, each, limit) for number, each in enumerate(filters))
    return {
        "aggregate": "resources",
        "pipeline": first + [{"$unionWith": {"coll": "resources", "pipeline": each}} for each in others],
        "cursor": {"batchSize": _ALL_AT_ONCE},
        "maxTimeMS": milliseconds,
        "readConcern": READ_CONCERN,
    }


def to_count(collection: str, filter: Mapping[str, Any], limit: int, milliseconds: int) -> dict[str, Any]:
    """Return the command that counts, no further than ``limit`` if one is given."""
    command: dict[str, Any] = {"count": collection, "query": dict(filter), "readConcern": READ_CONCERN}
    if limit:
        command["limit"] = limit
    return {**command, "maxTimeMS": milliseconds}


def to_history(query: HistoryQuery, milliseconds: int) -> dict[str, Any]:
    """Return the command of one page of versions, newest first."""
    if query.at is not None:
        return _aggregate_history([*_at_stages(query), {"$limit": query.limit}], milliseconds)
    command = _find("history", to_history_filter(query), milliseconds)
    return {**command, "sort": _history_order(query), "limit": query.limit}


def to_events(query: HistoryQuery) -> Query:
    """Return the query of one page of the history of events, whose only versions are among the current ones."""
    return Query(to_history_filter(query), (("updated", -1), ("_id", -1)), query.limit, collection="audit")


def to_history_count(query: HistoryQuery, limit: int, milliseconds: int) -> dict[str, Any]:
    """Return the aggregation that counts versions that were current within ``at``."""
    bound = [{"$limit": limit}] if limit else []
    return _aggregate_history([*_at_stages(query), *bound, {"$count": "n"}], milliseconds)


def is_apart(query: HistoryQuery) -> bool:
    """Say whether the history is of a type whose only versions are in its own collection."""
    return (query.resource_type or (query.reference or "").partition("/")[0]) in APART


def to_history_filter(query: HistoryQuery) -> dict[str, Any]:
    """Return the filter of a history: range on the first sort key, the tie broken by a residual."""
    conditions: list[dict[str, Any]] = [dict(query.filter)] if query.filter else []
    if query.since is not None:
        conditions.append({"updated": {"$gte": query.since}})
    if query.at is not None:
        conditions.append({"updated": {"$lte": query.at[1]}})
    if query.after is not None:
        conditions += _after(query)
    if query.reference is not None:
        conditions.append(
            {"_id": query.reference}
            if is_apart(query)
            else {"_id": {"$gt": f"{query.reference}/", "$lt": f"{query.reference}0"}}  # 0 follows /
        )
    elif query.resource_type is not None:
        conditions.append({"type": query.resource_type})
    if not conditions:
        return {}
    return conditions[0] if len(conditions) == 1 else {"$and": conditions}


def _find(collection: str, filter: Mapping[str, Any], milliseconds: int) -> dict[str, Any]:
    return {
        "find": collection,
        "filter": dict(filter),
        "batchSize": _ALL_AT_ONCE,
        "maxTimeMS": milliseconds,
        "readConcern": READ_CONCERN,
    }


def _branch(number: int, filter: Mapping[str, Any], limit: int) -> list[dict[str, Any]]:
    return [
        {"$match": to_living(filter)},
        {"$limit": limit},
        {"$project": {**HEAD, "branch": {"$literal": number}}},
    ]


def _after(query: HistoryQuery) -> list[dict[str, Any]]:
    assert query.after is not None
    updated, reference, version = query.after
    key = reference if is_apart(query) else to_version_key(reference, version)
    if query.reference is not None:
        return [{"_id": {"$lt": key}}]
    return [
        {"updated": {"$lte": updated}},
        {"$or": [{"updated": {"$lt": updated}}, {"_id": {"$lt": key}}]},
    ]


def _history_order(query: HistoryQuery) -> dict[str, int]:
    return {"_id": -1} if query.reference is not None else {"updated": -1, "_id": -1}


def _at_stages(query: HistoryQuery) -> list[dict[str, Any]]:
    """Keep the versions that had not yet been followed by the next one when the period began."""
    assert query.at is not None
    padded = {"$substrBytes": [{"$toString": {"$add": ["$version", 10_000_000_001]}}, 1, 10]}
    superseded = {"$lookup": {"from": "history", "localField": "next", "foreignField": "_id", "as": "next"}}
    still_current = {"next.updated": {"$not": {"$lte": query.at[0]}}}
    return [
        {"$match": to_history_filter(query)},
        {"$sort": _history_order(query)},
        {"$set": {"next": {"$concat": ["$ref", "/", padded]}}},
        superseded,
        {"$match": still_current},
        {"$unset": "next"},
    ]


def _aggregate_history(stages: list[dict[str, Any]], milliseconds: int) -> dict[str, Any]:
    return _aggregate("history", stages, milliseconds)


def _aggregate(collection: str, stages: list[dict[str, Any]], milliseconds: int) -> dict[str, Any]:
    return {
        "aggregate": collection,
        "pipeline": stages,
        "cursor": {"batchSize": _ALL_AT_ONCE},
        "maxTimeMS": milliseconds,
        "readConcern": READ_CONCERN,
    }
