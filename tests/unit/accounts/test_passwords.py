"""Passwords: kept as Argon2id, compared without telling, refused when weak."""

import os

import pytest
from argon2 import PasswordHasher

from fhir_server.accounts.passwords import Passwords, check_password
from fhir_server.errors import Value

QUICK = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
QUICKER = PasswordHasher(time_cost=1, memory_cost=32, parallelism=1)


@pytest.fixture
def passwords() -> Passwords:
    return Passwords(os.urandom, QUICK)


def test_the_default_is_argon2id_with_the_parameters_of_rfc_9106() -> None:
    hashed = Passwords(os.urandom).hash("correct horse battery")
    assert hashed.startswith("$argon2id$v=19$m=65536,t=3,p=4$")


def test_a_password_is_known_again_however_its_accents_were_typed(passwords: Passwords) -> None:
    kept = passwords.hash("élève très appliqué")
    assert passwords.verify(kept, "élève très appliqué")
    assert passwords.verify(kept, "e\u0301le\u0300ve tre\u0300s applique\u0301")
    assert not passwords.verify(kept, "eleve tres applique")


def test_the_same_password_is_kept_differently_each_time(passwords: Passwords) -> None:
    assert passwords.hash("correct horse battery") != passwords.hash("correct horse battery")


def test_nobody_has_no_password(passwords: Passwords) -> None:
    assert not passwords.verify(None, "")
    assert not passwords.verify(None, "anything at all")


def test_what_is_no_hash_opens_nothing(passwords: Passwords) -> None:
    assert not passwords.verify("not a hash", "not a hash")


def test_a_very_long_password_and_broken_text_are_examined_like_any_other(passwords: Passwords) -> None:
    kept = passwords.hash("x" * 5_000)
    assert passwords.verify(kept, "x" * 5_000)
    assert not passwords.verify(kept, "\ud800")


def test_a_hash_of_other_parameters_is_outdated(passwords: Passwords) -> None:
    assert passwords.is_outdated(Passwords(os.urandom, QUICKER).hash("correct horse battery"))
    assert not passwords.is_outdated(passwords.hash("correct horse battery"))


@pytest.mark.parametrize("password", ["", "elevenchars", "a" * 12, "abababababab", "Dr.Martin@example.org", "x" * 300])
def test_a_weak_password_is_refused(password: str) -> None:
    with pytest.raises(Value, match="password"):
        check_password(password, "dr.martin@example.org")


@pytest.mark.parametrize("password", ["correct horse", "  spaces count ", "пароль-пароль-1", "x1y2z" * 20])
def test_a_long_password_of_any_letters_is_accepted(password: str) -> None:
    check_password(password, "dr.martin")
