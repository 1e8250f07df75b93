"""The real repository under policies that hide something."""

from collections.abc import Iterator

import pytest

from fhir_server.storage.embedded import EmbeddedMongod
from tests.rest.conftest import make_composition, smart, smart_with

__all__ = ["make_composition", "mongod", "smart", "smart_with"]


@pytest.fixture(scope="session")
def mongod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedMongod]:
    """A running mongod for the tests of one process."""
    with EmbeddedMongod(tmp_path_factory.mktemp("mongod"), cache_size=2**28) as running:
        yield running
