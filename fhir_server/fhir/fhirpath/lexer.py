"""Text of an expression → tokens.

Spec: http://hl7.org/fhirpath/N1/#lexical-elements, http://hl7.org/fhirpath/N1/grammar.html
"""

import re
from dataclasses import dataclass

from fhir_server.errors import Invalid, Text

MAX_LENGTH = 20_000
"""Characters of one expression. R4's own longest is 1,386."""

_TOKEN = re.compile(
    r"""
    (?P<space>\s+|//[^\n\r]*|/\*(?s:.*?)\*/)
  | (?P<datetime>@\d{4}(?:-\d{2}(?:-\d{2})?)?
        (?P<time_part>T(?:\d{2}(?::\d{2}(?::\d{2}(?:\.\d+)?)?)?(?:Z|[+-]\d{2}:\d{2})?)?)?)
  | (?P<time>@T\d{2}(?::\d{2}(?::\d{2}(?:\.\d+)?)?)?)
  | (?P<number>\d+(?:\.\d+)?)
  | (?P<string>'(?:[^'\\]|\\.)*')
  | (?P<variable>%(?:(?:vs|ext)-[A-Za-z0-9.-]*[A-Za-z0-9]|[A-Za-z_][A-Za-z0-9_]*|`(?:[^`\\]|\\.)*`|'(?:[^'\\]|\\.)*'))
  | (?P<special>\$(?:this|index|total))(?![A-Za-z0-9_])
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<delimited>`(?:[^`\\]|\\.)*`)
  | (?P<symbol><=|>=|!=|!~|[-+*/&|<>=~().,\[\]{}])
    """,
    re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|.)", re.DOTALL)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "f": "\f"}
_VERBATIM = "'\"`\\/"


@dataclass(frozen=True, slots=True)
class Token:
    """``kind`` is one of datetime, time, number, string, variable, special, name, symbol, end.

    ``text`` is unescaped; ``delimited`` names have kind name and ``quoted`` set, so that they are never keywords.
    """

    kind: str
    text: str
    position: int
    quoted: bool = False


def syntax_error(position: int, en: str, fr: str) -> Invalid:
    """Return the error for a fault at a position of the expression, counted from 1."""
    return Invalid(
        Text(
            f"FHIRPath syntax error at character {position + 1}: {en}.",
            f"Erreur de syntaxe FHIRPath au caractère {position + 1} : {fr}.",
        )
    )


def tokenize(text: str) -> list[Token]:
    """Return the tokens, the last one of kind ``end``; raises ``errors.Invalid`` for what is not FHIRPath."""
    if len(text) > MAX_LENGTH:
        raise Invalid(
            Text(
                f"A FHIRPath expression may have at most {MAX_LENGTH} characters.",
                f"Une expression FHIRPath compte au plus {MAX_LENGTH} caractères.",
            )
        )
    tokens = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or (text.startswith("/*", position) and match.lastgroup == "symbol"):
            raise _unreadable(text, position)
        if not match["space"]:
            tokens.append(_token(match))
        position = match.end()
    tokens.append(Token("end", "", len(text)))
    return tokens


def _token(match: re.Match[str]) -> Token:
    start = match.start()
    kind = match.lastgroup or "symbol"
    text = match[0]
    if match["datetime"] is not None:
        return Token("datetime", text, start)
    if kind == "string":
        return Token("string", _unescape(text[1:-1], start), start)
    if kind == "delimited":
        return Token("name", _unescape(text[1:-1], start), start, quoted=True)
    if kind == "variable":
        name = text[1:]
        return Token("variable", _unescape(name[1:-1], start) if name[0] in "`'" else name, start)
    return Token(kind, text, start)


def _unescape(text: str, position: int) -> str:
    if "\\" not in text:
        return text

    def replace(match: re.Match[str]) -> str:
        code = match[1]
        if len(code) == 5:
            return chr(int(code[1:], 16))
        if code in _VERBATIM:
            return code
        if code in _ESCAPES:
            return _ESCAPES[code]
        raise syntax_error(position, "unknown escape sequence in a text", "séquence d’échappement inconnue")

    return _whole_characters(_ESCAPE.sub(replace, text), position)


def _whole_characters(text: str, position: int) -> str:
    """Join the two halves of characters written as two \\u escapes; half a character is refused."""
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise syntax_error(position, "half of a Unicode character", "moitié d’un caractère Unicode") from None


def _unreadable(text: str, position: int) -> Invalid:
    if text.startswith("/*", position):
        return syntax_error(position, "this comment does not end", "ce commentaire ne se termine pas")
    if text[position] in "'`":
        return syntax_error(position, "this text does not end", "ce texte ne se termine pas")
    return syntax_error(position, "unexpected character", "caractère inattendu")
