"""The real repository under policies that hide something."""

from collections.abc import Callable, Iterator

import pytest

from fhir_server.app import Composition
from fhir_server.storage.embedded import EmbeddedMongod
from tests.access.callers import World
from tests.rest.conftest import composition, make_composition, smart, smart_with
from tests.rest.federating import federation, make_federation
from tests.rest.signing_in import clock, make_site, site

__all__ = [
    "clock",
    "composition",
    "federation",
    "make_composition",
    "make_federation",
    "make_site",
    "mongod",
    "site",
    "smart",
    "smart_with",
]


@pytest.fixture(scope="session")
def mongod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedMongod]:
    """A running mongod for the tests of one process."""
    with EmbeddedMongod(tmp_path_factory.mktemp("mongod"), cache_size=2**28) as running:
        yield running


@pytest.fixture
def world(make_composition: Callable[..., Composition]) -> World:
    """A server that takes the word of the test for who asks."""
    return World(make_composition())
