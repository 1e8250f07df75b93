"""The keys that sign id tokens: a file of the server's own, renewed without a gap.

The file is a JWK set with private keys, the newest of each algorithm first. All are published, the first ones sign; so
what an older one has signed stays verifiable until it leaves the file.
Spec: https://openid.net/specs/openid-connect-core-1_0.html#RotateSigKeys, https://www.rfc-editor.org/rfc/rfc7517
"""

import json
import threading
from pathlib import Path
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet, RSAKey

from fhir_server.secret_files import make_once, replace

ALGORITHMS = ("RS256", "ES256")
_RSA_BITS = 3072
_MOST_KEPT = 3
"""Generations: with the present one, those before it."""


class UnusableKeys(Exception):
    """A file of keys cannot be used; the message says why, in English."""


class SigningKeys:
    """The keys in one file, read again whenever it changes; ``made_here`` files are made when they are missing."""

    def __init__(self, path: Path, *, made_here: bool) -> None:
        self._path = path
        self._made_here = made_here
        self._lock = threading.Lock()
        self._read: tuple[int, KeySet] | None = None

    def current(self, alg: str) -> Any:
        """Return the private key that signs by this algorithm now; raises ``UnusableKeys``."""
        for key in self._keys():
            if key.alg == alg:
                return key
        raise UnusableKeys(f"{self._path.name} has no key for {alg}")

    def public(self) -> dict[str, Any]:
        """Return the JWK set to publish, without anything private; raises ``UnusableKeys``."""
        return {"keys": [key.as_dict(private=False) for key in self._keys()]}

    def rotate(self) -> None:
        """Put new keys in front; those before the last generations leave. Raises ``UnusableKeys``."""
        kept = [key.as_dict(private=True) for key in self._keys()][: (_MOST_KEPT - 1) * len(ALGORITHMS)]
        replace(self._path, _written([*_new_keys(), *kept]))

    def _keys(self) -> KeySet:
        if self._made_here:
            make_once(self._path, lambda: _written(_new_keys()))
        try:
            changed = self._path.stat().st_mtime_ns
            with self._lock:
                if self._read is None or self._read[0] != changed:
                    self._read = changed, _parsed(self._path.read_bytes())
                return self._read[1]
        except (JoseError, OSError, ValueError, KeyError, TypeError) as error:
            raise UnusableKeys(f"{self._path.name} cannot be read as a JWK set ({type(error).__name__})") from None


def _parsed(content: bytes) -> KeySet:
    keys = KeySet.import_key_set(json.loads(content))
    if not all(key.is_private and key.kid and key.alg in ALGORITHMS for key in keys):
        raise ValueError("keys must be private, with kid and alg")
    return keys


def _new_keys() -> list[Any]:
    made: list[RSAKey | ECKey] = [
        RSAKey.generate_key(_RSA_BITS, {"alg": "RS256", "use": "sig"}, private=True),
        ECKey.generate_key("P-256", {"alg": "ES256", "use": "sig"}, private=True),
    ]
    for key in made:
        key.ensure_kid()
    return [key.as_dict(private=True) for key in made]


def _written(keys: list[Any]) -> bytes:
    return json.dumps({"keys": keys}, indent=1).encode()
