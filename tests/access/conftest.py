"""The real repository under policies that hide something."""

from collections.abc import Callable

import pytest

from fhir_server.app import Composition
from tests.access.callers import World
from tests.rest.conftest import composition, make_composition, mongod, smart, smart_with
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


@pytest.fixture
def world(make_composition: Callable[..., Composition]) -> World:
    """A server that takes the word of the test for who asks."""
    return World(make_composition())
