"""The wheel is whole and runs where no checkout is; so is the source archive."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def built(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the source archive."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", folder], cwd=root, check=True, capture_output=True
    )
    return folder


def test_the_wheel_runs_outside_the_checkout(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    program = (
        "from fhir_server.packaged import packaged_folder\n"
        "for name in ('profiles', 'terminologies', 'conformance'):\n"
        "    print(packaged_folder(name))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=True,
    )
    site = tmp_path / "site" / "fhir_server"
    assert result.stdout.splitlines() == [str(site / name) for name in ("profiles", "terminologies", "conformance")]


def test_the_wheel_holds_every_file_of_the_package(built: Path, root: Path, texts: dict[str, str]) -> None:
    (wheel,) = built.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    shipped = ("profiles/", "terminologies/", "conformance/")
    wanted = {f"fhir_server/{name}" for name in texts if name.startswith(shipped)}
    wanted |= {name for name in texts if name.startswith("fhir_server/")}
    assert wanted - names == set()
    assert not [name for name in names if "__pycache__" in name or name.startswith("tests/")]


def test_the_source_archive_is_complete(built: Path, texts: dict[str, str]) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {name for name in texts if not name.startswith(".git")} - names == set()
