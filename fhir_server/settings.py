"""Every setting: type, default, one-line meaning. The only reader of ``os.environ``.

A setting ``max_body`` is read from ``FHIR_SERVER_MAX_BODY``. Sizes are written ``64MB`` (binary: 1 KB is 1,024 bytes),
durations ``90s``, ``5m``, ``2h``, ``7d``, lists with commas, truth ``true`` or ``false``. A variable that begins with
``FHIR_SERVER_`` and is no setting is refused: a misspelt safeguard must not pass for a set one.
"""

import difflib
import ipaddress
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar
from urllib.parse import urlsplit

from fhir_server.setting_values import (
    one_of,
    parse_audit_repository,
    parse_bool,
    parse_duration,
    parse_list,
    parse_optional_path,
    parse_path,
    parse_port,
    parse_positive,
    parse_size,
    parse_text,
    parse_url,
    parse_word,
)

PREFIX = "FHIR_SERVER_"

Auth = Literal["smart", "open"]
Handling = Literal["strict", "lenient"]
ConditionalDelete = Literal["single", "multiple"]
Audit = Literal["auto", "on", "off"]
LogFormat = Literal["json", "text"]
LogLevel = Literal["debug", "info", "warning", "error"]
Language = Literal["en", "fr"]
SecondFactor = Literal["required", "optional"]

T = TypeVar("T")


