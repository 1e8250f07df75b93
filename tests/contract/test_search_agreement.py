"""MongoDB, the matcher and an oracle give the same answer on random resources and random trees.

The oracle knows nothing of index entries: it reads resources and applies the tables of R4's search page, with the
range of every date and number, and the folded form of every text, written out by hand.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any
from uuid import uuid4

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_server.fhir.decimals import parse_number
from fhir_server.fhir.json import to_json
from fhir_server.search.ast import Node, ReferenceIs
from fhir_server.search.building import build_and, build_not, build_or
from fhir_server.search.compiler import to_filter
from fhir_server.search.indexer import to_index
from fhir_server.search.matcher import index_document, matches
from fhir_server.search.parser import parse_search
from fhir_server.storage.store import Change, Plan, Query, Store

BASE = "http://here.example/fhir"
NOW = datetime(2024, 1, 1, tzinfo=UTC)
UPDATED = datetime(2024, 1, 1, 12, 0, 0, 250_000, tzinfo=UTC)


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc, arg-type]


DATES = {
    "2020": (utc(2020, 1, 1), utc(2021, 1, 1)),
    "2021": (utc(2021, 1, 1), utc(2022, 1, 1)),
    "2020-02": (utc(2020, 2, 1), utc(2020, 3, 1)),
    "2020-02-29": (utc(2020, 2, 29), utc(2020, 3, 1)),
    "2020-03-01": (utc(2020, 3, 1), utc(2020, 3, 2)),
    "2020-02-29T10:00:00Z": (utc(2020, 2, 29, 10), utc(2020, 2, 29, 10, 0, 1)),
    "2020-02-29T12:00:00+02:00": (utc(2020, 2, 29, 10), utc(2020, 2, 29, 10, 0, 1)),
    "2020-02-29T10:00:00.500Z": (utc(2020, 2, 29, 10, 0, 0, 500_000), utc(2020, 2, 29, 10, 0, 0, 501_000)),
    "2020-02-29T23:30:00-01:00": (utc(2020, 3, 1, 0, 30), utc(2020, 3, 1, 0, 30, 1)),
}
SEARCH_DATES = {**DATES, "2020-02-29T10:00Z": (utc(2020, 2, 29, 10), utc(2020, 2, 29, 10, 1))}
NUMBERS = {
    "100": ("99.5", "100.5"),
    "100.00": ("99.995", "100.005"),
    "1e2": ("95", "105"),
    "105": ("104.5", "105.5"),
    "94.99": ("94.985", "94.995"),
    "99.5": ("99.45", "99.55"),
    "100.5": ("100.45", "100.55"),
    "0": ("-0.5", "0.5"),
    "-3.5": ("-3.55", "-3.45"),
    "-3.50": ("-3.505", "-3.495"),
    "5.40e-3": ("0.005395", "0.005405"),
    "0.0054": ("0.00535", "0.00545"),
    "1234567890123456789012345678901234567.5": (
        "1234567890123456789012345678901234567.45",
        "1234567890123456789012345678901234567.55",
    ),
}
TEXTS = {
    "Dupont": "dupont",
    "DUPONT-Aignan": "dupont aignan",
    "Élodie": "elodie",
    "elo": "elo",
    "O'Brien": "obrien",
    "Cœur  de Lion": "coeur de lion",
    "Dup": "dup",
    "日本": "日本",
    "😀 smile": "😀 smile",
    "c(.*)": "c",
}
# The words of a sentence, spelt out; those of the second line are too common to be asked for.
SENTENCES = {
    "a text": ("a", "text"),
    "Glucose à jeun": ("glucose", "a", "jeun"),
    "Masse des globules, l'hématie": ("masse", "des", "globules", "l", "hematie"),
    "Body masses / body mass": ("body", "masses", "body", "mass"),
    "$where 718-7 (.*)": ("where", "718-7"),
    "Œdème d’Élodie": ("oedeme", "d", "elodie"),
}
COMMON = ("a", "des", "l", "d")
SYSTEMS = (None, "http://a", "http://b|c", "http://b")
CODES = ("x", "X", "y", "a|b", "q,r", "c|y", "$ne")
PREFIXES = ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")
URIS = (
    "http://a.example",
    "http://a.example/x",
    "http://a.example/x/",
    "http://a.example/x/y",
    "http://a.example/x/y/z",
    "http://a.example/xy",
    "urn:oid:1.2.3",
)
REFERENCES = (
    "Patient/1",
    "Patient/2",
    "Group/1",
    "Patient/1/_history/2",
    "http://other.example/fhir/Patient/1",
    "urn:uuid:0b1b1b1b-0000-4000-8000-000000000000",
)
FIRST, LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


# ---------------------------------------------------------------- resources

codings = st.fixed_dictionaries(
    {}, optional={"system": st.sampled_from(SYSTEMS[1:]), "code": st.sampled_from(CODES)}
).filter(bool)
concepts = st.fixed_dictionaries(
    {"text": st.sampled_from(sorted(SENTENCES))}, optional={"coding": st.lists(codings, min_size=1, max_size=2)}
)
instants = st.sampled_from(sorted(DATES))
periods = st.fixed_dictionaries({}, optional={"start": instants, "end": instants}).filter(
    lambda p: bool(p) and (len(p) < 2 or DATES[p["start"]][0] < DATES[p["end"]][1])
)
numbers = st.sampled_from(sorted(NUMBERS)).map(parse_number)
quantities = st.fixed_dictionaries(
    {"value": numbers},
    optional={
        "comparator": st.sampled_from(("<", ">=")),
        "system": st.sampled_from(SYSTEMS[1:]),
        "code": st.sampled_from(("mg", "g")),
        "unit": st.sampled_from(("mg", "Gramm")),
    },
)
references = st.one_of(
    st.sampled_from(REFERENCES).map(lambda text: {"reference": text}),
    st.fixed_dictionaries(
        {"identifier": st.fixed_dictionaries({"system": st.just("http://a"), "value": st.just("x")})}
    ),
    st.just({"display": "nobody"}),
)
observations = st.fixed_dictionaries(
    {"resourceType": st.just("Observation"), "status": st.sampled_from(("final", "amended"))},
    optional={
        "code": concepts,
        "text": st.sampled_from(sorted(SENTENCES)).map(
            lambda text: {
                "status": "generated",
                "div": f'<div xmlns="http://www.w3.org/1999/xhtml"><p>{text}</p></div>',
            }
        ),
        "subject": references,
        "focus": st.lists(references, min_size=1, max_size=2),
        "effectiveDateTime": instants,
        "valueQuantity": quantities,
        "component": st.lists(st.fixed_dictionaries({"valueQuantity": quantities}), min_size=1, max_size=2),
    },
)
encounters = st.fixed_dictionaries(
    {"resourceType": st.just("Encounter")},
    optional={"period": periods, "location": st.lists(st.fixed_dictionaries({"period": periods}), max_size=2)},
)
texts = st.sampled_from(sorted(TEXTS))
patients = st.fixed_dictionaries(
    {"resourceType": st.just("Patient")},
    optional={
        "active": st.booleans(),
        "gender": st.sampled_from(("male", "female")),
        "birthDate": st.sampled_from([text for text in sorted(DATES) if "T" not in text]),
        "name": st.lists(
            st.fixed_dictionaries({}, optional={"family": texts, "given": st.lists(texts, min_size=1, max_size=2)}),
            max_size=2,
        ),
    },
)
risks = st.fixed_dictionaries(
    {"resourceType": st.just("RiskAssessment")},
    optional={"prediction": st.lists(st.fixed_dictionaries({"probabilityDecimal": numbers}), min_size=1, max_size=2)},
)
value_sets = st.fixed_dictionaries({"resourceType": st.just("ValueSet")}, optional={"url": st.sampled_from(URIS)})
resources = st.one_of(observations, encounters, patients, risks, value_sets)


# ---------------------------------------------------------------- the oracle

Resource = dict[str, Any]
Test = Callable[[Resource], bool]


@dataclass(frozen=True)
class Asked:
    """A query in words and what it means."""

    resource_type: str
    parameters: tuple[tuple[str, str], ...]
    means: Test


def tokens_of(concept: Resource | None) -> list[tuple[str | None, str | None]]:
    return [(coding.get("system"), coding.get("code")) for coding in (concept or {}).get("coding", [])]


def dated(text: str) -> tuple[datetime, datetime]:
    return DATES[text]


def period_of(period: Resource) -> tuple[datetime, datetime]:
    start, end = period.get("start"), period.get("end")
    return (DATES[start][0] if start else FIRST), (DATES[end][1] if end else LAST)


def dates_of(resource: Resource, code: str) -> list[tuple[datetime, datetime]]:
    match code:
        case "date" if resource["resourceType"] == "Observation":
            return [DATES[text] for text in [resource.get("effectiveDateTime")] if text]
        case "date":
            return [period_of(period) for period in [resource.get("period")] if period]
        case "location-period":
            return [period_of(location["period"]) for location in resource.get("location", [])]
        case _:
            return [DATES[text] for text in [resource.get("birthDate")] if text]


def date_holds(prefix: str, target: tuple[datetime, datetime], low: datetime, high: datetime) -> bool:
    start, end = target
    contained = low <= start and end <= high
    distance = max(low - NOW, NOW - high, timedelta()) / 10
    return {
        "eq": contained,
        "ne": not contained,
        "gt": end > high,
        "lt": start < low,
        "ge": end > high or contained,
        "le": start < low or contained,
        "sa": start >= high,
        "eb": end <= low,
        "ap": start < high + distance and end > low - distance,
    }[prefix]


def number_holds(prefix: str, low: Fraction | None, high: Fraction | None, text: str) -> bool:
    """The resource's range is [low, high], None being without end."""
    value, (start, end) = Fraction(text), map(Fraction, NUMBERS[text])
    contained = low is not None and high is not None and start <= low and high < end
    equal = low == value == high
    half = (end - start) / 2
    margin = max(half, abs(value) / 10)
    return {
        "eq": contained,
        "ne": not contained,
        "gt": high is None or high > value,
        "lt": low is None or low < value,
        "ge": high is None or high > value or equal,
        "le": low is None or low < value or equal,
        "sa": low is not None and low > value,
        "eb": high is not None and high < value,
        "ap": (low is None or low <= value + margin) and (high is None or high >= value - margin),
    }[prefix]


