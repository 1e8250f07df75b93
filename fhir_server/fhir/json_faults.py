"""What is wrong with a JSON text and where: the second, slow reading, done only for a text that is refused.

It names lines, columns and elements, never content. Spec: RFC 8259, http://hl7.org/fhir/R4/json.html
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from fhir_server.errors import Issue, Text, Value
from fhir_server.fhir.decimals import parse_number

MAX_ISSUES = 100
MAX_SCANNED = 2_000_000
"""Characters read again at most: describing must not cost more than parsing would have."""

_TOKEN = re.compile(
    r'[ \t\n\r]*(?:(?P<string>"[^"\\]*(?:\\.[^"\\]*)*")|(?P<punctuation>[{}\[\],:])'
    r"|(?P<constant>-?Infinity|NaN)|(?P<number>-?[0-9][0-9.eE+-]*)|true|false|null)",
    re.DOTALL,
)
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_ELEMENT_NAME = re.compile(r"_?[A-Za-z][A-Za-z0-9]{0,63}")
_RESOURCE_TYPE = re.compile(r"[A-Z][A-Za-z]{0,63}")

_DUPLICATE = Text(
    "A property occurs more than once in the same object.",
    "Une propriété figure plus d’une fois dans le même objet.",
)
_CONSTANT = Text(
    "NaN and Infinity are not numbers of JSON.",
    "NaN et Infinity ne sont pas des nombres de JSON.",
)
FORBIDDEN_CHARACTER = Text(
    "A text holds a character that FHIR does not allow: a control character, a lone surrogate or a non-character.",
    "Un texte contient un caractère que FHIR interdit : un caractère de contrôle, un demi-codet isolé ou un "
    "non-caractère.",
)
_UNREADABLE = Text("The content cannot be read as JSON.", "Le contenu ne peut pas être lu comme du JSON.")
_SYNTAX = {
    "Expecting value": Text("A value is expected here.", "Une valeur est attendue ici."),
    "Expecting property name": Text(
        "A property name in double quotes is expected here.",
        "Un nom de propriété entre guillemets droits est attendu ici.",
    ),
    "Expecting ':'": Text("A colon is expected here.", "Un deux-points est attendu ici."),
    "Expecting ','": Text("A comma or the end is expected here.", "Une virgule ou la fin est attendue ici."),
    "Illegal trailing comma": Text(
        "A comma stands before the end of an object or array.",
        "Une virgule précède la fin d’un objet ou d’un tableau.",
    ),
    "Unterminated string": Text("The text that starts here has no end.", "Le texte qui commence ici n’a pas de fin."),
    "Invalid control character": Text(
        "A control character stands in a text without being escaped.",
        "Un caractère de contrôle figure dans un texte sans être échappé.",
    ),
    "Invalid \\": Text("This escape sequence is unknown.", "Cette séquence d’échappement est inconnue."),
    "Extra data": Text("Something follows after the end.", "Quelque chose suit après la fin."),
}
_MALFORMED = Text("The JSON is malformed.", "Le JSON est mal formé.")


@dataclass(slots=True)
class _Frame:
    """An open object or array while scanning: where we are in it."""

    is_object: bool
    key: str | None = None
    index: int = 0
    keys: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Fault:
    text: Text
    position: int
    path: tuple[str | int, ...]
    code: str = "structure"


def position_of(text: str, position: int) -> str:
    """Return ``line 3, column 14`` for an offset, both counted from 1."""
    line = text.count("\n", 0, position) + 1
    column = position - text.rfind("\n", 0, position)
    return f"line {line}, column {column}"


def describe_faults(text: str, error: Exception | None) -> tuple[Issue, ...]:
    """Return one issue for each fault of the text: at most ``MAX_ISSUES``, at least one when ``error`` is given."""
    syntax = error if isinstance(error, json.JSONDecodeError) else _find_syntax_error(text)
    end = min(len(text) if syntax is None else syntax.pos, MAX_SCANNED)
    scanner = _Scanner(text, end)
    faults = list(scanner.scan())
    if syntax is not None:
        faults.append(_Fault(_syntax_text(syntax.msg), syntax.pos, scanner.path()))
    if not faults and error is not None:
        return (Issue("structure", _UNREADABLE),)
    return tuple(
        Issue(
            fault.code,
            fault.text,
            expression=_expression(scanner.root, fault.path),
            diagnostics=position_of(text, fault.position),
        )
        for fault in faults
    )


def _find_syntax_error(text: str) -> json.JSONDecodeError | None:
    try:
        json.loads(text, parse_int=str, parse_float=str)
    except json.JSONDecodeError as error:
        return error
    except RecursionError:
        return None
    return None


def _syntax_text(message: str) -> Text:
    return next((text for start, text in _SYNTAX.items() if message.startswith(start)), _MALFORMED)


def _expression(root: str, path: tuple[str | int, ...]) -> tuple[str, ...]:
    """Return the FHIRPath of a place, as far as it is made of element names; other keys could be content."""
    parts = [root] if root else []
    for step in path:
        if isinstance(step, int):
            parts.append(f"{parts.pop()}[{step}]" if parts else f"[{step}]")
        elif _ELEMENT_NAME.fullmatch(step):
            parts.append(step.removeprefix("_"))
        else:
            break
    return (".".join(parts),) if parts else ()


class _Scanner:
    """One walk over the tokens of a text, keeping count of where it is."""

    def __init__(self, text: str, end: int) -> None:
        self.root = ""
        self._text = text
        self._end = end
        self._frames: list[_Frame] = []

    def path(self) -> tuple[str | int, ...]:
        """Return the property names and indexes that lead to the present place."""
        steps = (frame.key if frame.is_object else frame.index for frame in self._frames)
        return tuple(step for step in steps if step is not None)

    def scan(self) -> Iterator[_Fault]:
        """Yield the faults up to the end, at most ``MAX_ISSUES``."""
        found = position = 0
        while position < self._end and found < MAX_ISSUES:
            match = _TOKEN.match(self._text, position, self._end)
            if match is None:
                return
            position = match.end()
            for fault in self._take(match):
                found += 1
                yield fault

    def _take(self, match: re.Match[str]) -> Iterator[_Fault]:
        kind, token = match.lastgroup, match[match.lastgroup or 0]
        start = match.end() - len(token)
        if kind == "punctuation":
            self._punctuate(token)
        elif kind == "string":
            yield from self._string(token, start)
        elif kind == "constant":
            yield _Fault(_CONSTANT, start, self.path(), "value")
        elif kind == "number":
            try:
                parse_number(token)
            except Value as error:
                yield _Fault(error.issues[0].text, start, self.path(), "value")

    def _punctuate(self, token: str) -> None:
        if token in "{[":
            self._frames.append(_Frame(token == "{"))
        elif token in "}]":
            del self._frames[-1:]
        elif token == "," and self._frames:
            self._frames[-1].key = None
            self._frames[-1].index += 1

    def _string(self, token: str, start: int) -> Iterator[_Fault]:
        try:
            value = json.loads(token)
        except ValueError:
            return
        frame = self._frames[-1] if self._frames else None
        if frame is not None and frame.is_object and frame.key is None:
            frame.key = value
            if value in frame.keys:
                yield _Fault(_DUPLICATE, start, self.path())
            frame.keys.add(value)
        elif len(self._frames) == 1 and frame is not None and frame.key == "resourceType":
            self.root = value if _RESOURCE_TYPE.fullmatch(value) else ""
        if _FORBIDDEN.search(value):
            yield _Fault(FORBIDDEN_CHARACTER, start, self.path(), "value")
