"""The folders that ship are found, or their absence is named."""

from pathlib import Path

import pytest

from fhir_server import packaged


def test_an_installed_package_holds_its_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site" / "fhir_server"
    (package / "profiles").mkdir(parents=True)
    (package / "profiles" / "README.md").write_text("x")
    monkeypatch.setattr(packaged, "_PACKAGE", package)
    assert packaged.packaged_folder("profiles") == package / "profiles"


def test_an_installation_that_is_not_whole_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packaged, "_PACKAGE", tmp_path / "site" / "fhir_server")
    with pytest.raises(FileNotFoundError, match="terminologies/ is missing"):
        packaged.packaged_folder("terminologies")
