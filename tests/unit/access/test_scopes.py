"""The grammar of scopes, and that no operation on them ever widens one."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.access.scopes import (
    LONGEST,
    Scope,
    allows,
    expand_transactions,
    format_scope,
    format_scopes,
    narrow,
    parse_scope,
    parse_scopes,
)

ACTIONS = ["".join(letters) for size in range(1, 6) for letters in combinations("cruds", size)]
TYPES = ["*", "Observation", "Patient", "DocumentReference"]
PAIRS = [
    ("category", "laboratory"),
    ("_security", "http://a/b|R"),
    ("code:not", "a,b"),
    ("date", "ge2020"),
    ("n", "é &="),
]


def scopes(parameters: st.SearchStrategy[tuple[tuple[str, str], ...]] | None = None) -> st.SearchStrategy[Scope]:
    pairs = st.lists(st.sampled_from(PAIRS), unique=True, max_size=3).map(tuple)
    return st.builds(
        Scope,
        st.sampled_from(["patient", "user", "system"]),
        st.sampled_from(TYPES),
        st.sampled_from(ACTIONS),
        pairs if parameters is None else parameters,
    )


@pytest.mark.parametrize(
    ("text", "scope"),
    [
        ("patient/Observation.rs", Scope("patient", "Observation", "rs")),
        ("user/*.cruds", Scope("user", "*", "cruds")),
        ("system/DocumentReference.c", Scope("system", "DocumentReference", "c")),
        ("patient/Observation.read", Scope("patient", "Observation", "rs")),
        ("patient/Observation.write", Scope("patient", "Observation", "cud")),
        ("patient/*.*", Scope("patient", "*", "cruds")),
        (
            "patient/Observation.rs?category=http://terminology.hl7.org/CodeSystem/observation-category|laboratory",
            Scope(
                "patient",
                "Observation",
                "rs",
                (("category", "http://terminology.hl7.org/CodeSystem/observation-category|laboratory"),),
            ),
        ),
        (
            "patient/Observation.r?category=http%3a%2f%2fx%2Fy%7Claboratory&code:not=a%2Cb",
            Scope("patient", "Observation", "r", (("category", "http://x/y|laboratory"), ("code:not", "a,b"))),
        ),
        (
            "patient/Observation.r?code=a&code=a&code=b",
            Scope("patient", "Observation", "r", (("code", "a"), ("code", "b"))),
        ),
        ("patient/Observation.s?code=a+b", Scope("patient", "Observation", "s", (("code", "a b"),))),
    ],
)
def test_both_grammars_are_understood(text: str, scope: Scope) -> None:
    assert parse_scope(text) == scope


@pytest.mark.parametrize(
    "text",
    [
        "",
        "patient",
        "patient/Observation",
        "patient/Observation.",
        "patient/Observation.sr",
        "patient/Observation.dus",
        "patient/Observation.rr",
        "patient/Observation.Read",
        "patient/Observation.RS",
        "patient/Observation.x",
        "patient/Observation.readwrite",
        "patient/observation.rs",
        "patient/Observations.rs",
        "patient/Resource.rs",
        "patient/DomainResource.rs",
        "Patient/Observation.rs",
        "patients/Observation.rs",
        "clinician/Observation.rs",
        "patient/Observation.rs ",
        " patient/Observation.rs",
        "patient/Observation.rs\n",
        "patient//Observation.rs",
        "patient/Observation/1.rs",
        "patient%2FObservation.rs",
        "patient/Observation%2Ers",
        "patient/Observation.*s",
        "patient/*Observation.rs",
        "patient/Obs*.rs",
        "patient/**.rs",
        "patient/.rs",
        "/Observation.rs",
        "patient/Observation.rs?",
        "patient/Observation.rs?category",
        "patient/Observation.rs?category=",
        "patient/Observation.rs?=laboratory",
        "patient/Observation.rs?a=b&",
        "patient/Observation.rs?a=b&&c=d",
        "patient/Observation.rs?category=%zz",
        "patient/Observation.rs?category=%2",
        "patient/Observation.rs?category=%ff",
        "patient/Observation.rs?ca%20tegory=a",
        'patient/Observation.rs?category="a"',
        "patient/Observation.rs?category=a\\,b",
        "patient/Observation.rs?category=é",
        "patient/Observation.read?category=laboratory",
        "patient/Observation.*?category=laboratory",
        "patient/Ｏbservation.rs",
        "patient/Observation.rs?" + "&".join(f"a{n}=b" for n in range(21)),
    ],
)
def test_what_is_not_exactly_a_scope_is_none(text: str) -> None:
    assert parse_scope(text) is None


@given(scopes())
def test_a_formatted_scope_is_the_same_scope(scope: Scope) -> None:
    assert parse_scope(format_scope(scope)) == scope


@given(st.text(alphabet="patientuserystm/*.crudwObvPD?=&%2f|-_: ", max_size=40))
def test_any_text_is_refused_or_survives_its_own_form(text: str) -> None:
    scope = parse_scope(text)
    assert scope is None or parse_scope(format_scope(scope)) == scope


def test_a_scope_parameter_is_sorted_into_what_it_means() -> None:
    found = parse_scopes(
        "openid patient/Patient.r  launch/patient patient/Patient.r patient/Nothing.r OpenID ITI-67 openid"
    )
    assert found.scopes == (Scope("patient", "Patient", "r"),)
    assert found.plain == ("openid", "launch/patient", "ITI-67")
    assert found.refused == ("patient/Nothing.r", "OpenID")
    assert format_scopes(found.scopes, found.plain) == "openid launch/patient ITI-67 patient/Patient.r"


def test_a_scope_parameter_without_end_means_nothing() -> None:
    found = parse_scopes("openid " * LONGEST)
    assert (found.scopes, found.plain) == ((), ())
    assert found.refused


@pytest.mark.parametrize(
    ("granted", "requested", "left"),
    [
        ("patient/*.rs", "patient/Observation.cruds", "patient/Observation.rs"),
        ("patient/Observation.rs", "patient/*.cruds", "patient/Observation.rs"),
        (
            "patient/Observation.rs?category=vital-signs",
            "patient/Observation.rs",
            "patient/Observation.rs?category=vital-signs",
        ),
        ("patient/Observation.rs", "patient/Observation.r?category=a", "patient/Observation.r?category=a"),
        (
            "patient/Observation.rs?category=a",
            "patient/Observation.rs?category=b",
            "patient/Observation.rs?category=a&category=b",
        ),
        ("patient/*.rs", "user/Observation.rs", ""),
        ("user/*.cruds", "system/*.cruds", ""),
        ("patient/Observation.r", "patient/Observation.s", ""),
        ("patient/Observation.r", "patient/Patient.r", ""),
        ("patient/Observation.rs patient/*.r", "patient/Observation.r", "patient/Observation.r"),
        (
            "patient/Observation.rs?category=a patient/Observation.rs",
            "patient/Observation.rs",
            "patient/Observation.rs",
        ),
    ],
)
def test_narrowing_keeps_what_both_name(granted: str, requested: str, left: str) -> None:
    assert format_scopes(narrow(parse_scopes(granted).scopes, parse_scopes(requested).scopes)) == left


@given(st.lists(scopes(), max_size=4), st.lists(scopes(), max_size=4))
def test_narrowing_is_never_wider_than_either_side(granted: list[Scope], requested: list[Scope]) -> None:
    left = narrow(granted, requested)
    for scope in left:
        for side in (granted, requested):
            assert any(
                scope.context == one.context
                and one.resource_type in ("*", scope.resource_type)
                and set(scope.actions) <= set(one.actions)
                and set(one.parameters) <= set(scope.parameters)
                for one in side
            )


@given(st.lists(scopes(), max_size=4))
def test_narrowing_to_the_same_loses_nothing(granted: list[Scope]) -> None:
    left = narrow(granted, granted)
    for scope in granted:
        assert any(
            one.context == scope.context
            and one.resource_type in ("*", scope.resource_type)
            and set(one.actions) >= set(scope.actions)
            and set(one.parameters) <= set(scope.parameters)
            for one in left
        )


def test_a_scope_names_its_type_and_letters_only() -> None:
    held = parse_scopes("patient/Observation.rs?category=a user/*.c").scopes
    assert allows(held, "Observation", "r")
    assert allows(held, "Patient", "c")
    assert not allows(held, "Patient", "r")
    assert not allows(held, "Observation", "u")
    assert not allows((), "Observation", "r")


def test_transactions_stand_for_what_they_do() -> None:
    assert format_scopes(expand_transactions(("openid", "ITI-67", "ITI-68"), "user")) == (
        "user/DocumentReference.rs user/DocumentReference.r user/Binary.r"
    )
    assert expand_transactions(("openid",), "user") == ()


def test_scopes_that_differ_in_the_order_of_their_conditions_alone_do_not_take_each_other_away() -> None:
    one = Scope("user", "Observation", "r", (("category", "a"), ("status", "final")))
    other = Scope("user", "Observation", "r", (("status", "final"), ("category", "a")))
    assert narrow((one, other), (one, other)) == (one,)
