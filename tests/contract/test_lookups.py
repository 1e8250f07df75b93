"""What the planner of joins asks of a real database."""

from collections.abc import Callable

import pytest

from fhir_server.access.caller import OPEN_CALLER
from fhir_server.access.policy import Policy
from fhir_server.repository.authorising import Authority
from fhir_server.repository.searching import StoreLookup
from fhir_server.repository.sight import Sight
from fhir_server.search.ast import TokenIn
from fhir_server.storage.mongo import MongoStore
from fhir_server.storage.store import Change, Plan

MakeChange = Callable[..., Change]


@pytest.mark.parametrize("keys", [1, 15_000, 25_000])
@pytest.mark.parametrize("there", [(), (0,), (1,), (0, 2), (2,)])
def test_of_each_condition_it_is_told_whether_anything_is_there_however_many_keys_it_has(
    store: MongoStore, change: MakeChange, keys: int, there: tuple[int, ...]
) -> None:
    store.commit(Plan(tuple(change(f"Patient/{number}", t=["Patient", f"found-{number}"]) for number in there)))
    trees = [TokenIn((f"found-{number}", *(f"{number}-{key}" for key in range(keys)))) for number in range(3)]
    policy = Policy(OPEN_CALLER)
    asked = StoreLookup(store, policy, Sight(Authority(policy, store))).exist(trees)
    assert asked == [number in there for number in range(3)]
