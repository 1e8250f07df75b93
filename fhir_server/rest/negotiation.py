"""Which format and language an answer has, and what a body's media type means.

Negotiation depends on header texts alone, and callers send few different ones: results are kept by text.
Spec: http://hl7.org/fhir/R4/http.html#mime-type, https://www.rfc-editor.org/rfc/rfc9110#name-content-negotiation
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

from fhir_server.errors import Text, UnsupportedMediaType

Format = Literal["json", "xml"]
Kind = Literal["json", "xml", "form", "patch", "other"]

JSON_TYPE = "application/fhir+json"
XML_TYPE = "application/fhir+xml"
CONTENT_TYPES: dict[Format, str] = {"json": f"{JSON_TYPE};charset=utf-8", "xml": f"{XML_TYPE};charset=utf-8"}
FORM_TYPE = "application/x-www-form-urlencoded"

FORMATS: dict[str, Format] = {
    "json": "json",
    JSON_TYPE: "json",
    "application/json": "json",
    "text/json": "json",
    "application/json+fhir": "json",
    "xml": "xml",
    XML_TYPE: "xml",
    "application/xml": "xml",
    "text/xml": "xml",
    "application/xml+fhir": "xml",
}
"""Every name of the two formats, in ``_format``, ``Accept`` and ``Content-Type``."""

PATCH_TYPES = frozenset({"application/json-patch+json", "application/xml-patch+xml"})
VERSIONS = frozenset({"4.0", "4.0.1"})
"""Values of the media type parameter ``fhirVersion`` that name R4."""

CACHED = 512
_LONGEST = 1_000
_QUALITY = re.compile(r"(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)\Z")

_CHARSET = Text("FHIR content is UTF-8; no other charset is read.", "Le contenu FHIR est en UTF-8, sans autre charset.")
_VERSION = Text(
    "This server speaks FHIR R4: the media type parameter fhirVersion can only be 4.0.",
    "Ce serveur parle FHIR R4 : le paramètre fhirVersion du type de média ne peut être que 4.0.",
)


class Range(NamedTuple):
    """One media range of an ``Accept`` header, in lower case."""

    media_type: str
    quality: float
    version: str | None


@dataclass(frozen=True, slots=True)
class Negotiated:
    """The outcome for one request: ``format`` is ``None`` when neither JSON nor XML is acceptable.

    ``content_type`` is the header of a FHIR answer, ``accept`` the caller's media types in order of preference.
    """

    format: Format | None
    content_type: str
    accept: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ContentType:
    """What a body says it is."""

    media_type: str
    kind: Kind


def negotiate(accept: str | None, wanted: str | None = None) -> Negotiated:
    """Return the format of the answer; ``wanted`` is the value of ``_format`` and outweighs ``accept``."""
    if wanted is not None:
        # A plus sign that nobody escaped arrives as a blank.
        return _negotiated(wanted.strip().lower().replace(" ", "+")[:_LONGEST])
    return _negotiated((accept or "*/*")[:_LONGEST])


@lru_cache(CACHED)
def _negotiated(accept: str) -> Negotiated:
    ranges = sorted(_ranges(accept), key=lambda each: -each.quality)
    usable = [each for each in ranges if each.version is None or each.version in VERSIONS]
    offers = sorted(("json", "xml"), key=lambda offer: _preference(offer, usable))
    best: Format = "json" if offers[0] == "json" else "xml"
    version = next((f";fhirVersion={each.version}" for each in usable if each.version), "")
    return Negotiated(
        best if _quality(best, usable) > 0 else None,
        CONTENT_TYPES[best] + version,
        tuple(_official(each.media_type) for each in usable if each.quality > 0),
    )


def _ranges(accept: str) -> list[Range]:
    found = []
    for part in accept.lower().split(","):
        media_type, *parameters = (piece.strip() for piece in part.split(";"))
        values = dict(piece.replace('"', "").partition("=")[::2] for piece in parameters)
        weight = values.get("q", "1")
        if media_type:
            quality = float(weight) if _QUALITY.match(weight) else 0.0
            found.append(Range(media_type, quality, values.get("fhirversion")))
    return found


def _quality(offer: str, ranges: list[Range]) -> float:
    """Return the quality that the most specific matching range gives to the offer, 0 when none matches."""
    for matching in (
        lambda name: FORMATS.get(name) == offer,
        lambda name: name in ("application/*", "text/*"),
        lambda name: name == "*/*",
    ):
        qualities = [each.quality for each in ranges if matching(each.media_type)]
        if qualities:
            return max(qualities)
    return 0.0


def _preference(offer: str, ranges: list[Range]) -> tuple[float, int, bool]:
    """Order offers by quality, then by who is named first, then JSON first."""
    named = next((n for n, each in enumerate(ranges) if FORMATS.get(each.media_type) == offer), len(ranges))
    return (-_quality(offer, ranges), named, offer == "xml")


def _official(name: str) -> str:
    """Return ``application/fhir+json`` for ``json``; media types stay as they are."""
    return {"json": JSON_TYPE, "xml": XML_TYPE}.get(name, name)


@lru_cache(CACHED)
def parse_content_type(header: str) -> ContentType:
    """Return what a ``Content-Type`` means.

    Raises ``UnsupportedMediaType`` for FHIR content in a charset other than UTF-8 or of another FHIR version.
    """
    media_type, *parameters = (piece.strip().lower() for piece in header.split(";"))
    values = dict(piece.replace('"', "").partition("=")[::2] for piece in parameters)
    kind = _kind(media_type)
    if kind != "other" and values.get("charset", "utf-8") not in ("utf-8", "utf8"):
        raise UnsupportedMediaType(_CHARSET)
    if values.get("fhirversion", "4.0") not in VERSIONS:
        raise UnsupportedMediaType(_VERSION)
    return ContentType(media_type, kind)


def _kind(media_type: str) -> Kind:
    if media_type in PATCH_TYPES:
        return "patch"
    if media_type == FORM_TYPE:
        return "form"
    return FORMATS[media_type] if "/" in media_type and media_type in FORMATS else "other"


@lru_cache(CACHED)
def negotiate_language(header: str, default: str) -> str:
    """Return ``fr`` or ``en`` by an ``Accept-Language`` header; ``default`` when it prefers neither."""
    best, language = 0.0, default
    for each in _ranges(header[:_LONGEST]):
        primary = each.media_type.partition("-")[0]
        if primary == "*":
            primary = default
        if primary in ("en", "fr") and each.quality > best:
            best, language = each.quality, primary
    return language


@lru_cache(CACHED)
def accepts_gzip(header: str) -> bool:
    """Return whether an ``Accept-Encoding`` header allows gzip."""
    qualities = {each.media_type: each.quality for each in _ranges(header[:_LONGEST])}
    return qualities.get("gzip", qualities.get("x-gzip", qualities.get("*", 0.0))) > 0
