"""Random chains, ``_has`` and lists over random worlds: MongoDB's answer is that of an oracle that walks references.

The oracle knows no index and no plan: it looks at every resource and follows every reference. Each question is asked
with inner sides looked up, and with hardly any of them small enough for it, in whole and page by page.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_server.access.caller import OPEN_CALLER
from fhir_server.access.policy import Action, Policy
from fhir_server.fhir.json import to_json
from fhir_server.repository.searching import plan_search
from fhir_server.search.ast import HasLabel, Node
from fhir_server.search.building import build_and, build_not
from fhir_server.search.compiler import keyset_of
from fhir_server.search.indexer import to_index
from fhir_server.search.parser import parse_search
from fhir_server.search.plans import Limits
from fhir_server.storage.mongo import MongoStore
from fhir_server.storage.store import Change, Plan

BASE = "http://here.example/fhir"
UPDATED = datetime(2024, 1, 1, tzinfo=UTC)
NUMBERS = range(4)
NAMES = ("alba", "alma", "bo")
Resource = dict[str, Any]
World = dict[str, Resource]
Test = Callable[[World, Resource], bool]


@dataclass(frozen=True, slots=True)
class Hiding(Policy):
    """Hides what bears a label."""

    def filter(self, resource_type: str | None, action: Action) -> Node:
        """Return all that is not labelled."""
        return build_not(HasLabel(("http://x|secret",)))


@dataclass(frozen=True)
class Asked:
    """One parameter and what it means; ``kind`` is the type that it is asked of."""

    kind: str
    name: str
    value: str
    means: Test


# ---------------------------------------------------------------- worlds

LINKS = {
    # type, parameter: its targets and where its references stand
    ("Organization", "partof"): (("Organization",), "partOf"),
    ("Patient", "organization"): (("Organization",), "managingOrganization"),
    ("Patient", "general-practitioner"): (("Organization",), "generalPractitioner"),
    ("Patient", "link"): (("Patient",), "link"),
    ("Observation", "patient"): (("Patient",), "subject"),
    ("Observation", "subject"): (("Patient", "Group"), "subject"),
    ("Observation", "performer"): (("Organization", "Patient"), "performer"),
    ("Observation", "has-member"): (("Observation",), "hasMember"),
    ("Group", "member"): (("Patient",), "member"),
}
SORTS = {
    "Patient": ("name", "-gender,-_id"),
    "Observation": ("date", "-status,date"),
    "Organization": ("-name",),
    "Group": ("actual,-_lastUpdated",),
}
LIST_MEMBERS = ("Patient", "Observation", "Organization", "Group")


def references(*kinds: str) -> st.SearchStrategy[Resource]:
    targets = [f"{kind}/{number}" for kind in kinds for number in (*NUMBERS, 9)]
    forms = ("{}", "{}", "{}/_history/1", f"{BASE}/{{}}", "http://elsewhere.example/{}")
    return st.builds(
        lambda target, form: {"reference": form.format(target)}, st.sampled_from(targets), st.sampled_from(forms)
    )


def some(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(strategy, min_size=1, max_size=3)


secrets = st.sampled_from([{}, {}, {}, {"meta": {"security": [{"system": "http://x", "code": "secret"}]}}])
names = st.sampled_from(NAMES)
bodies: dict[str, st.SearchStrategy[Resource]] = {
    "Organization": st.fixed_dictionaries({"name": names}, optional={"partOf": references("Organization")}),
    "Patient": st.fixed_dictionaries(
        {},
        optional={
            "gender": st.sampled_from(("male", "female")),
            "name": names.map(lambda name: [{"family": name}]),
            "managingOrganization": references("Organization"),
            "generalPractitioner": some(references("Organization")),
            "link": some(references("Patient").map(lambda other: {"other": other, "type": "seealso"})),
        },
    ),
    "Observation": st.fixed_dictionaries(
        {"status": st.sampled_from(("final", "amended"))},
        optional={
            "subject": references("Patient", "Group"),
            "performer": some(references("Organization", "Patient")),
            "hasMember": some(references("Observation")),
            "effectiveDateTime": st.sampled_from(("2020", "2021-05-05")),
        },
    ),
    "Group": st.fixed_dictionaries(
        {"actual": st.booleans()},
        optional={"member": some(references("Patient").map(lambda entity: {"entity": entity}))},
    ),
    "List": st.fixed_dictionaries(
        {}, optional={"entry": some(references(*LIST_MEMBERS).map(lambda item: {"item": item}))}
    ),
}


@st.composite
def worlds(draw: st.DrawFn) -> World:
    found: World = {}
    for kind, body in bodies.items():
        for number in NUMBERS:
            if draw(st.integers(0, 5)):
                made = {"resourceType": kind, "id": str(number), **draw(body), **draw(secrets)}
                found[f"{kind}/{number}"] = made
    return found


def targets_of(resource: Resource, element: str) -> Iterator[str]:
    """Yield what the references in an element mean, as Type/id."""
    held = resource.get(element, [])
    for one in held if isinstance(held, list) else [held]:
        reference = one.get("other") or one.get("entity") or one.get("item") or one
        text = reference["reference"].removeprefix(f"{BASE}/").partition("/_history")[0]
        if "//" not in text:
            yield text


# ---------------------------------------------------------------- questions


def leaves(kind: str) -> st.SearchStrategy[Asked]:
    ids = st.sets(st.sampled_from([str(number) for number in NUMBERS]), min_size=1, max_size=2).map(sorted)
    found = [
        ids.map(lambda some: Asked(kind, "_id", ",".join(some), lambda w, r: r["id"] in some)),
        st.integers(0, 3).map(
            lambda number: Asked(
                kind,
                "_list",
                str(number),
                lambda w, r: f"{kind}/{r['id']}" in targets_of(w.get(f"List/{number}", {}), "entry"),
            )
        ),
    ]
    if kind == "Patient":
        for gender in ("male", "female"):
            found.append(st.just(Asked(kind, "gender", gender, lambda w, r, g=gender: r.get("gender") == g)))
            found.append(st.just(Asked(kind, "gender:not", gender, lambda w, r, g=gender: r.get("gender") != g)))
        found.append(st.just(Asked(kind, "organization:missing", "true", lambda w, r: "managingOrganization" not in r)))
    if kind in ("Patient", "Organization"):
        found.append(names.map(lambda name: Asked(kind, "name", name[:2], lambda w, r: named(r).startswith(name[:2]))))
    if kind == "Observation":
        statuses = st.sampled_from(("final", "amended"))
        found.append(statuses.map(lambda code: Asked(kind, "status", code, lambda w, r: r["status"] == code)))
        found.append(st.just(Asked(kind, "date", "ge2021", lambda w, r: "2021" in r.get("effectiveDateTime", ""))))
    if kind == "Group":
        found.append(st.just(Asked(kind, "actual", "true", lambda w, r: r["actual"])))
    return st.one_of(found)


def named(resource: Resource) -> str:
    name = resource.get("name", "")
    return name if isinstance(name, str) else str(name[0]["family"])


@st.composite
def questions(draw: st.DrawFn, kind: str, hops: int) -> Asked:
    ways = [one for one in LINKS if kind == one[0] or kind in LINKS[one][0]]
    if hops == 0 or not ways or not draw(st.integers(0, 4)):
        return draw(leaves(kind))
    source, code = draw(st.sampled_from(ways))
    targets, element = LINKS[source, code]
    forward = source == kind and (kind not in targets or draw(st.booleans()))
    return draw(
        chains(source, code, targets, element, hops) if forward else reversed_(kind, source, code, element, hops)
    )


@st.composite
def chains(draw: st.DrawFn, source: str, code: str, targets: tuple[str, ...], element: str, hops: int) -> Asked:
    target = draw(st.sampled_from(targets))
    inner = draw(questions(target, hops - 1))
    if code == "performer" and inner.name == "name":
        # Of all the types that a performer may be, these worlds have two.
        return Asked(source, "performer.name", inner.value, through(element, ("Organization", "Patient"), inner.means))
    untyped = code in ("partof", "organization", "patient") and draw(st.booleans())
    shown = code if untyped else f"{code}:{target}"
    return Asked(source, f"{shown}.{inner.name}", inner.value, through(element, (target,), inner.means))


def through(element: str, kinds: tuple[str, ...], means: Test) -> Test:
    def test(world: World, resource: Resource) -> bool:
        found = (world.get(name) for name in targets_of(resource, element) if name.partition("/")[0] in kinds)
        return any(means(world, one) for one in found if one is not None)

    return test


@st.composite
def reversed_(draw: st.DrawFn, kind: str, source: str, code: str, element: str, hops: int) -> Asked:
    inner = draw(questions(source, hops - 1))

    def test(world: World, resource: Resource) -> bool:
        own = f"{kind}/{resource['id']}"
        return any(
            own in targets_of(one, element) and inner.means(world, one)
            for one in world.values()
            if one["resourceType"] == source
        )

    return Asked(kind, f"_has:{source}:{code}:{inner.name}", inner.value, test)


@st.composite
def searches(draw: st.DrawFn) -> tuple[str, list[Asked], str]:
    kind = draw(st.sampled_from(sorted(SORTS)))
    sort = draw(st.sampled_from(("", "_id", "-_lastUpdated", *SORTS[kind])))
    return kind, draw(st.lists(questions(kind, 3), min_size=1, max_size=2)), sort


# ---------------------------------------------------------------- the test


def write(store: MongoStore, world: World) -> None:
    for collection in ("resources", "history"):
        store.connection.database[collection].delete_many({})
    changes = [
        Change(name, 0, 1, "PUT", UPDATED + timedelta(seconds=number % 5), to_json(one), to_index(one, BASE))
        for number, (name, one) in enumerate(world.items())
    ]
    store.commit(Plan(tuple(changes)))


def found_by(store: MongoStore, kind: str, asked: list[Asked], limits: Limits, sort: str) -> tuple[list[str], int]:
    """Return what a walk over pages of three finds, and the exact count."""
    policy = Hiding(OPEN_CALLER)
    parameters = [(one.name, one.value) for one in asked] + ([("_sort", sort)] if sort else [])
    search = parse_search(kind, parameters, strict=True, base_url=BASE)
    tree = build_and([search.tree, policy.filter(kind, "search")])
    found: list[str] = []
    after = None
    while True:
        page = plan_search(store, policy, limits, tree).page(search, after, 3)
        found += [one.reference for one in page[:3]]
        assert all(one.body for one in page)
        if len(page) <= 3:
            return found, plan_search(store, policy, limits, tree).count(accurate=True)
        last = page[2]
        after = keyset_of(search, last.reference, last.updated, last.index)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(worlds(), st.lists(searches(), min_size=4, max_size=8))
def test_joins_find_what_following_the_references_finds(
    store: MongoStore, world: World, asked: list[tuple[str, list[Asked], str]]
) -> None:
    write(store, world)
    visible = {name: one for name, one in world.items() if "meta" not in one}
    for kind, questions_, sort in asked:
        text = [(one.name, one.value) for one in questions_]
        expected = {
            name
            for name, one in visible.items()
            if one["resourceType"] == kind and all(question.means(visible, one) for question in questions_)
        }
        for keys in (1, 2, 1_000):
            found, count = found_by(store, kind, questions_, Limits(keys=keys), sort)
            assert sorted(found) == sorted(expected), (kind, text, keys)
            assert count == len(expected), (kind, text, keys)
