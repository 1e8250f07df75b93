"""``fhir-server conformance``: what the server says of itself, written to ``conformance/`` to be read and published.

The files are generated from the code, with default settings; a test fails when they are stale.
Spec: http://hl7.org/fhir/R4/capabilitystatement.html
"""

import json
from pathlib import Path
from typing import Any

from fhir_server.commands.terminal import CommandFailed
from fhir_server.errors import Text
from fhir_server.fhir.json import to_json
from fhir_server.interactions.capabilities import build_capability_statement
from fhir_server.interactions.operation_definition import build_operation_definitions
from fhir_server.settings import Settings

BASE_URL = "http://127.0.0.1:8000/fhir"


def build_files() -> dict[str, bytes]:
    """Return the content of every file by its name."""
    statement = build_capability_statement(Settings.from_environment({}), BASE_URL)
    definitions = {f"OperationDefinition-{id}": one for id, one in build_operation_definitions().items()}
    return {
        f"{name}.json": _lines(one) for name, one in ({"CapabilityStatement-server": statement} | definitions).items()
    }


def write_conformance(directory: Path) -> list[Path]:
    """Write what has changed and return the paths."""
    directory.mkdir(parents=True, exist_ok=True)
    changed, files = stale_files(directory), build_files()
    for path in changed:
        path.write_bytes(files[path.name])
    return changed


def check_conformance(directory: Path) -> None:
    """Raise ``CommandFailed`` naming the files that do not say what the code does."""
    stale = stale_files(directory)
    if stale:
        names = ", ".join(path.name for path in stale)
        raise CommandFailed(
            Text(
                f"Stale in {directory.name}/: {names}. Run `fhir-server conformance`.",
                f"Périmé dans {directory.name}/ : {names}. Lancez `fhir-server conformance`.",
            )
        )


def stale_files(directory: Path) -> list[Path]:
    """Return the paths of files that are missing or differ from what the code would write."""
    return [
        directory / name
        for name, content in build_files().items()
        if not (directory / name).is_file() or (directory / name).read_bytes() != content
    ]


def _lines(resource: dict[str, Any]) -> bytes:
    """Return JSON that a reviewer can compare line by line."""
    return json.dumps(json.loads(to_json(resource)), indent=1, ensure_ascii=False).encode() + b"\n"
