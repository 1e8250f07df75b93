"""The identity providers that settings name, and what each of them says of itself.

What a provider may sign with is what it announces *and* what we accept of it; a token's own header decides nothing.
Spec: https://openid.net/specs/openid-connect-discovery-1_0.html
"""

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Literal

from marshmallow import EXCLUDE, Schema, ValidationError, fields

from fhir_server.egress import Fetcher, FetchRefused
from fhir_server.settings import Settings
from fhir_server.smart.login.federation.encryption import ALGORITHMS, ENCODINGS

ProviderName = Literal["psc", "franceconnect"]
_FRESH = timedelta(minutes=10)
_PATIENCE = timedelta(seconds=30)
_SHUT = timedelta(seconds=10)
"""How long a provider that does not answer is left in peace."""
_WAIT = 1.0
"""Seconds that whoever comes while somebody else asks the provider waits for the answer."""


class ProviderUnavailable(Exception):
    """The provider does not answer, or says of itself what it must not; the message is in plain English."""


@dataclass(frozen=True, slots=True)
class Provider:
    """One identity provider and our registration there. ``signed_userinfo``: plain JSON is not accepted."""

    name: ProviderName
    issuer: str
    client_id: str
    secret_file: Path
    configuration: str
    scope: str
    acr_values: str
    algorithms: frozenset[str]
    signed_userinfo: bool

    def secret(self) -> str:
        """Return the client secret, as its file has it now. Raises ``ProviderUnavailable`` when it has none."""
        try:
            secret = self.secret_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            secret = ""
        if not secret:
            raise ProviderUnavailable("the file with the client secret cannot be read")
        return secret


def providers_of(settings: Settings) -> dict[str, Provider]:
    """Return the providers that are set up, by name."""
    found: dict[str, Provider] = {}
    if settings.psc_issuer and settings.psc_client_secret_file is not None:
        found["psc"] = Provider(
            "psc",
            settings.psc_issuer,
            settings.psc_client_id,
            settings.psc_client_secret_file,
            "wallet-openid-configuration",
            "openid scope_all",
            "eidas1",
            frozenset({"HS256", "RS256", "ES256"}),
            signed_userinfo=False,
        )
    if settings.franceconnect_issuer and settings.franceconnect_client_secret_file is not None:
        found["franceconnect"] = Provider(
            "franceconnect",
            settings.franceconnect_issuer,
            settings.franceconnect_client_id,
            settings.franceconnect_client_secret_file,
            "openid-configuration",
            "openid identite_pivot",
            "eidas1",
            frozenset({"RS256", "ES256"}),
            signed_userinfo=True,
        )
    return found


