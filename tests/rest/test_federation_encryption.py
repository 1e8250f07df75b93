"""Userinfo that a provider encrypts for us is opened with our key, and then verified like any other."""

import json
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from joserfc.jwk import ECKey, KeySet, RSAKey

from fhir_server.cli import main
from fhir_server.smart.keys import UnusableKeys
from fhir_server.smart.login.federation.encryption import ALGORITHMS, ENCODINGS, EncryptionKeys, Unreadable
from tests.rest.federating import PATIENT, Federation
from tests.rest.signing_in import Site


def published(federation: Federation, alg: str) -> Any:
    """Return our public key for an algorithm, as the provider fetches it."""
    answer = federation.site.browser().get("/auth/federation/jwks")
    assert answer.status_code == 200
    keys = KeySet.import_key_set(answer.get_json())
    return next(key for key in keys if key.alg == alg)


@pytest.mark.parametrize("alg", ["ECDH-ES", "RSA-OAEP-256"])
def test_encrypted_userinfo_is_read(federation: Federation, alg: str) -> None:
    federation.site.put(PATIENT)
    federation.franceconnect.encrypted_for = published(federation, alg)
    assert federation.sign_in("franceconnect").status_code == 303


def test_our_keys_are_for_encryption_and_kept_to_ourselves(federation: Federation) -> None:
    keys = federation.site.browser().get("/auth/federation/jwks").get_json()["keys"]
    assert {key["use"] for key in keys} == {"enc"}
    assert not {"d", "p", "q", "k"} & {name for key in keys for name in key}
    assert len({key["kid"] for key in keys}) == 3
    path = federation.site.composition.settings.data_directory / "encryption-keys.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert federation.site.browser().get("/auth/federation/jwks").get_json()["keys"] == keys


def test_keys_that_were_replaced_once_still_open_and_twice_no_more(
    federation: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in federation.site.composition.settings.to_environment().items():
        monkeypatch.setenv(name, value)
    federation.site.put(PATIENT)
    federation.franceconnect.encrypted_for = old = published(federation, "ECDH-ES")
    for status in (303, 403):
        result = CliRunner().invoke(main, ["rotate-keys"])
        assert result.exit_code == 0, result.output
        assert published(federation, "ECDH-ES").kid != old.kid
        assert federation.sign_in("franceconnect").status_code == status
    federation.franceconnect.encrypted_for = published(federation, "ECDH-ES")
    assert federation.sign_in("franceconnect").status_code == 303


def test_keys_may_come_from_a_file_of_the_operators(tmp_path: Path) -> None:
    given = tmp_path / "given.json"
    EncryptionKeys(given).public()
    keys = EncryptionKeys(given, made_here=False)
    assert keys.public() == EncryptionKeys(given).public()
    keys.rotate()
    assert len(json.loads(given.read_bytes())["keys"]) == 6


@pytest.mark.parametrize("content", [None, "", "[]", '{"keys": []}', '{"keys": [{"kty": "EC", "kid": "a"}]}', "public"])
def test_a_file_that_holds_no_such_keys_opens_nothing(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "keys.json"
    if content == "public":
        content = json.dumps({"keys": [stranger().as_dict(private=False)]})
    if content is not None:
        path.write_text(content)
    keys = EncryptionKeys(path, made_here=False)
    with pytest.raises(UnusableKeys, match=r"keys\.json"):
        keys.public()
    header = urlsafe_b64encode(b'{"alg":"ECDH-ES","enc":"A256GCM","kid":"a"}').decode()
    with pytest.raises(Unreadable):
        keys.open(f"{header}....", ALGORITHMS, ENCODINGS)
    assert path.exists() == (content is not None)


def test_without_a_provider_there_are_no_such_keys(site: Site) -> None:
    assert site.browser().get("/auth/federation/jwks").status_code == 404


def stranger() -> Any:
    key = ECKey.generate_key("P-256", {"alg": "ECDH-ES", "use": "enc"})
    key.ensure_kid()
    return key


@pytest.mark.parametrize(
    ("headers", "announced"),
    [
        ({"enc": "A128GCM"}, {}),
        ({"enc": "A256CBC-HS512"}, {}),
        ({"zip": "DEF"}, {}),
        ({"kid": "another"}, {}),
        ({"alg": "ECDH-ES+A256KW"}, {}),
        ({"x5u": "https://evil.example"}, {}),
        ({}, {"userinfo_encryption_alg_values_supported": ["RSA-OAEP-256"]}),
        ({}, {"userinfo_encryption_enc_values_supported": []}),
    ],
    ids=str,
)
def test_what_is_encrypted_otherwise_than_agreed_on_is_refused(
    federation: Federation, headers: dict[str, str], announced: dict[str, Any]
) -> None:
    federation.site.put(PATIENT)
    federation.franceconnect.encrypted_for = published(federation, "ECDH-ES")
    federation.franceconnect.encryption = headers
    federation.franceconnect.announced = announced
    assert federation.sign_in("franceconnect").status_code == 403
    assert federation.site.accounts.directory.all() == []


def test_what_is_encrypted_for_somebody_else_is_refused(federation: Federation) -> None:
    federation.site.put(PATIENT)
    federation.franceconnect.encrypted_for = stranger()
    assert federation.sign_in("franceconnect").status_code == 403


def test_another_key_under_the_id_of_ours_opens_nothing(federation: Federation) -> None:
    ours = published(federation, "ECDH-ES")
    values = {**stranger().as_dict(private=False), "kid": ours.kid}
    federation.site.put(PATIENT)
    federation.franceconnect.encrypted_for = ECKey.import_key(values)
    assert federation.sign_in("franceconnect").status_code == 403


@pytest.mark.parametrize("body", [b"a.b.c.d.e", b"e30.e30.e30.e30.e30", b"W10.x.x.x.x", b"....", b"\xff.a.b.c.d"])
def test_nonsense_in_five_parts_is_refused(federation: Federation, body: bytes) -> None:
    federation.site.put(PATIENT)
    federation.franceconnect.bodies = {"userinfo": body}
    assert federation.sign_in("franceconnect").status_code == 403


def test_what_only_we_can_read_has_to_be_signed_all_the_same(federation: Federation) -> None:
    federation.site.put(PATIENT)
    federation.franceconnect.encrypted_for = published(federation, "ECDH-ES")
    federation.franceconnect.signs_userinfo_with = RSAKey.generate_key(2048, {"kid": "k1"})
    assert federation.sign_in("franceconnect").status_code == 403
