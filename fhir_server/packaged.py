"""Finds ``profiles/``, ``terminologies/`` and ``conformance/``: in the installed package, or at the checkout's root."""

from pathlib import Path
from typing import Literal

Folder = Literal["profiles", "terminologies", "conformance"]

_PACKAGE = Path(__file__).parent


def packaged_folder(name: Folder) -> Path:
    """Return the folder's path; raises ``FileNotFoundError`` when the installation is not whole."""
    for parent in (_PACKAGE, _PACKAGE.parent):
        if (parent / name / "README.md").is_file():
            return parent / name
    raise FileNotFoundError(f"{name}/ is missing: the package was built or copied without it")