def quantity_holds(prefix: str, quantity: Resource, text: str, unit: tuple[str | None, str] | None) -> bool:
    value = Fraction(str(quantity["value"]))
    comparator = quantity.get("comparator")
    low, high = (None if comparator == "<" else value), (None if comparator == ">=" else value)
    if unit is not None:
        system, code = unit
        if system is None and code not in (quantity.get("code"), quantity.get("unit")):
            return False
        if system is not None and (quantity.get("system"), quantity.get("code")) != (system, code):
            return False
    return number_holds(prefix, low, high, text)


def name_parts(resource: Resource, code: str) -> list[str]:
    found = []
    for name in resource.get("name", []):
        if code in ("name", "family") and "family" in name:
            found.append(name["family"])
        if code in ("name", "given"):
            found += name.get("given", [])
    return found


# ---------------------------------------------------------------- queries


def escaped(text: str) -> str:
    for character in "\\,|$":
        text = text.replace(character, f"\\{character}")
    return text


@st.composite
def token_queries(draw: st.DrawFn) -> Asked:
    system, code = draw(st.sampled_from(SYSTEMS)), draw(st.sampled_from(CODES))
    form = draw(st.sampled_from(("code", "|code", "system|code", "system|")))
    negated = draw(st.booleans())
    if form.startswith("system") and system is None:
        form = "code"
    texts = {
        "code": escaped(code),
        "|code": f"|{escaped(code)}",
        "system|code": f"{escaped(system or '')}|{escaped(code)}",
        "system|": f"{escaped(system or '')}|",
    }

    def one(pair: tuple[str | None, str | None]) -> bool:
        same = pair[1] is not None and pair[1].casefold() == code.casefold()
        match form:
            case "code":
                return same
            case "|code":
                return same and pair[0] is None
            case "system|code":
                return same and pair[0] == system
            case _:
                return pair[0] == system

    name = "code:not" if negated else "code"
    return Asked(
        "Observation",
        ((name, texts[form]),),
        lambda r: negated != any(one(pair) for pair in tokens_of(r.get("code"))),
    )


