"""The command line: options and help; what a command does is in ``commands``, imported only when it runs."""

import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from fhir_server import SOFTWARE_VERSION
from fhir_server.commands.terminal import LANGUAGE_VARIABLES, CommandFailed
from fhir_server.errors import Text
from fhir_server.packaged import packaged_folder
from fhir_server.settings import Settings, SettingsError

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(context_settings=_CONTEXT)
@click.version_option(SOFTWARE_VERSION, prog_name="fhir-server")
@click.option("--language", envvar=LANGUAGE_VARIABLES, default="en", help="Language of messages: en or fr.")
def main(language: str) -> None:
    """A personal health record server on HL7 FHIR R4.

    Every setting is an environment variable FHIR_SERVER_…, listed in the README; options win over them.
    Without FHIR_SERVER_MONGODB_URI a database of its own is started and stopped with the command.
    """


@main.command()
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65_535), help="Port to listen on; 0 takes a free one.  [default: 8000]")
@click.option("--workers", type=click.IntRange(1), help="Worker processes, one for each core.  [default: 2]")
@click.option("--data", type=click.Path(path_type=Path), help="Directory of the embedded database and of keys.")
@click.option("--demo", is_flag=True, help="Put a small fictitious record in, once.")
def serve(demo: bool, data: Path | None, **given: Any) -> None:
    """Start the server, and its database if none is named.

    Requests that are running at Ctrl-C or SIGTERM are finished first, then the database is stopped.
    """
    from fhir_server.commands.serve import serve as run

    run(_settings(data_directory=data, **given), demo=demo)


@main.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--url", help="Base of a FHIR server to load over HTTP; without it, straight into the database.")
@click.option("--token", envvar="FHIR_TOKEN", help="Bearer token for --url; better given as FHIR_TOKEN.")
@click.option("--connections", default=4, show_default=True, type=click.IntRange(1, 64), help="How many at a time.")
@click.option("--as-is", is_flag=True, help="Send bundles as they are written; a second run may then duplicate.")
@click.option("--data", type=click.Path(path_type=Path), help="Directory of the embedded database.")
def load(
    paths: tuple[Path, ...], url: str | None, token: str | None, connections: int, as_is: bool, data: Path | None
) -> None:
    """Load files and folders of FHIR resources.

    PATHS are .json, .ndjson or .zip files, also packed as .gz or .bz2 and within one another, or folders of them.
    Transactions and batches are executed, collections and search results put in as one transaction, single resources
    and lines put in by their id.

    It can be repeated: a POST becomes a PUT to the id that the resource brings (or one derived from its content), so
    that a second run changes nothing; --as-is leaves bundles alone. Files of organizations and practitioners go first,
    and what lacks something is tried again at the end.
    """
    from rich.console import Console

    from fhir_server.commands.load import Destination
    from fhir_server.commands.load import load as run

    settings = _settings(data_directory=data)
    run(settings, paths, Destination(url, token, connections), as_is=as_is, console=Console())


@main.command()
@click.argument("types", nargs=-1)
@click.option("--parameter", help="Url of a stored SearchParameter: index by it again, on all of its types.")
@click.option("--data", type=click.Path(path_type=Path), help="Directory of the embedded database.")
def reindex(types: tuple[str, ...], parameter: str | None, data: Path | None) -> None:
    """Index resources anew: all, or those of the TYPES given.

    It may run beside the server, be interrupted and be repeated: what has been done stays done. Resources, versions
    and history are not touched.
    """
    from rich.console import Console

    from fhir_server.commands.reindex import reindex as run

    run(_settings(data_directory=data), types, parameter, Console())


@main.command()
@click.option("--data", type=click.Path(path_type=Path), help="Directory of the embedded database.")
def check(data: Path | None) -> None:
    """Connect to the database, verify the indexes, print versions and counts.

    The status is 1 when something is wrong.
    """
    from rich.console import Console

    from fhir_server.commands.check import check as run

    run(_settings(data_directory=data), Console())


@main.group()
def audit() -> None:
    """The audit: who saw or changed what."""


@audit.command("verify")
@click.option("--day", type=click.DateTime(["%Y-%m-%d"]), help="Only what was sealed on this day (UTC).")
@click.option("--data", type=click.Path(path_type=Path), help="Directory of the embedded database.")
def verify_audit(day: datetime | None, data: Path | None) -> None:
    """Recompute every seal and event of the audit and name what was changed, deleted, inserted or reordered.

    It may run beside the server. The status is 1 when anything is not as it was written.
    """
    from rich.console import Console

    from fhir_server.commands.audit import verify_audit as run

    run(_settings(data_directory=data), day.date() if day else None, Console())


