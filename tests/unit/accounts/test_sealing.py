"""Secrets at rest: opened by the same key for the same owner, and by nothing else."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.accounts.sealing import Sealer, UnreadableSecret

SEALER = Sealer(b"k" * 32, os.urandom)


@given(st.binary(), st.text(st.characters(codec="utf-8")))
def test_a_secret_opens_for_its_owner(secret: bytes, owner: str) -> None:
    sealed = SEALER.seal(secret, owner)
    assert SEALER.open(sealed, owner) == secret
    assert len(secret) < 4 or secret not in sealed


def test_a_secret_opens_neither_for_another_owner_nor_by_another_key_nor_changed() -> None:
    sealed = SEALER.seal(b"secret", "a")
    for sealer, text, owner in (
        (SEALER, sealed, "b"),
        (Sealer(b"j" * 32, os.urandom), sealed, "a"),
        (SEALER, sealed[:-1] + bytes([sealed[-1] ^ 1]), "a"),
        (SEALER, b"", "a"),
    ):
        with pytest.raises(UnreadableSecret):
            sealer.open(text, owner)


def test_a_digest_depends_on_key_and_purpose() -> None:
    assert SEALER.digest("a", "text") == SEALER.digest("a", "text")
    others = {SEALER.digest("b", "text"), SEALER.digest("a", "tex"), Sealer(b"j" * 32, os.urandom).digest("a", "text")}
    assert len(others | {SEALER.digest("a", "text")}) == 4
