"""The trees that policies are made of say the same of current versions to MongoDB and to the matcher, and let through
no past version that the tree would hold back, neither for what it was nor for what the resource is now."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import uuid4

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_server.search.ast import (
    Everything,
    HasLabel,
    InCompartment,
    InOpenRecord,
    Node,
    Nothing,
    OfNoPatient,
    OwnedBy,
    PatientIs,
    TokenIn,
    TypeIs,
    WordIn,
)
from fhir_server.search.building import build_and, build_not, build_or
from fhir_server.search.closed import CLOSED
from fhir_server.search.compiler import to_filter
from fhir_server.search.history_filter import to_history_filter
from fhir_server.search.matcher import index_document, matches
from fhir_server.storage.mongo import MongoStore
from fhir_server.storage.store import Change, Document, HistoryQuery, Plan, Query

MakeChange = Callable[..., Change]
PATIENTS = ("Patient/a", "Patient/b")
TOKENS = ("Observation", "Observation.category|s|lab", "Observation.type||x", "Observation.code|s|1")
INDEXES = st.fixed_dictionaries(
    {"t": st.lists(st.sampled_from(TOKENS), unique=True)},
    optional={
        "pt": st.sampled_from(PATIENTS),
        "c": st.lists(st.sampled_from((*PATIENTS, "Encounter/e")), unique=True, min_size=1),
        "l": st.lists(st.sampled_from(("s|N", "s|MASQUE_PS")), unique=True, min_size=1),
        "o": st.lists(st.sampled_from(("Practitioner/p", "Organization/o")), unique=True, min_size=1),
        CLOSED: st.lists(st.sampled_from(PATIENTS), unique=True, min_size=1),
        "w": st.lists(st.sampled_from(("Observation:word",)), min_size=1, max_size=1),
    },
)
LEAVES: st.SearchStrategy[Node] = st.one_of(
    st.just(Everything()),
    st.just(Nothing()),
    st.just(OfNoPatient()),
    st.just(InOpenRecord()),
    st.sampled_from(PATIENTS).map(lambda one: PatientIs((one,))),
    st.just(PatientIs(PATIENTS)),
    st.sampled_from(("a", "b")).map(lambda id: InCompartment("Patient", id)),
    st.sampled_from(("s|N", "s|MASQUE_PS")).map(lambda label: HasLabel((label,))),
    st.sampled_from(("Practitioner/p", "Organization/o")).map(lambda key: OwnedBy((key,))),
    st.lists(st.sampled_from(TOKENS), min_size=1, max_size=2, unique=True).map(lambda keys: TokenIn(tuple(keys))),
    st.sampled_from(("Observation", "Patient")).map(lambda kind: TypeIs((kind,))),
    st.just(WordIn(("Observation:word",))),
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, min_size=2, max_size=3).map(build_and),
        st.lists(inner, min_size=2, max_size=3).map(build_or),
        inner.map(build_not),
    ),
    max_leaves=6,
)
checked = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)


def found_now(store: MongoStore, tree: Node, reference: str) -> bool:
    return bool(store.find(Query({"$and": [{"_id": reference}, to_filter(tree)]})))


def found_versions(store: MongoStore, tree: Node, reference: str) -> set[int]:
    query = HistoryQuery(reference, filter=to_history_filter(tree))
    return {version.version for version in store.history(query)}


@checked
@given(index=INDEXES, tree=TREES)
def test_mongodb_and_matcher_agree_on_a_current_version(
    store: MongoStore, change: MakeChange, index: dict[str, Any], tree: Node
) -> None:
    reference = f"Observation/{uuid4()}"
    store.commit(Plan((change(reference, **index),)))

    [found] = store.get_many([reference], with_body=False, index_fields=("*",)).values()
    document = index_document(reference, found.updated, found.index)
    assert found_now(store, tree, reference) == matches(tree, document)


@checked
@given(first=INDEXES, second=INDEXES, tree=TREES)
def test_a_past_version_is_shown_only_if_it_was_and_its_resource_is_within_the_tree(
    store: MongoStore, change: MakeChange, first: dict[str, Any], second: dict[str, Any], tree: Node
) -> None:
    reference = f"Observation/{uuid4()}"
    written = change(reference, **first)
    store.commit(Plan((written,)))
    marked = tuple(first.get(CLOSED, ()))
    store.commit(Plan((replace(written, expected=1, version=2, index=second, restates=True, closed=marked),)))

    def allowed(index: dict[str, Any]) -> bool:
        return matches(tree, index_document(reference, written.updated, index))

    shown = found_versions(store, tree, reference)
    assert shown <= ({1} if allowed(first) and allowed(second) else set()) | ({2} if allowed(second) else set())


def test_a_label_put_on_today_hides_what_was_written_yesterday(store: MongoStore, change: MakeChange) -> None:
    visible = build_and([PatientIs(("Patient/a",)), build_not(HasLabel(("s|MASQUE_PS",)))])
    written = change("Observation/1", pt="Patient/a", c=["Patient/a"], t=["Observation"])
    store.commit(Plan((written,)))
    assert found_versions(store, visible, "Observation/1") == {1}

    masked = {**written.index, "l": ["s|MASQUE_PS"]}
    store.commit(Plan((replace(written, expected=1, version=2, index=masked, restates=True),)))
    assert found_versions(store, visible, "Observation/1") == set()

    store.commit(Plan((replace(written, expected=2, version=3, restates=True),)))
    assert found_versions(store, visible, "Observation/1") == {1, 3}, "the masked version stays masked"


def test_a_tombstone_tells_a_policy_whose_it_was_and_is_found_by_no_search(
    store: MongoStore, change: MakeChange
) -> None:
    index = {"pt": "Patient/a", "c": ["Patient/a"], "l": ["s|N"], "o": ["Patient/a"], "t": ["Observation"]}
    written = change("Observation/1", **index)
    store.commit(Plan((written,)))
    store.commit(Plan((replace(written, expected=1, version=2, body=None, method="DELETE"),)))

    tombstone = store.get("Observation/1")
    assert tombstone is not None
    assert tombstone.deleted
    assert tombstone.index == index
    assert store.find(Query(to_filter(PatientIs(("Patient/a",))))) == []
    assert found_versions(store, PatientIs(("Patient/a",)), "Observation/1") == {1, 2}


def test_reads_bring_along_whose_a_resource_is(store: MongoStore, change: MakeChange) -> None:
    identity = {"pt": "Patient/a", "c": ["Patient/a"], "l": ["s|N"], "o": ["Patient/a"]}
    store.commit(Plan((change("Observation/1", **identity, t=["Observation"]),)))

    found: list[Document | None] = [store.get("Observation/1"), *store.find(Query({"_id": "Observation/1"}))]
    assert [one.index for one in found if one] == [identity, identity]
