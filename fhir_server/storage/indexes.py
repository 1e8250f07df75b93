"""Every index of the database, as data with its reason; created, verified and reported by the server itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pymongo.database import Database
from pymongo.errors import OperationFailure

Keys = tuple[tuple[str, int], ...]
COLLECTIONS = (
    "resources", "history", "outbox", "guards", "meta", "jobs", "smart_clients", "audit", "audit_seals",
)  # fmt: skip
_DAY = 86_400


@dataclass(frozen=True, slots=True)
class Index:
    """One declared index; ``reason`` is what would be slow without it."""

    collection: str
    name: str
    keys: Keys
    reason: str
    options: Mapping[str, Any] = field(default_factory=dict)


def _resources(name: str, keys: Keys, reason: str, only: str = "") -> Index:
    """Return an index on current versions; with ``only`` it holds just the documents that have that field."""
    options = {"partialFilterExpression": {only: {"$exists": True}}} if only else {}
    return Index("resources", name, keys, reason, options)


def _unique_where(field: str) -> dict[str, Any]:
    """Return the options of an index that has no value twice and leaves out documents without one."""
    return {"unique": True, "partialFilterExpression": {field: {"$exists": True}}}


INDEXES: tuple[Index, ...] = (
    _resources(
        "token",
        (("t", 1), ("ds", 1), ("_id", 1), ("updated", 1)),
        "search by token, sorted by date or id; names the versions of a page by itself",
    ),
    _resources("reference", (("r", 1), ("ds", 1), ("_id", 1)), "search by reference, revincludes", "r"),
    _resources("patient_token", (("pt", 1), ("t", 1), ("ds", 1), ("_id", 1)), "a patient's resources by token", "pt"),
    _resources("patient_updated", (("pt", 1), ("updated", 1), ("_id", 1)), "a patient's newest changes", "pt"),
    _resources("string", (("s", 1), ("_id", 1)), "string search by prefix", "s"),
    _resources("fragment", (("f", 1),), "string search with :contains, by six characters", "f"),
    _resources("word", (("w", 1),), "_text, _content and :text, by word"),
    _resources("type_date", (("type", 1), ("ds", 1), ("_id", 1)), "a type by its primary date; counts"),
    _resources("type_id", (("type", 1), ("_id", 1)), "a type's page in order of id"),
    _resources("type_updated", (("type", 1), ("updated", 1), ("_id", 1)), "_lastUpdated and _sort=_lastUpdated"),
    _resources("updated", (("updated", 1), ("_id", 1)), "system search by _lastUpdated"),
    _resources("date", (("d.p", 1), ("d.s", 1), ("d.e", 1)), "search by a date that is not the primary one", "d"),
    _resources("number", (("n.p", 1), ("n.lo", 1)), "search by number", "n"),
    _resources("quantity", (("q.p", 1), ("q.lo", 1), ("q.u", 1)), "search by quantity, with or without unit", "q"),
    _resources("composite", (("g.p", 1), ("g.v", 1)), "search by composite: a key with its code, and the value", "g"),
    _resources("near", (("nx", 1), ("ny", 1), ("nz", 1)), "locations near a point", "nx"),
    _resources("label", (("l", 1), ("_id", 1)), "resources bearing a security label", "l"),
    _resources("compartment", (("c", 1), ("updated", 1), ("_id", 1)), "a compartment's resources", "c"),
    _resources("points_to", (("x", 1), ("_id", 1)), "who refers to a resource: integrity on delete", "x"),
    Index("history", "type", (("type", 1), ("updated", -1), ("_id", -1)), "history of a type, newest first"),
    Index("history", "system", (("updated", -1), ("_id", -1)), "history of everything, newest first"),
    Index(
        "history",
        "patient",
        (("pt", 1), ("updated", -1), ("_id", -1)),
        "history within a patient's compartment",
        {"partialFilterExpression": {"pt": {"$exists": True}}},
    ),
    Index(
        "history",
        "several_patients",
        (("c", 1),),
        "versions of several patients' records, when one of these is closed or opened",
        {"partialFilterExpression": {"pt": None, "c": {"$exists": True}}},
    ),
    # Few, for every request writes into them. What they do not serve is looked for in the order of dates.
    Index("audit", "type_date", (("type", 1), ("ds", 1), ("_id", 1)), "AuditEvents by date, newest first"),
    Index("audit", "reference", (("x", 1), ("ds", 1), ("_id", 1)), "AuditEvents by patient, agent or entity"),
    Index("audit", "updated", (("updated", 1), ("_id", 1)), "AuditEvents as they came: _lastUpdated, history"),
    Index("outbox", "age", (("at", 1),), "the oldest first; gone after 7 days", {"expireAfterSeconds": 7 * _DAY}),
    Index("jobs", "kind", (("kind", 1), ("created", 1)), "the oldest job that is due"),
    Index(
        "jobs",
        "exclusive",
        (("exclusive", 1),),
        "of jobs that exclude one another, one runs at a time",
        {"unique": True, "partialFilterExpression": {"state": "running"}},
    ),
    Index("emergencies", "keys", (("keys", 1), ("until", 1)), "emergency accesses that a professional has declared"),
    Index("smart_tokens", "age", (("expires", 1),), "tokens go when they expire", {"expireAfterSeconds": 0}),
    Index("smart_tokens", "grant", (("grant", 1),), "all tokens of a consent end with it"),
    Index("smart_tokens", "client", (("client", 1),), "all tokens of a client end with it"),
    Index("smart_tokens", "account", (("account", 1),), "all tokens of an account end with it"),
    Index("smart_grants", "account", (("account", 1), ("created", -1)), "the apps that a person has let in"),
    Index("smart_grants", "client", (("client", 1),), "all consents to a client end with it"),
    Index("smart_codes", "age", (("expires", 1),), "codes are kept to notice a replay", {"expireAfterSeconds": 3_600}),
    Index("smart_requests", "age", (("expires", 1),), "unanswered requests go", {"expireAfterSeconds": 0}),
    Index("smart_launches", "age", (("expires", 1),), "launches go when they expire", {"expireAfterSeconds": 0}),
    Index("smart_assertions", "age", (("expires", 1),), "what has expired replays nothing", {"expireAfterSeconds": 0}),
    Index("accounts", "login", (("login", 1),), "who signs in; one account for each name", _unique_where("login")),
    Index("accounts", "person", (("fhir_user", 1),), "a person's account, the only one", _unique_where("fhir_user")),
    Index("accounts", "alias", (("aliases", 1),), "whom an identity provider means", _unique_where("aliases")),
    Index(
        "accounts",
        "security_key",
        (("security_keys.id", 1),),
        "an authenticator belongs to one account",
        _unique_where("security_keys.id"),
    ),
    Index("sessions", "account", (("account", 1),), "the sessions of an account: listed, and ended with it"),
    Index("sessions", "age", (("expires", 1),), "gone when they are too old", {"expireAfterSeconds": 0}),
    Index("throttles", "age", (("expires", 1),), "failures are forgotten in time", {"expireAfterSeconds": 0}),
    Index("repeats", "age", (("expires", 1),), "repeats are counted for an hour", {"expireAfterSeconds": 0}),
    Index("sign_ins", "age", (("expires", 1),), "nobody has come back from the provider", {"expireAfterSeconds": 0}),
    Index("guards", "age", (("at", 1),), "unused for a day, a guard protects nobody", {"expireAfterSeconds": _DAY}),
)


def ensure_indexes(database: Database[dict[str, Any]]) -> None:
    """Create the collections and indexes that are missing; safe with several workers starting at once.

    A changed declaration replaces the index of the same name. Collections come first: none may be born in a
    transaction.
    """
    present = set(database.list_collection_names())
    for collection in {*COLLECTIONS, *(index.collection for index in INDEXES)} - present:
        _create_collection(database, collection)
    for collection in {index.collection for index in INDEXES}:
        found = _indexes_of(database, collection)
        declared = [index for index in INDEXES if index.collection == collection]
        for index in declared:
            if index.name in found and _difference(index, found[index.name]):
                _drop_index(database, collection, index.name)
                del found[index.name]
        missing = [_specification(index) for index in declared if index.name not in found]
        if missing:
            database.command("createIndexes", collection, indexes=missing, commitQuorum="majority")


def check_indexes(database: Database[dict[str, Any]]) -> list[str]:
    """Return one English sentence for each index that is missing, different or not ours."""
    present = set(database.list_collection_names())
    wrong: list[str] = []
    for collection in sorted({index.collection for index in INDEXES}):
        found = _indexes_of(database, collection) if collection in present else {}
        declared = {index.name: index for index in INDEXES if index.collection == collection}
        wrong += _compare(collection, declared, found)
    return wrong


def _compare(collection: str, declared: Mapping[str, Index], found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    wrong = []
    for name, index in declared.items():
        if name not in found:
            wrong.append(f"Index {collection}.{name} is missing: {index.reason}.")
        elif difference := _difference(index, found[name]):
            wrong.append(f"Index {collection}.{name} differs from its declaration: {difference}.")
    wrong += [
        f"Index {collection}.{name} is not declared by this version of the server."
        for name in sorted(found.keys() - declared.keys() - {"_id_"})
    ]
    return wrong


def _indexes_of(database: Database[dict[str, Any]], collection: str) -> dict[str, Mapping[str, Any]]:
    return {index["name"]: index for index in database[collection].list_indexes()}


def _difference(index: Index, found: Mapping[str, Any]) -> str:
    if tuple(found["key"].items()) != index.keys:
        return "other keys"
    names = {*index.options, "expireAfterSeconds", "unique", "sparse", "partialFilterExpression"}
    differing = [name for name in sorted(names) if found.get(name) != index.options.get(name)]
    return f"other {', '.join(differing)}" if differing else ""


def _specification(index: Index) -> dict[str, Any]:
    return {"key": dict(index.keys), "name": index.name, **index.options}


def _drop_index(database: Database[dict[str, Any]], collection: str, name: str) -> None:
    try:
        database[collection].drop_index(name)
    except OperationFailure as error:
        if error.code != 27:  # IndexNotFound: another worker was faster
            raise


def _create_collection(database: Database[dict[str, Any]], name: str) -> None:
    try:
        database.command("create", name)
    except OperationFailure as error:
        if error.code != 48:  # NamespaceExists: another worker was faster
            raise


def array_fields(keys: Sequence[tuple[str, int]]) -> int:
    """Return how many of the keys lie in arrays; MongoDB allows one per compound index (error 171)."""
    return len(
        {field.partition(".")[0] for field, _ in keys} & {"t", "r", "s", "d", "n", "q", "g", "l", "c", "x", "f", "w"}
    )
