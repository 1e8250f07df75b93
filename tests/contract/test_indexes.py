"""The indexes are there, are what they are declared to be, and are what the searches use."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from fhir_server.storage import migrations
from fhir_server.storage.connection import UnsuitableDatabase
from fhir_server.storage.indexes import INDEXES, array_fields
from fhir_server.storage.mongo import MongoStore
from fhir_server.storage.store import Change, Plan

MakeChange = Callable[..., Change]
MakeStore = Callable[..., MongoStore]


def test_all_declared_indexes_are_there_after_the_start(store: MongoStore) -> None:
    assert store.check_indexes() == []
    store.prepare()
    assert store.check_indexes() == []


def test_declarations_keep_mongodbs_limits() -> None:
    names = [(index.collection, index.name) for index in INDEXES]
    assert len(names) == len(set(names))
    assert all(sum(one == collection for one, _ in names) < 64 for collection, _ in names)
    assert all(array_fields(index.keys) <= 1 for index in INDEXES)
    assert all(index.reason for index in INDEXES)


def test_missing_different_and_foreign_indexes_are_reported_and_mended(store: MongoStore) -> None:
    resources = store.connection.database["resources"]
    resources.drop_index("token")
    resources.drop_index("string")
    resources.create_index([("s", 1)], name="string")
    resources.create_index([("zzz", 1)], name="mine")
    store.connection.database["outbox"].drop_index("age")
    store.connection.database["outbox"].create_index([("at", 1)], name="age", expireAfterSeconds=5)
    wrong = store.check_indexes()
    assert [sentence.split()[1] for sentence in wrong] == [
        "outbox.age", "resources.token", "resources.string", "resources.mine",
    ]  # fmt: skip
    store.prepare()
    assert [sentence.split()[1] for sentence in store.check_indexes()] == ["resources.mine"]


def test_a_database_that_was_never_prepared_reports_every_index(make_store: MakeStore, store: MongoStore) -> None:
    store.connection.client.drop_database(store.connection.database.name)
    assert len(store.check_indexes()) == len(INDEXES)


def test_several_workers_may_prepare_at_once(make_store: MakeStore) -> None:
    stores = [make_store() for _ in range(6)]
    stores[0].connection.client.drop_database(stores[0].connection.database.name)
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda store: store.prepare(), stores))
    assert stores[0].check_indexes() == []


SEARCHES: list[tuple[str, Mapping[str, Any], Mapping[str, int]]] = [
    ("token", {"t": "c|7", "deleted": False}, {"ds": -1, "_id": -1}),
    ("token", {"t": {"$in": ["c|7", "c|8"]}, "deleted": False}, {"ds": 1, "_id": 1}),
    ("reference", {"r": "p>Practitioner/7", "deleted": False}, {"ds": -1, "_id": -1}),
    ("reference", {"r": {"$in": ["p>Practitioner/7", "p>Practitioner/8"]}}, {}),
    ("patient_token", {"pt": "Patient/7", "t": "Observation"}, {"ds": -1, "_id": -1}),
    ("patient_updated", {"pt": "Patient/7"}, {"updated": -1}),
    ("string", {"s": {"$elemMatch": {"$gte": "n:7", "$lt": "n:8"}}}, {}),
    ("type_date", {"type": "Observation", "ds": {"$gt": datetime(2026, 1, 3, tzinfo=UTC)}}, {"ds": 1, "_id": 1}),
    ("type_id", {"type": "Observation"}, {"_id": 1}),
    ("type_updated", {"type": "Observation"}, {"updated": -1, "_id": -1}),
    ("updated", {"updated": {"$gt": datetime(2027, 1, 1, tzinfo=UTC)}, "deleted": False}, {"updated": 1}),
    ("date", {"d": {"$elemMatch": {"p": "issued", "s": {"$gte": 7, "$lt": 8}}}}, {}),
    ("number", {"n": {"$elemMatch": {"p": "score", "lo": {"$gte": "p7", "$lt": "p8"}}}}, {}),
    ("quantity", {"q": {"$elemMatch": {"p": "value", "lo": {"$gte": "p7", "$lt": "p8"}, "u": "kg"}}}, {}),
    ("label", {"l": "conf|R"}, {}),
    ("label", {"l": {"$in": ["conf|R", "conf|V"]}}, {}),
    ("compartment", {"c": "Patient/7"}, {"updated": -1}),
    ("points_to", {"x": "Practitioner/7", "deleted": False}, {}),
]


@pytest.fixture(scope="module")
def explain(mongod: Any) -> Any:
    """Return a function that tells the indexes of the plan that wins."""
    store = MongoStore(mongod.uri, "explained")
    store.prepare()
    store.commit(Plan(tuple(_observation(number) for number in range(400))))

    def indexes(filter: Mapping[str, Any], sort: Mapping[str, int], collection: str = "resources") -> list[str]:
        find = {"find": collection, "filter": filter, "sort": sort, "limit": 21}
        answer = store.connection.database.command({"explain": find, "verbosity": "queryPlanner"})
        return list(_index_names(answer["queryPlanner"]["winningPlan"]))

    yield indexes
    store.connection.client.drop_database("explained")
    store.close()


@pytest.mark.parametrize(("name", "filter", "sort"), SEARCHES, ids=[name for name, _, _ in SEARCHES])
def test_a_search_uses_its_index(
    explain: Callable[..., list[str]], name: str, filter: Mapping[str, Any], sort: Mapping[str, int]
) -> None:
    assert explain(filter, sort) == [name]


def test_histories_use_their_indexes(explain: Callable[..., list[str]]) -> None:
    newest = {"updated": -1, "_id": -1}
    assert explain({}, newest, "history") == ["system"]
    assert explain({"type": "Observation"}, newest, "history") == ["type"]
    assert explain({"pt": "Patient/7", "type": "Observation"}, newest, "history") == ["patient"]
    assert explain({"_id": {"$gt": "Observation/7/", "$lt": "Observation/70"}}, {"_id": -1}, "history") == ["_id_"]


def _observation(number: int) -> Change:
    index = {
        "t": ["Observation", f"c|{number % 20}"],
        "r": [f"p>Practitioner/{number % 20}"],
        "s": [f"n:{number}"],
        "pt": f"Patient/{number % 20}",
        "ds": datetime(2026, 1, 1 + number % 28, tzinfo=UTC),
        "d": [{"p": "issued", "s": number, "e": number}],
        "n": [{"p": "score", "lo": f"p{number}", "hi": f"p{number}"}],
        "q": [{"p": "value", "lo": f"p{number}", "hi": f"p{number}", "u": "kg"}],
        "c": [f"Patient/{number % 20}"],
        "x": [f"Practitioner/{number % 20}", f"Patient/{number % 20}"],
        **({"l": ["conf|R"]} if number % 50 == 0 else {}),
    }
    return Change(f"Observation/{number}", 0, 1, "PUT", datetime(2026, 5, 1, tzinfo=UTC), b"{}", index)


def _index_names(stage: Mapping[str, Any]) -> set[str]:
    names = {stage["indexName"]} if "indexName" in stage else set()
    for inner in (stage.get("inputStage"), *stage.get("inputStages", ()), stage.get("queryPlan")):
        if inner:
            names |= _index_names(inner)
    return names


def test_migrations_run_once_in_order_and_not_on_a_new_database(store: MongoStore, change: MakeChange) -> None:
    database = store.connection.database
    ran: list[str] = []
    steps = (lambda _: ran.append("first"), lambda _: ran.append("second"))
    database["meta"].delete_many({})
    assert migrations.migrate(database, steps) == 0  # nothing is stored: this is the newest shape

    database["meta"].delete_many({})
    store.commit(Plan((change("Patient/1"),)))
    assert migrations.migrate(database, steps[:1]) == 1
    assert migrations.migrate(database, steps) == 1
    assert migrations.migrate(database, steps) == 0
    assert ran == ["first", "second"]
    with pytest.raises(UnsuitableDatabase) as refusal:
        migrations.migrate(database, steps[:1])
    assert "plus récente" in refusal.value.text.fr


def test_the_index_of_events_by_patient_goes_from_older_databases(store: MongoStore, change: MakeChange) -> None:
    database = store.connection.database
    store.commit(Plan((change("Patient/1"),)))
    database["audit"].create_index([("pt", 1), ("ds", 1), ("_id", 1)], name="patient")
    database["audit"].drop_index("reference")
    database["audit"].create_index([("r", 1), ("ds", 1), ("_id", 1)], name="reference")
    assert len(store.check_indexes()) == 2
    database["meta"].delete_many({})
    database["meta"].insert_one({"_id": "shape", "steps": 0})
    for _ in range(2):
        store.prepare()
        assert store.check_indexes() == []
