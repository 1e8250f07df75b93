"""The real application on a real mongod, called through Flask's test client; one database for each test."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from fhir_server.app import Composition, build_app
from fhir_server.repository.stored_parameters import GENERATION
from fhir_server.search.stored import NONE_STORED, use_stored_parameters
from fhir_server.settings import Settings
from fhir_server.storage.embedded import EmbeddedMongod
from tests.rest.federating import federation, make_federation
from tests.rest.fhir import Fhir
from tests.rest.server import Server, running_server
from tests.rest.signing_in import clock, make_site, site
from tests.rest.smart import Smart

__all__ = ["clock", "federation", "make_federation", "make_site", "site"]

MakeClient = Callable[..., FlaskClient]


@pytest.fixture(scope="session")
def mongod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedMongod]:
    """A running mongod for the tests of one process."""
    with EmbeddedMongod(tmp_path_factory.mktemp("mongod"), cache_size=2**28) as running:
        yield running


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server process with the demo record, shared by the tests of one process."""
    with running_server(tmp_path_factory.mktemp("server"), "--demo") as running:
        yield running


@pytest.fixture
def make_composition(mongod: EmbeddedMongod, tmp_path: Path) -> Iterator[Callable[..., Composition]]:
    """Return a function that wires the server with some settings, on a database that is empty at the test's end.

    Without ``auth`` it is open: what a server answers to whom is what other tests are about.
    """
    made: list[Composition] = []

    def make(**given: Any) -> Composition:
        people = given.pop("people", None)
        fixed = {"mongodb_uri": mongod.uri, "database": f"r{os.getpid()}", "data_directory": tmp_path, "auth": "open"}
        made.append(Composition(Settings.from_environment({}, **{**fixed, **given}), people))
        return made[-1]

    yield make
    use_stored_parameters(NONE_STORED)  # the test client has run the requests in this very thread
    for composition in made:
        composition.store().audit_log.close()  # what still waits must not reach the next test
    if made:
        # Emptying is ten times faster than dropping: the indexes stay.
        database = made[0].store().connection.database
        if database["guards"].find_one({"_id": GENERATION}) is not None:
            database.command("collMod", "outbox", validator={})  # the fence goes with the generation it belongs to
        for name in database.list_collection_names():
            database[name].delete_many({})
    for composition in made:
        composition.close()


@pytest.fixture
def composition(make_composition: Callable[..., Composition]) -> Composition:
    """The parts of a server with default settings."""
    return make_composition()


@pytest.fixture
def make_client(make_composition: Callable[..., Composition]) -> MakeClient:
    """Return a function that gives a client of a server with some settings."""
    return lambda **given: build_app(make_composition(**given)).test_client()


@pytest.fixture
def fhir_with(make_composition: Callable[..., Composition]) -> Callable[..., Fhir]:
    """Return a function that gives a FHIR client of a server with some settings."""
    return lambda **given: Fhir(build_app(make_composition(**given)))


@pytest.fixture
def fhir(fhir_with: Callable[..., Fhir]) -> Fhir:
    """A FHIR client of a server with default settings."""
    return fhir_with()


@pytest.fixture
def client(make_client: MakeClient) -> FlaskClient:
    """A client of a server with default settings."""
    return make_client()


@pytest.fixture
def patient(client: FlaskClient) -> str:
    """The address of a patient that is there: ``/fhir/Patient/p1``, version 1."""
    resource = {"resourceType": "Patient", "id": "p1", "name": [{"family": "Dupont"}], "birthDate": "1979-03-28"}
    assert client.put("/fhir/Patient/p1", json=resource, content_type="application/fhir+json").status_code == 201
    return "/fhir/Patient/p1"


@pytest.fixture
def smart_with(make_composition: Callable[..., Composition]) -> Callable[..., Smart]:
    """Return a function that gives a secured server with some settings, and people and apps around it."""
    return lambda **given: Smart.build(make_composition, **given)


@pytest.fixture
def smart(smart_with: Callable[..., Smart]) -> Smart:
    """A secured server with default settings."""
    return smart_with()