@st.composite
def date_queries(draw: st.DrawFn) -> Asked:
    kind, code = draw(
        st.sampled_from(
            (("Observation", "date"), ("Encounter", "date"), ("Encounter", "location-period"), ("Patient", "birthdate"))
        )
    )
    prefix, text = draw(st.sampled_from(PREFIXES)), draw(st.sampled_from(sorted(SEARCH_DATES)))
    low, high = SEARCH_DATES[text]
    shown = text if prefix == "eq" and draw(st.booleans()) else f"{prefix}{text}"
    return Asked(kind, ((code, shown),), lambda r: any(date_holds(prefix, one, low, high) for one in dates_of(r, code)))


@st.composite
def quantity_queries(draw: st.DrawFn) -> Asked:
    prefix, text = draw(st.sampled_from(PREFIXES)), draw(st.sampled_from(sorted(NUMBERS)))
    code = draw(st.sampled_from(("value-quantity", "component-value-quantity")))
    unit = draw(st.sampled_from((None, (None, "mg"), (None, "Gramm"), ("http://a", "mg"), ("http://b|c", "g"))))
    shown = "" if unit is None else f"|{escaped(unit[0] or '')}|{unit[1]}"

    def means(r: Resource) -> bool:
        held = [r] if code == "value-quantity" else r.get("component", [])
        return any(quantity_holds(prefix, one["valueQuantity"], text, unit) for one in held if "valueQuantity" in one)

    return Asked("Observation", ((code, f"{prefix}{text}{shown}"),), means)