class _Configuration(Schema):
    class Meta:
        unknown = EXCLUDE

    issuer = fields.String(required=True)
    authorization_endpoint = fields.String(required=True)
    token_endpoint = fields.String(required=True)
    userinfo_endpoint = fields.String(required=True)
    jwks_uri = fields.String(required=True)
    id_token_algorithms = fields.List(
        fields.String(), data_key="id_token_signing_alg_values_supported", load_default=lambda: ["RS256"]
    )
    userinfo_algorithms = fields.List(
        fields.String(), data_key="userinfo_signing_alg_values_supported", load_default=list
    )
    auth_methods = fields.List(
        fields.String(),
        data_key="token_endpoint_auth_methods_supported",
        load_default=lambda: ["client_secret_basic"],
    )
    encryption_algorithms = fields.List(
        fields.String(), data_key="userinfo_encryption_alg_values_supported", load_default=list
    )
    encryption_encodings = fields.List(
        fields.String(), data_key="userinfo_encryption_enc_values_supported", load_default=list
    )
    end_session_endpoint = fields.String(load_default="")
    names_itself = fields.Boolean(data_key="authorization_response_iss_parameter_supported", load_default=False)


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a provider says of itself. ``names_itself``: its answers carry ``iss`` (RFC 9207).

    ``end_session_endpoint`` is empty when it ends no sessions at our request.
    """

    authorization_endpoint: str
    token_endpoint: str
    userinfo_endpoint: str
    jwks_uri: str
    id_token_algorithms: frozenset[str]
    userinfo_algorithms: frozenset[str]
    auth_method: str
    names_itself: bool
    encryption_algorithms: frozenset[str]
    encryption_encodings: frozenset[str]
    end_session_endpoint: str


@dataclass(slots=True)
class _Kept:
    value: Any
    at: datetime


@dataclass(frozen=True)
class Directory:
    """Fetches what providers publish and keeps it for a while; for a moment, too, that there was nothing to be had.

    A provider that does not answer takes a thread of ours for as long as we wait. So one request alone asks it, and all
    others go on: else nobody could read a record while one cannot sign in.
    """

    fetcher: Fetcher
    clock: Callable[[], datetime]
    wait: float = _WAIT
    _kept: dict[str, _Kept] = field(default_factory=dict)
    _failed: dict[str, _Kept] = field(default_factory=dict)
    _asking: dict[str, threading.Lock] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def metadata(self, provider: Provider) -> Metadata:
        """Return what the provider says of itself. Raises ``ProviderUnavailable``."""
        url = f"{provider.issuer}/.well-known/{provider.configuration}"
        read = partial(_to_metadata, provider=provider, fetcher=self.fetcher)
        metadata: Metadata = self._fetched(url, _FRESH, read)
        return metadata

    def keys(self, metadata: Metadata, kid: str | None) -> list[Mapping[str, Any]]:
        """Return the public keys, fetched anew when one is missing that might just have come.

        Raises ``ProviderUnavailable``.
        """
        keys: list[Mapping[str, Any]] = self._fetched(metadata.jwks_uri, _FRESH, _to_keys)
        if kid is None or any(key.get("kid") == kid for key in keys):
            return keys
        return list(self._fetched(metadata.jwks_uri, _PATIENCE, _to_keys))

    def _fetched(self, url: str, fresh: timedelta, read: Callable[[Any], Any]) -> Any:
        known = self._known(url, fresh)
        if known is not None:
            return known.value
        with self._lock:
            asking = self._asking.setdefault(url, threading.Lock())
        if not asking.acquire(timeout=self.wait):
            raise ProviderUnavailable("the provider has not answered yet")
        try:
            return (self._known(url, fresh) or self._ask(url, read)).value
        finally:
            asking.release()

    def _known(self, url: str, fresh: timedelta) -> _Kept | None:
        """Return what is kept; raises ``ProviderUnavailable`` for a moment after there was nothing."""
        now = self.clock()
        with self._lock:
            kept, failed = self._kept.get(url), self._failed.get(url)
        # A clock that has been set back must not keep anything for ever.
        if kept is not None and timedelta(0) <= now - kept.at < fresh:
            return kept
        if failed is not None and timedelta(0) <= now - failed.at < _SHUT:
            raise ProviderUnavailable(failed.value)
        return None

    def _ask(self, url: str, read: Callable[[Any], Any]) -> _Kept:
        try:
            kept = _Kept(read(json.loads(self.fetcher.get(url))), self.clock())
        except (FetchRefused, ValueError, RecursionError) as error:
            refused = isinstance(error, FetchRefused)
            reason = str(error) if refused else "what the provider publishes cannot be read"
            self._failed[url] = _Kept(reason, self.clock())
            raise ProviderUnavailable(reason) from None
        self._kept[url] = kept
        return kept


def _to_metadata(document: Any, provider: Provider, fetcher: Fetcher) -> Metadata:
    try:
        read = _Configuration().load(document)
    except ValidationError as problem:
        raise ValueError("incomplete") from problem
    if read["issuer"].rstrip("/") != provider.issuer:
        raise ValueError("another issuer")
    fetcher.check(read["authorization_endpoint"])
    if read["end_session_endpoint"]:
        fetcher.check(read["end_session_endpoint"])
    methods = read["auth_methods"]
    return Metadata(
        read["authorization_endpoint"],
        read["token_endpoint"],
        read["userinfo_endpoint"],
        read["jwks_uri"],
        provider.algorithms & frozenset(read["id_token_algorithms"]),
        provider.algorithms & frozenset(read["userinfo_algorithms"] or read["id_token_algorithms"]),
        "client_secret_basic" if "client_secret_basic" in methods else "client_secret_post",
        read["names_itself"],
        ALGORITHMS & frozenset(read["encryption_algorithms"]),
        ENCODINGS & frozenset(read["encryption_encodings"]),
        read["end_session_endpoint"],
    )


def _to_keys(document: Any) -> list[Mapping[str, Any]]:
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        raise ValueError("no key set")
    return keys
