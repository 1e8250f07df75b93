"""Which interaction a method and a path mean."""

import pytest

from fhir_server.errors import Invalid, MethodNotAllowed, NotFound
from fhir_server.interactions.routes import match_route

ROUTES = [
    ("GET", "metadata", "capabilities"),
    ("GET", "", "search-system"),
    ("POST", "_search", "search-system"),
    ("POST", "", "bundle"),
    ("GET", "_history", "history-system"),
    ("GET", "Patient", "search-type"),
    ("POST", "Patient/_search", "search-type"),
    ("POST", "Patient", "create"),
    ("PUT", "Patient", "update"),
    ("PATCH", "Patient", "patch"),
    ("DELETE", "Patient", "delete"),
    ("GET", "Patient/_history", "history-type"),
    ("GET", "Patient/1", "read"),
    ("HEAD", "Patient/1", "read"),
    ("PUT", "Patient/1", "update"),
    ("PATCH", "Patient/1", "patch"),
    ("DELETE", "Patient/1", "delete"),
    ("GET", "Patient/1/_history", "history-instance"),
    ("GET", "Patient/1/_history/2", "vread"),
    ("GET", "Patient/1/$meta", "operation-instance"),
    ("POST", "Patient/1/$meta-add", "operation-instance"),
    ("GET", "Patient/1/_history/2/$meta", "operation-instance"),
    ("GET", "Patient/1/Observation", "search-compartment"),
]


def segments(path: str) -> tuple[str, ...]:
    return tuple(path.split("/")) if path else ()


@pytest.mark.parametrize(("method", "path", "interaction"), ROUTES)
def test_a_method_and_a_path_mean_one_interaction(method: str, path: str, interaction: str) -> None:
    assert match_route(method, segments(path)).interaction == interaction


@pytest.mark.parametrize(
    "path", ["Patience", "Patient/1/_history/2/3", "DomainResource", "Resource/1", "patient/1", "_what"]
)
def test_what_does_not_exist_is_not_found(path: str) -> None:
    with pytest.raises(NotFound):
        match_route("GET", segments(path))


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "metadata", "GET"),
        ("POST", "_history", "GET"),
        ("GET", "_search", "POST"),
        ("DELETE", "$meta", "GET, POST"),
        ("POST", "Patient/1", "GET"),
        ("BREW", "Patient", "GET, POST, PUT, PATCH, DELETE"),
    ],
)
def test_a_method_that_is_not_offered_is_told_which_are(method: str, path: str, allow: str) -> None:
    with pytest.raises(MethodNotAllowed) as raised:
        match_route(method, segments(path))
    assert raised.value.headers["Allow"].startswith(allow)


@pytest.mark.parametrize("id", ["a" * 65, "a b", "a\n", "é", "a%2f", "a_b"])
def test_a_malformed_id_is_told_apart_from_a_missing_resource(id: str) -> None:
    with pytest.raises(Invalid) as raised:
        match_route("GET", ("Patient", id))
    assert raised.value.issues[0].expression == ("Patient.id",)


def test_the_template_of_a_route_holds_no_value_of_the_request() -> None:
    assert match_route("GET", ("Patient", "secret", "_history", "7")).template == "/{type}/{id}/_history/{vid}"
    assert "secret" not in match_route("GET", ("Patient", "1", "$secret")).template
