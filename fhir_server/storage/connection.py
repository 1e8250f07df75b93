"""The way to the database: clients made after the fork, read commands, and driver errors in our own words."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pymongo
from pymongo import MongoClient
from pymongo.errors import (
    AutoReconnect,
    ConnectionFailure,
    ExecutionTimeout,
    InvalidOperation,
    OperationFailure,
    PyMongoError,
    WaitQueueTimeoutError,
)
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent
from pymongo.uri_parser import parse_uri

from fhir_server.errors import Text, Timeout
from fhir_server.storage.documents import CODEC, READ_CODEC
from fhir_server.storage.driver_transaction import MAJORITY, begin_transaction
from fhir_server.storage.stamps import Stamps, to_path
from fhir_server.storage.store import StoreStatus, StoreUnavailable
from fhir_server.storage.wire import APPLICATION, Wire, WireReader
from fhir_server.storage.wire_transaction import WireTransactions

READ_CONCERN = {"level": "majority"}
"""A reader never sees what a crash or a failover could take back; what a writer was told is there is seen."""

_OLDEST_WIRE_VERSION = 17  # MongoDB 6.0
_UNAVAILABLE_CODES = frozenset({6, 7, 89, 91, 189, 262, 9001, 10058, 10107, 11600, 11602, 13435, 13436})
_TOO_SLOW = 50

Client = MongoClient[dict[str, Any]]
Database = pymongo.database.Database[dict[str, Any]]
T = TypeVar("T")


class UnsuitableDatabase(Exception):
    """The database answers but cannot do what the server needs; ``text`` says why, in both languages."""

    def __init__(self, text: Text) -> None:
        self.text = text
        super().__init__(text.en)


class Reader(Protocol):
    """Runs read commands; the wire's reader and the driver's are alike."""

    def run(self, command: dict[str, Any]) -> dict[str, Any]:
        """Return the reply to one command."""

    def documents(self, command: dict[str, Any]) -> list[dict[str, Any]]:
        """Return all documents of a ``find`` or ``aggregate``."""

    def close(self) -> None:
        """Release what is held."""


class Transaction(Protocol):
    """One transaction; the wire's and the driver's are alike, in their errors and labels too."""

    def run(self, commands: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the replies to write commands, done in their order, up to the first with ``writeErrors``.

        One that is refused as a whole raises.
        """

    def commit(self) -> None:
        """Commit, to a majority and the journal; may be called again after an error that is labelled as unknown."""

    def abort(self) -> None:
        """Abort as well as can be."""


class Connection:
    """One database reached through one URI. Nothing is opened before the first use in this process.

    On a plain unix socket reads and commits go over it directly, unless ``driver_only``.
    """

    def __init__(
        self, uri: str, database: str, *, driver_only: bool = False, listener: Callable[[str], None] | None = None
    ) -> None:
        self._listeners = [] if listener is None else [_Listener(listener)]
        self._uri = uri
        self._name = database
        self._lock = threading.Lock()
        self._client: Client | None = None
        self._process = 0
        socket = local_socket(uri)
        self.stamps = Stamps(None if socket is None else to_path(Path(socket)), database)
        wire = None if driver_only or socket is None else Wire(socket, database, listener=listener)
        self.reader: Reader = _DriverReader(self) if wire is None else WireReader(wire)
        self._transactions = None if wire is None else WireTransactions(wire)

    @property
    def client(self) -> Client:
        """This process's client, made at its first use."""
        if self._client is None or self._process != os.getpid():
            with self._lock:
                if self._client is None or self._process != os.getpid():
                    self._client, self._process = self._connect(), os.getpid()
        return self._client

    @property
    def database(self) -> Database:
        """The database, writing majority and journaled."""
        return self.client.get_database(self._name, codec_options=CODEC, write_concern=MAJORITY)

    def transaction(self) -> AbstractContextManager[Transaction]:
        """Give one transaction; what is not committed must be aborted."""
        if self._transactions is None:
            return begin_transaction(lambda: self.database)
        return self._transactions.begin()

    @contextmanager
    def administration(self) -> Iterator[Database]:
        """The database through a client of its own that waits as long as an index takes to build."""
        with MongoClient[dict[str, Any]](self._uri, appname=APPLICATION, serverSelectionTimeoutMS=5_000) as client:
            yield client.get_database(self._name, codec_options=CODEC, write_concern=MAJORITY)

    def status(self) -> StoreStatus:
        """Return what the deployment is and whether it works now; within about two seconds, never raising."""
        try:
            with pymongo.timeout(2):
                hello = self.client.admin.command("hello")
                version = str(self.client.admin.command("buildInfo")["version"])
        except PyMongoError as error:
            return StoreStatus(False, "", None, _reason_unreachable(error))
        unsuitable = _unsuitable(hello, version)
        if unsuitable is not None:
            return StoreStatus(False, version, hello.get("setName"), unsuitable.en)
        if not hello.get("isWritablePrimary"):
            return StoreStatus(False, version, hello.get("setName"), "The replica set has no primary right now.")
        return StoreStatus(True, version, hello.get("setName"))

    def check_suitable(self) -> None:
        """Raise ``UnsuitableDatabase`` for a standalone or too old mongod, ``StoreUnavailable`` if unreachable."""
        with translated():
            hello = self.client.admin.command("hello")
            version = str(self.client.admin.command("buildInfo")["version"])
        unsuitable = _unsuitable(hello, version)
        if unsuitable is not None:
            raise UnsuitableDatabase(unsuitable)

    def close(self) -> None:
        """Close the connections of this process."""
        self.reader.close()
        self.stamps.close()
        with self._lock:
            if self._client is not None and self._process == os.getpid():
                self._client.close()
            self._client = None

    def _connect(self) -> Client:
        return MongoClient(
            self._uri,
            appname=APPLICATION,
            maxPoolSize=200,
            serverSelectionTimeoutMS=5_000,
            connectTimeoutMS=5_000,
            socketTimeoutMS=60_000,  # a database that says nothing must not hold a request for ever
            event_listeners=self._listeners,
            # Asked at once after an error instead of waiting for the server to report by itself.
            serverMonitoringMode="poll",
            retryReads=True,
            retryWrites=True,
        )


