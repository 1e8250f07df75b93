"""What a request costs: the number of commands does not grow with what is read or written."""

from collections.abc import Callable

import pytest

from fhir_server.storage.mongo import MongoStore
from fhir_server.storage.store import Change, Guard, HistoryQuery, Plan, Query

MakeChange = Callable[..., Change]
MakeStore = Callable[..., MongoStore]


Commands = tuple[MongoStore, Callable[[], list[str]]]


@pytest.fixture(params=["socket", "driver"])
def commands(make_store: MakeStore, request: pytest.FixtureRequest) -> Commands:
    """A store that remembers nothing, and a function that returns the commands sent since it was last called."""
    names: list[str] = []
    store = make_store(driver_only=request.param == "driver", body_cache=0, listener=names.append)
    store.get("Patient/0")

    def taken() -> list[str]:
        sent = list(names)
        names.clear()
        return sent

    taken()
    return store, taken


@pytest.mark.parametrize("count", [1, 7, 300])
def test_a_plan_of_any_size_takes_the_same_commands(commands: Commands, change: MakeChange, count: int) -> None:
    store, taken = commands
    store.commit(Plan(tuple(change(f"A/{n}") for n in range(count))))
    assert taken() == ["insert", "insert", "insert", "commitTransaction"]
    mixed = (
        *(change(f"A/{n}", 1) for n in range(count)),
        *(change(f"B/{n}") for n in range(count)),
    )
    guards = tuple(Guard(f"g{n}", 0) for n in range(count))
    store.commit(Plan(mixed, guards, tuple(("audit", {"n": n}) for n in range(count))))
    assert taken() == ["insert", "insert", "update", "update", "insert", "insert", "commitTransaction"]
    store.commit(Plan(tuple(change(f"A/{n}", 2, None) for n in range(count))))
    assert taken() == ["insert", "update", "insert", "commitTransaction"]


@pytest.mark.parametrize("count", [1, 250])
def test_a_read_of_any_size_is_one_command(commands: Commands, change: MakeChange, count: int) -> None:
    store, taken = commands
    store.commit(Plan(tuple(change(f"A/{n}", t=["t"], x=["B/1"]) for n in range(count))))
    references = [f"A/{n}" for n in range(count)]
    taken()
    for read, command in (
        (lambda: store.get("A/0"), "find"),
        (lambda: store.get_version("A/0", 1), "find"),
        (lambda: store.get_many(references), "find"),
        (lambda: store.find(Query({"t": "t"})), "find"),
        (lambda: store.find_each([{"t": "t"}] * count), "aggregate"),
        (lambda: store.find_referrers(["B/1"] * count), "aggregate"),
        (lambda: store.guards(references), "find"),
        (lambda: store.history(HistoryQuery()), "find"),
        (lambda: store.count({"t": "t"}), "count"),
    ):
        read()
        assert taken() == [command]
