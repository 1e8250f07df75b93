"""``_filter``: an expression of tests on the search parameters, as the same tree that the parameters would give.

``given eq "peter" and birthdate ge 2014-10-10``, ``subject[gender eq male].name co "pet"``. And, or: from the left to
the right, neither before the other, as R4 says. What is asked by an ordinary parameter as well becomes that parameter
with its prefix or modifier (``co`` is ``:contains``, ``in`` is ``:in``, ``ss`` is ``:below``, ``sb`` is ``:above``);
a path is a chain, and a filter in brackets is asked of the same resource as the rest of the path.
Spec: http://hl7.org/fhir/R4/search_filter.html
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from fhir_server.errors import NotSupported, Text, TooCostly, Value
from fhir_server.search.ast import KeyBetween, Node
from fhir_server.search.building import build_and, build_not, build_or
from fhir_server.search.joins import Read, parse_join
from fhir_server.search.param_types import date, string, token
from fhir_server.search.parameters import SearchParameter, common_parameter, search_parameter
from fhir_server.search.values import check_value, split_escaped, unescape

LONGEST_FILTER = 8_192
DEEPEST = 16
"""Parentheses and brackets within one another."""
MOST_TESTS = 100

_PREFIXES = frozenset({"eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"})
_MODIFIERS = {"co": "contains", "in": "in", "ss": "below", "sb": "above"}
_OPERATORS = _PREFIXES | _MODIFIERS.keys() | {"sw", "ew", "pr", "po", "re"}
_PLAIN = {"eq": ("token", "reference", "uri", "composite", "special"), "re": ("reference", "uri"), "sw": ("string",)}
_END = "\U0010ffff"

_SPACE = re.compile(r"[ \t\r\n]*")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_:-]{0,127}", re.ASCII)
_WORD = re.compile(r"[a-z]{2,3}(?![A-Za-z0-9_.\[:-])", re.ASCII)
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4}))*"')
_TOKEN = re.compile(r"[^\s\])]+")
_COMMA = re.compile(r"\\.|,")

_TOO_DEEP = Text(
    f"parentheses and brackets are more than {DEEPEST} deep", f"parenthèses et crochets à plus de {DEEPEST} niveaux"
)
_TOO_MANY = Text(f"more than {MOST_TESTS} tests", f"plus de {MOST_TESTS} tests")
_TOO_LONG = Text(f"longer than {LONGEST_FILTER} characters", f"plus de {LONGEST_FILTER} caractères")
_BOOLEAN = Text("pr takes true or false", "pr prend true ou false")
_NE_FORM = Text("ne on a token takes code or system|code", "ne sur un jeton prend code ou system|code")


@dataclass(frozen=True, slots=True)
class Step:
    """One name of a path, and the filter in brackets after it."""

    name: str
    filter: "Filter | None" = None


@dataclass(frozen=True, slots=True)
class Test:
    """A path, an operator and a value; the path's last step has no filter."""

    path: tuple[Step, ...]
    operator: str
    value: str


@dataclass(frozen=True, slots=True)
class Joined:
    """All, or any, of some filters."""

    kind: Literal["and", "or"]
    members: "tuple[Filter, ...]"


@dataclass(frozen=True, slots=True)
class Negated:
    """What the member does not say."""

    member: "Filter"


Filter = Test | Joined | Negated


def parse_filter(text: str, types: tuple[str, ...], read: Read) -> Node:
    """Return the tree of a filter on resources of these types; ``read`` reads an ordinary parameter.

    Raises ``Value`` with the position of what is not of the grammar, ``NotSupported`` naming an operator that a
    parameter does not have, ``TooCostly`` beyond the limits, and what ``read`` raises.
    """
    if len(text) > LONGEST_FILTER:
        raise TooCostly(_TOO_LONG)
    return _Evaluation(read).node(read_filter(text), types)


def read_filter(text: str) -> Filter:
    """Return the filter that a text writes. Raises ``Value``, ``TooCostly``."""
    reading = _Reading(text)
    found = reading.filter(0)
    if reading.at != len(text):
        raise reading.error()
    return found


