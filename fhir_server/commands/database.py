"""The database that a command works on: the one that the settings name, or the embedded one for as long as needed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from fhir_server.commands.terminal import CommandFailed
from fhir_server.errors import Text
from fhir_server.settings import Settings
from fhir_server.storage.connection import UnsuitableDatabase
from fhir_server.storage.data_lock import DataDirectoryInUse
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
def database_beside_server(settings: Settings) -> Iterator[Settings]:
    """Give settings that name a running database: the server's own while it runs. Raises ``CommandFailed``."""
    try:
        with running_database(settings) as connected:
            yield connected
    except CommandFailed as problem:
        if not isinstance(problem.__context__, DataDirectoryInUse):
            raise
        yield replace(settings, mongodb_uri=EmbeddedMongod(settings.data_directory).uri)
