"""String parameters: the value begins with the text, whatever its case, accents and punctuation; ``:exact`` is exact.

Each part of a name or an address is a value of its own: family, each given name, text; line, city, postal code.

``:contains`` finds the text anywhere in the value. The field ``f`` has, for each position of a normalised value, the
next six characters (``Patient~ontain``), one set for all string parameters of the resource; a range on it leads to the
documents, where the values themselves decide. Of a value longer than 200 characters the field has ``Patient~`` alone,
and ``v`` the text: resources with such values are few, and all of them are looked into. A text of one or two characters
is looked for in every value of the parameter. No text of a caller becomes a regular expression.
Spec: http://hl7.org/fhir/R4/search.html#string
"""

import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fhir_server.errors import NotSupported, Text, Value
from fhir_server.search.ast import ExactString, KeyBetween, Node, TextEnds, TextHolds
from fhir_server.search.building import build_and, build_or
from fhir_server.search.entries import Entries, Extract, bounded
from fhir_server.search.parameters import SearchParameter
from fhir_server.search.values import unescape

LONGEST_TEXT = 200
"""Normalised characters that are indexed; a longer query is refused, so that the cut shows nowhere."""

LONGEST_VALUE = 100_000
"""Normalised characters of a value that ``:contains`` looks into."""

FRAGMENT = 6
SHORTEST_FRAGMENT = 3

_PARTS: Mapping[str, tuple[str, ...]] = {
    "HumanName": ("family", "given", "text", "prefix", "suffix"),
    "Address": ("line", "city", "district", "state", "postalCode", "country", "text"),
    "CodeableConcept": ("text",),
    "ContactPoint": ("value",),
    "Annotation": ("text",),
}
_END = "\U0010ffff"
_LETTERS = str.maketrans({"œ": "oe", "æ": "ae", "ø": "o", "đ": "d", "ł": "l", "ı": "i"})
_ASCII = str.maketrans({
    **{chr(code): None for code in range(128) if unicodedata.category(chr(code))[0] in "PC"},
    "-": " ", "_": " ", "\t": " ", "\n": " ", "\r": " ",
})  # fmt: skip
_NOTHING_LEFT = Text("nothing but punctuation", "rien que de la ponctuation")
_TOO_LONG = Text(
    f"more than {LONGEST_TEXT} characters to search for",
    f"plus de {LONGEST_TEXT} caractères à chercher",
)


def build_extractor(parameter: SearchParameter) -> Extract:
    """Return the function that adds the normalised and the exact key of each part of one value."""
    start = f"{parameter.key}:"

    def extract(value: Any, kind: str, entries: Entries) -> None:
        for text in _texts(value, kind):
            normalised = normalise(text)
            entries.s[start + normalised[:LONGEST_TEXT]] = None
            entries.e[bounded(start + text)] = None
            entries.contained[normalised] = None
            if len(normalised) >= LONGEST_TEXT:
                entries.v[start + normalised[:LONGEST_VALUE]] = None

    return extract


def fragments(resource_type: str, texts: Iterable[str]) -> dict[str, None]:
    """Return the keys of the field ``f`` for the normalised texts of a resource."""
    start = f"{resource_type}~"
    found: dict[str, None] = {}
    for text in texts:
        if len(text) > LONGEST_TEXT:
            found[start] = None
            continue
        for at in range(len(text) - SHORTEST_FRAGMENT + 1):
            if text[at] != " ":
                found[start + text[at : at + FRAGMENT]] = None
    return found


def parse(parameter: SearchParameter, modifier: str | None, value: str) -> Node:
    """Return the condition of one value. Raises ``Value``, or ``NotSupported`` for another modifier."""
    text = unescape(value)
    normalised = normalise(text)
    start = f"{parameter.key}:"
    if modifier == "exact":
        return ExactString(start + normalised[:LONGEST_TEXT], bounded(start + text))
    if not normalised:
        raise Value(_NOTHING_LEFT)
    if len(normalised) > LONGEST_TEXT:
        raise Value(_TOO_LONG)
    match modifier:
        case None:
            return KeyBetween("s", start + normalised, start + normalised + _END)
        case "contains":
            return _contains(parameter, normalised)
        case _:
            raise NotSupported(Text(f"the modifier :{modifier}", f"le modificateur :{modifier}"))