@st.composite
def number_queries(draw: st.DrawFn) -> Asked:
    prefix, text = draw(st.sampled_from(PREFIXES)), draw(st.sampled_from(sorted(NUMBERS)))

    def means(r: Resource) -> bool:
        held = [Fraction(str(one["probabilityDecimal"])) for one in r.get("prediction", [])]
        return any(number_holds(prefix, value, value, text) for value in held)

    return Asked("RiskAssessment", (("probability", f"{prefix}{text}"),), means)


@st.composite
def string_queries(draw: st.DrawFn) -> Asked:
    code, text = draw(st.sampled_from(("name", "family", "given"))), draw(st.sampled_from(sorted(TEXTS)))
    if draw(st.booleans()):
        return Asked("Patient", ((f"{code}:exact", escaped(text)),), lambda r: text in name_parts(r, code))
    return Asked(
        "Patient",
        ((code, escaped(text)),),
        lambda r: any(TEXTS[part].startswith(TEXTS[text]) for part in name_parts(r, code)),
    )


def narrative_words(resource: Resource) -> tuple[str, ...]:
    div = resource.get("text", {}).get("div", "")
    return SENTENCES[div.partition("<p>")[2].partition("</p>")[0]] if div else ()


def text_words(resource: Resource) -> tuple[str, ...]:
    return SENTENCES[resource["code"]["text"]] if "code" in resource else ()


def alike(word: str, other: str) -> bool:
    """The same but for a plural's ending."""
    return word.rstrip("sx") == other.rstrip("sx")


def in_a_row(words: tuple[str, ...], asked: tuple[str, ...], begun: bool = False) -> bool:
    starts = range(len(words) - len(asked) + 1)
    return any(
        words[at : at + len(asked) - 1] == asked[:-1]
        and (words[at + len(asked) - 1].startswith(asked[-1]) if begun else words[at + len(asked) - 1] == asked[-1])
        for at in starts
    )


@st.composite
def contains_queries(draw: st.DrawFn) -> Asked:
    code, text = draw(st.sampled_from(("name", "family", "given"))), draw(st.sampled_from(sorted(TEXTS)))
    start = draw(st.integers(0, len(TEXTS[text]) - 1))
    part = TEXTS[text][start : start + draw(st.integers(1, 9))].strip()
    if not part:
        part = TEXTS[text]
    shown = part.upper() if draw(st.booleans()) else part
    return Asked(
        "Patient",
        ((f"{code}:contains", escaped(shown)),),
        lambda r: any(part in TEXTS[one] for one in name_parts(r, code)),
    )


