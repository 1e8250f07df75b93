"""Uri parameters: the whole uri, case and all; a canonical also without its version.

``:below`` finds the uri and those that go on after it with a slash; ``:above`` those that the uri so goes on from. Both
are for urls: the parts of a URN (an OID, a UUID) have no such order, and asking is refused.
Spec: http://hl7.org/fhir/R4/search.html#uri
"""

import re
from typing import Any

from fhir_server.errors import NotSupported, Text, Value
from fhir_server.search.ast import KeyBetween, Node, TokenIn
from fhir_server.search.building import build_or
from fhir_server.search.entries import KEPT, Entries, Extract, bounded
from fhir_server.search.parameters import SearchParameter
from fhir_server.search.values import unescape

_EMPTY = Text("an empty uri", "un uri vide")
_NOT_A_URL = Text(
    "the modifiers :above and :below take the url of a hierarchy, not a URN or a word",
    "les modificateurs :above et :below prennent l’url d’une hiérarchie, pas un URN ni un mot",
)
_TOO_LONG = Text("a url too long for :below", "une url trop longue pour :below")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/]+")
_MOST_STEPS = 100
_TOO_DEEP = Text(f"a url of more than {_MOST_STEPS} steps", f"une url de plus de {_MOST_STEPS} niveaux")


def build_extractor(parameter: SearchParameter) -> Extract:
    """Return the function that adds the key of one uri."""
    start = f"{parameter.key}|"

    def extract(value: Any, kind: str, entries: Entries) -> None:
        if isinstance(value, str):
            entries.t[bounded(start + value)] = None
            if kind == "canonical" and "|" in value:
                entries.t[bounded(start + value.partition("|")[0])] = None

    return extract


def parse(parameter: SearchParameter, modifier: str | None, value: str) -> Node:
    """Return the condition of one value; ``token`` compiles and matches it. Raises ``Value``, ``NotSupported``."""
    uri = unescape(value)
    if not uri:
        raise Value(_EMPTY)
    match modifier:
        case None:
            return TokenIn((bounded(f"{parameter.key}|{uri}"),))
        case "below":
            return _below(parameter.key, uri)
        case "above":
            return TokenIn(tuple(bounded(f"{parameter.key}|{one}") for one in _above(uri)))
        case _:
            raise NotSupported(Text(f"the modifier :{modifier}", f"le modificateur :{modifier}"))


def _below(key: str, url: str) -> Node:
    if not _URL.match(url):
        raise Value(_NOT_A_URL)
    start = f"{key}|{url.removesuffix('/')}/"
    if len(start) > KEPT:
        # Of longer keys the index has no more than the beginning.
        raise Value(_TOO_LONG)
    under = KeyBetween("t", start, f"{start[:-1]}0")
    return under if url.endswith("/") else build_or([TokenIn((f"{key}|{url}",)), under])


def _above(url: str) -> dict[str, None]:
    """Return the url and every one that it goes on from, with and without a slash at the end."""
    match = _URL.match(url)
    if match is None:
        raise Value(_NOT_A_URL)
    found: dict[str, None] = {url: None}
    ends = [at for at, character in enumerate(url) if character == "/" and at >= match.end()]
    if len(ends) > _MOST_STEPS:
        raise Value(_TOO_DEEP)
    for end in ends:
        found[url[:end]] = None
        found[url[: end + 1]] = None
    return found
