"""The database that a command works on: the one that the settings name, or the embedded one for as long as needed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from fhir_server.app import Composition
from fhir_server.commands.terminal import CommandFailed
from fhir_server.errors import Text
from fhir_server.settings import Settings
from fhir_server.storage.connection import UnsuitableDatabase
from fhir_server.storage.data_lock import DataDirectoryInUse, DataLock
from fhir_server.storage.embedded import EmbeddedDatabaseError, EmbeddedMongod
from fhir_server.storage.store import StoreUnavailable

_UNREACHABLE = Text(
    "The database of FHIR_SERVER_MONGODB_URI cannot be reached.",
    "La base de données de FHIR_SERVER_MONGODB_URI est inaccessible.",
)


@contextmanager
def running_database(settings: Settings) -> Iterator[Settings]:
    """Give settings that name a running database; an embedded one ends with the block.

    Raises ``CommandFailed`` with the reason when there is none to be had.
    """
    try:
        if settings.mongodb_uri is not None:
            yield settings
            return
        with EmbeddedMongod(settings.data_directory, cache_size=settings.embedded_cache_size) as mongod:
            yield replace(settings, mongodb_uri=mongod.uri)
    except (EmbeddedDatabaseError, UnsuitableDatabase) as problem:
        raise CommandFailed(problem.text) from None
    except StoreUnavailable:
        raise CommandFailed(_UNREACHABLE) from None


@contextmanager
def shared_database(settings: Settings) -> Iterator[Settings]:
    """Give settings that name a running database, also the embedded one of a server that runs on the same data.

    For small changes beside the server, which it notices by itself. Raises ``CommandFailed`` as ``running_database``.
    """
    beside = EmbeddedMongod(settings.data_directory)
    if settings.mongodb_uri is None and _is_in_use(beside):
        settings = replace(settings, mongodb_uri=beside.uri)
    with running_database(settings) as connected:
        yield connected


@contextmanager
def shared_composition(settings: Settings) -> Iterator[Composition]:
    """Give the server's parts, connected to the database of ``shared_database``. Raises ``CommandFailed``."""
    with shared_database(settings) as connected:
        composition = Composition(connected)
        try:
            composition.store()
            yield composition
        finally:
            composition.close()


def _is_in_use(mongod: EmbeddedMongod) -> bool:
    lock = DataLock(mongod.directory)
    try:
        lock.take()
    except (DataDirectoryInUse, FileNotFoundError) as problem:
        return isinstance(problem, DataDirectoryInUse)
    lock.release()
    return False