class _Listener(CommandListener):
    """Tells the names of the driver's commands, but for what it does by itself."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell

    def started(self, event: CommandStartedEvent) -> None:
        if event.command_name != "endSessions":
            self._tell(event.command_name)

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Nothing to tell."""

    def failed(self, event: CommandFailedEvent) -> None:
        """Nothing to tell."""


class _DriverReader:
    """Read commands through the driver: for every deployment that is not our own socket."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def run(self, command: dict[str, Any]) -> dict[str, Any]:
        return _twice(lambda: self._connection.database.command(command, codec_options=READ_CODEC))

    def documents(self, command: dict[str, Any]) -> list[dict[str, Any]]:
        return _twice(lambda: self._documents(command))

    def _documents(self, command: dict[str, Any]) -> list[dict[str, Any]]:
        database = self._connection.database
        with self._connection.client.start_session() as session:
            cursor = database.command(command, codec_options=READ_CODEC, session=session)["cursor"]
            found: list[dict[str, Any]] = cursor["firstBatch"]
            while cursor["id"]:
                more = {"getMore": cursor["id"], "collection": cursor["ns"].partition(".")[2]}
                cursor = database.command(more, codec_options=READ_CODEC, session=session)["cursor"]
                found += cursor["nextBatch"]
        return found

    def close(self) -> None:
        """Nothing: the connection closes its client."""


def local_socket(uri: str) -> str | None:
    """Return the path of the unix socket a URI names if it names nothing else (no member, user or TLS)."""
    parsed = parse_uri(uri, validate=False)
    nodes = parsed["nodelist"]
    plain = parsed["username"] is None and not parsed["options"].get("tls")
    if len(nodes) == 1 and nodes[0][0].startswith("/") and plain:
        return str(nodes[0][0])
    return None


@contextmanager
def translated() -> Iterator[None]:
    """Turn the driver's errors into ``StoreUnavailable`` and ``Timeout``; others are faults of ours and pass."""
    try:
        yield
    except PyMongoError as error:
        raise translate(error) from error


def translate(error: PyMongoError) -> Exception:
    """Return what the caller shall see in place of a driver's error; the error itself when it is a fault of ours."""
    code = error.code if isinstance(error, OperationFailure) else None
    if isinstance(error, ExecutionTimeout) or code == _TOO_SLOW:
        return Timeout(
            Text(
                "The database needed longer than one request may take; narrow the search.",
                "La base a dépassé le temps alloué à une requête ; précisez la recherche.",
            )
        )
    if is_unavailable(error):
        return StoreUnavailable(_reason_unreachable(error))
    return error


def is_unavailable(error: PyMongoError) -> bool:
    """Whether the same work may succeed later, on this or another member."""
    if isinstance(error, OperationFailure):
        return error.code in _UNAVAILABLE_CODES
    return isinstance(error, ConnectionFailure | WaitQueueTimeoutError) or (
        isinstance(error, InvalidOperation) and "close" in str(error)
    )


def _twice(work: Callable[[], T]) -> T:
    try:
        return work()
    except AutoReconnect:
        time.sleep(0.05)
        return work()


def _reason_unreachable(error: PyMongoError) -> str:
    if isinstance(error, OperationFailure):
        return f"The database has no primary right now or refuses the work (code {error.code})."
    return f"The database cannot be reached ({type(error).__name__})."


def _unsuitable(hello: dict[str, Any], version: str) -> Text | None:
    if hello.get("maxWireVersion", 0) < _OLDEST_WIRE_VERSION:
        return Text(
            f"MongoDB {version} is too old: 6.0 or later is needed.",
            f"MongoDB {version} est trop ancien : la version 6.0 ou une plus récente est requise.",
        )
    if hello.get("setName") is None and hello.get("msg") != "isdbgrid":
        return Text(
            "This mongod stands alone; transactions need a replica set: start it with --replSet and initiate it"
            " (one member is enough).",
            "Ce mongod est isolé ; les transactions exigent un replica set : lancez-le avec --replSet puis"
            " initialisez-le (un seul membre suffit).",
        )
    return None
