"""Passwords: what is good enough, how they are kept (Argon2id), and how they are compared without telling anything.

Spec: https://www.rfc-editor.org/rfc/rfc9106, https://pages.nist.gov/800-63-4/sp800-63b.html#passwordver
"""

import threading
import unicodedata
from collections.abc import Callable

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from fhir_server.errors import Text, Value

SHORTEST = 12
LONGEST = 256
_FEWEST_DIFFERENT = 5
_AT_ONCE = 4

TOO_SHORT = Text(
    f"A password has {SHORTEST} to {LONGEST} characters.", f"Un mot de passe compte {SHORTEST} à {LONGEST} caractères."
)
TOO_SIMPLE = Text(
    f"A password has at least {_FEWEST_DIFFERENT} different characters and is not the login name.",
    f"Un mot de passe a au moins {_FEWEST_DIFFERENT} caractères différents et n’est pas l’identifiant.",
)


class Passwords:
    """Hashes and compares passwords; a hash takes 64 MB for a moment, so only a few are made at once."""

    def __init__(self, random: Callable[[int], bytes], hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._random = random
        self._turns = threading.BoundedSemaphore(_AT_ONCE)
        self._lock = threading.Lock()
        self._nobodys: str | None = None

    def hash(self, password: str) -> str:
        """Return the hash to keep, with its salt and parameters."""
        with self._turns:
            return self._hasher.hash(_normalise(password), salt=self._random(self._hasher.salt_len))

    def verify(self, kept: str | None, password: str) -> bool:
        """Return whether the password is the one kept; without one kept, False after the same work."""
        with self._turns:
            try:
                self._hasher.verify(kept or self._hash_of_nobody(), _normalise(password))
            except (VerificationError, InvalidHashError):
                return False
        return kept is not None

    def is_outdated(self, kept: str) -> bool:
        """Whether the hash was made with other parameters than those of today and should be made anew."""
        return self._hasher.check_needs_rehash(kept)

    def _hash_of_nobody(self) -> str:
        with self._lock:
            if self._nobodys is None:
                self._nobodys = self._hasher.hash(self._random(32), salt=self._random(self._hasher.salt_len))
        return self._nobodys


def check_password(password: str, login: str) -> None:
    """Raise ``Value`` when the password is too weak to be chosen; it is never trimmed or shortened."""
    normalised = unicodedata.normalize("NFKC", password)
    if not SHORTEST <= len(normalised) <= LONGEST:
        raise Value(TOO_SHORT)
    if len(set(normalised)) < _FEWEST_DIFFERENT or normalised.casefold() == login.casefold():
        raise Value(TOO_SIMPLE)


def _normalise(password: str) -> bytes:
    """Return the bytes that are hashed: one and the same for all ways to type an accent; what is too long is cut."""
    return unicodedata.normalize("NFKC", password[: LONGEST * 4]).encode("utf-8", "surrogatepass")
