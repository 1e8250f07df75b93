"""Bodies that no document should hold: kept beside it, found with it, never lost and not left behind."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from fhir_server.storage.mongo import MongoStore
from fhir_server.storage.store import Change, HistoryQuery, Plan, Query, VersionConflict

MakeChange = Callable[..., Change]

LARGE = b'"' + bytes(range(32, 127)) * 30_000 + b'"'
LATER = datetime.now(UTC) + timedelta(days=1)


def files(store: MongoStore) -> int:
    """Return how many files are kept."""
    return store.connection.database["bodies.files"].count_documents({})


def test_a_large_body_comes_back_wherever_the_version_does(each_store: MongoStore, change: MakeChange) -> None:
    small = change("Binary/2", body=b"{}", t=["b"])
    first, last = change("Binary/1", body=LARGE, t=["b"]), change("Binary/3", body=LARGE[::-1], t=["b"])
    each_store.commit(Plan((first, small, last)))
    for document in (each_store.get("Binary/1"), each_store.get_version("Binary/1", 1)):
        assert document is not None
        assert document.body == LARGE
    bodies = [LARGE, b"{}", LARGE[::-1]]
    assert [document.body for document in each_store.find(Query({"t": "b"}))] == bodies
    assert [document.body for document in each_store.iterate(Query({"t": "b"}))] == bodies
    assert [document.body for document in each_store.history(HistoryQuery())] == bodies[::-1]
    many = each_store.get_many(["Binary/1", "Binary/2", "Binary/3"])
    assert {reference: document.body for reference, document in many.items()} == dict(
        zip(("Binary/1", "Binary/2", "Binary/3"), bodies, strict=True)
    )
    assert each_store.find(Query({"t": "b"}, with_body=False, with_index=True))[0].index == {"t": ["b"]}
    assert files(each_store) == 2


def test_each_version_keeps_its_own_body(store: MongoStore, change: MakeChange) -> None:
    store.commit(Plan((change("Binary/1", body=LARGE),)))
    store.commit(Plan((change("Binary/1", 1, body=LARGE + b" "),)))
    store.commit(Plan((change("Binary/1", 2, body=b"{}"),)))
    store.commit(Plan((change("Binary/1", 3, body=None),)))
    assert [version.body for version in store.history(HistoryQuery())] == [None, b"{}", LARGE + b" ", LARGE]
    assert files(store) == 2


def test_a_plan_that_lost_leaves_no_file(store: MongoStore, change: MakeChange) -> None:
    store.commit(Plan((change("Patient/1"),)))
    with pytest.raises(VersionConflict):
        store.commit(Plan((change("Binary/1", body=LARGE), change("Patient/1"))))
    assert files(store) == 0
    assert store.connection.database["bodies.chunks"].find_one() is None


def test_only_old_files_without_a_version_are_swept(store: MongoStore, change: MakeChange) -> None:
    store.commit(Plan((change("Binary/1", body=LARGE),)))
    store.commit(Plan((change("Binary/1", 1, body=None),)))
    for number in range(3):  # what a server leaves that dies between the upload and the commit
        store._binaries.put(change(f"Binary/{number}", body=LARGE))
    store.connection.database["bodies.files"].delete_one({"_id": {"$regex": "^Binary/0/"}})  # dead amid the upload
    assert store.sweep_orphans(datetime.now(UTC) - timedelta(hours=1)) == 0
    assert store.sweep_orphans(LATER) == 3
    assert set(store.connection.database["bodies.chunks"].distinct("files_id")) == set(
        store.connection.database["bodies.files"].distinct("_id")
    )
    assert store.sweep_orphans(LATER) == 0
    version = store.get_version("Binary/1", 1)
    assert version is not None
    assert version.body == LARGE


def test_a_body_that_is_not_whole_is_never_given_out(store: MongoStore, change: MakeChange) -> None:
    store.commit(Plan((change("Binary/1", body=LARGE),)))
    store.connection.database["bodies.chunks"].delete_one({"n": 1})
    with pytest.raises(RuntimeError, match="not whole"):
        store.get("Binary/1")
