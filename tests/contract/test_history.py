"""History: newest first, in stable pages, since and at an instant."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from fhir_server.storage.mongo import MongoStore
from fhir_server.storage.store import Change, Document, HistoryQuery, Plan

MakeChange = Callable[..., Change]

START = datetime(2026, 1, 1, tzinfo=UTC)


def day(number: int) -> datetime:
    """Return an instant of the tests' calendar."""
    return START + timedelta(days=number)


def write(store: MongoStore, change: MakeChange, *steps: tuple[str, int, int]) -> None:
    """Commit (reference, expected, day) each on its own."""
    for reference, expected, number in steps:
        store.commit(Plan((change(reference, expected, updated=day(number), c=[f"Patient/{number % 2}"]),)))


def keys(found: list[Document]) -> list[tuple[str, int]]:
    """Return what identifies the versions."""
    return [(version.reference, version.version) for version in found]


def test_history_is_newest_first_for_a_resource_a_type_and_everything(
    each_store: MongoStore, change: MakeChange
) -> None:
    write(each_store, change, ("Patient/1", 0, 1), ("Group/1", 0, 2), ("Patient/1", 1, 3), ("Patient/10", 0, 4))
    each_store.commit(Plan((change("Patient/1", 2, None, updated=day(5)),)))

    instance = each_store.history(HistoryQuery(reference="Patient/1"))
    assert keys(instance) == [("Patient/1", 3), ("Patient/1", 2), ("Patient/1", 1)]
    assert [(version.deleted, version.body, version.method) for version in instance] == [
        (True, None, "DELETE"),
        (False, b"{}", "PUT"),
        (False, b"{}", "PUT"),
    ]
    assert keys(each_store.history(HistoryQuery(resource_type="Patient")))[:2] == [("Patient/1", 3), ("Patient/10", 1)]
    assert len(each_store.history(HistoryQuery())) == 5
    assert each_store.count_history(HistoryQuery()) == 5
    assert each_store.count_history(HistoryQuery(resource_type="Patient"), limit=2) == 2
    assert each_store.count_history(HistoryQuery(reference="Patient/1")) == 3


def test_twelve_versions_are_in_the_order_of_numbers(each_store: MongoStore, change: MakeChange) -> None:
    write(each_store, change, *(("Patient/1", n, 1) for n in range(12)))
    assert [version for _, version in keys(each_store.history(HistoryQuery(reference="Patient/1")))] == list(
        range(12, 0, -1)
    )


def test_pages_hold_every_version_once_while_others_write(each_store: MongoStore, change: MakeChange) -> None:
    # Many versions share an instant, so that the tie-break matters.
    write(each_store, change, *((f"Patient/{n % 7}", n // 7, n // 10) for n in range(40)))
    for query in (HistoryQuery(limit=3), HistoryQuery(resource_type="Patient", limit=3)):
        everything = keys(each_store.history(HistoryQuery(resource_type=query.resource_type, limit=1000)))
        walked: list[tuple[str, int]] = []
        page = each_store.history(query)
        while page:
            walked += keys(page)
            last = page[-1]
            each_store.commit(Plan((change(f"Patient/new{len(everything)}-{len(walked)}", updated=day(99)),)))
            after = (last.updated, last.reference, last.version)
            page = each_store.history(HistoryQuery(resource_type=query.resource_type, limit=3, after=after))
        assert walked == everything


def test_a_resources_history_goes_on_after_a_page(each_store: MongoStore, change: MakeChange) -> None:
    write(each_store, change, *(("Patient/1", n, n) for n in range(5)))
    after = (day(3), "Patient/1", 4)
    found = each_store.history(HistoryQuery(reference="Patient/1", after=after, limit=2))
    assert keys(found) == [("Patient/1", 3), ("Patient/1", 2)]


def test_since_leaves_out_what_is_older(each_store: MongoStore, change: MakeChange) -> None:
    write(each_store, change, ("Patient/1", 0, 1), ("Patient/1", 1, 5), ("Patient/2", 0, 6))
    for query in (HistoryQuery(since=day(5)), HistoryQuery(resource_type="Patient", since=day(5))):
        assert keys(each_store.history(query)) == [("Patient/2", 1), ("Patient/1", 2)]
        assert each_store.count_history(query) == 2
    assert keys(each_store.history(HistoryQuery(reference="Patient/1", since=day(5)))) == [("Patient/1", 2)]


def test_at_returns_what_was_current_within_the_period(each_store: MongoStore, change: MakeChange) -> None:
    write(each_store, change, *(("Patient/1", n, n * 10) for n in range(12)), ("Patient/2", 0, 25))
    for query, expected in (
        (HistoryQuery(reference="Patient/1", at=(day(91), day(91))), [("Patient/1", 10)]),
        (HistoryQuery(resource_type="Patient", at=(day(15), day(22))), [("Patient/1", 3), ("Patient/1", 2)]),
        (HistoryQuery(at=(day(26), day(27))), [("Patient/2", 1), ("Patient/1", 3)]),
        (HistoryQuery(at=(day(-9), day(-8))), []),
    ):
        assert keys(each_store.history(query)) == expected
        assert each_store.count_history(query) == len(expected)
    assert each_store.count_history(HistoryQuery(at=(day(0), day(99))), limit=4) == 4


def test_a_policys_filter_applies_to_what_history_keeps(each_store: MongoStore, change: MakeChange) -> None:
    write(each_store, change, ("Patient/1", 0, 1), ("Patient/2", 0, 2), ("Patient/3", 0, 3))
    query = HistoryQuery(resource_type="Patient", filter={"c": "Patient/1"})
    assert keys(each_store.history(query)) == [("Patient/3", 1), ("Patient/1", 1)]
    assert each_store.history(query)[0].index == {"c": ["Patient/1"]}
