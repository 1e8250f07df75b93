"""MongoDB, the matcher and an oracle agree on composites, converted units, positions and ``_filter``.

As in ``test_search_agreement``, the oracle reads the resources themselves: units by a table of fractions written out
here, pairs by walking the components, distances by the haversine formula, filters from the left to the right.
"""

import math
from collections.abc import Callable
from datetime import datetime
from fractions import Fraction
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_server.fhir.decimals import parse_number
from fhir_server.search.ast import Node, ReferenceIs
from fhir_server.search.building import build_and
from fhir_server.search.compiler import to_filter
from fhir_server.search.indexer import to_index
from fhir_server.search.matcher import index_document, matches
from fhir_server.search.parser import parse_search
from fhir_server.storage.store import Query, Store
from tests.contract.test_search_agreement import (
    BASE,
    DATES,
    NOW,
    PREFIXES,
    TEXTS,
    UPDATED,
    date_holds,
    escaped,
    write,
)

UCUM = "http://unitsofmeasure.org"
UNITS: dict[str, tuple[str, Fraction, Fraction]] = {
    "mg": ("mass", Fraction(1, 1000), Fraction(0)),
    "g": ("mass", Fraction(1), Fraction(0)),
    "kg": ("mass", Fraction(1000), Fraction(0)),
    "[lb_av]": ("mass", Fraction("453.59237"), Fraction(0)),
    "Cel": ("temperature", Fraction(1), Fraction("273.15")),
    "[degF]": ("temperature", Fraction(5, 9), Fraction("459.67") * Fraction(5, 9)),
    "K": ("temperature", Fraction(1), Fraction(0)),
    "[iU]": ("international", Fraction(1), Fraction(0)),
    "m[iU]": ("international", Fraction(1, 1000), Fraction(0)),
    "/min": ("rate", Fraction(1, 60), Fraction(0)),
    "Hz": ("rate", Fraction(1), Fraction(0)),
    "mmHg": ("as written: mmHg", Fraction(1), Fraction(0)),
}
"""Dimension, factor and offset. mmHg is no UCUM code, so it compares with itself only."""
NUMBERS = {
    "5": "0.5", "5.4": "0.05", "5400": "0.5", "0.0054": "0.00005", "1e3": "50", "0": "0.5", "-40": "0.5",
    "37.0": "0.05", "98.6": "0.05", "60": "0.5", "1.000": "0.0005", "0.45359237": "0.000000005",
}  # fmt: skip
"""Numbers with half the unit of their last digit."""
CODES = ("x", "X", "a$b,|")
SYSTEMS = ("http://a", "http://b|c")
WORDS = ("Dup", "Dupont", "elo", "Élodie", "😀 smile", "Cœur  de Lion")
DAYS = ("2020", "2020-02-29", "2020-02-29T10:00:00Z", "2021")

Resource = dict[str, Any]
Test = Callable[[Resource], bool]
Case = tuple[str, str, str, Test]
"""Resource type, parameter, value, meaning."""


# ---------------------------------------------------------------- resources

codings = st.fixed_dictionaries({"code": st.sampled_from(CODES)}, optional={"system": st.sampled_from(SYSTEMS)})
concepts = st.fixed_dictionaries({"coding": st.lists(codings, min_size=1, max_size=2)})
quantities = st.builds(
    lambda number, unit, comparator: {
        "value": parse_number(number),
        **({"system": UCUM, "code": unit} if unit else {}),
        **({"comparator": comparator} if comparator else {}),
    },
    st.sampled_from(sorted(NUMBERS)),
    st.sampled_from([None, *UNITS]),
    st.sampled_from([None, None, None, "<", ">="]),
)
values = st.one_of(
    quantities.map(lambda one: {"valueQuantity": one}),
    quantities.map(lambda one: {"valueQuantity": one}),
    concepts.map(lambda one: {"valueCodeableConcept": one}),
    st.sampled_from(WORDS).map(lambda one: {"valueString": one}),
    st.sampled_from(DAYS).map(lambda one: {"valueDateTime": one}),
    st.just({}),
)
elements = st.builds(lambda code, value: {"code": code, **value}, concepts, values)
observations = st.builds(
    lambda element, components, status: {
        "resourceType": "Observation",
        "status": status,
        **element,
        **({"component": components} if components else {}),
    },
    elements,
    st.lists(elements, max_size=3),
    st.sampled_from(("final", "amended")),
)
degrees = st.integers(-3, 3)
locations = st.builds(
    lambda north, east, near_date_line: {
        "resourceType": "Location",
        "position": {
            "latitude": north,
            "longitude": (180 - east if east > 0 else -180 - east) if near_date_line else east,
        },
    },
    degrees,
    degrees,
    st.booleans(),
)
resources = st.one_of(observations, observations, observations, locations)


# ---------------------------------------------------------------- the oracle


