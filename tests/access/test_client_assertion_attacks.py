"""Attacks on the assertions by which clients prove themselves, each one that broke somebody else's server."""

import base64
import hashlib
import hmac
import json
import time
from datetime import timedelta
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import OctKey

from tests.access.oauth import at_once, refused
from tests.rest.smart import Smart
from tests.rest.smart_apps import ISSUER, Backend, new_key


def words(*parts: Any) -> str:
    return ".".join(
        base64.urlsafe_b64encode(part if isinstance(part, bytes) else json.dumps(part).encode()).rstrip(b"=").decode()
        for part in parts
    )


def claims_of(backend: Backend) -> dict[str, Any]:
    """Return good claims."""
    payload = backend.assertion().split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=="))
    return found


def test_an_unsigned_assertion_proves_nothing(smart: Smart) -> None:
    backend = smart.backend()
    for alg in ("none", "None", "NONE", "nOnE"):
        header = {"alg": alg, "kid": backend.key.kid, "typ": "JWT"}
        refused(backend.ask(assertion=words(header, claims_of(backend), b"")), "invalid_client")


@pytest.mark.parametrize("alg", ["HS256", "HS384"])
def test_a_public_key_is_no_shared_secret(smart: Smart, alg: str) -> None:
    backend = smart.backend(alg="RS384")
    forms = [
        backend.key.as_pem(private=False),
        json.dumps(backend.key.as_dict(private=False)).encode(),
        backend.key.as_dict(private=False)["n"].encode(),
    ]
    for secret in forms:
        signed = words({"alg": alg, "kid": backend.key.kid, "typ": "JWT"}, claims_of(backend))
        hashed = hashlib.sha256 if alg == "HS256" else hashlib.sha384
        mac = hmac.new(secret, signed.encode(), hashed).digest()
        refused(backend.ask(assertion=f"{signed}.{words(mac)}"), "invalid_client")


@pytest.mark.parametrize(("kept", "used"), [("RS384", "ES384"), ("ES384", "RS384"), ("RS384", "PS384")])
def test_another_algorithm_than_the_keys_is_refused(smart: Smart, kept: str, used: str) -> None:
    backend = smart.backend(alg=kept)
    other = new_key("ES384") if used == "ES384" else new_key("RS384")
    header = {"alg": used if used != "PS384" else "RS384", "kid": backend.key.kid}
    signed = backend.assertion(header, key=other)
    if used == "PS384":
        _, payload, signature = backend.assertion().split(".")
        signed = f"{words({'alg': 'PS384', 'kid': backend.key.kid, 'typ': 'JWT'})}.{payload}.{signature}"
    refused(backend.ask(assertion=signed), "invalid_client")


def test_weaker_algorithms_of_the_same_key_are_refused(smart: Smart) -> None:
    backend = smart.backend(alg="RS384")
    bare = {**backend.key.as_dict(private=True)}
    bare.pop("alg")
    from joserfc.jwk import RSAKey

    key = RSAKey.import_key(bare)
    refused(backend.ask(assertion=backend.assertion({"alg": "RS256"}, key=key)), "invalid_client")


@pytest.mark.parametrize(
    "kid", ["../../etc/passwd", "' OR '1'='1", "", None, {"$ne": None}, ["a"], "/dev/null", "\x00", 1]
)
def test_a_key_id_is_a_name_and_nothing_else(smart: Smart, kid: Any) -> None:
    backend = smart.backend()
    _, payload, signature = backend.assertion().split(".")
    header = {"alg": "ES384", "typ": "JWT", "kid": kid}
    refused(backend.ask(assertion=f"{words(header)}.{payload}.{signature}"), "invalid_client")


def test_keys_that_an_assertion_brings_along_are_not_used(smart: Smart) -> None:
    backend, mine = smart.backend(), new_key("ES384")
    brought = mine.as_dict(private=False)
    for header in (
        {"jwk": brought},
        {"jwk": brought, "kid": mine.kid},
        {"jku": "https://attacker.example/jwks"},
        {"x5u": "https://attacker.example/x"},
        {"crit": ["exp"], "exp": 1},
    ):
        signed = words({"alg": "ES384", "kid": backend.key.kid, "typ": "JWT", **header}, claims_of(backend))
        refused(backend.ask(assertion=f"{signed}.{words(b'x' * 96)}"), "invalid_client")
    refused(backend.ask(assertion=backend.assertion({"kid": mine.kid}, key=mine)), "invalid_client")
    refused(backend.ask(assertion=backend.assertion(key=mine)), "invalid_client")


def test_of_two_keys_with_one_id_each_is_tried_and_no_other(smart: Smart) -> None:
    first, second, third = (new_key("ES384") for _ in range(3))
    keys = [{**key.as_dict(private=False), "kid": "same"} for key in (first, second)]
    backend = smart.backend(jwks={"keys": keys})
    for key in (first, second):
        assert backend.ask(assertion=backend.assertion({"kid": "same"}, key=key)).status_code == 200
    refused(backend.ask(assertion=backend.assertion({"kid": "same"}, key=third)), "invalid_client")


