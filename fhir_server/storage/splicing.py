"""Documents put together of fields and of bytes that many of them share, encoded once: for what is written very often.

A document is its length, its elements one after the other, and a zero; an array is a document whose names are numbers.
Spec: https://bsonspec.org/spec.html
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from struct import Struct
from typing import Any, NamedTuple

import bson
from bson.codec_options import CodecOptions
from bson.datetime_ms import DatetimeMS
from bson.raw_bson import RawBSONDocument

from fhir_server.storage.documents import CODEC, READ_CODEC

_RAW: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument, tz_aware=True, tzinfo=UTC)
Stored = RawBSONDocument
"""A document that is encoded already, as it is stored."""

_LENGTH, _MOMENT = Struct("<i").pack, Struct("<q").pack
_AROUND = 5
"""Bytes of a document that are no element: its length and its end."""


class Items(NamedTuple):
    """The strings that a list has in all documents, encoded: its name, how many they are, and they."""

    name: str
    number: int
    encoded: bytes


@dataclass(frozen=True, slots=True, eq=False)
class Pattern:
    """Elements of a document with gaps: moments to be told, and lists of strings that more may be added to.

    ``start`` has ``%b`` for each moment.
    """

    start: bytes
    lists: tuple[Items, ...]
    _text: bytes = field(init=False, repr=False)
    """The elements, with ``%b`` for each moment, and for each list's length and what is added to it."""

    def __post_init__(self) -> None:
        parts = [b"\x04%b\0%%b%b%%b\0" % (_plain(one.name.encode()), _plain(one.encoded)) for one in self.lists]
        object.__setattr__(self, "_text", b"".join((self.start, *parts)))

    def fill(self, moments: Iterable[int], more: Sequence[Iterable[str]]) -> bytes:
        """Return the elements with the moments, in milliseconds since 1970, and further strings for each list."""
        # By hand and in one go: the driver takes a microsecond to begin.
        gaps = [_MOMENT(moment) for moment in moments]
        for (_, number, encoded), added in zip(self.lists, more, strict=True):
            items = _to_items(added, number)
            gaps += (_LENGTH(len(encoded) + len(items) + _AROUND), items)
        return self._text % tuple(gaps)

    def with_items(self, more: Mapping[str, Sequence[str]]) -> "Pattern":
        """Return the pattern with further strings in some of its lists, after which still more may be added."""
        return Pattern(self.start, tuple(_added(one, more.get(one.name, ())) for one in self.lists))


def build_pattern(fields: Mapping[str, Any], moments: Sequence[str], lists: Mapping[str, Sequence[str]]) -> Pattern:
    """Return the pattern of fields that are the same in all documents, and of others that are filled each time."""
    start = _plain(bson.encode(fields, codec_options=CODEC)[4:-1])
    gaps = [b"\x09%b\0%%b" % _plain(name.encode()) for name in moments]
    return Pattern(b"".join((start, *gaps)), tuple(_added(Items(name, 0, b""), each) for name, each in lists.items()))


def _added(items: Items, values: Sequence[str]) -> Items:
    return Items(items.name, items.number + len(values), items.encoded + _to_items(values, items.number))


def _plain(text: bytes) -> bytes:
    """Return bytes that stand for themselves in a pattern."""
    return text.replace(b"%", b"%%")


def to_document(own: Mapping[str, Any], shared: bytes = b"") -> RawBSONDocument:
    """Return the document of its own fields and of elements that it shares with others, ready to be stored."""
    encoded = bson.encode(own, codec_options=CODEC)
    if shared:
        encoded = b"".join([_LENGTH(len(encoded) + len(shared)), encoded[4:-1], shared, b"\0"])
    return RawBSONDocument(encoded, _RAW)


def to_moment(milliseconds: int) -> Any:
    """Return what stands in a document's own fields for a moment, given by its milliseconds since 1970."""
    return DatetimeMS(milliseconds)


def from_document(document: RawBSONDocument) -> dict[str, Any]:
    """Return a document that is ready to be stored as it would be read."""
    return bson.decode(document.raw, codec_options=READ_CODEC)


def to_stored(document: Mapping[str, Any]) -> RawBSONDocument:
    """Return the document ready to be stored, as it is if it is that already."""
    return document if isinstance(document, RawBSONDocument) else to_document(document)


def _to_items(values: Iterable[str], start: int) -> bytes:
    parts: list[bytes] = []
    for number, value in enumerate(values, start):
        text = value.encode()
        parts += (b"\x02%d\0" % number, _LENGTH(len(text) + 1), text, b"\0")
    return b"".join(parts)
