"""A real mongod for the contract tests: one for each xdist worker, a database of its own for each test."""

import itertools
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from fhir_server.storage.embedded import EmbeddedMongod
from fhir_server.storage.mongo import MongoStore
from fhir_server.storage.store import Change

_numbers = itertools.count()
NOW = datetime(2026, 5, 4, 12, 30, 15, 123000, tzinfo=UTC)

MakeChange = Callable[..., Change]
MakeStore = Callable[..., MongoStore]


@pytest.fixture(scope="session")
def mongod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedMongod]:
    """A running mongod that lets tests make commands fail."""
    directory = tmp_path_factory.mktemp("mongod")
    with EmbeddedMongod(directory, cache_size=2**28, parameters=("enableTestCommands=1",)) as running:
        yield running


@pytest.fixture
def make_store(mongod: EmbeddedMongod) -> Iterator[MakeStore]:
    """Return a function that opens further stores on the test's own database."""
    database = f"t{os.getpid()}-{next(_numbers)}"
    opened: list[MongoStore] = []

    def make(**options: Any) -> MongoStore:
        opened.append(MongoStore(mongod.uri, database, **options))
        return opened[-1]

    make().prepare()
    yield make
    opened[0].connection.client.drop_database(database)
    for store in opened:
        store.close()


@pytest.fixture
def store(make_store: MakeStore) -> MongoStore:
    """A store on an empty database."""
    return make_store()


@pytest.fixture(params=["socket", "driver"])
def each_store(make_store: MakeStore, request: pytest.FixtureRequest) -> MongoStore:
    """A store that reads over its own socket, and one that reads through the driver as it does elsewhere."""
    return make_store(driver_only=request.param == "driver")


@pytest.fixture
def change() -> MakeChange:
    """Return a builder of changes; ``body=None`` deletes."""

    def make(reference: str, expected: int = 0, body: bytes | None = b"{}", **given: Any) -> Change:
        fixed = {"position": 0, "method": "DELETE" if body is None else "PUT", "updated": NOW}
        fixed |= {name: given.pop(name) for name in fixed if name in given}
        return Change(reference=reference, expected=expected, version=expected + 1, body=body, index=given, **fixed)

    return make
