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
