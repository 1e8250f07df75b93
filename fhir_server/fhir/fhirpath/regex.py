"""Regular expressions that anyone may send: matched by RE2, in time linear in the text.

Python's ``re`` backtracks: ``(a+)+$`` on thirty letters takes a minute, and no check of the pattern finds all such
patterns without refusing harmless ones. RE2 (google-re2, Google's own wheel, CPython 3.11 to 3.13) cannot backtrack; it
has no look-around and no back-references, which R4's invariants do not use either: such a pattern is refused.
Spec: http://hl7.org/fhirpath/N1/#matchesregex-string-boolean
"""

import re
from functools import lru_cache, partial
from typing import Any

import re2  # type: ignore[import-untyped]

from fhir_server.fhir.fhirpath.context import MAX_TEXT, Context

MAX_PATTERN = 2000
_MAX_MEMORY = 1 << 20
_NAMED_GROUP = re.compile(r"\(\?<(?=[A-Za-z_])")
_PLACE = re.compile(r"\$(?:(\d)|\{([A-Za-z0-9_]+)\}|(\$))")


def has_match(context: Context, pattern: str, text: str, whole: bool = False) -> bool:
    """Say whether a pattern is found in a text (or is the whole text)."""
    compiled = _pattern(context, pattern)
    context.spend(1 + (len(text) >> 4))
    return (compiled.fullmatch(text) if whole else compiled.search(text)) is not None


def replace_matches(context: Context, pattern: str, text: str, replacement: str) -> str:
    """Return the text with every match replaced; ``$1`` and ``${name}`` in the replacement stand for groups."""
    compiled = _pattern(context, pattern)
    context.spend(1 + (len(text) >> 4))
    pieces = []
    end = length = 0
    for match in compiled.finditer(text):
        context.spend(1)
        pieces.append(text[end : match.start()])
        pieces.append(_PLACE.sub(partial(_group, context, match), replacement))
        length += len(pieces[-1]) + len(pieces[-2])
        if length > MAX_TEXT:
            context.spend_text(length)
        end = match.end()
    pieces.append(text[end:])
    context.spend_text(length)
    return "".join(pieces)


def _group(context: Context, match: Any, place: re.Match[str]) -> str:
    if place[3]:
        return "$"
    name = place[1] or place[2]
    try:
        found = match.group(int(name) if name.isdigit() else name)
    except (IndexError, KeyError):
        raise context.fault(
            "the replacement names a group that the regular expression does not have",
            "le remplacement nomme un groupe absent de l’expression régulière",
        ) from None
    if not found:
        return ""
    context.spend(len(found) >> 4)
    return str(found)


def _pattern(context: Context, pattern: str) -> Any:
    compiled = None if len(pattern) > MAX_PATTERN else _compile(pattern)
    if compiled is None:
        raise context.fault(
            "the regular expression is malformed, too large, or uses look-around or back-references",
            "l’expression régulière est mal formée, trop grande, ou utilise des assertions ou des références arrière",
        )
    return compiled


@lru_cache(maxsize=64)
def _compile(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MAX_MEMORY
    options.dot_nl = True
    try:
        return re2.compile(_NAMED_GROUP.sub("(?P<", pattern), options)
    except re2.error:
        return None