def ends_with(parameter: SearchParameter, value: str) -> Node:
    """Return the condition that a value ends with the text; every value of the parameter is looked at."""
    normalised, start = normalise(value), f"{parameter.key}:"
    if not normalised:
        raise Value(_NOTHING_LEFT)
    return build_and([KeyBetween("s", start, f"{start[:-1]};"), TextEnds(start, normalised)])


def to_filter(leaf: ExactString | TextEnds) -> dict[str, Any]:
    """Return the leaf as a MongoDB filter; ``presence`` does the ranges."""
    match leaf:
        case ExactString(normalised, exact):
            return {"s": normalised, "e": exact}
        case TextEnds(start, text):
            tests = [_ends("$s", start, text, "$lt"), _ends("$v", start, text, "$gte")]
            return {"$expr": {"$or": tests}}


def matches(leaf: ExactString | TextEnds, document: Mapping[str, Any]) -> bool:
    """Say whether the index document has the very string, or one that ends so."""
    match leaf:
        case ExactString(normalised, exact):
            return normalised in document.get("s", ()) and exact in document.get("e", ())
        case TextEnds(start, text):
            longest = len(start) + LONGEST_TEXT
            whole = [one for one in document.get("s", ()) if len(one) < longest]
            whole += [one for one in document.get("v", ()) if len(one) >= longest]
            return any(one.startswith(start) and one.endswith(text, len(start)) for one in whole)


def normalise(text: str) -> str:
    """Return the text as it is compared: no case, accents or punctuation; hyphens and white space are one space."""
    if text.isascii():
        return " ".join(text.lower().translate(_ASCII).split())
    folded = unicodedata.normalize("NFKD", text.casefold().translate(_LETTERS)).casefold()
    return " ".join("".join(map(_kept, folded)).split())


def _contains(parameter: SearchParameter, normalised: str) -> Node:
    start = f"{parameter.key}:"
    holds = build_or([TextHolds("s", start, normalised), TextHolds("v", start, normalised)])
    if len(normalised) < SHORTEST_FRAGMENT:
        return build_and([KeyBetween("s", start, f"{start[:-1]};"), holds])
    any_long = f"{parameter.resource_type}~"
    key = any_long + normalised[:FRAGMENT]
    # A whole fragment is a key; a shorter text is the beginning of keys.
    end = key + ("\0" if len(normalised) >= FRAGMENT else _END)
    return build_and([build_or([KeyBetween("f", key, end), KeyBetween("f", any_long, f"{any_long}\0")]), holds])


def _ends(field: str, start: str, text: str, length: str) -> dict[str, Any]:
    """Return MongoDB's words for "a text of the field, whole there by its length, ends so"."""
    this: dict[str, Any] = {"$strLenCP": "$$this"}
    at = {"$subtract": [this, len(text)]}
    place = {"$indexOfCP": ["$$this", {"$literal": text}, {"$max": [at, len(start)]}]}
    tests = [
        {"$gte": ["$$this", {"$literal": start}]},
        {"$lt": ["$$this", {"$literal": f"{start[:-1]};"}]},
        {length: [this, len(start) + LONGEST_TEXT]},
        {"$eq": [place, at]},
    ]
    return {"$anyElementTrue": [{"$map": {"input": {"$ifNull": [field, []]}, "in": {"$and": tests}}}]}


def _kept(character: str) -> str:
    category = unicodedata.category(character)
    if category in ("Pd", "Pc") or category[0] == "Z" or character in "\t\n\r":
        return " "
    return "" if category[0] in "PCM" else character


def _texts(value: Any, kind: str) -> Iterator[str]:
    if isinstance(value, str):
        yield value
        return
    if not isinstance(value, Mapping):
        return
    for name in _PARTS.get(kind, ()):
        part = value.get(name)
        if isinstance(part, str):
            yield part
        elif isinstance(part, list):
            for one in part:
                if isinstance(one, str):
                    yield one
