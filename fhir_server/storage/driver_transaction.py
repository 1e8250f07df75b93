"""Transactions through the driver: for every deployment that is not our own socket."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pymongo.client_session import ClientSession
from pymongo.database import Database
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

MAJORITY = WriteConcern("majority", j=True)


class DriverTransaction:
    """One transaction of a session; see ``connection.Transaction``."""

    def __init__(self, database: Database[dict[str, Any]], session: ClientSession) -> None:
        self._database = database
        self._session = session

    def run(self, commands: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the replies to write commands, done in their order, up to the first with ``writeErrors``."""
        replies = []
        for command in commands:
            replies.append(self._database.command(command, session=self._session))
            if "writeErrors" in replies[-1]:
                break
        return replies

    def commit(self) -> None:
        """Commit; may be called again after an error that is labelled as unknown."""
        self._session.commit_transaction()

    def abort(self) -> None:
        """Abort as well as can be; once a commit was tried, the session's next transaction does it."""
        if self._session.in_transaction:
            self._session.abort_transaction()


@contextmanager
def begin_transaction(database: Callable[[], Database[dict[str, Any]]]) -> Iterator[DriverTransaction]:
    """Give one transaction; what is not committed is aborted at the end."""
    found = database()
    with found.client.start_session() as session:
        session.start_transaction(read_concern=ReadConcern("local"), write_concern=MAJORITY)
        yield DriverTransaction(found, session)
