"""Alive, ready, and if not ready, why."""

from collections.abc import Callable

from flask.testing import FlaskClient

from fhir_server.app import Composition, build_app, create_app
from fhir_server.settings import Settings


def test_a_server_with_its_database_is_live_and_ready(client: FlaskClient) -> None:
    assert client.get("/health/live").json == {"status": "live"}
    assert client.get("/health/ready").json == {"status": "ready"}


def test_without_a_database_it_lives_but_is_not_ready() -> None:
    client = create_app(Settings.from_environment({}, auth="open")).test_client()
    assert client.get("/health/live").status_code == 200
    answer = client.get("/health/ready")
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "2"
    assert answer.json["reason"] == "the database cannot be reached"


def test_a_missing_index_makes_it_not_ready(make_composition: Callable[..., Composition]) -> None:
    composition = make_composition()
    database = composition.store().connection.database
    name = next(name for name in database["resources"].index_information() if name != "_id_")
    database["resources"].drop_index(name)
    answer = build_app(composition).test_client().get("/health/ready")
    assert answer.status_code == 503
    assert "indexes" in answer.json["reason"]
