"""Sealed page links: attack 20, a link altered, borrowed, kept too long or under a changed policy."""

import copy
import itertools
import os
import re
import threading
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.errors import NotFound
from fhir_server.search.compiler import Keyset
from fhir_server.search.paging import Nonces, PageSealer, PageState, page_links, self_link

NOW = datetime(2024, 1, 1, 12, 0, 0, 123_000, tzinfo=UTC)
STATE = PageState(
    "Observation", (("code", "é|x"), ("_count", "5")), Keyset((NOW, "Observation/1"), True), NOW + timedelta(hours=1)
)
SEALER = PageSealer(b"k" * 32)


def test_a_sealed_state_opens_again() -> None:
    token = SEALER.seal(STATE, "caller", "policy")
    assert SEALER.open(token, "caller", "policy", NOW) == STATE
    nothing = PageState("", (), Keyset((None, "A/1")), NOW + timedelta(hours=1))
    assert SEALER.open(SEALER.seal(nothing, "c", "p"), "c", "p", NOW) == nothing


def test_a_link_says_nothing_and_never_twice_the_same() -> None:
    one, two = SEALER.seal(STATE, "caller", "policy"), SEALER.seal(STATE, "caller", "policy")
    assert one != two
    assert "Observation" not in one


def test_no_nonce_is_given_twice_to_any_thread_or_process(monkeypatch: pytest.MonkeyPatch) -> None:
    nonces, given_to = Nonces(), [[] for _ in range(4)]  # type: ignore[var-annotated]

    def draw(found: list[bytes]) -> None:
        found += [nonces.next() for _ in range(1_000)]

    threads = [threading.Thread(target=draw, args=(found,)) for found in given_to]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    child = copy.copy(nonces)  # what a fork has of it
    parents = [nonces.next() for _ in range(300)]
    monkeypatch.setattr(os, "getpid", lambda: -1)
    every = [*itertools.chain(*given_to), *parents, *(child.next() for _ in range(300))]
    assert len(set(every)) == len(every) == 4_600
    assert {len(one) for one in every} == {12}


@pytest.mark.parametrize(
    ("caller", "policy", "later"),
    [("other", "policy", 0), ("caller", "other", 0), ("caller", "policy", 3600), ("callerp", "olicy", 0)],
)
def test_a_link_is_good_for_its_caller_policy_and_time_only(caller: str, policy: str, later: int) -> None:
    token = SEALER.seal(STATE, "caller", "policy")
    with pytest.raises(NotFound) as caught:
        SEALER.open(token, caller, policy, NOW + timedelta(seconds=later))
    with pytest.raises(NotFound) as forged:
        SEALER.open("forged", "caller", "policy", NOW)
    assert caught.value.issues == forged.value.issues


@given(st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_a_flipped_bit_closes_the_link(position: int, mask: int) -> None:
    token = SEALER.seal(STATE, "caller", "policy")
    place = position % len(token)
    changed = token[:place] + chr(33 + (ord(token[place]) + mask) % 90) + token[place + 1 :]
    if changed != token:
        try:
            state = SEALER.open(changed, "caller", "policy", NOW)
        except NotFound:
            return
        assert state == STATE  # the last character holds unused bits


@given(st.text())
def test_any_other_text_is_refused_alike(text: str) -> None:
    with pytest.raises(NotFound):
        SEALER.open(text, "caller", "policy", NOW)


def test_links_are_self_first_previous_and_next() -> None:
    keyset = Keyset((NOW, "Observation/1"))
    links = page_links(
        SEALER,
        "http://here.example/fhir",
        "Observation",
        (("code", "http://loinc.org|1-2"),),
        previous=None,
        next=keyset,
        caller="c",
        policy_hash="p",
        now=NOW,
        lifetime=timedelta(hours=1),
    )
    assert [link.relation for link in links] == ["self", "first", "next"]
    assert links[0].url == "http://here.example/fhir/Observation?code=http://loinc.org%7C1-2"
    token = links[2].url.partition("?_page=")[2]
    assert SEALER.open(token, "c", "p", NOW).keyset == keyset
    assert self_link("http://here.example/fhir", "", ()).url == "http://here.example/fhir"


def test_a_self_link_is_a_uri_that_strict_readers_take() -> None:
    """Of what a value may hold, RFC 3986 lets only these characters stand in a query unescaped."""
    value = "a|b\\,c$d e\"<>^`{}[]é#%+&=*'"
    url = self_link("http://here.example/fhir", "Patient", (("name", value),)).url
    assert re.fullmatch(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-F]{2})+", url)
    assert parse_qsl(url.partition("?")[2]) == [("name", value)]
