"""Files of records read piece by piece: ``.json``, ``.ndjson``, packed with gzip or bzip2, in zip archives, nested.

Nothing is unpacked to disk, so a name inside an archive can lead nowhere; what unpacks to more than the bound is
refused while it grows.
"""

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from fhir_server.errors import Text

MAX_DOCUMENT = 512 << 20
"""Most bytes of one document or line, unpacked."""

_MAX_MEMBERS = 100_000
_MAX_NESTING = 4
_LINES_TOGETHER = 200
_BYTES_TOGETHER = 4 << 20
_FIRST = ("hospital", "organization", "location", "practitioner")
_PACKED = (".gz", ".bz2")
_KNOWN = (".json", ".ndjson", ".jsonl", ".zip")

_TOO_LARGE = Text("is larger than can be loaded when unpacked", "est trop volumineux une fois décompressé")
_NESTED = Text("holds archives nested too deeply", "contient des archives trop imbriquées")
_BROKEN = Text("is not a whole, valid archive", "n’est pas une archive complète et valide")
_MANY = Text("holds too many files", "contient trop de fichiers")
_UNKNOWN = Text("is not a .json, .ndjson or .zip file (also packed as .gz or .bz2)", "n’est pas un fichier reconnu")
_NOT_FOUND = Text("does not exist or is no regular file", "n’existe pas ou n’est pas un fichier ordinaire")


class Unreadable(Exception):
    """A file or a part of an archive cannot be read; ``text`` says why."""

    def __init__(self, origin: str, text: Text) -> None:
        self.origin = origin
        self.text = text
        super().__init__(f"{origin} {text.en}")


@dataclass(frozen=True, slots=True)
class Piece:
    """One document, or some lines of one: ``first`` is the number of the first line."""

    origin: str
    kind: Literal["document", "lines"]
    content: bytes
    first: int = 1


def find_files(paths: Iterable[Path]) -> tuple[list[Path], list[Unreadable]]:
    """Return the files to load, those first that others are likely to refer to, and what cannot be loaded."""
    files: dict[Path, None] = {}
    problems = []
    for path in paths:
        if path.is_dir():
            inside = (each for each in sorted(path.rglob("*")) if each.is_file() and _is_known(each.name))
            files.update(dict.fromkeys(inside))
        elif not path.is_file():
            problems.append(Unreadable(str(path), _NOT_FOUND))
        elif not _is_known(path.name):
            problems.append(Unreadable(str(path), _UNKNOWN))
        else:
            files[path] = None
    return sorted(files, key=goes_later), problems


def goes_later(path: Path) -> bool:
    """Return ``False`` for files that by their name hold what records of patients refer to."""
    name = path.name.lower()
    return not any(word in name for word in _FIRST)


def read_pieces(path: Path) -> Iterator[Piece]:
    """Yield what one file holds. Raises ``Unreadable`` where it cannot go on."""
    with path.open("rb") as file:
        yield from _pieces(str(path), path.name.lower(), file, 0)


def _pieces(origin: str, name: str, stream: IO[bytes], depth: int) -> Iterator[Piece]:
    try:
        if name.endswith(".gz"):
            yield from _pieces(origin, name[:-3], _buffered(gzip.GzipFile(fileobj=stream)), depth)
        elif name.endswith(".bz2"):
            yield from _pieces(origin, name[:-4], _buffered(bz2.BZ2File(stream)), depth)
        elif name.endswith(".zip"):
            yield from _archive(origin, stream, depth)
        elif name.endswith((".ndjson", ".jsonl")):
            yield from _lines(origin, stream)
        else:
            yield Piece(origin, "document", _bounded(origin, stream))
    except (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, RuntimeError, NotImplementedError):
        # RuntimeError is how zipfile says that a member is encrypted.
        raise Unreadable(origin, _BROKEN) from None


def _archive(origin: str, stream: IO[bytes], depth: int) -> Iterator[Piece]:
    if depth >= _MAX_NESTING:
        raise Unreadable(origin, _NESTED)
    if depth:
        stream = io.BytesIO(_bounded(origin, stream))
    with zipfile.ZipFile(stream) as archive:
        members = [each for each in archive.infolist() if not each.is_dir() and _is_known(each.filename)]
        if len(members) > _MAX_MEMBERS:
            raise Unreadable(origin, _MANY)
        for member in sorted(members, key=lambda each: goes_later(Path(each.filename))):
            with archive.open(member) as inside:
                yield from _pieces(f"{origin}!{member.filename}", member.filename.lower(), inside, depth + 1)


def _lines(origin: str, stream: IO[bytes]) -> Iterator[Piece]:
    together: list[bytes] = []
    size, first, number = 0, 1, 0
    while line := stream.readline(MAX_DOCUMENT + 1):
        number += 1
        if len(line) > MAX_DOCUMENT:
            raise Unreadable(f"{origin}:{number}", _TOO_LARGE)
        together.append(line)
        size += len(line)
        if len(together) >= _LINES_TOGETHER or size >= _BYTES_TOGETHER:
            yield Piece(origin, "lines", b"".join(together), first)
            together, size, first = [], 0, number + 1
    if together:
        yield Piece(origin, "lines", b"".join(together), first)


def _bounded(origin: str, stream: IO[bytes]) -> bytes:
    content = stream.read(MAX_DOCUMENT + 1)
    if len(content) > MAX_DOCUMENT:
        raise Unreadable(origin, _TOO_LARGE)
    return content


def _buffered(stream: io.RawIOBase | gzip.GzipFile | bz2.BZ2File) -> IO[bytes]:
    return io.BufferedReader(stream, 1 << 20)


def _is_known(name: str) -> bool:
    plain = name.lower()
    while plain.endswith(_PACKED):
        plain = plain.rpartition(".")[0]
    return plain.endswith(_KNOWN)


def total_size(files: Sequence[Path]) -> int:
    """Return the bytes of all files as they lie on disk."""
    return sum(path.stat().st_size for path in files)
