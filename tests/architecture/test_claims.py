"""What the project says of itself is true."""

import ast
import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from fhir_server.commands.conformance import build_files, stale_files
from fhir_server.packaged import packaged_folder
from fhir_server.settings import Settings


def test_the_readme_lists_every_setting_with_its_default(root: Path) -> None:
    readme = (root / "README.md").read_text(encoding="utf-8")
    table = readme.partition("<!-- settings -->")[2].partition("<!-- /settings -->")[0]
    wanted = [
        f"| `{row.variable}` | {f'`{row.default}`' if row.default else ''} | {row.meaning} |"
        for row in Settings.table()
    ]
    assert table.strip().splitlines()[2:] == wanted


def test_every_setting_does_something(modules: dict[str, ast.Module]) -> None:
    read = {
        node.attr
        for path, module in modules.items()
        if path != "fhir_server/settings.py"
        for node in ast.walk(module)
        if isinstance(node, ast.Attribute)
    }
    assert [each.name for each in fields(Settings) if each.name not in read] == []


def test_the_readme_stays_short_enough_to_be_read(root: Path) -> None:
    assert len((root / "README.md").read_text(encoding="utf-8").splitlines()) <= 330


def test_the_changelog_names_the_version(root: Path) -> None:
    changelog = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    version = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert "## Unreleased" in changelog or f"## {version}" in changelog


@pytest.mark.parametrize("name", ["profiles", "terminologies", "conformance"])
def test_the_folders_that_ship_are_found_in_the_checkout(root: Path, name: str) -> None:
    assert packaged_folder(name) == root / name


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_a_lock_names_hashes_and_no_address(root: Path, lock: str) -> None:
    text = (root / lock).read_text(encoding="utf-8")
    pinned = re.findall(r"^([a-z0-9-]+)==\S+(?: ; .+)? \\\n    --hash=sha256:", text, re.MULTILINE)
    assert len(pinned) == text.count("==") - text.count(" == ")
    assert "://" not in text
    assert "--find-links" not in text
    assert "--index-url" not in text


def test_both_locks_agree_on_what_runs(root: Path) -> None:
    def versions(lock: str) -> set[str]:
        return set(re.findall(r"^\S+==\S+", (root / lock).read_text(encoding="utf-8"), re.MULTILINE))

    assert versions("requirements.lock") <= versions("requirements-dev.lock")


def test_what_the_server_says_of_itself_is_not_stale(root: Path) -> None:
    assert stale_files(root / "conformance") == []
    assert {path.name for path in (root / "conformance").glob("*.json")} == set(build_files())
