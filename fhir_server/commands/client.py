"""``fhir-server client``: apps and backends made and looked after by whoever runs the server.

A secret is made here, printed once and kept as its hash alone.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from fhir_server.access.scope_tree import is_enforceable
from fhir_server.access.scopes import parse_scope, parse_scopes
from fhir_server.app import Composition
from fhir_server.audit.security_events import COMMAND_LINE, SecurityCode, SecurityEvent
from fhir_server.commands.database import shared_composition
from fhir_server.commands.table import print_table
from fhir_server.commands.terminal import CommandFailed, say
from fhir_server.egress import FetchRefused
from fhir_server.errors import Text
from fhir_server.settings import Settings
from fhir_server.smart.clients import Client, ClientKind
from fhir_server.smart.endings import end_client
from fhir_server.smart.ground import digest
from fhir_server.smart.key_sets import KeysRefused, parse_key_set
from fhir_server.smart.redirects import problem_with
from fhir_server.smart.scope_words import LAUNCH
from fhir_server.smart.telling import to_client_actor

DEFAULT_SCOPES = {
    "public": " ".join((*LAUNCH, "patient/*.cruds", "user/*.cruds")),
    "backend": "system/*.rs",
}
_NO_KIND = Text(
    "Say what it is: one of --public, --confidential and --backend.",
    "Dites ce que c’est : l’une des options --public, --confidential et --backend.",
)
_NO_KEYS = Text(
    "A backend proves itself by keys: give --jwks or --jwks-url.",
    "Un service se prouve par des clés : donnez --jwks ou --jwks-url.",
)
_STATES_NOTHING = Text(
    "--purpose and --secret-connections are for a backend: behind an app is a person who states them.",
    "--purpose et --secret-connections sont pour un service : derrière une application, une personne les déclare.",
)
_NO_ADDRESS = Text(
    "An app needs --redirect-uri, where people are sent back to.",
    "Une application exige --redirect-uri, où les personnes sont renvoyées.",
)
_NO_LAUNCH = Text(
    "--launch-url is a web address, for an app that people open.",
    "--launch-url est une adresse web, pour une application que des personnes ouvrent.",
)
_NOT_BOTH = Text("Give --jwks or --jwks-url, not both.", "Donnez --jwks ou --jwks-url, pas les deux.")
_PUBLIC_KEYS = Text(
    "A public app proves itself by nothing: leave --jwks and --jwks-url out, or make it --confidential.",
    "Une application publique ne se prouve pas : enlevez --jwks et --jwks-url, ou choisissez --confidential.",
)
_NOTHING = Text("A public app has nothing to renew.", "Une application publique n’a rien à renouveler.")
_TAKEN = Text("There is, or was, a client of this id.", "Un client de cet identifiant existe ou a existé.")
_UNKNOWN = Text("There is no such client.", "Ce client n’existe pas.")
_HEADINGS = (
    Text("id", "id"),
    Text("name", "nom"),
    Text("kind", "type"),
    Text("proof", "preuve"),
    Text("roles", "rôles"),
    Text("scope", "portée"),
    Text("made", "créé"),
)


@dataclass(frozen=True, slots=True)
class NewClient:
    """What ``client add`` was told."""

    name: str
    id: str | None = None
    kind: ClientKind | None = None
    scope: str = ""
    redirect_uris: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    organization: str | None = None
    purposes: tuple[str, ...] = ()
    secret_connections: bool = False
    policy_url: str = ""
    launch_url: str = ""
    jwks: Path | None = None
    jwks_url: str = ""


def add(settings: Settings, wanted: NewClient) -> None:
    """Add a client; print its id, and its secret once if it has one. Raises ``CommandFailed``."""
    with shared_composition(settings) as composition:
        ground = composition.smart().ground
        client = build_client(composition, wanted, wanted.id or ground.identifier())
        secret = ground.secret() if client.auth_method == "client_secret_basic" else ""
        if not composition.smart().clients.add(replace(client, secret=digest(secret) if secret else "")):
            raise CommandFailed(_TAKEN)
        _tell(composition, "client-added", client)
    _print_proof(client.id, secret)


def build_client(composition: Composition, wanted: NewClient, id: str) -> Client:
    """Return the client that is wanted, without its secret; raises ``CommandFailed`` with what is wrong."""
    if wanted.kind is None:
        raise CommandFailed(_NO_KIND)
    keys = _keys(composition, wanted.jwks, wanted.jwks_url)
    if wanted.kind == "backend" and not keys:
        raise CommandFailed(_NO_KEYS)
    if wanted.kind == "public" and keys:
        raise CommandFailed(_PUBLIC_KEYS)
    if wanted.kind != "backend" and (wanted.purposes or wanted.secret_connections):
        raise CommandFailed(_STATES_NOTHING)
    if wanted.kind != "backend" and not wanted.redirect_uris:
        raise CommandFailed(_NO_ADDRESS)
    _check_addresses("--redirect-uri", wanted.redirect_uris)
    _check_addresses("--launch-url", (wanted.launch_url,) if wanted.launch_url else ())
    if wanted.launch_url and (wanted.kind == "backend" or not wanted.launch_url.startswith("http")):
        raise CommandFailed(_NO_LAUNCH)
    scope = wanted.scope or DEFAULT_SCOPES.get(wanted.kind, DEFAULT_SCOPES["public"])
    _check_scope(scope, wanted.kind, composition.settings.base_url)
    return Client(
        id=id,
        name=wanted.name,
        kind=wanted.kind,
        auth_method="none" if wanted.kind == "public" else "private_key_jwt" if keys else "client_secret_basic",
        scope=scope,
        redirect_uris=wanted.redirect_uris,
        roles=wanted.roles,
        purposes=wanted.purposes,
        secret_connections=wanted.secret_connections,
        policy_uri=wanted.policy_url,
        initiate_login_uri=wanted.launch_url,
        **_organization(composition, wanted.organization),
        **keys,
    )


def show(settings: Settings, console: Console) -> None:
    """Print the clients."""
    with shared_composition(settings) as composition:
        found = composition.smart().clients.all()
    print_table(console, _HEADINGS, map(_row, found))
    if any(one.registered_itself for one in found):
        say(Text("* has registered itself", "* s’est inscrit lui-même"))


def rotate(settings: Settings, client_id: str, jwks: Path | None, jwks_url: str) -> None:
    """Give a client another secret or other keys; raises ``CommandFailed``."""
    with shared_composition(settings) as composition:
        clients, ground = composition.smart().clients, composition.smart().ground
        found = clients.find(client_id)
        if found is None:
            raise CommandFailed(_UNKNOWN)
        keys = _keys(composition, jwks, jwks_url)
        if found.auth_method == "none":
            raise CommandFailed(_PUBLIC_KEYS if keys else _NOTHING)
        if found.auth_method == "private_key_jwt" and not keys:
            raise CommandFailed(_NO_KEYS)
        secret = "" if keys else ground.secret()
        proof = {"jwks": None, "jwks_uri": "", **keys} if keys else {}
        method = "private_key_jwt" if keys else "client_secret_basic"
        clients.change(client_id, auth_method=method, secret=digest(secret) if secret else "", **proof)
        _tell(composition, "client-rotated", found)
    _print_proof(client_id, secret)


def remove(settings: Settings, client_id: str) -> None:
    """End a client and all its tokens; raises ``CommandFailed``."""
    with shared_composition(settings) as composition:
        found = composition.smart().clients.find(client_id)
        if found is None or not end_client(composition.smart().ground, client_id):
            raise CommandFailed(_UNKNOWN)
        _tell(composition, "client-removed", found)
    say(Text("Removed; all its tokens have ended.", "Supprimé ; tous ses jetons sont terminés."))


def _row(client: Client) -> tuple[str, ...]:
    name = f"{client.name} *" if client.registered_itself else client.name
    made = client.created.strftime("%Y-%m-%d")
    return client.id, name, client.kind, client.auth_method, ", ".join(client.roles), client.scope, made


def _tell(composition: Composition, code: SecurityCode, client: Client) -> None:
    composition.security_log().tell(SecurityEvent(code, COMMAND_LINE, about=to_client_actor(client)))


def _print_proof(client_id: str, secret: str) -> None:
    click.echo(f"client_id      {client_id}")
    if secret:
        click.echo(f"client_secret  {secret}")
        say(
            Text(
                "The secret is shown this once; only its hash is kept.",
                "Le secret n’est montré que cette fois ; seule son empreinte est conservée.",
            )
        )


def _keys(composition: Composition, path: Path | None, url: str) -> dict[str, Any]:
    """Return the attributes of the keys given, {} without any."""
    if path is not None and url:
        raise CommandFailed(_NOT_BOTH)
    try:
        if url:
            composition.smart().key_sets.fetcher.check(url)
            return {"jwks_uri": url}
        if path is None:
            return {}
        keys = parse_key_set(json.loads(path.read_bytes()))
    except (KeysRefused, FetchRefused, ValueError) as error:
        raise CommandFailed(Text(f"These keys cannot be used: {error}.", f"Clés inutilisables : {error}.")) from None
    if not keys:
        raise CommandFailed(
            Text(
                "The set has no key for RS384 or ES384 that has a kid.",
                "L’ensemble n’a aucune clé pour RS384 ou ES384 qui porte un kid.",
            )
        )
    return {"jwks": {"keys": list(keys)}}


def _check_addresses(option: str, addresses: tuple[str, ...]) -> None:
    for address in addresses:
        problem = problem_with(address)
        if problem is not None:
            raise CommandFailed(Text(f"{option} {address}: {problem}.", f"{option} {address} est refusé ({problem})."))


def _check_scope(scope: str, kind: ClientKind, base_url: str) -> None:
    wrong = list(parse_scopes(scope).refused)
    for word in scope.split():
        one = parse_scope(word)
        if one is not None and ((one.context == "system") != (kind == "backend") or not is_enforceable(one, base_url)):
            wrong.append(word)
    if wrong:
        listed = ", ".join(wrong)
        raise CommandFailed(
            Text(f"Such a client cannot be granted: {listed}.", f"Un tel client ne peut pas recevoir : {listed}.")
        )


def _organization(composition: Composition, id: str | None) -> dict[str, Any]:
    if id is None:
        return {}
    found = composition.store().get(f"Organization/{id}")
    if found is None or found.body is None:
        raise CommandFailed(Text(f"The server has no Organization/{id}.", f"Le serveur n’a pas d’Organization/{id}."))
    identifiers = json.loads(found.body).get("identifier", [])
    named = tuple(f"{one['system']}|{one['value']}" for one in identifiers if "system" in one and "value" in one)
    return {"organization": f"Organization/{id}", "organization_identifiers": named}
