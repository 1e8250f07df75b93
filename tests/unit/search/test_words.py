"""Words, fragments and the grammar of ``_text``: what is indexed, what is asked, and that both agree."""

import time
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fhir_server.errors import TooCostly, Value
from fhir_server.search.param_types import text
from fhir_server.search.param_types.string import FRAGMENT, LONGEST_TEXT, fragments, normalise
from fhir_server.search.parser import parse_search
from fhir_server.search.words import indexed_words, singular, words_of
from tests.unit.search.finding import BASE, finds


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("Élodie MASSÉ", ("elodie", "masse")),
        ("l'hôpital", ("l", "hopital")),
        ("l’œdème", ("l", "oedeme")),
        ("kg/m2, severe;pain", ("kg", "m2", "severe", "pain")),
        ("718-7", ("718-7",)),
        ("covid-19", ("covid", "19")),
        ("0b1b1b1b-0000-4000-8000-00000000000f", ("0b1b1b1b-0000-4000-8000-00000000000f",)),
        ("日本 😀 ?", ("日本",)),
        ("", ()),
        ("a_b", ("a", "b")),
    ],
)
def test_words_are_letters_and_digits_without_case_and_accents(written: str, expected: tuple[str, ...]) -> None:
    assert words_of(written) == expected


def test_the_index_leaves_out_common_words_and_plural_endings() -> None:
    assert list(indexed_words(words_of("The allergies of les genoux, du glucose"))) == ["allergie", "genou", "glucose"]
    assert [singular(word) for word in ("mass", "bus", "gas", "choix")] == ["mass", "bus", "gas", "choi"]


@given(st.text(max_size=200))
def test_a_text_is_found_by_each_of_its_own_words(written: str) -> None:
    resource = {"resourceType": "Basic", "code": {"text": written}}
    for word in indexed_words(words_of(written)):
        if text.line_of(written):
            assert finds(resource, "_content", f'"{word}" OR {word}')
            assert finds(resource, "_content", f"{word[:2]}*")


@given(st.text(alphabet="abcé -'", min_size=1, max_size=40), st.integers(0, 39), st.integers(1, 12))
@example("dupont aignan", 3, 8)
def test_a_value_is_found_by_each_of_its_parts(written: str, start: int, length: int) -> None:
    part = written[start : start + length]
    if normalise(part):
        patient = {"resourceType": "Patient", "name": [{"family": written}]}
        inside = normalise(part) in normalise(written)
        assert finds(patient, "family:contains", part) is inside
        assert finds(patient, "given:contains", part) is False


def test_fragments_are_bounded_in_length_and_number() -> None:
    found = fragments("Patient", ["abcdefgh ij", "x" * (LONGEST_TEXT + 1)])
    assert list(found) == [
        *("Patient~abcdef", "Patient~bcdefg", "Patient~cdefgh", "Patient~defgh ", "Patient~efgh i", "Patient~fgh ij"),
        *("Patient~gh ij", "Patient~h ij", "Patient~"),
    ]
    assert all(len(key) <= len("Patient~") + FRAGMENT for key in found)


def test_a_long_value_is_searched_to_its_end() -> None:
    patient = {"resourceType": "Patient", "name": [{"family": "x" * 500 + "Dupont"}]}
    assert finds(patient, "family:contains", "xdupon")
    assert finds(patient, "name:contains", "pont")
    assert not finds(patient, "family:contains", "dupond")


CONDITION = {
    "resourceType": "Condition",
    "text": {
        "status": "generated",
        "div": '<div xmlns="http://www.w3.org/1999/xhtml"><p class="secret">Liver <b>metastases</b>, caf&#233;</p>'
        "</div>",
    },
    "code": {"text": "Cancer du foie", "coding": [{"system": "http://snomed.info/sct", "code": "94381002"}]},
    "subject": {"reference": "Patient/hidden", "display": "Ada Lovelace"},
    "recordedDate": "2020-02-03",
    "note": [{"text": "No known allergies"}],
}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("(bone OR liver) and metastases", True),
        ("(bone or liver) AND metastasis", False),
        ("liver metastases", True),
        ("LIVER", True),
        ("metastase", True),
        ("bone", False),
        ("bone OR liver", True),
        ("NOT bone", True),
        ("liver NOT metastases", False),
        ("NOT (bone OR liver)", False),
        ('"liver metastases"', True),
        ('"metastases liver"', False),
        ('"liver metastase"', False),
        ("metast*", True),
        ("café", True),
        ("cafe", True),
        ("the liver", True),
        ("secret", False),
        ("cancer", False),
        ("bone,liver", True),
    ],
)
def test_text_searches_the_narrative(query: str, expected: bool) -> None:
    assert finds(CONDITION, "_text", query) is expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("cancer foie", True),
        ("cancer liver", True),
        ("94381002", True),
        ("lovelace", True),
        ("allergy", False),
        ("allergies", True),
        ('"cancer du foie"', True),
        ('"du foie 94381002"', False),
        ("snomed", False),
        ("hidden", False),
        ("2020", False),
    ],
)
def test_content_searches_everything_that_is_text(query: str, expected: bool) -> None:
    assert finds(CONDITION, "_content", query) is expected


@pytest.mark.parametrize(
    "query",
    ["", "the of", "(liver", "liver)", '"liver', "OR liver", "liver OR", "liver AND", "NOT", "()", "*", "a*b", "!!!"],
)
def test_what_the_grammar_does_not_have_is_refused(query: str) -> None:
    with pytest.raises(Value):
        finds(CONDITION, "_text", query)


def test_too_much_of_the_grammar_is_refused() -> None:
    for query in ("(" * 20 + "a" + ")" * 20, "NOT " * 30 + "x", "a " * 200):
        with pytest.raises(TooCostly):
            finds(CONDITION, "_text", query)
    with pytest.raises(TooCostly):
        parse_search(None, [("_content", "a* b* c* d* e* f*")], strict=True, base_url=BASE)


def test_a_narrative_is_missing_or_not() -> None:
    assert finds(CONDITION, "_text:missing", "false")
    assert finds({"resourceType": "Condition"}, "_text:missing", "true")
    assert finds(CONDITION, "_content:missing", "false")
    assert finds(CONDITION, "_id:missing", "false")
    assert finds(CONDITION, "_lastUpdated:missing", "false")


def test_hostile_texts_take_linear_time() -> None:
    """Attack 9: neither what is stored nor what is asked becomes an expression that could run away."""
    hostile = ("a" * 50_000 + "!", "-1" * 30_000 + "x", "0-" * 30_000, "<" * 60_000, "<a" * 30_000, "\u0301" * 50_000)
    started = time.perf_counter()
    for written in hostile:
        words_of(written)
        text.plain_text(written)
        normalise(written)
    for query in ("(a+)+$", ".*.*.*x", "[a-z]{1,9999}", "$where", "\\\\"):
        for name in ("family:contains", "family", "_text", "_content"):
            with suppress(Value):
                finds({"resourceType": "Patient", "name": [{"family": "aaaaaaaaaaaaaa!"}]}, name, f"{query} a")
    assert time.perf_counter() - started < 2
