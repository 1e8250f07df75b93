"""Keys: ours, which sign identity tokens, and those of clients, which sign assertions."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from joserfc.jwk import ECKey, OctKey, RSAKey

from fhir_server.egress import Fetcher, FetchRefused
from fhir_server.smart.key_sets import KeySets, KeysRefused, candidates, parse_key_set
from fhir_server.smart.keys import SigningKeys, UnusableKeys


def test_keys_are_made_once_for_the_server_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "keys.json"
    threads = [Thread(target=SigningKeys(path, made_here=True).public) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["keys.json"]
    published = SigningKeys(path, made_here=True).public()["keys"]
    assert [key["alg"] for key in published] == ["RS256", "ES256"]
    assert not any({"d", "p", "q", "dp", "dq", "qi", "k"} & key.keys() for key in published)


def test_a_rotation_signs_by_new_keys_and_still_publishes_the_old(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    keys, another = SigningKeys(path, made_here=True), SigningKeys(path, made_here=True)
    first = keys.current("ES256").kid
    assert another.current("ES256").kid == first
    keys.rotate()
    os.utime(path, ns=(1, 1))
    second = another.current("ES256").kid
    assert second != first
    assert first in {key["kid"] for key in another.public()["keys"]}
    for _ in range(3):
        keys.rotate()
    os.utime(path, ns=(2, 2))
    assert len(another.public()["keys"]) == 6
    assert first not in {key["kid"] for key in another.public()["keys"]}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b'{"keys": [{"kty": "EC", "kid": "a"}]}',
        json.dumps(
            {"keys": [ECKey.generate_key("P-256", {"kid": "a", "alg": "ES256"}).as_dict(private=False)]}
        ).encode(),
        json.dumps({"keys": [OctKey.generate_key(256, {"kid": "a", "alg": "HS256"}).as_dict()]}).encode(),
        json.dumps({"keys": [ECKey.generate_key("P-256", {"kid": "a"}).as_dict(private=True)]}).encode(),
    ],
)
def test_a_file_that_cannot_sign_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(content)
    with pytest.raises(UnusableKeys, match=r"keys\.json"):
        SigningKeys(path, made_here=False).current("RS256")


def test_an_own_file_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(UnusableKeys):
        SigningKeys(tmp_path / "missing.json", made_here=False).public()
    only = ECKey.generate_key("P-256", {"kid": "a", "alg": "ES256"}, private=True).as_dict(private=True)
    path = tmp_path / "one.json"
    path.write_text(json.dumps({"keys": [only]}))
    keys = SigningKeys(path, made_here=False)
    assert keys.current("ES256").kid == "a"
    with pytest.raises(UnusableKeys, match="RS256"):
        keys.current("RS256")


def ec(kid: str | None = "k", curve: str = "P-384", **more: Any) -> dict[str, Any]:
    found = {**ECKey.generate_key(curve, {}, private=True).as_dict(private=False), "kid": kid, **more}
    return {name: value for name, value in found.items() if value is not None}


def rsa(bits: int) -> dict[str, Any]:
    return {**RSAKey.generate_key(bits, {}, private=True).as_dict(private=False), "kid": "k"}


@pytest.mark.filterwarnings("ignore:.*:UserWarning", "ignore:.*:joserfc.errors.SecurityWarning")
def test_only_keys_that_may_sign_assertions_count() -> None:
    good = [ec(), rsa(2048), ec(alg="ES384", use="sig")]
    bad = [
        ec(curve="P-256"),
        ec(kid=None),
        ec(use="enc"),
        {"kty": "EC", "kid": "k"},
        {"kty": "RSA", "kid": "k", "n": "AQ"},
        {"kid": "k"},
    ]
    assert parse_key_set({"keys": [*good, *bad]}) == tuple(good)
    keys = tuple(good)
    assert len(candidates(keys, "k", "ES384")) == 2
    assert len(candidates(keys, "k", "RS384")) == 1
    assert candidates((ec(alg="ES512"),), "k", "ES384") == []
    assert candidates(keys, "other", "ES384") == []
    assert candidates(keys, "k", "HS256") == []


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        "x",
        {},
        {"keys": {}},
        {"keys": ["x"]},
        {"keys": [{}] * 51},
        {"keys": [ECKey.generate_key("P-384", {"kid": "k"}, private=True).as_dict(private=True)]},
        {"keys": [OctKey.generate_key(256, {"kid": "k"}).as_dict()]},
    ],
)
def test_what_is_no_set_of_public_keys_is_refused(document: Any) -> None:
    with pytest.raises(KeysRefused):
        parse_key_set(document)


@dataclass(frozen=True)
class Answers(Fetcher):
    """A fetcher that has been everywhere already."""

    bodies: Iterator[bytes | Exception] = field(default_factory=lambda: iter(()))

    def get(self, url: str, accept: str = "application/json") -> bytes:
        """Return the next answer."""
        found = next(self.bodies)
        if isinstance(found, Exception):
            raise found
        return found


def answers(*bodies: Any) -> Answers:
    return Answers(
        bodies=iter([one if isinstance(one, bytes | Exception) else json.dumps(one).encode() for one in bodies])
    )


def test_a_set_is_fetched_when_it_is_old_or_lacks_the_key_but_not_for_every_knock() -> None:
    first, second, third = ({"keys": [ec(kid)]} for kid in ("a", "b", "c"))
    now = [1_000.0]
    sets = KeySets(answers(first, second, third), monotonic=lambda: now[0])

    def kids(wanted: str) -> list[str]:
        return [key["kid"] for key in sets.find("https://x/jwks", wanted)]

    assert kids("a") == ["a"]
    assert kids("b") == ["a"], "an unknown id within the patience"
    now[0] += 31
    assert kids("a") == ["a"]
    assert kids("b") == ["b"]
    now[0] += 301
    assert kids("b") == ["c"]


def test_keys_that_were_not_to_be_had_are_not_asked_for_at_every_knock() -> None:
    now = [1_000.0]
    gone = FetchRefused("no")
    sets = KeySets(answers(gone, {"keys": [ec("a")]}, gone, gone, {"keys": [ec("b")]}), monotonic=lambda: now[0])

    def kids(wanted: str) -> list[str]:
        return [key["kid"] for key in sets.find("https://x/jwks", wanted)]

    for _ in range(3):
        with pytest.raises(KeysRefused, match="no"):
            kids("a")
    now[0] += 31
    assert kids("a") == ["a"]
    now[0] += 31
    assert kids("b") == ["a"], "the keys known are good for as long as they were"
    assert kids("a") == ["a"]
    now[0] += 301
    for _ in range(2):
        with pytest.raises(KeysRefused, match="no"):
            kids("a")
    now[0] += 31
    assert kids("a") == ["b"]


@pytest.mark.parametrize("body", [FetchRefused("no"), b"", b"[" * 100_000, b"{}", b"\xff"])
def test_what_is_fetched_must_be_a_set(body: Any) -> None:
    with pytest.raises(KeysRefused):
        KeySets(answers(body)).find("https://x/jwks", "a")
