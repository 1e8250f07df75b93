"""What the server alone can read or recompute: sealed secrets and keyed digests.

Spec: https://www.rfc-editor.org/rfc/rfc5116 (AES-256-GCM), https://www.rfc-editor.org/rfc/rfc5869 (HKDF)
"""

import hmac
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

_NONCE_BYTES = 12


class UnreadableSecret(Exception):
    """A sealed secret cannot be opened: the key is another one, or somebody has moved or changed the secret."""


class Sealer:
    """Seals and digests with keys derived from one of 32 bytes; ``random`` gives unpredictable bytes."""

    def __init__(self, key: bytes, random: Callable[[int], bytes]) -> None:
        self._cipher = AESGCM(_derive(key, b"secrets at rest"))
        self._digest_key = _derive(key, b"digests")
        self._random = random

    def seal(self, secret: bytes, owner: str) -> bytes:
        """Return the secret encrypted; it opens for the same ``owner`` alone."""
        nonce = self._random(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, secret, owner.encode())

    def open(self, sealed: bytes, owner: str) -> bytes:
        """Return the secret, or raise ``UnreadableSecret``."""
        try:
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], owner.encode())
        except (InvalidTag, ValueError):
            raise UnreadableSecret from None

    def digest(self, purpose: str, text: str) -> str:
        """Return what stands for a text where the text itself must not be read; equal for equal texts."""
        return hmac.digest(self._digest_key, f"{purpose}\0{text}".encode(), "sha256").hex()


def _derive(key: bytes, purpose: bytes) -> bytes:
    return HKDFExpand(SHA256(), 32, b"fhir-server accounts: " + purpose).derive(key)
