"""The grammar of a query value: escapes, commas, bars, prefixes.

Spec: http://hl7.org/fhir/R4/search.html#escaping
"""

import re
from typing import get_args

from fhir_server.errors import Text, Value
from fhir_server.search.ranges import Prefix

LONGEST_VALUE = 2_048

_PREFIXED = re.compile(rf"({'|'.join(get_args(Prefix))})(?=[0-9+-])")
_ESCAPED = re.compile(r"\\([,|$\\])")
_FORBIDDEN = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
_BAD_ESCAPE = Text(
    "a backslash stands before something other than , | $ or \\",
    "une barre oblique inverse précède autre chose que , | $ ou \\",
)
_TOO_LONG = Text(
    f"a value is longer than {LONGEST_VALUE} characters",
    f"une valeur dépasse {LONGEST_VALUE} caractères",
)
_CONTROL = Text("a value holds a control character", "une valeur contient un caractère de contrôle")


def check_value(text: str) -> None:
    """Raise ``Value`` for a text that no value may be: too long, control characters, lone surrogates."""
    if len(text) > LONGEST_VALUE:
        raise Value(_TOO_LONG)
    if _FORBIDDEN.search(text) is not None:
        raise Value(_CONTROL)


def split_escaped(text: str, separator: str) -> list[str]:
    """Return the parts between unescaped separators, their escapes still in them. Raises ``Value``."""
    if "\\" not in text:
        return text.split(separator)
    parts, start, position = [], 0, 0
    while position < len(text):
        if text[position] == "\\":
            if text[position + 1 : position + 2] not in (",", "|", "$", "\\"):
                raise Value(_BAD_ESCAPE)
            position += 2
            continue
        if text[position] == separator:
            parts.append(text[start:position])
            start = position + 1
        position += 1
    return [*parts, text[start:]]


def escape(text: str) -> str:
    r"""Return the text as a value that means just this text: ``,``, ``|``, ``$`` and ``\`` are escaped."""
    return re.sub(r"[\\,|$]", r"\\\g<0>", text)


def unescape(text: str) -> str:
    """Return the text that ``\\,``, ``\\|``, ``\\$`` and ``\\\\`` stand for."""
    return _ESCAPED.sub(r"\1", text) if "\\" in text else text


def split_prefix(text: str) -> tuple[Prefix, str]:
    """Return the prefix (``eq`` when there is none) and the rest."""
    match = _PREFIXED.match(text)
    if match is None:
        return "eq", text
    return match[1], text[match.end() :]  # type: ignore[return-value]