@main.command()
@click.option("--check", "check_only", is_flag=True, help="Write nothing; fail when a file is stale.")
@click.option("--output", type=click.Path(path_type=Path), help="Directory to write to.  [default: conformance/]")
def conformance(check_only: bool, output: Path | None) -> None:
    """Write what the server says of itself: its CapabilityStatement and definitions."""
    from fhir_server.commands.conformance import check_conformance, write_conformance

    directory = output or packaged_folder("conformance")
    if check_only:
        check_conformance(directory)
        return
    for path in write_conformance(directory):
        click.echo(path.name)


@main.group()
def client() -> None:
    """Make and look after the apps and backends that may ask for tokens."""


_DATA = click.option("--data", type=click.Path(path_type=Path), help="Directory of the embedded database.")
_JWKS = click.option(
    "--jwks", type=click.Path(path_type=Path, exists=True), help="File with its public keys, a JWK set."
)
_JWKS_URL = click.option("--jwks-url", default="", help="Address of its public keys, a JWK set.")


@client.command("add")
@click.argument("name")
@click.option("--id", help="Its client id.  [default: made up]")
@click.option("--public", "kind", flag_value="public", help="An app that can keep no secret (browser, phone).")
@click.option("--confidential", "kind", flag_value="confidential", help="An app with a server: a secret, or keys.")
@click.option("--backend", "kind", flag_value="backend", help="A system that acts by itself: keys only.")
@click.option("--scope", default="", help="The most that it may be granted.  [default: by its kind]")
@click.option("--redirect-uri", "redirect_uris", multiple=True, help="Where people are sent back to; may be repeated.")
@click.option(
    "--role", "roles", multiple=True, type=click.Choice(["trusted", "ehr", "auditor"]), help="A further right."
)
@click.option("--organization", metavar="ID", help="The Organization that it acts for.")
@click.option(
    "--purpose",
    "purposes",
    multiple=True,
    type=click.Choice(["bris_de_glace", "centre_15"]),
    help="A purpose of use, besides the normal one, that it may state (IUA); may be repeated.",
)
@click.option("--secret-connections", is_flag=True, help="It may keep its traces from representatives (IUA).")
@click.option("--launch-url", default="", help="Where people open it from their account (EHR launch).")
@click.option("--policy-url", default="", help="Where it says what it does with data.")
@_JWKS
@_JWKS_URL
@_DATA
def client_add(name: str, data: Path | None, **given: Any) -> None:
    """Add a client; NAME is what people read. A secret is printed this once.

    \b
    fhir-server client add "My app" --public --redirect-uri https://app.example/callback
    fhir-server client add "Portal" --confidential --redirect-uri https://portal.example/callback
    fhir-server client add "Hospital" --backend --jwks-url https://hospital.example/jwks --scope system/*.rs
    """
    from fhir_server.commands.client import NewClient, add

    add(_settings(data_directory=data), NewClient(name, **given))


@client.command("list")
@_DATA
def client_list(data: Path | None) -> None:
    """List the clients."""
    from rich.console import Console

    from fhir_server.commands.client import show

    show(_settings(data_directory=data), Console())


@client.command("rotate")
@click.argument("client_id")
@_JWKS
@_JWKS_URL
@_DATA
def client_rotate(client_id: str, jwks: Path | None, jwks_url: str, data: Path | None) -> None:
    """Give a client another secret, printed this once, or other keys; the one before is good no more."""
    from fhir_server.commands.client import rotate

    rotate(_settings(data_directory=data), client_id, jwks, jwks_url)


@client.command("remove")
@click.argument("client_id")
@_DATA
def client_remove(client_id: str, data: Path | None) -> None:
    """End a client and every token that it has."""
    from fhir_server.commands.client import remove

    remove(_settings(data_directory=data), client_id)


@main.command()
@click.option("--account", metavar="ID", help="For this person: the id of an account.")
@click.option("--client", "client_id", metavar="ID", help="For this backend, by itself.")
@click.option("--patient", metavar="ID", help="The patient in context.  [default: the account's own]")
@click.option("--scope", default="", help="What it may do.  [default: as much as such a caller may have]")
@_DATA
def token(account: str | None, client_id: str | None, patient: str | None, scope: str, data: Path | None) -> None:
    """Print an access token, straight from the database: to try things out on this machine.

    \b
    curl -H "Authorization: Bearer $(fhir-server token --account ID)" http://127.0.0.1:8000/fhir/Patient
    """
    from fhir_server.commands.token import WantedToken, issue

    click.echo(issue(_settings(data_directory=data), WantedToken(account, client_id, patient, scope)))


