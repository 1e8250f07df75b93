"""Request bodies: read up to a bound and no further, unpacked up to the same bound.

Spec: http://hl7.org/fhir/R4/http.html#compression
"""

import zlib
from typing import Any, Protocol

from fhir_server.errors import Invalid, Text, TooLong, UnsupportedMediaType

_CHUNK = 1 << 16

_BAD_LENGTH = Text("The header Content-Length is not a number.", "L’en-tête Content-Length n’est pas un nombre.")
_CUT = Text("The body is shorter than Content-Length says.", "Le corps est plus court que ne l’annonce Content-Length.")
_ENCODING = Text(
    "The body's Content-Encoding is not understood; gzip and identity are.",
    "Le Content-Encoding du corps n’est pas compris ; gzip et identity le sont.",
)
_NOT_GZIP = Text("The body is not whole, valid gzip.", "Le corps n’est pas du gzip complet et valide.")


class Stream(Protocol):
    """The part of ``wsgi.input`` that is used."""

    def read(self, size: int = ...) -> bytes:
        """Return at most ``size`` bytes; none at the end."""


def read_body(environ: dict[str, Any], limit: int) -> bytes:
    """Return the whole body, unpacked.

    Raises ``TooLong`` (413) before reading when Content-Length is over ``limit``, and as soon as a chunked or packed
    body grows over it; ``UnsupportedMediaType`` for an unknown encoding; ``Invalid`` for a broken one.
    """
    length = _announced(environ)
    if length is not None and length > limit:
        raise _too_long(limit)
    encoding = environ.get("HTTP_CONTENT_ENCODING", "").strip().lower()
    if encoding not in ("", "identity", "gzip", "x-gzip"):
        raise UnsupportedMediaType(_ENCODING)
    if length is None and not environ.get("wsgi.input_terminated"):
        return b""
    data = _read(environ["wsgi.input"], length, limit)
    return unpack(data, limit) if encoding.endswith("gzip") and data else data


def unpack(data: bytes, limit: int) -> bytes:
    """Return the content of gzip data; raises ``TooLong`` as soon as it grows over ``limit``."""
    machine = zlib.decompressobj(wbits=31)
    try:
        content = machine.decompress(data, limit + 1)
    except zlib.error:
        raise Invalid(_NOT_GZIP) from None
    if len(content) > limit:
        raise _too_long(limit)
    if not machine.eof or machine.unused_data:
        raise Invalid(_NOT_GZIP)
    return content


def _announced(environ: dict[str, Any]) -> int | None:
    text = environ.get("CONTENT_LENGTH") or ""
    if not text:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise Invalid(_BAD_LENGTH)
    return int(text)


def _read(stream: Stream, length: int | None, limit: int) -> bytes:
    """Read ``length`` bytes, or to the end of a chunked body but no further than one byte over ``limit``."""
    bound = limit + 1 if length is None else length
    if bound == 0:
        return b""
    data = stream.read(bound if length is not None else min(bound, _CHUNK))
    if len(data) == bound or not data:
        pieces = [data]
        size = len(data)
    else:
        pieces, size = _read_on(stream, data, bound)
    if length is None and size > limit:
        raise _too_long(limit)
    if length is not None and size < length:
        raise Invalid(_CUT)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _read_on(stream: Stream, first: bytes, bound: int) -> tuple[list[bytes], int]:
    pieces, size = [first], len(first)
    while size < bound and (piece := stream.read(min(bound - size, _CHUNK))):
        pieces.append(piece)
        size += len(piece)
    return pieces, size


def _too_long(limit: int) -> TooLong:
    return TooLong(
        Text(
            f"The body is larger than the {limit} bytes that this server takes.",
            f"Le corps dépasse les {limit} octets que ce serveur accepte.",
        )
    )
