"""Events are found, counted, ordered and paged alike whether they are stored one by one or packed with others."""

import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import bson
import pytest
from bson.raw_bson import RawBSONDocument

from fhir_server.access.caller import Caller
from fhir_server.audit.packs import unpack
from fhir_server.audit.templates import Occasion
from fhir_server.audit.touched import Touched
from fhir_server.audit.trail import Origin, Trail
from fhir_server.repository.searching import run
from fhir_server.search.compiler import Keyset, keyset_of, page_fields, to_filter, to_query
from fhir_server.search.parser import Search, parse_search
from fhir_server.storage.embedded import EmbeddedMongod
from fhir_server.storage.mongo import MongoStore
from fhir_server.storage.store import Document, HistoryQuery, Packed, Query, StoreUnavailable
from tests.contract.conftest import MakeStore
from tests.trail import unpacked

BASE = "https://phr.example/fhir"
AT = datetime(2026, 6, 14, 12, tzinfo=UTC)
CALLERS = (
    Caller("a", "patient", client_id="app", client_name="Carnet", user="Patient/p0", patient="p0"),
    Caller("b", "professional", client_id="lps", user="Practitioner/d", user_name="Dr D", profession="10"),
    Caller("c", "system", client_id="chu", client_name="CHU Exemple"),
    Caller("d", "professional", user="Practitioner/d", mode="bris_de_glace", reason="AVC", secret=True),
)
SEARCHES = (
    "", "patient=Patient/p0", "patient=p1&_sort=date", "patient=p1,p2", "patient=Patient/nobody",
    "entity=Observation/o3", "entity=Observation/o3,Observation/o4&patient=p3", "agent=Practitioner/d",
    "agent=Practitioner/d&patient=p0", "agent:identifier=chu", "action=R", "action=E&patient=p2", "action:not=E",
    "date=ge2026-06-14T12:00:17Z", "date=lt2026-06-14T12:00:10Z&patient=p1", "date=2026-06-14&action=E",
    "patient=p1&date=gt2026-06-14T12:00:05Z&date=lt2026-06-14T12:00:30Z", "_lastUpdated=gt2026-06-14T12:00:15Z",
    "patient:missing=true", "patient:missing=false&action=E", "agent-name=Carnet", "agent-name:contains=xempl",
    "entity:identifier=r7", "_content=r7", "subtype=search", "type=rest", "outcome=4", "outcome:not=4",
    "policy=https://espace-sante.example/fhir/access-rule/care-team", "_security=INVISIBLE_REPRESENTANTS_LEGAUX",
    "_security:not=INVISIBLE_REPRESENTANTS_LEGAUX", "address=192.0.2.1", "_sort=_lastUpdated", "_sort=-_lastUpdated",
    "_sort=_id", "_sort=-_id", "_sort=agent-name", "_sort=-action,date", "patient=p2&_sort=action,-_id",
    "_filter=patient eq p1 or action eq E",
)  # fmt: skip