def holders(resource: Resource, where: str) -> list[Resource]:
    """Return the elements that a composite looks at."""
    own = [resource] if where in ("", "combo-") else []
    return own + (resource.get("component", []) if where else [])


def has_code(concept: Resource | None, system: str | None, code: str) -> bool:
    """``system``: None any, empty none."""
    for coding in (concept or {}).get("coding", []):
        if coding["code"].casefold() == code.casefold() and system in (None, coding.get("system", "")):
            return True
    return False


def measure_holds(prefix: str, quantity: Resource | None, number: str, unit: str | None) -> bool:
    if quantity is None:
        return False
    factor, offset, held, held_offset = Fraction(1), Fraction(0), Fraction(1), Fraction(0)
    if unit is not None:
        if "code" not in quantity or UNITS[quantity["code"]][0] != UNITS[unit][0]:
            return False
        _, factor, offset = UNITS[unit]
        _, held, held_offset = UNITS[quantity["code"]]
    value = Fraction(str(quantity["value"])) * held + held_offset
    comparator = quantity.get("comparator")
    low, high = (None if comparator == "<" else value), (None if comparator == ">=" else value)
    asked, half = Fraction(number), Fraction(NUMBERS[number])
    margin = max(half, abs(asked) / 10)

    def base(bound: Fraction) -> Fraction:
        return bound * factor + offset

    exact, start, end = base(asked), base(asked - half), base(asked + half)
    return {
        "eq": low is not None and high is not None and start <= low and high < end,
        "ne": low is None or high is None or low < start or high >= end,
        "gt": high is None or high > exact,
        "lt": low is None or low < exact,
        "ge": high is None or high > exact or low == high == exact,
        "le": low is None or low < exact or low == high == exact,
        "sa": low is not None and low > exact,
        "eb": high is not None and high < exact,
        "ap": (low is None or low <= base(asked + margin)) and (high is None or high >= base(asked - margin)),
    }[prefix]


