"""What the server sets when it writes: ids, instants, meta."""

from datetime import UTC, datetime, timedelta

from fhir_server.fhir.json import parse_json
from fhir_server.interactions.routes import ID
from fhir_server.repository.versions import build_body, merge_meta, new_id, next_instant, subtract_labels, unite_labels

NOW = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
TAG = {"system": "http://example.org/tags", "code": "a"}


def test_new_ids_are_valid_different_and_ascending_in_time() -> None:
    ids = [new_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert all(ID.fullmatch(id) and id[14] == "7" and id[19] in "89ab" for id in ids)
    assert [id[:8] for id in ids] == sorted(id[:8] for id in ids)


def test_the_next_instant_is_always_after_the_previous() -> None:
    assert next_instant(NOW, None) == NOW
    assert next_instant(NOW, NOW - timedelta(seconds=1)) == NOW
    assert next_instant(NOW, NOW) == NOW + timedelta(milliseconds=1)
    assert next_instant(NOW, NOW + timedelta(hours=1)) > NOW + timedelta(hours=1)


def test_tags_and_labels_and_profiles_survive_an_update_that_does_not_name_them() -> None:
    present = {"tag": [TAG], "security": [{"code": "R"}], "profile": ["http://example.org/p"], "source": "#x"}
    assert merge_meta({}, present) == {
        "tag": [TAG],
        "security": [{"code": "R"}],
        "profile": ["http://example.org/p"],
    }


def test_a_tag_in_both_stands_as_the_update_has_it() -> None:
    newer = {**TAG, "display": "A"}
    assert unite_labels([TAG], [newer, {"code": "b"}]) == [newer, {"code": "b"}]


def test_labels_are_taken_away_by_system_and_code() -> None:
    assert subtract_labels([TAG, {"code": "a"}], [{**TAG, "display": "whatever"}]) == [{"code": "a"}]


def test_the_body_carries_the_servers_id_and_version_and_nothing_of_the_clients() -> None:
    resource = {
        "resourceType": "Patient",
        "active": True,
        "id": "theirs",
        "meta": {"versionId": "9", "_lastUpdated": {"id": "x"}},
    }
    body = parse_json(build_body(resource, "ours", 3, NOW, resource["meta"]))  # type: ignore[arg-type]
    assert list(body) == ["resourceType", "id", "meta", "active"]
    assert body["id"] == "ours"
    assert body["meta"] == {"versionId": "3", "lastUpdated": "2026-01-02T03:04:05.678Z"}
