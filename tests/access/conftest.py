"""The real repository under policies that hide something."""

from collections.abc import Callable, Iterator

import pytest

from fhir_server.app import Composition
from fhir_server.storage.embedded import EmbeddedMongod
from tests.access.callers import World
from tests.rest.conftest import composition, make_composition, smart, smart_with

__all__ = ["composition", "make_composition", "mongod", "smart", "smart_with"]


@pytest.fixture(scope="session")
def mongod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedMongod]:
    """A running mongod for the tests of one process."""
    with EmbeddedMongod(tmp_path_factory.mktemp("mongod"), cache_size=2**28) as running:
        yield running


@pytest.fixture
def world(make_composition: Callable[..., Composition]) -> World:
    """A server that takes the word of the test for who asks."""
    return World(make_composition())
