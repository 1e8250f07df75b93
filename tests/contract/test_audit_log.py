"""Events reach the database whatever happens: to the process, to the database, to the file."""

import os
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bson
import pytest
from bson.raw_bson import RawBSONDocument

from fhir_server.storage import audit_spool
from fhir_server.storage.audit_spool import AuditSpool
from fhir_server.storage.mongo import MongoStore
from fhir_server.storage.store import HistoryQuery, Plan, Query, StoreUnavailable
from tests.contract.conftest import MakeChange, MakeStore

AT = datetime(2026, 6, 14, tzinfo=UTC)


def event(number: int, **more: Any) -> dict[str, Any]:
    head = {"type": "AuditEvent", "version": 1, "updated": AT, "deleted": False, "method": "POST", "body": b"{}"}
    return {"_id": f"AuditEvent/{number:04d}", **head, "ds": AT, "de": AT, **more}


def stored(store: MongoStore) -> list[str]:
    return [found["_id"] for found in store.connection.database["audit"].find(sort=[("_id", 1)])]


@pytest.fixture(params=["spooled", "direct", "driver"])
def logging(make_store: MakeStore, request: pytest.FixtureRequest, tmp_path: Path) -> MongoStore:
    """Stores whose events go through a spool, and straight into the database by its socket and by the driver."""
    spool = tmp_path / "spool" if request.param == "spooled" else None
    return make_store(audit_spool=spool, driver_only=request.param == "driver")


