"""The public keys of clients: JWK sets by value, or behind an address that the client has registered.

Only keys that may sign assertions count: RSA from 2,048 bits and P-384. Spec:
https://hl7.org/fhir/smart-app-launch/client-confidential-asymmetric.html#registering-a-client-communicating-public-keys
"""

import json
import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey, import_key

from fhir_server.egress import Fetcher, FetchRefused

SIGNING_ALGORITHMS = ("RS384", "ES384")
_KEY_TYPES = {"RS384": "RSA", "ES384": "EC"}
_MOST_KEYS = 50
_SMALLEST_RSA = 2048


class KeysRefused(Exception):
    """The key set is not one; the message says why, in plain ASCII."""


def parse_key_set(document: Any) -> tuple[dict[str, Any], ...]:
    """Return the public JWKs of a set that can be used; raises ``KeysRefused`` when it is none or holds secrets."""
    keys = document.get("keys") if isinstance(document, Mapping) else None
    if not isinstance(keys, list) or len(keys) > _MOST_KEYS:
        raise KeysRefused("not a JWK set")
    for key in keys:
        if not isinstance(key, dict) or "d" in key or "k" in key or key.get("kty") == "oct":
            raise KeysRefused("a JWK set must hold public keys alone")
    return tuple(key for key in keys if _usable(key) is not None)


def candidates(keys: tuple[dict[str, Any], ...], kid: str, alg: str) -> list[Any]:
    """Return the keys that a header with this id and algorithm can mean; several may bear one id."""
    fitting = [one for one in keys if one.get("kid") == kid and one.get("kty") == _KEY_TYPES.get(alg)]
    return [key for one in fitting if one.get("alg", alg) == alg and (key := _usable(one)) is not None]


def _usable(key: Mapping[str, Any]) -> RSAKey | ECKey | None:
    if key.get("use", "sig") != "sig" or not isinstance(key.get("kid"), str):
        return None
    try:
        read = import_key(dict(key))
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    if isinstance(read, RSAKey):
        return read if read.public_key.key_size >= _SMALLEST_RSA else None
    return read if isinstance(read, ECKey) and read.curve_name == "P-384" else None


@dataclass(slots=True)
class _Door:
    """What is known of one address: the keys last found, and the last time that somebody knocked in vain, or not."""

    knocking: threading.Lock = field(default_factory=threading.Lock)
    keys: tuple[dict[str, Any], ...] = ()
    found: float = -math.inf
    knocked: float = -math.inf
    problem: str = "jwks_uri: the keys are being fetched; try again shortly"


@dataclass(frozen=True)
class KeySets:
    """Fetches registered addresses and remembers what it found, or that it found nothing.

    A set is fetched again after ``fresh`` seconds, or after ``patience`` when an unknown key id is asked for: a client
    may renew its keys at any time, but nobody makes the server knock at one door more often than that, nor by several
    hands at once. Whoever comes meanwhile takes the keys that are known, or waits ``seconds`` for them and no more:
    anybody can name a client, and a door that stays shut must not keep all threads before it.
    """

    fetcher: Fetcher
    monotonic: Callable[[], float] = time.monotonic
    fresh: float = 300.0
    patience: float = 30.0
    seconds: float = 1.0
    _doors: dict[str, _Door] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def find(self, url: str, kid: str) -> tuple[dict[str, Any], ...]:
        """Return the keys behind the address; raises ``KeysRefused``."""
        with self._lock:
            door = self._doors.setdefault(url, _Door())
        if self._is_to_knock(door, kid):
            self._knock(door, url, kid)
        if not self._is_fresh(door):
            raise KeysRefused(door.problem)
        return door.keys

    def _is_fresh(self, door: _Door) -> bool:
        return self.monotonic() - door.found <= self.fresh

    def _is_to_knock(self, door: _Door, kid: str) -> bool:
        if self._is_fresh(door) and any(key.get("kid") == kid for key in door.keys):
            return False
        # A set that has grown old is fetched at once; one that was not to be had, or lacks the key, is waited for.
        was_found = door.found == door.knocked
        return (was_found and not self._is_fresh(door)) or self.monotonic() - door.knocked > self.patience

    def _knock(self, door: _Door, url: str, kid: str) -> None:
        """Look behind the address, unless somebody does already."""
        if not door.knocking.acquire(timeout=0 if self._is_fresh(door) else self.seconds):
            return
        try:
            if self._is_to_knock(door, kid):
                self._look(door, url)
        finally:
            door.knocking.release()

    def _look(self, door: _Door, url: str) -> None:
        try:
            keys = self._fetch(url)
        except KeysRefused as error:
            door.problem, door.knocked = str(error), self.monotonic()
            return
        door.keys = keys
        door.found = door.knocked = self.monotonic()

    def _fetch(self, url: str) -> tuple[dict[str, Any], ...]:
        try:
            return parse_key_set(json.loads(self.fetcher.get(url)))
        except FetchRefused as error:
            raise KeysRefused(f"jwks_uri: {error}") from None
        except (ValueError, RecursionError):
            raise KeysRefused("jwks_uri: what is there is not JSON") from None
