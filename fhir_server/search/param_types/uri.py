"""Uri parameters: the whole uri, case and all; a canonical also without its version.

Spec: http://hl7.org/fhir/R4/search.html#uri
"""

from typing import Any

from fhir_server.errors import NotSupported, Text, Value
from fhir_server.search.ast import Node, TokenIn
from fhir_server.search.entries import Entries, Extract, bounded
from fhir_server.search.parameters import SearchParameter
from fhir_server.search.values import unescape

_EMPTY = Text("an empty uri", "un uri vide")


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
    if modifier is not None:
        raise NotSupported(Text(f"the modifier :{modifier}", f"le modificateur :{modifier}"))
    uri = unescape(value)
    if not uri:
        raise Value(_EMPTY)
    return TokenIn((bounded(f"{parameter.key}|{uri}"),))