def test_secrets_and_weak_keys_in_a_set_are_no_keys(smart: Smart) -> None:
    from joserfc.jwk import ECKey

    weak = ECKey.generate_key("P-256", {"kid": "weak"}, private=True)
    backend = smart.backend(jwks={"keys": [weak.as_dict(private=False)]})
    refused(backend.ask(assertion=backend.assertion({"kid": "weak", "alg": "ES256"}, key=weak)), "invalid_client")
    shared = OctKey.generate_key(256, {"kid": "shared"})
    backend = smart.backend("second", jwks={"keys": [shared.as_dict()]})
    refused(backend.ask(assertion=backend.assertion({"kid": "shared", "alg": "HS256"}, key=shared)), "invalid_client")


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": None},
        {"sub": None},
        {"aud": None},
        {"exp": None},
        {"jti": None},
        {"jti": ""},
        {"jti": 7},
        {"iss": "somebody-else"},
        {"sub": "somebody-else"},
        {"sub": {"$ne": None}},
        {"aud": "https://elsewhere.example/token"},
        {"aud": ["https://elsewhere.example/token"]},
        {"aud": []},
        {"aud": f"{ISSUER}/auth/token/"},
        {"exp": 0},
        {"exp": "never"},
        {"exp": True},
        {"exp": -1},
        {"nbf": timedelta(minutes=10)},
        {"iat": timedelta(minutes=10)},
    ],
    ids=str,
)
def test_a_claim_that_is_missing_or_wrong_is_refused(smart: Smart, claims: dict[str, Any]) -> None:
    backend, now = smart.backend(), int(time.time())
    given = {name: now + one.seconds if isinstance(one, timedelta) else one for name, one in claims.items()}
    refused(backend.ask(assertion=backend.assertion(**given)), "invalid_client")


def test_an_assertion_lives_five_minutes_at_most(smart: Smart) -> None:
    backend = smart.backend()
    assert backend.ask(assertion=backend.assertion(exp=int(time.time()) + 299)).status_code == 200
    for exp in (320, 3_600, 10**12):
        assert "five minutes" in refused(
            backend.ask(assertion=backend.assertion(exp=int(time.time()) + exp)), "invalid_client"
        )
    refused(backend.ask(assertion=backend.assertion(exp=int(time.time()) - 20)), "invalid_client")


def test_an_assertion_is_good_once(smart: Smart) -> None:
    backend, other = smart.backend(), smart.backend("other")
    assertion = backend.assertion(jti="same")
    assert backend.ask(assertion=assertion).status_code == 200
    assert "used before" in refused(backend.ask(assertion=assertion), "invalid_client")
    refused(backend.ask(assertion=backend.assertion(jti="same")), "invalid_client")
    assert other.ask(assertion=other.assertion(jti="same")).status_code == 200


def test_a_replay_at_the_same_moment_gives_one_token(smart: Smart) -> None:
    backend = smart.backend()
    assertion = backend.assertion()
    assert sorted(at_once(8, lambda: backend.ask(assertion=assertion).status_code)) == [200] + [400] * 7


def test_a_forged_assertion_uses_up_nothing(smart: Smart) -> None:
    backend = smart.backend()
    refused(backend.ask(assertion=backend.assertion(key=new_key("ES384"), jti="j")), "invalid_client")
    assert backend.ask(assertion=backend.assertion(jti="j")).status_code == 200


@pytest.mark.parametrize("assertion", ["", "a", "a.b", "a.b.c", "....", "e30.e30.e30", "é.é.é", "a" * 70_000])
def test_what_is_no_assertion_is_refused(smart: Smart, assertion: str) -> None:
    answer = smart.backend().ask(assertion=assertion) if assertion else smart.backend().ask(client_assertion="")
    assert answer.status_code in (400, 401, 413)


def test_a_backend_proves_itself_by_its_key_alone(smart: Smart) -> None:
    backend = smart.backend()
    data = {"grant_type": "client_credentials", "scope": "system/*.rs", "client_id": "backend"}
    for more in ({}, {"client_secret": ""}, {"client_secret": "x"}, {"client_assertion": backend.assertion()}):
        answer = smart.client.post("/auth/token", data={**data, **more})
        assert answer.get_json()["error"] == "invalid_client"
    refused(backend.ask(client_id="another"), "invalid_client")
    app = smart.app("confidential", secret="s")
    refused(app.token(grant_type="client_credentials", scope="system/*.rs"), "invalid_client")


def test_an_assertion_of_endless_brackets_is_refused_like_any_other(smart: Smart) -> None:
    backend = smart.backend()
    header = {"alg": backend.alg, "kid": backend.key.kid}
    refused(backend.ask(assertion=words(header, b"[" * 5_000 + b"]" * 5_000, b"")), "invalid_client")


@pytest.mark.parametrize("claims", [{"sub": "\ud800", "iss": "\ud800"}, {"jti": "\udfff"}])
def test_half_a_character_is_nobodys_name(smart: Smart, claims: dict[str, Any]) -> None:
    """JSON can write what no text can be: half of a pair of surrogates. It is no fault of the server's."""
    backend = smart.backend()
    header, payload = {"alg": backend.alg, "kid": backend.key.kid}, json.dumps({**claims_of(backend), **claims})
    signed = jws.serialize_compact(header, payload, backend.key, algorithms=[backend.alg])
    refused(backend.ask(assertion=signed), "invalid_client")
