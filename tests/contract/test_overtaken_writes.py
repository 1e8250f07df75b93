"""A write that others overtake is planned again, and given up in the end."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from fhir_server.access.caller import LOCAL_CALLER
from fhir_server.access.policy import Policy
from fhir_server.errors import Conflict
from fhir_server.fhir.json import parse_stored
from fhir_server.repository.change import Proposal
from fhir_server.repository.stored_parameters import GENERATION, ParameterRegistry
from fhir_server.repository.writing import Writer, WriteRules
from fhir_server.search.stored import NONE_STORED, stored_parameters, stored_parameters_in_force
from fhir_server.storage.mongo import MongoStore
from fhir_server.storage.store import Change, Document, Guard, Plan

NOW = datetime(2026, 5, 4, tzinfo=UTC)
MINE = Proposal("update", "PUT", "Patient", "a", {"resourceType": "Patient", "id": "a", "gender": "female"})
MakeChange = Callable[..., Change]


class Rival:
    """Somebody who writes the same resource while another looks at the clock, some times."""

    def __init__(self, store: MongoStore, change: MakeChange, times: int) -> None:
        self._store, self._change, self._left = store, change, times

    def __call__(self) -> datetime:
        """Return the time, which has passed."""
        if self._left:
            self._left -= 1
            body = b'{"resourceType":"Patient","id":"a","gender":"male"}'
            self._store.commit(Plan((self._change("Patient/a", present(self._store).version, body, t=["Patient"]),)))
        return NOW


def present(store: MongoStore) -> Document:
    found = store.get("Patient/a")
    assert found is not None
    return found


def writer(store: MongoStore, change: MakeChange, overtaken: int) -> Writer:
    store.commit(Plan((change("Patient/a", body=b'{"resourceType":"Patient","id":"a"}', t=["Patient"]),)))
    clock, registry = Rival(store, change, overtaken), ParameterRegistry(store)
    return Writer(store, Policy(LOCAL_CALLER), WriteRules(attempts=3), "http://here.example/fhir", clock, registry)


def test_who_is_overtaken_writes_onto_what_the_other_wrote(store: MongoStore, change: MakeChange) -> None:
    (written,) = writer(store, change, overtaken=1).write([MINE])
    assert written.document is not None
    assert written.document.version == 3
    assert parse_stored(present(store).body or b"")["gender"] == "female"


def test_who_indexed_by_what_is_no_longer_in_force_indexes_anew(store: MongoStore, change: MakeChange) -> None:
    writes = writer(store, change, overtaken=0)
    published = change("SearchParameter/x", body=b'{"resourceType":"SearchParameter","id":"x"}', t=["SearchParameter"])
    store.commit(Plan((published,), (Guard(GENERATION, 0, lasting=True),)))
    store.index_writer.fence(1)
    with stored_parameters_in_force(NONE_STORED):
        (written,) = writes.write([MINE])
        assert written.changed
        assert stored_parameters().generation == 1
    assert parse_stored(present(store).body or b"")["gender"] == "female"


def test_who_is_overtaken_each_time_is_told_so_and_has_written_nothing(store: MongoStore, change: MakeChange) -> None:
    with pytest.raises(Conflict):
        writer(store, change, overtaken=100).write([MINE])
    assert parse_stored(present(store).body or b"")["gender"] == "male"