def apart(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Return kilometres by the haversine formula."""
    (north, east), (to_north, to_east) = (tuple(map(math.radians, place)) for place in (one, other))
    half = math.sin((to_north - north) / 2) ** 2
    half += math.cos(north) * math.cos(to_north) * math.sin((to_east - east) / 2) ** 2
    return 2 * 6371.0088 * math.asin(math.sqrt(half))


# ---------------------------------------------------------------- queries


@st.composite
def code_texts(draw: st.DrawFn) -> tuple[str, str | None, str]:
    """A token as it is written, its system (None any, empty none) and code."""
    code = draw(st.sampled_from(CODES))
    system = draw(st.sampled_from([None, None, None, "", *SYSTEMS]))
    return (escaped(code) if system is None else f"{escaped(system)}|{escaped(code)}"), system, code


@st.composite
def measures(draw: st.DrawFn) -> tuple[str, Callable[[Resource | None], bool]]:
    prefix, number = draw(st.sampled_from(PREFIXES)), draw(st.sampled_from(sorted(NUMBERS)))
    unit = draw(st.sampled_from([None, *UNITS]))
    shown = f"{prefix}{number}" + (f"|{UCUM}|{unit}" if unit else "")
    return shown, lambda quantity: measure_holds(prefix, quantity, number, unit)


@st.composite
def quantity_cases(draw: st.DrawFn) -> Case:
    where = draw(st.sampled_from(("", "component-", "combo-")))
    text, holds = draw(measures())
    return (
        "Observation",
        f"{where}value-quantity",
        text,
        lambda r: any(holds(one.get("valueQuantity")) for one in holders(r, where)),
    )


@st.composite
def composite_cases(draw: st.DrawFn) -> Case:
    where = draw(st.sampled_from(("", "component-", "combo-")))
    kinds = ("quantity", "concept") if where else ("quantity", "concept", "string", "date")
    kind, (shown, system, code) = draw(st.sampled_from(kinds)), draw(code_texts())
    second: Test
    match kind:
        case "quantity":
            text, holds = draw(measures())
            second = lambda one: holds(one.get("valueQuantity"))  # noqa: E731
        case "concept":
            text, of, value = draw(code_texts())
            second = lambda one: has_code(one.get("valueCodeableConcept"), of, value)  # noqa: E731
        case "string":
            text = draw(st.sampled_from(WORDS))
            begun = TEXTS[text]
            second = lambda one: TEXTS.get(one.get("valueString", ""), "\0").startswith(begun)  # noqa: E731
            text = escaped(text)
        case _:
            prefix, day = draw(st.sampled_from(PREFIXES)), draw(st.sampled_from(DAYS))
            text = f"{prefix}{day}"
            second = lambda one: (  # noqa: E731
                "valueDateTime" in one and date_holds(prefix, DATES[one["valueDateTime"]], *DATES[day])
            )
    return (
        "Observation",
        f"{where}code-value-{kind}",
        f"{shown}${text}",
        lambda r: any(has_code(one["code"], system, code) and second(one) for one in holders(r, where)),
    )


@st.composite
def near_cases(draw: st.DrawFn) -> Case:
    north, east, line = draw(degrees), draw(degrees), draw(st.booleans())
    east = 180 - abs(east) if line else east
    kilometres = draw(st.sampled_from((1, 50, 120, 250, 400, 800, 20_100)))

    def means(r: Resource) -> bool:
        position = r["position"]
        return apart((north, east), (position["latitude"], position["longitude"])) <= kilometres

    return "Location", "near", f"{north}|{east}|{kilometres}|km", means


def overlap(one: tuple[datetime, datetime], other: tuple[datetime, datetime]) -> bool:
    return one[0] < other[1] and one[1] > other[0]


FILTER_TESTS: dict[str, Test] = {
    "status eq final": lambda r: r["status"] == "final",
    "status ne final": lambda r: r["status"] != "final",
    "code eq x": lambda r: has_code(r["code"], None, "x"),
    "code eq http://a|x": lambda r: has_code(r["code"], "http://a", "x"),
    "code ne x": lambda r: any(one["code"].casefold() != "x" for one in r["code"]["coding"]),
    "code ne http://a|x": lambda r: any(
        (one.get("system"), one["code"].casefold()) != ("http://a", "x") for one in r["code"]["coding"]
    ),
    "value-string eq DUPONT": lambda r: TEXTS.get(r.get("valueString", "")) == "dupont",
    'value-string sw "dup"': lambda r: TEXTS.get(r.get("valueString", ""), "").startswith("dup"),
    "value-string co lion": lambda r: "lion" in TEXTS.get(r.get("valueString", ""), ""),
    "value-string ew smile": lambda r: TEXTS.get(r.get("valueString", ""), "").endswith("smile"),
    "value-string ne dup": lambda r: TEXTS.get(r.get("valueString", ""), "dup") != "dup",
    "value-string pr true": lambda r: "valueString" in r,
    "value-date po 2020-02": lambda r: "valueDateTime" in r and overlap(DATES[r["valueDateTime"]], DATES["2020-02"]),
    "value-date ge 2021": lambda r: (
        "valueDateTime" in r and date_holds("ge", DATES[r["valueDateTime"]], *DATES["2021"])
    ),
    f"value-quantity gt 5|{UCUM}|g": lambda r: measure_holds("gt", r.get("valueQuantity"), "5", "g"),
}


@st.composite
def filter_texts(draw: st.DrawFn, depth: int = 2) -> tuple[str, Test]:
    """Terms joined by and, or, without precedence; a term is a test, or a filter in parentheses, negated or not."""
    text, means = draw(filter_terms(depth))
    for _ in range(draw(st.integers(0, 2))):
        word = draw(st.sampled_from(("and", "or")))
        more, also = draw(filter_terms(depth))
        text, means = f"{text} {word} {more}", _joined(word, means, also)
    return text, means


@st.composite
def filter_terms(draw: st.DrawFn, depth: int) -> tuple[str, Test]:
    if depth == 0 or draw(st.booleans()):
        text = draw(st.sampled_from(sorted(FILTER_TESTS)))
        return text, FILTER_TESTS[text]
    text, means = draw(filter_texts(depth - 1))
    if draw(st.booleans()):
        return f"not ({text})", lambda r: not means(r)
    return f"({text})", means


def _joined(word: str, first: Test, second: Test) -> Test:
    if word == "and":
        return lambda r: first(r) and second(r)
    return lambda r: first(r) or second(r)


filter_cases = filter_texts().map(lambda one: ("Observation", "_filter", one[0], one[1]))
cases = st.one_of(quantity_cases(), composite_cases(), composite_cases(), near_cases(), filter_cases)


def tree_of(resource_type: str, code: str, value: str) -> Node:
    return parse_search(resource_type, ((code, value),), strict=True, base_url=BASE, now=NOW).tree


@settings(max_examples=550, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(resources, min_size=6, max_size=16), st.lists(cases, min_size=6, max_size=12))
def test_mongodb_the_matcher_and_the_oracle_give_the_same_answer(
    store: Store, found: list[Resource], asked: list[Case]
) -> None:
    kept = write(store, found)
    documents = {name: index_document(name, UPDATED, to_index(one, BASE)) for name, one in kept.items()}
    here = ReferenceIs(tuple(kept))
    for kind, code, value, means in asked:
        tree = tree_of(kind, code, value)
        expected = {name for name, one in kept.items() if one["resourceType"] == kind and means(one)}
        by_matcher = {name for name, document in documents.items() if matches(tree, document)}
        by_store = {one.reference for one in store.find(Query(to_filter(build_and([here, tree])), with_body=False))}
        assert by_matcher == expected, (code, value)
        assert by_store == expected, (code, value)
