"""Rewriting the index fields of current versions, for a reindex: bodies, versions and history stay as they are.

Two things could go wrong beside concurrent writers, and both are shut out by the database, not by timing:

- A writer that computed its index before a parameter was published may commit after the walk has passed. Every commit
  inserts into ``outbox`` and says there under which generation of parameters it was indexed; ``fence`` has the database
  refuse those below a generation. Changing the rule waits for the transactions under way, so that behind the fence
  nothing old can come. It costs a commit nothing.
- A job that was paused and has lost its lease may wake up. Each batch is one transaction with the change of the
  job's own record, which fails when the lease has passed to another.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pymongo import UpdateOne
from pymongo.client_session import ClientSession
from pymongo.read_concern import ReadConcern

from fhir_server.storage.connection import Connection, translated
from fhir_server.storage.documents import OWN_FIELDS, collection_of
from fhir_server.storage.driver_transaction import MAJORITY


@dataclass(frozen=True, slots=True)
class Rewrite:
    """The index fields that one version of one resource shall have instead of those it has."""

    reference: str
    version: int
    index: Mapping[str, Any]
    dropped: tuple[str, ...]
    """Fields that it had and has no more."""


class LeaseLost(Exception):
    """The job's record is no longer this worker's: nothing was written."""


class IndexWriter:
    """Rewrites indexes in one database. Every method may raise ``StoreUnavailable``."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def fence(self, generation: int) -> None:
        """Return once nobody can commit any more what was indexed under a lower generation."""
        with translated():
            self._connection.database.command(
                "collMod", "outbox", validator={"g": {"$gte": generation}}, validationLevel="strict"
            )

    def rewrite(
        self,
        rewrites: Sequence[Rewrite],
        collection: str,
        lease: Mapping[str, Any],
        changes: Sequence[Mapping[str, Any]],
    ) -> None:
        """Write the indexes and, in the same transaction, change the record that the filter ``lease`` finds.

        A resource that has moved to another version is left alone: who wrote it has indexed it. Raises ``LeaseLost``.
        """

        def write(session: ClientSession) -> None:
            database = self._connection.database
            found = database[collection].update_one(dict(lease), [dict(stage) for stage in changes], session=session)
            if not found.matched_count:
                raise LeaseLost
            self._write(rewrites, session)

        self._transact(rewrites, write)

    def write(self, rewrites: Sequence[Rewrite]) -> None:
        """Write the indexes alone, of events that no job has met."""
        if rewrites:
            self._transact(rewrites, lambda session: self._write(rewrites, session))

    def _write(self, rewrites: Sequence[Rewrite], session: ClientSession) -> None:
        updates: dict[str, list[UpdateOne]] = {}
        for each in rewrites:
            updates.setdefault(collection_of(each.reference), []).append(_update(each))
        for collection, part in updates.items():
            self._connection.database[collection].bulk_write(part, ordered=False, session=session)

    def _transact(self, rewrites: Sequence[Rewrite], write: Callable[[ClientSession], None]) -> None:
        changing = self._connection.stamps.changing(
            [each.reference for each in rewrites], lambda error: not isinstance(error, LeaseLost)
        )
        with translated(), changing, self._connection.client.start_session() as session:
            session.with_transaction(write, read_concern=ReadConcern("local"), write_concern=MAJORITY)


def _update(rewrite: Rewrite) -> UpdateOne:
    written = OWN_FIELDS.intersection((*rewrite.index, *rewrite.dropped))
    if written:
        raise ValueError(f"no index fields: {sorted(written)}")
    change: dict[str, Any] = {"$set": dict(rewrite.index)}
    if rewrite.dropped:
        change["$unset"] = dict.fromkeys(rewrite.dropped, "")
    return UpdateOne({"_id": rewrite.reference, "version": rewrite.version, "deleted": False}, change)