class _Reading:
    """Goes through the text once; the depth is bounded, so is the stack."""

    def __init__(self, text: str) -> None:
        self.text, self.at, self._tests = text, 0, 0

    def filter(self, depth: int) -> Filter:
        if depth > DEEPEST:
            raise TooCostly(_TOO_DEEP)
        found = self._term(depth)
        while (word := self._word()) in ("and", "or"):
            self.at += len(word)
            kind: Literal["and", "or"] = "and" if word == "and" else "or"
            further = self._term(depth)
            if isinstance(found, Joined) and found.kind == kind:
                found = Joined(kind, (*found.members, further))
            else:
                found = Joined(kind, (found, further))
        return found

    def error(self) -> Value:
        at = self.at + 1
        return Value(Text(f"the filter cannot be read at character {at}", f"le filtre est illisible au caractère {at}"))

    def _term(self, depth: int) -> Filter:
        self._skip()
        if self._takes("("):
            return self._closed(depth, ")")
        if self._word() == "not":
            start = self.at
            self.at += 3
            self._skip()
            if self._takes("("):
                return Negated(self._closed(depth, ")"))
            self.at = start
        return self._test(depth)

    def _closed(self, depth: int, end: str) -> Filter:
        found = self.filter(depth + 1)
        self._skip()
        if not self._takes(end):
            raise self.error()
        return found

    def _test(self, depth: int) -> Filter:
        self._tests += 1
        if self._tests > MOST_TESTS:
            raise TooCostly(_TOO_MANY)
        path = [self._step(depth)]
        while self._takes("."):
            path.append(self._step(depth))
        if path[-1].filter is not None:
            raise self.error()
        self._skip()
        operator = self._word()
        if operator not in _OPERATORS:
            raise self.error()
        self.at += len(operator)
        self._skip()
        return Test(tuple(path), operator, self._value())

    def _step(self, depth: int) -> Step:
        name = self._match(_NAME)
        return Step(name, self._closed(depth, "]") if self._takes("[") else None)

    def _value(self) -> str:
        if self.text[self.at : self.at + 1] == '"':
            return str(json.loads(self._match(_STRING)))
        return self._match(_TOKEN)

    def _word(self) -> str:
        self._skip()
        match = _WORD.match(self.text, self.at)
        return match[0] if match else ""

    def _match(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.at)
        if match is None:
            raise self.error()
        self.at = match.end()
        return match[0]

    def _takes(self, character: str) -> bool:
        taken = self.text.startswith(character, self.at)
        self.at += taken
        return taken

    def _skip(self) -> None:
        match = _SPACE.match(self.text, self.at)
        self.at = match.end() if match else self.at


@dataclass(frozen=True, slots=True)
class _Evaluation:
    read: Read

    def node(self, filter: Filter, types: tuple[str, ...]) -> Node:
        match filter:
            case Joined("and", members):
                return build_and(self.node(one, types) for one in members)
            case Joined(_, members):
                return build_or(self.node(one, types) for one in members)
            case Negated(member):
                return build_not(self.node(member, types))
            case Test(path, operator, value):
                return self._path(path, types, lambda found, code: self._test(found, code, operator, value))

    def _path(
        self, path: tuple[Step, ...], types: tuple[str, ...], ask: Callable[[tuple[str, ...], str], Node]
    ) -> Node:
        """Follow the path: each further step, and the filter before it, is asked of what the step before points to."""
        first, *rest = path
        if not rest:
            return ask(types, first.name)

        def beyond(targets: tuple[str, ...], _name: str, _value: str) -> Node:
            onward = self._path(tuple(rest), targets, ask)
            return onward if first.filter is None else build_and([self.node(first.filter, targets), onward])

        return parse_join(f"{first.name}.{'.'.join(one.name for one in rest)}", "", types, beyond)

    def _test(self, types: tuple[str, ...], name: str, operator: str, value: str) -> Node:
        check_value(value)
        if name.startswith("_has:"):
            if operator != "eq":
                raise _refused(operator, "_has")
            return self.read(types, name, _protected(value, "token"))
        parameters = _parameters(types, name.partition(":")[0])
        kind = parameters[0].type if parameters else "token"
        ordinary = _ordinary(kind, operator, value)
        if ordinary is not None:
            return self.read(types, name + ordinary[0], ordinary[1])
        special = _SPECIAL.get((operator, kind))
        if special is None or not parameters or parameters[0].in_document:
            raise _refused(operator, kind)
        self.read(types, name, _protected(value, kind))  # what an ordinary parameter would refuse is refused here
        return build_or(special(one, value) for one in parameters)