class SettingsError(ValueError):
    """Some settings cannot be used; ``problems`` names all of them, one English sentence each."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problems))


class Row(NamedTuple):
    """One line of ``Settings.table``: the variable, its default as one would write it, and what it means."""

    variable: str
    default: str
    meaning: str


def setting(default: str, parse: Callable[[str], T], meaning: str, *, variable: str = "", secret: bool = False) -> T:
    """Return the dataclass field of one setting; ``default`` is written as in the environment."""
    metadata = {"default": default, "parse": parse, "meaning": meaning, "variable": variable}
    return field(default=parse(default), metadata=metadata, repr=not secret)


@dataclass(frozen=True, slots=True)
class Settings:
    """What the server is told from outside, typed and checked."""

    data_directory: Path = setting(
        "~/.local/share/fhir-server",
        parse_path,
        "Where the embedded database and the server's own keys live.",
        variable="FHIR_SERVER_DATA",
    )
    mongodb_uri: str | None = setting(
        "", parse_text, "A MongoDB ≥ 6 replica set to use instead of the embedded database.", secret=True
    )
    database: str = setting("fhir", parse_word, "Name of the database.")
    embedded_cache_size: int = setting("1GB", parse_size, "Memory that the embedded database may use as cache.")
    body_cache_size: int = setting("24MB", parse_size, "Memory of each worker for what it reads again; 0: none.")

    host: str = setting("127.0.0.1", parse_word, "Address to listen on.")
    port: int = setting("8000", parse_port, "Port to listen on.")
    workers: int = setting("2", parse_positive, "Worker processes; one for each core is a good number.")
    threads: int = setting("16", parse_positive, "Requests that one worker handles at a time.")
    base_url: str = setting("", parse_url, "Public address of the FHIR base; empty: `http://<host>:<port>/fhir`.")
    trusted_proxies: tuple[str, ...] = setting(
        "", parse_list, "Addresses of reverse proxies whose `Forwarded` headers are believed; empty: none."
    )
    cors_origins: tuple[str, ...] = setting(
        "", parse_list, "Origins of web applications that may call the server; `*` for all, empty: none."
    )
    request_timeout: float = setting("60s", parse_duration, "Time that one request may take.")
    shutdown_timeout: float = setting("30s", parse_duration, "Time that running requests get to finish at a stop.")
    gzip_min_bytes: int = setting("1KB", parse_size, "Smaller answers are not compressed.")

    max_body: int = setting("96MB", parse_size, "Largest request body; a larger one gets 413.")
    max_attachment: int = setting("64MB", parse_size, "Largest Binary or attachment, decoded.")
    max_bundle_entries: int = setting("20000", parse_positive, "Most entries of one batch or transaction.")

    default_count: int = setting("20", parse_positive, "Page size of searches and histories without `_count`.")
    max_count: int = setting("1000", parse_positive, "Largest page size; a larger `_count` is cut to it.")
    max_included: int = setting(
        "1000", parse_positive, "Most resources that `_include` and `_revinclude` add to a page; more are refused."
    )
    page_link_lifetime: float = setting("1h", parse_duration, "How long a page link can be followed.")
    default_handling: Handling = setting(
        "strict", one_of(Handling), "Unknown search parameters without `Prefer: handling`: refused or warned about."
    )
    search_join_keys: int = setting(
        "1000",
        parse_positive,
        "Matches of a chain’s or `_has`’s other side that are looked up at once; more only where probing costs more.",
    )
    search_join_depth: int = setting("8", parse_positive, "Most hops of one chain or `_has`.")
    search_budget: int = setting(
        "100000",
        parse_positive,
        "Resources that one search may examine for chains, `_has`, `_list` and orders without an index.",
    )
    explain: bool = setting(
        "true", parse_bool, "An open server answers searches with `__explain=true` by how they are run."
    )
    emergency_access_lifetime: float = setting(
        "1h", parse_duration, "How long a declared emergency lets a professional consult a record."
    )
    language: Language = setting("en", one_of(Language), "Language of messages when the caller asks for none.")

    referential_integrity_write: bool = setting(
        "true", parse_bool, "Refuse a write whose local references lead nowhere."
    )
    referential_integrity_delete: bool = setting(
        "true", parse_bool, "Refuse the deletion of what other resources refer to."
    )
    update_as_create: bool = setting("true", parse_bool, "PUT to an unknown id creates the resource.")
    conditional_delete: ConditionalDelete = setting(
        "single", one_of(ConditionalDelete), "Whether a conditional delete may remove more than one resource."
    )

    auth: Auth = setting(
        "smart", one_of(Auth), "`smart`: every request needs a token; `open`: no authentication, on loopback only."
    )
    access_token_lifetime: float = setting("1h", parse_duration, "How long an access token is good.")
    professional_token_lifetime: float = setting(
        "15m", parse_duration, "How long an access token of a professional or a backend is good."
    )
    refresh_token_lifetime: float = setting(
        "90d", parse_duration, "How long an app with `offline_access` may stay unused before it must ask again."
    )
    client_registration: bool = setting(
        "false", parse_bool, "Let apps register themselves (RFC 7591); they can ask people only, never act alone."
    )
    signing_keys_file: Path | None = setting(
        "", parse_optional_path, "JWK set that signs identity tokens; empty: made once in the data directory."
    )
    encryption_keys_file: Path | None = setting(
        "", parse_optional_path, "JWK set that identity providers encrypt for; empty: made once in the data directory."
    )
    fetch_loopback: bool = setting(
        "false", parse_bool, "For tests: go to identity providers and clients’ key sets on this machine too, over http."
    )
    brand_name: str = setting("fhir-server", str, "What the service is called before patients and in brand listings.")

    second_factor: SecondFactor = setting(
        "required", one_of(SecondFactor), "Whether a password opens an account only with a second factor."
    )
    professional_passwords: bool = setting(
        "false", parse_bool, "Let professionals sign in with a password instead of Pro Santé Connect; for tests."
    )
    session_idle_timeout: float = setting("30m", parse_duration, "A sign-in ends when it is not used for so long.")
    session_lifetime: float = setting("12h", parse_duration, "A sign-in ends after so long at the latest.")
    psc_issuer: str = setting("", parse_url, "Issuer of Pro Santé Connect; empty: professionals cannot use it.")
    psc_client_id: str = setting("", str, "Our client id at Pro Santé Connect.")
    psc_client_secret_file: Path | None = setting(
        "", parse_optional_path, "File with our client secret at Pro Santé Connect."
    )
    franceconnect_issuer: str = setting("", parse_url, "Issuer of FranceConnect v2; empty: patients cannot use it.")
    franceconnect_client_id: str = setting("", str, "Our client id at FranceConnect.")
    franceconnect_client_secret_file: Path | None = setting(
        "", parse_optional_path, "File with our client secret at FranceConnect."
    )

    log_level: LogLevel = setting("info", one_of(LogLevel), "`debug`, `info`, `warning` or `error`.")
    log_format: LogFormat = setting("json", one_of(LogFormat), "`json` (one object per line) or `text`.")
    audit: Audit = setting(
        "auto",
        one_of(Audit),
        "Write AuditEvents: `on`, `off`, or `auto`: of every caller but those of a server without authentication.",
    )
    audit_spool: bool = setting(
        "true",
        parse_bool,
        "A read’s AuditEvent goes to a file in the data directory before the answer leaves; else to the database.",
    )

    audit_repository: str | None = setting(
        "",
        parse_audit_repository,
        "Where AuditEvents are sent on to: `syslog+tls://host:port` (DICOM), `https://…/fhir` (ITI-20 feed).",
    )
    audit_repository_ca: Path | None = setting(
        "", parse_optional_path, "PEM file of the authorities that the audit repository’s certificate is checked by."
    )

    secret_key_file: Path | None = setting(
        "", parse_optional_path, "File with the key that seals page links; empty: made once in the data directory."
    )

    def __post_init__(self) -> None:
        """Derive the public base from host and port when none is given."""
        if not self.base_url:
            host = f"[{self.host}]" if ":" in self.host else self.host
            object.__setattr__(self, "base_url", f"http://{host}:{self.port}/fhir")

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None, **given: Any) -> "Settings":
        """Return the settings of ``environ`` (default: the process's), ``given`` typed values winning unless ``None``.

        Raises ``SettingsError`` with every problem found.
        """
        source = os.environ if environ is None else environ
        problems = list(_unknown(source))
        values: dict[str, Any] = {}
        for each in fields(cls):
            try:
                text = source.get(_variable(each), each.metadata["default"])
                values[each.name] = each.metadata["parse"](text.strip())
            except ValueError as problem:
                problems.append(f"{_variable(each)} {problem}.")
        values.update((name, value) for name, value in given.items() if value is not None)
        problems.extend(_contradictions(values))
        if problems:
            raise SettingsError(problems)
        return cls(**values)

    def to_environment(self) -> dict[str, str]:
        """Return the variables from which ``from_environment`` makes equal settings in another process."""
        return {_variable(each): _written(getattr(self, each.name)) for each in fields(self)}

    @classmethod
    def table(cls) -> tuple[Row, ...]:
        """Return every setting as (variable, default, meaning), in the order of this file."""
        return tuple(Row(_variable(each), each.metadata["default"], each.metadata["meaning"]) for each in fields(cls))


def _variable(each: Field[Any]) -> str:
    return each.metadata["variable"] or PREFIX + each.name.upper()


def _written(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6f}"
    return ",".join(value) if isinstance(value, tuple) else str(value)


def _unknown(source: Mapping[str, str]) -> Iterator[str]:
    known = [row.variable.removeprefix(PREFIX) for row in Settings.table()]
    for name in sorted(source):
        if name.startswith(PREFIX) and name.removeprefix(PREFIX) not in known:
            close = difflib.get_close_matches(name.removeprefix(PREFIX), known, 1)
            yield f"{name} is not a setting{f'; did you mean {PREFIX}{close[0]}?' if close else '.'}"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _contradictions(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong between settings; those that could not be read are left out of ``values``."""
    if "database" in values and not re.fullmatch(r"[A-Za-z0-9_-]{1,63}", values["database"]):
        yield "FHIR_SERVER_DATABASE must be letters, digits, - and _, 63 at most."
    if values.get("auth") == "open" and not _is_loopback(values.get("host", "127.0.0.1")):
        yield (
            "FHIR_SERVER_AUTH=open gives every record to everybody who can reach the server: it is refused unless "
            "FHIR_SERVER_HOST is a loopback address (127.0.0.1)."
        )
    if {"default_count", "max_count"} <= values.keys() and values["default_count"] > values["max_count"]:
        yield "FHIR_SERVER_DEFAULT_COUNT must not be more than FHIR_SERVER_MAX_COUNT."
    if {"max_attachment", "max_body"} <= values.keys() and values["max_attachment"] > values["max_body"]:
        yield "FHIR_SERVER_MAX_ATTACHMENT must not be more than FHIR_SERVER_MAX_BODY."
    for provider in ("psc", "franceconnect"):
        yield from _incomplete_provider(provider, values)


def _incomplete_provider(provider: str, values: Mapping[str, Any]) -> Iterator[str]:
    """Yield what an identity provider that is named lacks, and what is wrong with its address."""
    issuer, start = values.get(f"{provider}_issuer"), f"{PREFIX}{provider.upper()}"
    if not issuer:
        return
    for name in ("client_id", "client_secret_file"):
        if not values.get(f"{provider}_{name}"):
            yield f"{start}_{name.upper()} is needed with {start}_ISSUER."
    parts = urlsplit(issuer)
    loopback = values.get("fetch_loopback") and _is_loopback(parts.hostname or "")
    if parts.scheme != "https" and not loopback:
        yield f"{start}_ISSUER must be an https address."
