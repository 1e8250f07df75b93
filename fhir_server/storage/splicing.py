"""Documents put together of fields and of bytes that many of them share, encoded once: for what is written very often.

A document is its length, its elements one after the other, and a zero; an array is a document whose names are numbers.
Spec: https://bsonspec.org/spec.html
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from struct import Struct
from typing import Any

import bson
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument

from fhir_server.storage.documents import CODEC

_RAW: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument, tz_aware=True, tzinfo=UTC)
_LENGTH, _MOMENT = Struct("<i").pack, Struct("<q").pack
_AROUND = 5
"""Bytes of a document that are no element: its length and its end."""


@dataclass(frozen=True, slots=True, eq=False)
class Pattern:
    """Elements of a document with gaps: moments to be told, and lists of strings that more may be added to."""

    text: bytes
    """The elements, with ``%b`` for each moment, and for each list's length and what is added to it."""
    lists: tuple[tuple[int, int], ...]
    """Of each list how many strings it has, and its length."""

    def fill(self, moments: Iterable[int], more: Sequence[Iterable[str]]) -> bytes:
        """Return the elements with the moments, in milliseconds since 1970, and further strings for each list."""
        # By hand and in one go: the driver takes a microsecond to begin.
        gaps = [_MOMENT(moment) for moment in moments]
        for (count, length), added in zip(self.lists, more, strict=True):
            items = _to_items(added, count)
            gaps += (_LENGTH(length + len(items)), items)
        return self.text % tuple(gaps)


def build_pattern(fields: Mapping[str, Any], moments: Sequence[str], lists: Mapping[str, Sequence[str]]) -> Pattern:
    """Return the pattern of fields that are the same in all documents, and of others that are filled each time."""
    parts = [_plain(bson.encode(fields, codec_options=CODEC)[4:-1])]
    parts += [b"\x09%b\0%%b" % _plain(name.encode()) for name in moments]
    stored = [_to_items(each, 0) for each in lists.values()]
    for name, items in zip(lists, stored, strict=True):
        parts.append(b"\x04%b\0%%b%b%%b\0" % (_plain(name.encode()), _plain(items)))
    counts = zip(lists.values(), stored, strict=True)
    return Pattern(b"".join(parts), tuple((len(each), len(items) + _AROUND) for each, items in counts))


def _plain(text: bytes) -> bytes:
    """Return bytes that stand for themselves in a pattern."""
    return text.replace(b"%", b"%%")


def to_document(own: Mapping[str, Any], shared: bytes = b"") -> RawBSONDocument:
    """Return the document of its own fields and of elements that it shares with others, ready to be stored."""
    encoded = bson.encode(own, codec_options=CODEC)
    if shared:
        encoded = b"".join([_LENGTH(len(encoded) + len(shared)), encoded[4:-1], shared, b"\0"])
    return RawBSONDocument(encoded, _RAW)


def to_stored(document: Mapping[str, Any]) -> RawBSONDocument:
    """Return the document ready to be stored, as it is if it is that already."""
    return document if isinstance(document, RawBSONDocument) else to_document(document)


def _to_items(values: Iterable[str], start: int) -> bytes:
    parts: list[bytes] = []
    for number, value in enumerate(values, start):
        text = value.encode()
        parts += (b"\x02%d\0" % number, _LENGTH(len(text) + 1), text, b"\0")
    return b"".join(parts)