def test_events_of_many_threads_all_arrive_once(logging: MongoStore) -> None:
    def work(part: int) -> None:
        for number in range(20):
            logging.append([event(100 * part + number)])

    threads = [threading.Thread(target=work, args=(part,)) for part in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    logging.audit_log.flush()
    numbers = [100 * part + number for part in range(6) for number in range(20)]
    assert stored(logging) == [f"AuditEvent/{number:04d}" for number in numbers]


def test_the_same_event_twice_is_one(logging: MongoStore) -> None:
    logging.append([event(1), event(2)])
    logging.append([event(2), event(3)])
    logging.audit_log.flush()
    assert len(stored(logging)) == 3


def test_events_are_read_in_order_and_counted_between_two_references(logging: MongoStore) -> None:
    logging.append([event(number, body=b"%d" % number) for number in (4, 1, 3, 2, 5)])
    logging.audit_log.flush()
    log = logging.audit_log
    between = log.contents("AuditEvent/0001", "AuditEvent/0005", 2)
    assert between == [("AuditEvent/0002", b"2"), ("AuditEvent/0003", b"3")]
    assert log.references("AuditEvent/0001", "AuditEvent/0005") == [f"AuditEvent/000{number}" for number in (2, 3, 4)]
    assert log.count("AuditEvent/0001", "AuditEvent/0005") == 3
    assert log.count("AuditEvent/0005", "AuditEvent/0006") == 0


def test_more_events_than_one_message_takes_all_arrive(logging: MongoStore) -> None:
    logging.append([event(number, body=b"x" * 9_000) for number in range(2_100)])
    logging.audit_log.flush()
    assert logging.count({}, collection="audit") == 2_100


def test_an_event_that_the_database_refuses_is_no_success(logging: MongoStore) -> None:
    def append() -> None:
        logging.append([event(1), event(2, _id=["no", "id"])])
        logging.audit_log.flush()

    with pytest.raises(StoreUnavailable):
        append()


def test_what_was_appended_is_found_at_once_by_whoever_appended_it(logging: MongoStore) -> None:
    logging.append([event(1, pt="Patient/p", x=["Patient/p"])])
    assert len(logging.find(Query({"pt": "Patient/p"}, collection="audit"))) == 1
    found = logging.get("AuditEvent/0001")
    assert found is not None
    assert found.body == b"{}"
    assert set(logging.get_many(["AuditEvent/0001", "Patient/none"])) == {"AuditEvent/0001"}
    assert logging.get_version("AuditEvent/0001", 1) is not None
    assert logging.get_version("AuditEvent/0001", 2) is None
    assert len(logging.history(HistoryQuery(resource_type="AuditEvent"))) == 1
    assert logging.count({}, collection="audit") == 1
    assert logging.counts() == {"AuditEvent": 1}


def test_an_event_is_committed_with_the_work_or_not_at_all(store: MongoStore, change: MakeChange) -> None:
    store.commit(Plan((change("Patient/p"),), records=(("audit", event(1)),)))
    with pytest.raises(Exception, match="expected versions"):
        store.commit(Plan((change("Patient/p"),), records=(("audit", event(2)),)))
    assert stored(store) == ["AuditEvent/0001"]


def test_an_audit_event_as_a_change_goes_to_the_audit_alone(store: MongoStore, change: MakeChange) -> None:
    store.commit(Plan((change("AuditEvent/a"), change("Patient/p"))))
    database = store.connection.database
    assert stored(store) == ["AuditEvent/a"]
    assert [one["_id"] for one in database["resources"].find()] == ["Patient/p"]
    assert [one["changes"][0][0] for one in database["outbox"].find()] == ["Patient/p"]
    with pytest.raises(ValueError, match="once"):
        store.commit(Plan((change("AuditEvent/a", 1),)))


def test_what_a_killed_process_left_behind_is_recovered(make_store: MakeStore, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    child = os.fork()
    if child == 0:  # dies as if killed: nothing is closed, no thread has moved anything
        kept = AuditSpool(spool, lambda events: None)
        kept._thread = threading.current_thread()
        kept.append([RawBSONDocument(bson.encode(event(number))) for number in range(3)])
        os.write(kept._descriptor, b"\x40\x00\x00\x00cut off")
        os._exit(9)
    os.waitpid(child, 0)
    store = make_store(audit_spool=spool)
    told: list[str] = []
    assert store.audit_log.recover(told.extend) == 0, "too young: its owner may only just have made it"
    assert store.audit_log.recover(told.extend, older_than=0) == 3
    assert stored(store) == told == [f"AuditEvent/{number:04d}" for number in range(3)]
    assert list(spool.iterdir()) == []


def test_the_file_of_a_living_process_is_left_alone(make_store: MakeStore, tmp_path: Path) -> None:
    def never(events: Any) -> None:
        raise StoreUnavailable("away")

    spool = AuditSpool(tmp_path / "spool", never)
    spool.append([RawBSONDocument(bson.encode(event(1)))])
    store = make_store(audit_spool=tmp_path / "spool")
    assert store.audit_log.recover(lambda references: None, older_than=0) == 0
    spool.close()
    assert store.audit_log.recover(lambda references: None, older_than=0) == 1


def test_while_the_database_takes_nothing_nothing_more_is_taken(tmp_path: Path) -> None:
    arrived: list[str] = []
    away = True

    def insert(events: Any) -> None:
        if away:
            raise StoreUnavailable("away")
        arrived.extend(str(one["_id"]) for one in events)

    spool = AuditSpool(tmp_path / "spool", insert)
    spool.append([RawBSONDocument(bson.encode(event(1)))])
    with pytest.raises(StoreUnavailable):
        spool.flush()
    with pytest.raises(StoreUnavailable):
        spool.append([RawBSONDocument(bson.encode(event(2)))])
    away = False
    spool.flush()
    spool.append([RawBSONDocument(bson.encode(event(3)))])
    spool.close()
    assert arrived == ["AuditEvent/0001", "AuditEvent/0003"]
    assert list((tmp_path / "spool").iterdir()) == []


def test_a_full_disk_is_told_and_nothing_is_taken(tmp_path: Path) -> None:
    spool = AuditSpool(tmp_path / "spool", lambda events: None)
    spool._descriptor = os.open("/dev/full", os.O_WRONLY)
    with pytest.raises(StoreUnavailable, match="file"):
        spool.append([RawBSONDocument(bson.encode(event(1)))])
    assert spool._waiting == []


def test_who_brings_more_than_the_database_takes_waits_and_is_not_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_spool, "_MOST_WAITING", 100)
    monkeypatch.setattr(audit_spool, "_PAUSE", 60)
    moved: list[RawBSONDocument] = []
    spool = AuditSpool(tmp_path / "spool", moved.extend)
    for number in range(50):
        spool.append([RawBSONDocument(bson.encode({"_id": f"AuditEvent/{number}", "body": b"x" * 60}))])
    assert len(moved) > 40, "moved by those who came, long before the pause is over"
    spool.close()
    assert [found["_id"] for found in moved] == [f"AuditEvent/{number}" for number in range(50)]