@main.command("rotate-keys")
@_DATA
def rotate_keys(data: Path | None) -> None:
    """Sign identity tokens by new keys from now on; what the old ones have signed stays good."""
    from fhir_server.commands.token import rotate

    rotate(_settings(data_directory=data))


@main.group()
def account() -> None:
    """Make and look after the accounts of people.

    NAME is a login name or the id that `account list` shows. A password is asked for, or read from standard input;
    it is never an argument.
    """


@account.command("add")
@click.argument("login")
@click.option("--patient", metavar="ID", help="The account of this Patient.")
@click.option("--practitioner", metavar="ID", help="The account of this Practitioner; needs --profession.")
@click.option("--operator", is_flag=True, help="The account of somebody who runs the service; opens no record.")
@click.option("--name", help="Name to show.  [default: the person's]")
@click.option("--profession", metavar="CODE", help="Of TRE_G15-ProfessionSante: 10 doctor, 21 pharmacist, 60 nurse …")
@click.option("--specialty", metavar="CODE", default="", help="Of TRE_R38: SM54 general medicine …")
@click.option("--sector", metavar="CODE", default="", help="Of TRE_R02-SecteurActivite: SA07 private practice …")
@click.option("--organization", metavar="ID", help="The Organization in which the practitioner works.")
@click.option("--regulation", is_flag=True, help="The practitioner regulates a SAMU's calls (centre 15).")
@click.option("--role", "roles", multiple=True, type=click.Choice(["auditor"]), help="A further right.")
@click.option("--totp", is_flag=True, help="Set up a one-time password and print its uri, once.")
@_DATA
def account_add(data: Path | None, **given: Any) -> None:
    """Add an account that signs in as LOGIN.

    \b
    fhir-server account add dominique --patient p-279035121518989
    fhir-server account add dr.martin --practitioner 42 --profession 10 --organization 7
    fhir-server account add admin --operator --totp
    """
    from fhir_server.commands.account import NewAccount, add

    add(_settings(data_directory=data), NewAccount(**given))


@account.command("list")
@_DATA
def account_list(data: Path | None) -> None:
    """List the accounts."""
    from rich.console import Console

    from fhir_server.commands.account import show

    show(_settings(data_directory=data), Console())


@account.command("lock")
@click.argument("name")
@_DATA
def account_lock(name: str, data: Path | None) -> None:
    """Lock an account: nobody signs in with it, and its sessions and tokens end at once."""
    from fhir_server.commands.account import lock

    lock(_settings(data_directory=data), name)


@account.command("unlock")
@click.argument("name")
@_DATA
def account_unlock(name: str, data: Path | None) -> None:
    """Open a locked account again."""
    from fhir_server.commands.account import unlock

    unlock(_settings(data_directory=data), name)


@account.command("remove")
@click.argument("name")
@_DATA
def account_remove(name: str, data: Path | None) -> None:
    """Remove an account for good; the person's record stays."""
    from fhir_server.commands.account import remove

    remove(_settings(data_directory=data), name)


@account.command("keys")
@click.argument("name")
@_DATA
def account_keys(name: str, data: Path | None) -> None:
    """List the security keys of an account."""
    from rich.console import Console

    from fhir_server.commands.account import show_keys

    show_keys(_settings(data_directory=data), name, Console())


@account.command("remove-key")
@click.argument("name")
@click.argument("key")
@_DATA
def account_remove_key(name: str, key: str, data: Path | None) -> None:
    """Forget one security key, KEY as `account keys` shows it; the account's sessions end.

    The only second step of an account stays where one is required. A key that begins with a dash comes after --.
    """
    from fhir_server.commands.account import remove_key

    remove_key(_settings(data_directory=data), name, key)


@account.command("reset")
@click.argument("name")
@click.option("--password", is_flag=True, help="Set another password.")
@click.option("--second-factor", is_flag=True, help="Forget authenticator app, security keys and recovery codes.")
@click.option("--totp", is_flag=True, help="Set up a one-time password anew and print its uri, once.")
@_DATA
def account_reset(name: str, password: bool, second_factor: bool, totp: bool, data: Path | None) -> None:
    """Give an account another password, or take its second factors away; its sessions and tokens end."""
    from fhir_server.commands.account import reset

    reset(_settings(data_directory=data), name, password=password, second_factor=second_factor, totp=totp)


def _settings(**given: Any) -> Settings:
    """Return the settings; raises ``CommandFailed`` with all that is wrong with them."""
    try:
        return Settings.from_environment(**given)
    except SettingsError as error:
        listed = "\n".join(f"- {problem}" for problem in error.problems)
        raise CommandFailed(
            Text(f"The settings cannot be used:\n{listed}", f"Réglages inutilisables :\n{listed}")
        ) from None


if __name__ == "__main__":
    sys.exit(main())
