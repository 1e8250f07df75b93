"""Our keys that identity providers encrypt for: a file of the server's own, published at ``/auth/federation/jwks``.

Spec: https://openid.net/specs/openid-connect-core-1_0.html#Encryption, https://www.rfc-editor.org/rfc/rfc8725
"""

import json
from base64 import urlsafe_b64decode
from pathlib import Path
from typing import Any

from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet, RSAKey

from fhir_server.secret_files import make_once, replace
from fhir_server.smart.keys import UnusableKeys

ENCODINGS = frozenset({"A256GCM", "A128GCM"})
_EACH = ("ECDH-ES", "RSA-OAEP-256", "RSA-OAEP")
ALGORITHMS = frozenset(_EACH)
_RSA_BITS = 3072
_GENERATIONS = 2
"""Keys that open: the newest, for which providers encrypt, and those that they may still have from before."""

_HEADERS = frozenset({"alg", "enc", "kid", "cty", "typ", "epk", "apu", "apv"})
"""``zip`` is not among them: what is small outside could be large inside."""


class Unreadable(Exception):
    """What was encrypted cannot be opened; the message says in which respect, without any of its content."""


class EncryptionKeys:
    """The keys in one file; one that is ``made_here`` is made at its first use, mode 0600."""

    def __init__(self, path: Path, *, made_here: bool = True) -> None:
        self._path = path
        self._made_here = made_here

    def public(self) -> dict[str, Any]:
        """Return the JWK set to publish: the newest keys, without anything private. Raises ``UnusableKeys``."""
        return {"keys": [key.as_dict(private=False) for key in self._keys()[: len(_EACH)]]}

    def rotate(self) -> None:
        """Put new keys in front; those of the rotation before still open, older ones leave. Raises ``UnusableKeys``."""
        kept = [key.as_dict(private=True) for key in self._keys()][: (_GENERATIONS - 1) * len(_EACH)]
        replace(self._path, _written([*_new_keys(), *kept]))

    def open(self, token: str, algorithms: frozenset[str], encodings: frozenset[str]) -> str:
        """Return what a compact JWE holds, if it is encrypted for one of our keys by what is agreed on.

        Raises ``Unreadable``.
        """
        try:
            header = _header(token)
            agreed = header.get("alg") in algorithms and header.get("enc") in encodings
            if not agreed or header.keys() - _HEADERS:
                raise Unreadable("encrypted by what is not agreed on")
            key = next((one for one in self._keys() if one.kid == header.get("kid") and one.alg == header["alg"]), None)
            if key is None:
                raise Unreadable("encrypted for another key")
            opened = jwe.decrypt_compact(token, key, algorithms=[header["alg"], header["enc"]])
            return (opened.plaintext or b"").decode("ascii")
        except (JoseError, UnusableKeys, ValueError, TypeError, RecursionError) as problem:
            raise Unreadable(f"encryption: {type(problem).__name__}") from None

    def _keys(self) -> list[Any]:
        if self._made_here:
            make_once(self._path, lambda: _written(_new_keys()))
        try:
            keys = list(KeySet.import_key_set(json.loads(self._path.read_bytes())))
        except (JoseError, OSError, ValueError, KeyError, TypeError) as error:
            raise UnusableKeys(f"{self._path.name} cannot be read as a JWK set ({type(error).__name__})") from None
        if not keys or not all(key.is_private and key.kid and key.alg in ALGORITHMS for key in keys):
            raise UnusableKeys(f"{self._path.name} must hold private keys, with kid and alg")
        return keys


def _written(keys: list[Any]) -> bytes:
    return json.dumps({"keys": keys}, indent=1).encode()


def _header(token: str) -> dict[str, Any]:
    """Return the header of a compact JWE; raises ``ValueError``."""
    part = token.partition(".")[0]
    header = json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    if not isinstance(header, dict):
        raise ValueError("no header")
    return header


def _new_keys() -> list[Any]:
    """Return a key for each algorithm: one key is used in one way."""
    elliptic, *others = _EACH
    made: list[ECKey | RSAKey] = [ECKey.generate_key("P-256", {"alg": elliptic, "use": "enc"})]
    made += [RSAKey.generate_key(_RSA_BITS, {"alg": alg, "use": "enc"}) for alg in others]
    for key in made:
        key.ensure_kid()
    return [key.as_dict(private=True) for key in made]