def packs() -> Iterator[Packed]:
    """Yield what forty requests of four callers leave: reads, pages of many patients, searches in vain, refusals."""
    draw = random.Random(7)
    for number in range(40):
        at = AT + timedelta(seconds=number // 2)
        occasion = Occasion(CALLERS[number % 4], BASE, "192.0.2.1" if number % 3 else "")
        trail = Trail(Origin(occasion, f"r{number}", at - timedelta(milliseconds=number), lambda at=at: at))
        touched = [
            Touched("read", f"Observation/o{one}", 1 + one % 3, (f"Patient/p{one % 5}",), (), "care-team")
            for one in draw.sample(range(20), draw.randint(0, 12))
        ]
        if number % 3:
            trail.begin("search-type", ("Observation",), (("code", f"{8480 + number % 2}"),))
        if number % 7:
            trail.disclose(touched)
            yield from trail.events()
        else:
            yield from trail.refusal("read", 404, "not-found", *touched)


@pytest.fixture(scope="module")
def stores(mongod: EmbeddedMongod) -> Iterator[tuple[MongoStore, MongoStore]]:
    """The same events in packs, and one by one."""
    found = []
    for name in ("packed", "whole"):
        found.append(MongoStore(mongod.uri, f"{name}{os.getpid()}", unpack=unpack))
        found[-1].prepare()
    for one in packs():
        found[0].append([one])
        found[1].append(unpacked([one]))
    yield found[0], found[1]
    for store in found:
        store.connection.client.drop_database(store.connection.database.name)
        store.close()


def parsed(search: str) -> Search:
    pairs = [(name, value) for name, _, value in (part.partition("=") for part in search.split("&") if part)]
    return parse_search("AuditEvent", pairs, strict=True, base_url=BASE, now=AT)


def shown(found: Sequence[Document]) -> list[tuple[Any, ...]]:
    return [
        (one.reference, one.version, one.updated, one.deleted, one.method, one.body, plain(one.index)) for one in found
    ]


def plain(index: Any) -> dict[str, Any]:
    return {name: sorted(value) if isinstance(value, list) else value for name, value in index.items()}


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("count", [3, 500])
def test_packed_events_are_found_as_whole_ones_are(
    stores: tuple[MongoStore, MongoStore], search: str, count: int
) -> None:
    asked = parsed(search)
    query = to_query(asked, None, count)
    given = Query(
        query.filter, query.sort, query.limit, query.hint, with_index=True, computed=query.computed,
        beyond=query.beyond, collection="audit",
    )  # fmt: skip
    packed, whole = (shown(store.find(given)) for store in stores)
    assert packed == whole
    if count == 3:
        return
    all_of_them = stores[1].find(Query(to_filter(asked.tree), (), collection="audit"))
    assert stores[0].count(to_filter(asked.tree), collection="audit") == len(all_of_them)
    bounded = [store.count(to_filter(asked.tree), 4, "audit") for store in stores]
    assert bounded[0] == bounded[1]
    unordered = replace(given, sort=(), computed={}, beyond=None, limit=0)
    assert sorted(one.reference for one in stores[0].iterate(unordered, timed=True)) == sorted(
        one.reference for one in stores[1].iterate(unordered)
    )


@pytest.mark.parametrize(
    "search",
    ["", "patient=p1&_sort=date", "_sort=_lastUpdated", "_sort=-_lastUpdated", "_sort=_id", "_sort=-_id",
     "_sort=agent-name", "_sort=-action,date", "agent=Practitioner/d&date=ge2026-06-14T12:00:05Z", "action=E"],
)  # fmt: skip
@pytest.mark.parametrize("count", [1, 4])
def test_pages_of_packed_events_follow_one_another_both_ways(
    stores: tuple[MongoStore, MongoStore], search: str, count: int
) -> None:
    asked = parsed(search)
    whole = [one.reference for one in page(stores[1], asked, None, 500)]
    walked: list[Document] = []
    after: Keyset | None = None
    while found := page(stores[0], asked, after, count)[:count]:
        walked += found
        after = key_after(asked, found[-1], backward=False)
    assert [one.reference for one in walked] == whole
    back = page(stores[0], asked, key_after(asked, walked[-1], backward=True), count)[:count]
    assert [one.reference for one in back] == whole[-2 : -2 - count : -1]


def key_after(asked: Search, last: Document, *, backward: bool) -> Keyset:
    return keyset_of(asked, last.reference, last.updated, last.index, backward)


def page(store: MongoStore, asked: Search, after: Keyset | None, count: int) -> list[Document]:
    return run(store, to_query(asked, after, count), page_fields(asked), tree=asked.tree)


def test_an_event_too_large_for_company_is_put_in_order_too(make_store: MakeStore) -> None:
    store = make_store(unpack=unpack)
    (small,) = unpacked([event_of(AT)])
    long = [f"AuditEvent+{'x' * 90}{number:06}" for number in range(60_000)]
    for number in range(4):
        name = [f"AuditEvent.agent-name:{9 - number}"]
        store.append([{**small, "_id": f"AuditEvent/large-{number}", "s": name, "e": name, "w": long}])
    asked = parsed("_sort=agent-name")
    assert [one.id for one in page(store, asked, None, 10)] == [f"large-{number}" for number in (3, 2, 1, 0)]


def test_the_searches_find_something(stores: tuple[MongoStore, MongoStore]) -> None:
    found = [stores[0].count(to_filter(parsed(each).tree), 1, "audit") for each in SEARCHES]
    assert [search for search, one in zip(SEARCHES, found, strict=True) if not one] == ["patient=Patient/nobody"]


def test_their_history_is_the_same_page_by_page(stores: tuple[MongoStore, MongoStore]) -> None:
    pages: list[list[tuple[Any, ...]]] = []
    for store in stores:
        seen: list[Document] = []
        query = HistoryQuery(resource_type="AuditEvent", limit=7)
        while page := store.history(query):
            seen += page
            query = replace(query, after=(page[-1].updated, page[-1].reference, 1))
        pages.append(shown(seen))
        assert store.count_history(HistoryQuery(resource_type="AuditEvent")) == len(seen)
        since = HistoryQuery(resource_type="AuditEvent", since=AT + timedelta(seconds=9))
        assert store.count_history(since) == len([one for one in seen if one.updated >= AT + timedelta(seconds=9)])
    assert pages[0] == pages[1]


def test_each_is_read_by_its_reference_and_no_other_is(stores: tuple[MongoStore, MongoStore]) -> None:
    packed, whole = stores
    references = [one.reference for one in whole.find(Query({}, (), collection="audit"))]
    for reference in references[::7]:
        one, other = packed.get(reference), whole.get(reference)
        assert one is not None
        assert other is not None
        assert shown([one]) == shown([other])
        assert packed.get_version(reference, 1) == one
    last = max(references)
    assert packed.get(f"{last[:-3]}fff") is None
    assert packed.get(last[:-3]) is None
    found = packed.get_many(references, index_fields=("t",))
    assert plain_many(found) == plain_many(whole.get_many(references, index_fields=("t",)))


def plain_many(found: dict[str, Document]) -> dict[str, list[tuple[Any, ...]]]:
    return {reference: shown([one]) for reference, one in found.items()}


def test_several_questions_are_answered_each_by_its_own_events(stores: tuple[MongoStore, MongoStore]) -> None:
    filters = [{"r": f"AuditEvent.entity>Observation/o{number}"} for number in (1, 2, 99)]
    packed, whole = (
        [[one.reference for one in each] for each in store.find_each(filters, 2, "audit")] for store in stores
    )
    assert [len(each) for each in packed] == [len(each) for each in whole] == [2, 2, 0]


def test_they_are_counted_one_by_one(stores: tuple[MongoStore, MongoStore]) -> None:
    packed, whole = stores
    assert packed.counts() == whole.counts()
    assert packed.connection.database["audit"].estimated_document_count() < packed.counts()["AuditEvent"]
    assert packed.estimate({}, "audit") == whole.estimate({}, "audit")


def test_a_pack_is_a_fraction_of_its_events(stores: tuple[MongoStore, MongoStore]) -> None:
    sizes = [sum(len(one.document.raw) for one in packs()), sum(len(one.raw) for one in map(encoded, packs()))]
    assert sizes[0] * 10 < sizes[1]


def encoded(pack: Packed) -> RawBSONDocument:
    """Return the events of a pack as one document."""
    return RawBSONDocument(bson.encode({"events": unpacked([pack])}))


def event_of(at: datetime) -> Packed:
    trail = Trail(Origin(Occasion(CALLERS[1], BASE), "r", at, lambda: at))
    trail.disclose([Touched("read", "Observation/o", 1, ("Patient/p",))])
    (pack,) = trail.events()
    return pack


@pytest.mark.parametrize("spooled", [True, False])
def test_a_frame_is_written_once_and_before_its_packs(make_store: MakeStore, tmp_path: Path, *, spooled: bool) -> None:
    sent: list[str] = []
    store = make_store(unpack=unpack, audit_spool=tmp_path / "spool" if spooled else None, listener=sent.append)
    for second in range(3):
        store.append([event_of(AT + timedelta(seconds=second))])
        store.audit_log.flush()
    stored = [one["_id"].partition("/")[0] for one in store.connection.database["audit"].find({}, {"_id": 1})]
    assert sorted(stored) == ["AuditEvent", "AuditEvent", "AuditEvent", "AuditFrame"]
    other = make_store(unpack=unpack)
    other.append([event_of(AT + timedelta(seconds=9))])
    assert other.counts() == {"AuditEvent": 4}, "whoever does not know that a frame is there writes it again"


def test_a_frame_that_could_not_be_written_goes_with_the_next_pack(make_store: MakeStore, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    spool.write_text("a file where the directory should be")
    store = make_store(unpack=unpack, audit_spool=spool)
    with pytest.raises(StoreUnavailable):
        store.append([event_of(AT)])
    spool.unlink()
    store.append([event_of(AT)])
    assert len(store.find(Query({"pt": "Patient/p"}, collection="audit"))) == 1


def test_what_a_killed_process_left_comes_with_its_frames(make_store: MakeStore, tmp_path: Path) -> None:
    spool, told = tmp_path / "spool", list[str]()
    pack = event_of(AT)
    child = os.fork()
    if child == 0:  # dies as if killed: no thread has moved anything
        left = MongoStore("mongodb://127.0.0.1:1", unpack=unpack, audit_spool=spool)
        left.append([pack])
        os._exit(9)
    os.waitpid(child, 0)
    store = make_store(unpack=unpack, audit_spool=spool)
    assert store.audit_log.recover(told.extend, older_than=0) == 2
    assert told == [pack.document["_id"]]
    assert len(store.find(Query({"pt": "Patient/p"}, collection="audit"))) == 1


def test_events_whose_frame_is_gone_are_not_left_out_in_silence(make_store: MakeStore) -> None:
    make_store(unpack=unpack).append([event_of(AT)])
    store = make_store(unpack=unpack)
    store.connection.database["audit"].delete_one({"_id": {"$regex": "^AuditFrame/"}})
    with pytest.raises(StoreUnavailable, match="part of the audit"):
        store.find(Query({}, collection="audit"))
