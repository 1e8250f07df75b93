"""Accounts as values: names that are compared, and what is stored comes back."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.accounts.account import (
    Account,
    SecurityKey,
    Situation,
    from_document,
    normalise_login,
    to_document,
)
from fhir_server.errors import Value

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8)


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("Dominique", "dominique"),
        ("  dominique ", "dominique"),
        ("ＤＯＭＩＮＩＱＵＥ", "dominique"),
        ("dr.martin@example.org", "dr.martin@example.org"),
        ("Hélène", "hélène"),
        ("He\u0301le\u0300ne", "hélène"),
        ("STRASSE", "strasse"),
        ("straße", "strasse"),
    ],
)
def test_ways_to_write_one_login_name_are_one(typed: str, kept: str) -> None:
    assert normalise_login(typed) == kept


@pytest.mark.parametrize("typed", ["", "ab", "a b c", "a\nb\nc", "x" * 255, "a<b>c", "a/b/c", "a\0bc", "$gt:1"])
def test_what_can_be_no_login_name_is_refused(typed: str) -> None:
    with pytest.raises(Value, match="login name"):
        normalise_login(typed)


@given(st.text(max_size=300))
def test_a_normalised_login_name_stays_as_it_is(typed: str) -> None:
    try:
        kept = normalise_login(typed)
    except Value:
        return
    assert normalise_login(kept) == kept


@given(
    st.builds(
        Account,
        id=WORDS,
        kind=st.sampled_from(["patient", "professional", "operator"]),
        state=st.sampled_from(["active", "locked", "removed"]),
        name=WORDS,
        created=st.just(NOW),
        login=st.none() | WORDS,
        fhir_user=st.none() | WORDS,
        password=st.none() | WORDS,
        totp=st.none() | st.binary(min_size=1),
        recovery_codes=st.lists(WORDS).map(tuple),
        security_keys=st.lists(
            st.builds(SecurityKey, WORDS, st.binary(), st.integers(0, 9), WORDS, st.just(NOW)), max_size=2
        ).map(tuple),
        aliases=st.lists(WORDS).map(tuple),
        identifiers=st.lists(WORDS).map(tuple),
        situations=st.lists(
            st.builds(Situation, WORDS, WORDS, organization_identifiers=st.lists(WORDS).map(tuple)), max_size=2
        ).map(tuple),
        roles=st.lists(WORDS).map(tuple),
    )
)
def test_an_account_comes_back_as_it_was_stored(account: Account) -> None:
    assert from_document(to_document(account)) == account


def test_what_an_account_lacks_is_not_stored_so_that_unique_indexes_leave_it_out() -> None:
    stored = to_document(Account("a", "operator", "active", "A", NOW))
    assert stored == {"_id": "a", "kind": "operator", "state": "active", "name": "A", "created": NOW}


def test_a_second_factor_is_an_app_or_a_key() -> None:
    plain = Account("a", "patient", "active", "A", NOW)
    assert not plain.second_factor
    assert Account("a", "patient", "active", "A", NOW, totp=b"x").second_factor
    key = SecurityKey("k", b"", 0, "", NOW)
    assert Account("a", "patient", "active", "A", NOW, security_keys=(key,)).second_factor
    assert plain.situation("x") is None
