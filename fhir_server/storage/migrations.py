"""Steps from an older stored shape to this one, each run once; the database remembers how far it has come."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pymongo.database import Database

from fhir_server.errors import Text
from fhir_server.search.closed import content_of
from fhir_server.storage.connection import UnsuitableDatabase
from fhir_server.storage.documents import from_version_key
from fhir_server.storage.markings import to_current_updates, to_history_updates, to_unmarked_filter
from fhir_server.storage.store import Marking

Migration = Callable[[Database[dict[str, Any]]], None]

_BATCH = 1_000
_INACTIVE = "Patient.active||false"


def _drop_patients_of_events(database: Database[dict[str, Any]]) -> None:
    """Events are found by all that they refer to, by one index; that of patients alone serves nothing any more."""
    if "patient" in database["audit"].index_information():
        database["audit"].drop_index("patient")


def _mark_closed_records(database: Database[dict[str, Any]]) -> None:
    """Mark what lies in records that were closed before there were marks (``search.closed``)."""
    for patient in database["resources"].find({"type": "Patient", "t": _INACTIVE}, {"_id": 1}):
        wrong = to_unmarked_filter(patient["_id"], closed=True)
        while found := [one["_id"] for one in database["history"].find(wrong, {"_id": 1}, limit=_BATCH)]:
            marking = Marking(patient["_id"], True, tuple(map(from_version_key, found)))
            carrying = database["resources"].find({"_id": {"$in": list(marking.references)}}, {"x": 1})
            content = {name for one in carrying for name in content_of(one)}
            marking = replace(marking, contents=tuple(sorted(content)))
            database.command("update", "resources", updates=list(to_current_updates(marking)))
            database.command("update", "history", updates=list(to_history_updates(marking)))


MIGRATIONS: tuple[Migration, ...] = (_drop_patients_of_events, _mark_closed_records)
"""In order, never edited or removed. A step may run twice, in two workers at once: it must come to the same."""


def migrate(database: Database[dict[str, Any]], migrations: tuple[Migration, ...] = MIGRATIONS) -> int:
    """Run the steps that this database has not seen and return how many; refuses a database from the future.

    Raises ``UnsuitableDatabase`` when a newer server has already changed the shape.
    """
    meta = database["meta"]
    first = len(migrations) if _is_new(database) else 0
    meta.update_one({"_id": "shape"}, {"$setOnInsert": {"steps": first}}, upsert=True)
    done = int((meta.find_one({"_id": "shape"}) or {"steps": 0})["steps"])
    if done > len(migrations):
        raise UnsuitableDatabase(
            Text(
                "This database was written by a newer version of the server.",
                "Cette base a été écrite par une version plus récente du serveur.",
            )
        )
    for number, migration in enumerate(migrations[done:], start=done + 1):
        migration(database)
        meta.update_one({"_id": "shape", "steps": {"$lt": number}}, {"$set": {"steps": number}})
    return len(migrations) - done


def _is_new(database: Database[dict[str, Any]]) -> bool:
    return database["history"].find_one({}, {"_id": 1}) is None
