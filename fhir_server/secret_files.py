"""Files that the server makes for itself and nobody else may read: keys."""

import os
import threading
from collections.abc import Callable
from pathlib import Path


def make_once(path: Path, build: Callable[[], bytes]) -> None:
    """Write a new file, mode 0600, unless it is there: of several processes at once, the first one's file stays."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = _draft(path, build())
    try:
        os.link(draft, path)
    except FileExistsError:
        return
    finally:
        draft.unlink()


def replace(path: Path, content: bytes) -> None:
    """Put new content in the file's place at once, mode 0600; a reader sees the old or the new, never a part."""
    os.replace(_draft(path, content), path)


def _draft(path: Path, content: bytes) -> Path:
    draft = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return draft