@st.composite
def concept_text_queries(draw: st.DrawFn) -> Asked:
    words = SENTENCES[draw(st.sampled_from(sorted(SENTENCES)))]
    start = draw(st.integers(0, len(words) - 1))
    asked = words[start : start + draw(st.integers(1, 3))]
    asked = (*asked[:-1], asked[-1][: draw(st.integers(1, 8))])
    if asked[-1].endswith("-"):
        asked = (*asked[:-1], asked[-1][:-1])
    shown = " ".join(asked)
    return Asked("Observation", (("code:text", shown),), lambda r: in_a_row(text_words(r), asked, begun=True))


@st.composite
def narrative_queries(draw: st.DrawFn) -> Asked:
    words = SENTENCES[draw(st.sampled_from(sorted(SENTENCES)))]
    form = draw(st.sampled_from(("word", "phrase", "begun", "not", "or")))
    telling = [word for word in words if word not in COMMON]
    word, other = draw(st.sampled_from(telling)), draw(st.sampled_from(("body", "glucose", "nothing")))

    def held(r: Resource, word: str) -> bool:
        return any(alike(one, word) for one in narrative_words(r) if one not in COMMON)

    match form:
        case "word":
            return Asked("Observation", (("_text", word),), lambda r: held(r, word))
        case "phrase":
            phrase = " ".join(words)
            return Asked("Observation", (("_text", f'"{phrase}"'),), lambda r: in_a_row(narrative_words(r), words))
        case "begun":
            return Asked(
                "Observation",
                (("_text", f"{word[:3]}*"),),
                lambda r: any(one.startswith(word[:3]) for one in narrative_words(r) if one not in COMMON),
            )
        case "not":
            return Asked("Observation", (("_text", f"NOT {word}"),), lambda r: not held(r, word))
        case _:
            return Asked("Observation", (("_text", f"({word} OR {other})"),), lambda r: held(r, word) or held(r, other))


@st.composite
def uri_queries(draw: st.DrawFn) -> Asked:
    asked = draw(st.sampled_from((*URIS, "http://a.example/x/", "http://a.example/x/y/z/w")))
    modifier = draw(st.sampled_from(("", ":below", ":above")))
    if not asked.startswith("http"):
        modifier = ""

    def goes_on(url: str, start: str) -> bool:
        return url == start or url.startswith(start if start.endswith("/") else f"{start}/")

    def one(held: str) -> bool:
        match modifier:
            case ":below":
                return goes_on(held, asked)
            case ":above":
                return goes_on(asked, held)
            case _:
                return held == asked

    return Asked("ValueSet", ((f"url{modifier}", asked),), lambda r: "url" in r and one(r["url"]))


@st.composite
def reference_queries(draw: st.DrawFn) -> Asked:
    code = draw(st.sampled_from(("subject", "patient", "focus")))
    target = draw(st.sampled_from((*REFERENCES, "1", "2")))
    typed = draw(st.booleans()) and target.isdigit()
    if code == "patient" and target == "Group/1":
        target = "Patient/1"

    def one(text: str | None) -> bool:
        if text is None or (code == "patient" and "Patient/" not in text):
            return False
        versionless = text.partition("/_history/")[0]
        if target.isdigit():
            return versionless in (
                [f"Patient/{target}"] if typed or code == "patient" else [f"Patient/{target}", f"Group/{target}"]
            )
        return target in (text, versionless)

    def means(r: Resource) -> bool:
        held = r.get("focus", []) if code == "focus" else [r.get("subject", {})]
        return any(one(reference.get("reference")) for reference in held)

    shown = f"{BASE}/{target}" if target.startswith("Patient/") and draw(st.booleans()) else target
    return Asked("Observation", ((f"{code}:Patient" if typed else code, escaped(shown)),), means)


@st.composite
def missing_queries(draw: st.DrawFn) -> Asked:
    kind, code, element = draw(
        st.sampled_from(
            (
                ("Observation", "code", "code"),
                ("Observation", "date", "effectiveDateTime"),
                ("Observation", "subject", "subject"),
                ("Observation", "value-quantity", "valueQuantity"),
                ("Patient", "birthdate", "birthDate"),
                ("RiskAssessment", "probability", "prediction"),
            )
        )
    )
    missing = draw(st.booleans())
    return Asked(kind, ((f"{code}:missing", str(missing).lower()),), lambda r: (element not in r) == missing)