def _ordinary(kind: str, operator: str, value: str) -> tuple[str, str] | None:
    """Return the modifier and the value by which an ordinary parameter asks the same; None where it cannot."""
    if operator == "pr":
        if value not in ("true", "false"):
            raise Value(_BOOLEAN)
        return ":missing", "false" if value == "true" else "true"
    if operator in _MODIFIERS:
        return f":{_MODIFIERS[operator]}", _protected(value, kind)
    if operator in _PREFIXES and kind in ("number", "date", "quantity"):
        return "", operator + _protected(value, kind)
    return ("", _protected(value, kind)) if kind in _PLAIN.get(operator, ()) else None


def _parameters(types: tuple[str, ...], code: str) -> tuple[SearchParameter, ...]:
    found = [search_parameter(one, code) for one in types] if types else [common_parameter(code)]
    return tuple(one for one in found if one is not None)


def _refused(operator: str, kind: str) -> NotSupported:
    return NotSupported(
        Text(
            f"the operator {operator} is not supported on a {kind} parameter",
            f"l’opérateur {operator} n’est pas pris en charge sur un paramètre de type {kind}",
        )
    )


def _protected(value: str, kind: str) -> str:
    """Return the value with what an ordinary parameter would take for more than one value escaped."""
    if kind == "string":
        return re.sub(r"([\\,|$])", r"\\\1", value)
    return _COMMA.sub(lambda match: match[0] if len(match[0]) == 2 else "\\,", value)


def _equal_string(parameter: SearchParameter, value: str) -> Node:
    key = f"{parameter.key}:{string.normalise(value)}"
    return KeyBetween("s", key, f"{key}\0")


def _other_string(parameter: SearchParameter, value: str) -> Node:
    start = f"{parameter.key}:"
    return _between(start, f"{start}{string.normalise(value)}", f"{start}{_END}", "s")


def _other_token(parameter: SearchParameter, value: str) -> Node:
    """Return the condition that there is a coding other than this one; each coding has a key of both forms."""
    match [unescape(part) for part in split_escaped(value, "|")]:
        case [code]:
            return _between(f"{parameter.key}||", token.code_key(parameter.key, code), f"{parameter.key}|}}", "t")
        case [system, code] if system and code and parameter.system is None:
            start, same = f"{parameter.key}|", token.coded_key(parameter.key, system, code)
            below = same if same < f"{start}|" else f"{start}|"
            above = f"{same}\0" if same >= f"{start}}}" else f"{start}}}"
            ranges = [KeyBetween("t", start, below), KeyBetween("t", above, f"{parameter.key}}}")]
            if same < f"{start}|":
                ranges.append(KeyBetween("t", f"{same}\0", f"{start}|"))
            else:
                ranges.append(KeyBetween("t", f"{start}}}", same))
            return build_or(one for one in ranges if one.low < one.high)
        case [system, code] if code and system == parameter.system:
            return _other_token(parameter, code)
        case _:
            raise Value(_NE_FORM)


_SPECIAL: Mapping[tuple[str, str], Callable[[SearchParameter, str], Node]] = {
    ("po", "date"): date.overlapping,
    ("eq", "string"): _equal_string,
    ("ne", "string"): _other_string,
    ("ew", "string"): string.ends_with,
    ("ne", "token"): _other_token,
}
"""What no ordinary parameter can ask."""


def _between(start: str, same: str, end: str, field: Literal["t", "s"]) -> Node:
    return build_or([KeyBetween(field, start, same), KeyBetween(field, f"{same}\0", end)])
