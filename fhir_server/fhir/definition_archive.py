"""The container of compiled definitions: named zlib chunks behind one small table of contents.

Layout: ``MAGIC``, the length of the table of contents (4 bytes, big-endian), the table (zlib, JSON), the chunks.
The table holds ``types`` (type name → [kind, base, abstract]) and ``chunks`` (name → [offset, length]). Artifacts
(whole ValueSets, StructureDefinitions …) stand together in blocks of about 128 kB, which compress four times better
than one by one; the chunk ``index/<kind>`` says where each begins. The file is opened for each read and never kept
open, so any number of threads and forked or spawned processes may read at once.
"""

import json
import zlib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

MAGIC = b"FHIRDEF1"
_HEADER = len(MAGIC) + 4
_BLOCK_SIZE = 128 * 1024


class Archive:
    """Random access to one container file; raises ``ValueError`` when the file is not one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise ValueError(f"{path.name} is not a file of compiled FHIR definitions")
            size = int.from_bytes(file.read(4), "big")
            contents = json.loads(zlib.decompress(file.read(size)))
        self._start = _HEADER + size
        self._chunks: dict[str, tuple[int, int]] = {name: (at, n) for name, (at, n) in contents["chunks"].items()}
        self.types: dict[str, tuple[str, str | None, bool]] = {
            name: (kind, base, abstract) for name, (kind, base, abstract) in contents["types"].items()
        }
        self._block = lru_cache(maxsize=2)(self._read)
        self._index = lru_cache(maxsize=None)(self._read_index)

    def __contains__(self, name: str) -> bool:
        return name in self._chunks

    def chunk(self, name: str) -> Any:
        """Return the parsed JSON of a chunk; ``KeyError`` when there is none."""
        return json.loads(self._read(name))

    def urls(self, kind: str) -> tuple[str, ...]:
        """Return the canonical urls of all artifacts of a kind, sorted; none for an unknown kind."""
        return tuple(self._index(kind)) if f"index/{kind}" in self._chunks else ()

    def artifact(self, kind: str, url: str) -> dict[str, Any] | None:
        """Return a fresh copy of one artifact, or nothing."""
        if f"index/{kind}" not in self._chunks:
            return None
        place = self._index(kind).get(url)
        if place is None:
            return None
        block, start, length = place
        content: dict[str, Any] = json.loads(self._block(f"block/{kind}/{block}")[start : start + length])
        return content

    def _read(self, name: str) -> bytes:
        offset, length = self._chunks[name]
        with self._path.open("rb") as file:
            file.seek(self._start + offset)
            return zlib.decompress(file.read(length))

    def _read_index(self, kind: str) -> dict[str, tuple[int, int, int]]:
        return {url: (place[0], place[1], place[2]) for url, place in self.chunk(f"index/{kind}").items()}


def build_archive(
    types: Mapping[str, tuple[str, str | None, bool]],
    chunks: Mapping[str, Any],
    artifacts: Mapping[str, Mapping[str, Any]],
) -> bytes:
    """Return the container holding the chunks and artifacts (kind → url → content); equal input gives equal bytes."""
    packed = {name: _pack(_dump(chunks[name])) for name in sorted(chunks)}
    for kind in sorted(artifacts):
        packed.update(_artifact_chunks(kind, artifacts[kind]))
    table: dict[str, tuple[int, int]] = {}
    offset = 0
    for name, data in packed.items():
        table[name] = (offset, len(data))
        offset += len(data)
    contents = _pack(_dump({"types": dict(sorted(types.items())), "chunks": table}))
    return b"".join((MAGIC, len(contents).to_bytes(4, "big"), contents, *packed.values()))


def _artifact_chunks(kind: str, artifacts: Mapping[str, Any]) -> Iterable[tuple[str, bytes]]:
    index: dict[str, tuple[int, int, int]] = {}
    block, number = bytearray(), 0
    for url in sorted(artifacts):
        content = _dump(artifacts[url])
        index[url] = (number, len(block), len(content))
        block += content
        if len(block) >= _BLOCK_SIZE:
            yield f"block/{kind}/{number}", _pack(bytes(block))
            block, number = bytearray(), number + 1
    yield f"block/{kind}/{number}", _pack(bytes(block))
    yield f"index/{kind}", _pack(_dump(index))


def _dump(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _pack(data: bytes) -> bytes:
    return zlib.compress(data, 9)