plain_queries = st.sampled_from(
    (
        Asked("Patient", (("gender", "male"),), lambda r: r.get("gender") == "male"),
        Asked("Patient", (("active", "true"),), lambda r: r.get("active") is True),
        Asked("Patient", (("gender:not", "male,female"),), lambda r: "gender" not in r),
        Asked("Observation", (("status", "FINAL"),), lambda r: r["status"] == "final"),
        Asked(
            "Observation",
            (("status", "http://hl7.org/fhir/observation-status|final"),),
            lambda r: r["status"] == "final",
        ),
        Asked(
            "Observation",
            (("subject:identifier", "http://a|x"),),
            lambda r: r.get("subject", {}).get("identifier") is not None,
        ),
        Asked("Observation", (("_lastUpdated", "2024-01-01"),), lambda r: True),
        Asked("Observation", (("_lastUpdated", "gt2024-01-01T12:00:00.250Z"),), lambda r: False),
        Asked("Observation", (("_lastUpdated", "ge2024-01-01T12:00:00.250Z"),), lambda r: True),
        Asked("Observation", (("_lastUpdated", "eb2024-01-01T12:00:00.251Z"),), lambda r: True),
    )
)
leaf_queries = st.one_of(
    token_queries(),
    date_queries(),
    quantity_queries(),
    number_queries(),
    string_queries(),
    contains_queries(),
    concept_text_queries(),
    narrative_queries(),
    uri_queries(),
    reference_queries(),
    missing_queries(),
    plain_queries,
)


def tree_of(asked: Asked) -> Node:
    search = parse_search(asked.resource_type, asked.parameters, strict=True, base_url=BASE, now=NOW)
    return search.tree


def typed(asked: Asked) -> Test:
    return lambda r: r["resourceType"] == asked.resource_type and asked.means(r)


leaves = leaf_queries.map(lambda asked: (tree_of(asked), typed(asked), repr(asked.parameters)))


def joined(children: Any) -> Any:
    lists = st.lists(children, min_size=1, max_size=3)
    return st.one_of(
        lists.map(
            lambda found: (
                build_and([tree for tree, _, _ in found]),
                lambda r: all(means(r) for _, means, _ in found),
                f"and{[text for _, _, text in found]}",
            )
        ),
        lists.map(
            lambda found: (
                build_or([tree for tree, _, _ in found]),
                lambda r: any(means(r) for _, means, _ in found),
                f"or{[text for _, _, text in found]}",
            )
        ),
        children.map(lambda one: (build_not(one[0]), lambda r: not one[1](r), f"not({one[2]})")),
    )


trees = st.recursive(leaves, joined, max_leaves=5)


def write(store: Store, found: list[Resource]) -> dict[str, Resource]:
    changes, kept = [], {}
    for resource in found:
        id = uuid4().hex
        reference = f"{resource['resourceType']}/{id}"
        kept[reference] = {**resource, "id": id}
        changes.append(
            Change(reference, 0, 1, "PUT", UPDATED, to_json(kept[reference]), to_index(kept[reference], BASE))
        )
    store.commit(Plan(tuple(changes)))
    return kept


@settings(max_examples=650, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(resources, min_size=6, max_size=16), st.lists(trees, min_size=6, max_size=12))
def test_mongodb_the_matcher_and_the_oracle_give_the_same_answer(
    store: Store, found: list[Resource], asked: list[tuple[Node, Test, str]]
) -> None:
    kept = write(store, found)
    documents = {name: index_document(name, UPDATED, to_index(one, BASE)) for name, one in kept.items()}
    here = ReferenceIs(tuple(kept))
    for tree, means, text in asked:
        expected = {name for name, resource in kept.items() if means(resource)}
        by_matcher = {name for name, document in documents.items() if matches(tree, document)}
        by_store = {one.reference for one in store.find(Query(to_filter(build_and([here, tree])), with_body=False))}
        assert by_matcher == expected, text
        assert by_store == expected, text
