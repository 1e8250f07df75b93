"""The audit's packs taken apart: with the frames that they need, which are kept beside them and never change."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from fhir_server.storage.connection import Connection, translated
from fhir_server.storage.store import StoreUnavailable

EVENTS = "audit"
FRAMES = "AuditFrame/"
"""Begins the ``_id`` of a frame, ``{_id, text}``, in the collection of the events."""

_MOST = 10_000
_MISSING = "A part of the audit that these events need is not in the database."


class Unpack(Protocol):
    """Takes a pack apart."""

    def __call__(
        self, pack: Mapping[str, Any], frame: bytes, naming: frozenset[str] | None = None, *, whole: bool = True
    ) -> Iterator[dict[str, Any]]:
        """Yield the events of a stored pack, given its frame's text, in the order of their ids.

        ``naming``: those alone that refer to one of these. Unless ``whole`` they have reference, moments and what they
        refer to (``r``, ``x``, ``c``, ``pt``) alone.
        """


def no_packs(
    pack: Mapping[str, Any], frame: bytes, naming: frozenset[str] | None = None, *, whole: bool = True
) -> Iterator[dict[str, Any]]:
    """Refuse to take anything apart, for who stores no packs."""
    raise NotImplementedError("this store was opened by who cannot read packs")


def to_frame_id(key: bytes) -> str:
    """Return the ``_id`` under which a frame is kept."""
    return f"{FRAMES}{key.hex()}"


class Frames:
    """The frames of one database, the latest kept in memory, and what is taken apart with them."""

    def __init__(self, connection: Connection, unpack: Unpack) -> None:
        self._connection = connection
        self._unpack = unpack
        self._texts: dict[bytes, bytes] = {}

    def unpacked(
        self,
        documents: Sequence[dict[str, Any]],
        naming: frozenset[str] | None = None,
        *,
        backward: bool = False,
        whole: bool = True,
    ) -> Iterator[dict[str, Any]]:
        """Yield the events of stored documents: those that are whole as they are, those of packs one by one.

        ``naming``, ``whole`` as in ``Unpack``; ``backward``: the last of a pack first.
        Raises ``StoreUnavailable`` if a frame is missing.
        """
        texts = self.texts({one["frame"] for one in documents if "frame" in one})
        for one in documents:
            if "frame" not in one:
                yield one
            elif one["frame"] not in texts:
                raise StoreUnavailable(_MISSING)
            else:
                events = self._unpack(one, texts[one["frame"]], naming, whole=whole)
                yield from reversed(list(events)) if backward else events

    def texts(self, keys: Iterable[bytes]) -> dict[bytes, bytes]:
        """Return the texts of the frames that there are, by key. One round trip, none for those in memory."""
        wanted, known = set(keys), self._texts
        missing = [key for key in wanted if key not in known]
        if missing:
            found = self.stored(missing)
            if len(known) >= _MOST:
                self._texts = known = {key: known[key] for key in wanted if key in known}
            known.update(found)
        return {key: known[key] for key in wanted if key in known}

    def stored(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the texts as they are in the database now, whatever is in memory. One round trip."""
        command = {
            "find": EVENTS,
            "filter": {"_id": {"$in": [to_frame_id(key) for key in keys]}},
            "batchSize": len(keys) + 1,
            "readConcern": {"level": "local"},
        }
        with translated():
            found = self._connection.reader.documents(command)
        return {bytes.fromhex(one["_id"].removeprefix(FRAMES)): one["text"] for one in found}
