"""Resources without some of what they list, and what becomes of that when they are written back."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.fhir.listings import Listing, references_in, restored, without

ENTRIES = Listing(("entry",), "item")
TARGETS = Listing(("target",))
SECTIONS = Listing(("section", "entry"), nested=True)
RELATED = Listing(("context", "related"))
EVIDENCE = Listing(("evidence", "detail"))


def of(name: str) -> dict[str, str]:
    return {"reference": name}


def entries(*names: str) -> list[dict[str, Any]]:
    return [{"item": of(name)} for name in names]


def hides(text: str) -> bool:
    return text.startswith("Hidden/")


def test_the_references_of_a_listing_are_found_wherever_it_stands() -> None:
    inner = {"title": "b", "entry": [of("A/2")]}
    composition = {"section": [{"title": "a", "entry": [of("A/1")], "section": [inner]}, {"title": "c"}]}
    assert list(references_in(composition, SECTIONS)) == ["A/1", "A/2"]
    assert list(references_in({"entry": [*entries("A/1"), {"item": {"display": "x"}}]}, ENTRIES)) == ["A/1"]
    assert list(references_in({"context": {"related": [of("A/1")]}}, RELATED)) == ["A/1"]
    assert list(references_in({}, TARGETS)) == []


def test_a_resource_that_names_nothing_hidden_is_the_very_same() -> None:
    resource = {"text": {"div": "x"}, "entry": entries("A/1")}
    assert without(resource, [ENTRIES], hides) is resource


def test_what_names_something_hidden_goes_and_the_narrative_with_it() -> None:
    resource = {"resourceType": "List", "text": {"div": "A, Hidden"}, "entry": entries("A/1", "Hidden/1", "A/2")}
    assert without(resource, [ENTRIES], hides) == {"resourceType": "List", "entry": entries("A/1", "A/2")}
    assert resource["text"] == {"div": "A, Hidden"}


def test_an_element_of_which_nothing_is_left_goes_too() -> None:
    assert without({"id": "x", "entry": entries("Hidden/1")}, [ENTRIES], hides) == {"id": "x"}
    assert without({"id": "x", "context": {"related": [of("Hidden/1")]}}, [RELATED], hides) == {"id": "x"}
    kept = {"context": {"related": [of("Hidden/1")], "period": {"start": "2025"}}}
    assert without(kept, [RELATED], hides) == {"context": {"period": {"start": "2025"}}}
    coded = {"evidence": [{"code": [{"text": "x"}], "detail": [of("Hidden/1")]}, {"detail": [of("Hidden/2")]}]}
    assert without(coded, [EVIDENCE], hides) == {"evidence": [{"code": [{"text": "x"}]}]}


def test_a_section_goes_when_it_has_no_entry_left() -> None:
    inner = {"title": "inner", "text": {"div": "x"}, "entry": [of("Hidden/1"), of("A/1")]}
    sections = [{"title": "gone", "text": {"div": "x"}, "entry": [of("Hidden/2")]}, {"title": "a", "section": [inner]}]
    left = without({"section": sections}, [SECTIONS], hides)
    assert left == {"section": [{"title": "a", "section": [{"title": "inner", "entry": [of("A/1")]}]}]}


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (("A/1", "A/2"), ("Hidden/0", "A/1", "Hidden/1", "A/2")),
        (("A/2",), ("Hidden/0", "Hidden/1", "A/2")),
        (("A/1", "B/1", "A/2", "B/2"), ("Hidden/0", "A/1", "Hidden/1", "B/1", "A/2", "B/2")),
        ((), ("Hidden/0", "Hidden/1")),
        (("A/2", "A/1"), ("Hidden/0", "A/2", "A/1", "Hidden/1")),
        (("A/1", "Hidden/1"), ("Hidden/0", "A/1", "Hidden/1")),
    ],
)
def test_what_was_not_shown_keeps_its_place_behind_what_stood_before_it(
    seen: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    stored = {"entry": entries("Hidden/0", "A/1", "Hidden/1", "A/2")}
    assert restored({"entry": entries(*seen)}, stored, [ENTRIES], hides)["entry"] == entries(*expected)


def test_a_section_that_was_not_shown_comes_back_whole_and_an_entry_to_the_section_in_its_place() -> None:
    gone = {"title": "gone", "text": {"div": "x"}, "entry": [of("Hidden/2")]}
    kept = {"title": "kept", "text": {"div": "y"}, "entry": [of("Hidden/1"), of("A/1")]}
    stored = {"section": [gone, kept]}
    changed = {"section": [{"title": "changed", "entry": [of("A/1"), of("A/2")]}]}
    back = {"title": "changed", "text": {"div": "y"}, "entry": [of("Hidden/1"), of("A/1"), of("A/2")]}
    assert restored(changed, stored, [SECTIONS], hides) == {"section": [gone, back]}
    assert restored({}, stored, [SECTIONS], hides) == {"section": [gone, {"entry": [of("Hidden/1")]}]}


def test_what_a_single_element_held_joins_what_somebody_writes_there() -> None:
    stored = {"context": {"related": [of("Hidden/1")]}}
    written = {"context": {"related": [of("A/1")], "period": {}}}
    back = {"context": {"related": [of("Hidden/1"), of("A/1")], "period": {}}}
    assert restored(written, stored, [RELATED], hides) == back
    assert restored({}, stored, [RELATED], hides) == stored


def test_a_narrative_that_somebody_writes_anew_stands() -> None:
    stored = {"text": {"div": "old"}, "entry": entries("Hidden/1", "A/1")}
    assert restored({"entry": entries("A/1")}, stored, [ENTRIES], hides)["text"] == {"div": "old"}
    written = {"text": {"div": "new"}, "entry": entries("A/1")}
    assert restored(written, stored, [ENTRIES], hides)["text"] == {"div": "new"}


NAMES = st.builds(lambda kind, number: f"{kind}/{number}", st.sampled_from(["A", "Hidden"]), st.integers(0, 4))
REFERENCES = st.lists(NAMES, max_size=5, unique=True).map(lambda names: [of(name) for name in names])


@st.composite
def resources(draw: st.DrawFn) -> dict[str, Any]:
    made: dict[str, Any] = {"resourceType": "X"}
    if items := draw(REFERENCES):
        made["entry"] = [{"item": item} for item in items]
    if draw(st.booleans()):
        made["text"] = {"div": "x"}
    if items := draw(REFERENCES):
        made["context"] = {"related": items, **({"period": {}} if draw(st.booleans()) else {})}
    if sections := draw(st.lists(_sections(), max_size=3)):
        made["section"] = sections
    if items := draw(REFERENCES):
        made["target"] = items
    return made


def _sections() -> st.SearchStrategy[dict[str, Any]]:
    return st.recursive(
        st.builds(lambda items: {"title": "x", "entry": items}, REFERENCES.filter(bool)),
        lambda inner: st.builds(
            lambda items, within: {"title": "x", "entry": items, "section": within},
            REFERENCES.filter(bool),
            st.lists(inner, min_size=1, max_size=2),
        ),
        max_leaves=4,
    )


ALL = [ENTRIES, RELATED, SECTIONS, TARGETS]


@given(resources())
def test_whoever_writes_back_what_they_were_shown_changes_nothing(stored: dict[str, Any]) -> None:
    shown = without(stored, ALL, hides)
    assert not any(hides(name) for listing in ALL for name in references_in(shown, listing))
    back = restored(shown, stored, ALL, hides)
    assert back == stored
    assert list(back) == list(stored)


@given(resources(), resources())
def test_whatever_somebody_writes_what_they_did_not_see_is_still_there(
    stored: dict[str, Any], written: dict[str, Any]
) -> None:
    given_back = without(written, ALL, hides)
    back = restored(given_back, stored, ALL, hides)
    for listing in ALL:
        kept = {name for name in references_in(stored, listing) if hides(name)}
        assert kept <= set(references_in(back, listing))
        assert set(references_in(given_back, listing)) <= set(references_in(back, listing))
