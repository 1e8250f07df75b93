"""The embedded mongod finds its libraries, or says which one is missing."""

from pathlib import Path

import pytest

from fhir_server.storage.data_lock import EmbeddedDatabaseError
from fhir_server.storage.shared_libraries import find_environment

MISSING = "error while loading shared libraries: {}: cannot open shared object file"


def program(directory: Path, script: str) -> Path:
    path = directory / "mongod"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o700)
    return path


def test_a_program_that_starts_needs_no_environment(tmp_path: Path) -> None:
    assert find_environment(program(tmp_path, "exit 0"), tmp_path) is None


def test_a_missing_libcurl_is_taken_from_the_wheel_that_carries_one(tmp_path: Path) -> None:
    complaint = MISSING.format("libcurl.so.4")
    binary = program(
        tmp_path, f'[ -e "${{LD_LIBRARY_PATH%%:*}}/libcurl.so.4" ] || {{ echo "{complaint}" >&2; exit 127; }}'
    )
    environment = find_environment(binary, tmp_path)
    assert environment is not None
    first, second = environment["LD_LIBRARY_PATH"].split(":")
    assert (Path(first) / "libcurl.so.4").resolve().parent == Path(second)


def test_any_other_missing_library_is_named(tmp_path: Path) -> None:
    binary = program(tmp_path, f'echo "{MISSING.format("libssl.so.3")}" >&2; exit 127')
    with pytest.raises(EmbeddedDatabaseError, match=r"libssl\.so\.3") as raised:
        find_environment(binary, tmp_path)
    assert "libssl.so.3" in raised.value.text.fr
