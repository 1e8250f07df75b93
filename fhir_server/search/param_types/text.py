"""``_text`` and ``_content``: words of the narrative, and of the whole resource; ``:text`` asks the same index.

The words of a resource are keys of the field ``w``: ``Observation+glucose`` for its content, ``Observation*glucose``
for its narrative. The content is every text and code, names, displays and annotations among them; urls, references,
dates, numbers, ids and binary data are not. The field ``v`` keeps the texts themselves, without an index: it decides
about phrases, once the words have led to the document.

Grammar, for either parameter: words that must all occur, in any order; ``OR`` between alternatives, ``AND``, ``NOT``,
parentheses (the operators in capitals, ``or`` and ``and`` also without); ``"a phrase"``; ``gluco*`` begins a word.
Case, accents, plurals in s or x and the commonest words of French and English do not count; within a phrase only case
and accents do not, but a phrase of common words alone does not count at all.
Spec: http://hl7.org/fhir/R4/search.html#text
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from html import unescape as unescape_entities
from itertools import islice
from typing import Any

from fhir_server.errors import Text, TooCostly, Value
from fhir_server.search.ast import KeyBetween, Node, TextHolds, WordIn
from fhir_server.search.building import build_and, build_not, build_or
from fhir_server.search.values import unescape
from fhir_server.search.words import STOP_WORDS, indexed_words, singular, words_of

MOST_WORDS = 10_000
"""Distinct words of one resource that are indexed, for each of content and narrative."""

MOST_TEXT = 200_000
"""Characters of one resource's texts, of either kind, that a phrase is looked for in."""

MOST_TERMS = 50
_MOST_RANGES = 600
_CACHED = 100
DEEPEST = 10
CONTENT, NARRATIVE = "+", "*"
KINDS = {"_content": CONTENT, "_text": NARRATIVE}

# Elements of these names hold no text in any type of R4: urls, references, ids, dates, binary data, markup.
_SKIPPED = frozenset({
    "resourceType", "id", "div", "url", "system", "reference", "data", "hash", "fullUrl", "profile", "source",
    "versionId", "lastUpdated", "contentType", "start", "end", "birthDate", "issued", "date", "recorded",
    "recordedDate", "authoredOn", "timestamp", "implicitRules", "valueUri", "valueUrl", "valueCanonical",
    "valueReference", "valueBase64Binary", "valueDate", "valueDateTime", "valueInstant", "valueTime",
    "effectiveDateTime", "effectiveInstant", "onsetDateTime", "abatementDateTime", "occurrenceDateTime",
    "performedDateTime", "whenHandedOver", "whenPrepared", "created", "sent", "received", "instantiatesCanonical",
    "instantiatesUri", "targetProfile", "baseDefinition", "valueSet", "fhirVersion",
})  # fmt: skip
_DATE = re.compile(r"\d{4}-\d\d(?:-\d\d(?:T[0-9:.]+(?:Z|[+-]\d\d:\d\d)?)?)?", re.ASCII)
_TAG = re.compile(r"<[^<>]*>")
_TOKEN = re.compile(r'[()]|"[^"]*"?|[^\s()"]+')
_END = "\U0010ffff"

_NO_WORDS = Text("no word to look for, the commonest ones aside", "aucun mot à chercher, hormis les plus courants")
_OPEN = Text("a quotation mark or a parenthesis that is not closed", "un guillemet ou une parenthèse non refermés")
_SYNTAX = Text(
    "an operator (AND, OR, NOT) or a parenthesis without what it joins",
    "un opérateur (AND, OR, NOT) ou une parenthèse sans rien à relier",
)
_STAR = Text("a * stands at the end of a word only", "une * ne se place qu’à la fin d’un mot")
_TOO_MANY = Text(f"more than {MOST_TERMS} words or operators", f"plus de {MOST_TERMS} mots ou opérateurs")
_TOO_MANY_BEGUN = Text(
    "too many words with a * over this many types: name fewer types in _type",
    "trop de mots avec une * sur autant de types : nommez moins de types dans _type",
)
_TOO_DEEP = Text(f"parentheses deeper than {DEEPEST}", f"plus de {DEEPEST} parenthèses imbriquées")


def to_fields(resource: Mapping[str, Any]) -> tuple[dict[str, None], list[str]]:
    """Return the keys of ``w`` and the texts of ``v`` that a resource's content and narrative give."""
    resource_type = resource["resourceType"]
    texts: list[str] = []
    _collect(resource, texts)
    words: dict[str, None] = {}
    lines: dict[str, None] = {}
    for text in texts:
        found, line = (_analysed if len(text) <= _CACHED else _analyse)(text)
        words.update(found)
        lines[line] = None
    keys = {f"{resource_type}{CONTENT}{word}": None for word in islice(words, MOST_WORDS)}
    kept = [_entry("_content", "".join(lines))]
    narrative = resource.get("text")
    div = narrative.get("div") if isinstance(narrative, Mapping) else None
    if isinstance(div, str):
        told = words_of(plain_text(div))
        start = f"{resource_type}{NARRATIVE}"
        keys[start] = None
        keys.update([(start + word, None) for word in islice(indexed_words(told), MOST_WORDS)])
        kept.append(_entry("_text", f" {' '.join(told)} "))
    return keys, kept


def parse(types: Sequence[str], code: str, value: str) -> Node:
    """Return the condition ``_text=value`` or ``_content=value`` on resources of these types.

    Raises ``Value`` for what the grammar does not have, ``TooCostly`` for a text of too many words.
    """
    text = unescape(value)
    tokens = _TOKEN.findall(text)
    if len(tokens) > MOST_TERMS:
        raise TooCostly(_TOO_MANY)
    reader = _Reader(tokens, tuple(types), code)
    node = reader.alternatives(0) if tokens else None
    if reader.peek():
        raise Value(_OPEN)
    if node is None:
        raise Value(_NO_WORDS)
    return node


def narrative_present(types: Sequence[str]) -> Node:
    """Return the condition that a resource of these types has a narrative."""
    return WordIn(tuple(f"{one}{NARRATIVE}" for one in types))


def to_filter(leaf: WordIn | TextHolds) -> dict[str, Any]:
    """Return the leaf as a MongoDB filter; the text asked for is a literal, never an expression."""
    match leaf:
        case WordIn(keys):
            return {"w": keys[0] if len(keys) == 1 else {"$in": list(keys)}}
        case TextHolds(field, start, text):
            # The range comes first: only after it is the offset surely between two characters.
            begins = [{"$gte": ["$$this", {"$literal": start}]}, {"$lt": ["$$this", {"$literal": f"{start[:-1]};"}]}]
            held = {"$indexOfBytes": ["$$this", {"$literal": text}, len(start.encode())]}
            tests = {"$and": [*begins, {"$gte": [held, 0]}]}
            texts = {"$ifNull": [f"${field}", []]}
            return {"$expr": {"$anyElementTrue": [{"$map": {"input": texts, "in": tests}}]}}


def matches(leaf: WordIn | TextHolds, document: Mapping[str, Any]) -> bool:
    """Say whether the index document has one of the words, or the text."""
    match leaf:
        case WordIn(keys):
            held = document.get("w", ())
            return any(key in held for key in keys)
        case TextHolds(field, start, text):
            return any(one.startswith(start) and text in one[len(start) :] for one in document.get(field, ()))


def plain_text(markup: str) -> str:
    """Return the text of an XHTML narrative, each tag a space."""
    return unescape_entities(_TAG.sub(" ", markup))


def analyse(text: str) -> tuple[Mapping[str, None], str]:
    """Return what one text of a resource adds: its words as the index has them, and its line in ``v`` (or nothing)."""
    return (_analysed if len(text) <= _CACHED else _analyse)(text)


def analyse_once(text: str) -> tuple[Mapping[str, None], str]:
    """Return the same of a text that does not come again, without taking the place of those that do."""
    return _analyse(text)


def line_of(text: str) -> str:
    """Return a text as ``v`` has it, each word between spaces: `` body mass index |``."""
    return (_analysed if len(text) <= _CACHED else _analyse)(text)[1]


def holds_beginnings(resource_type: str, start: str, text: str) -> Node:
    """Return the condition that one of the texts of ``v`` after ``start`` has these words in a row, the last begun.

    The words lead to the documents by their index; those too common to be in it do not. Raises ``Value``.
    """
    words = words_of(text)
    if not words:
        raise Value(_NO_WORDS)
    last = words[-1]
    found: list[Node] = [WordIn((f"{resource_type}{CONTENT}{word}",)) for word in indexed_words(words[:-1])]
    if not any(one.startswith(last) for one in STOP_WORDS):
        found.append(_begins(resource_type, last, CONTENT))
    return build_and([*found, TextHolds("v", start, f" {' '.join(words)}")])


class _Reader:
    """Reads the grammar of ``_text``; a part with no word in it that counts is None."""

    def __init__(self, tokens: Sequence[str], types: tuple[str, ...], code: str) -> None:
        self._tokens, self._at = tokens, 0
        self._types, self._code = types, code
        self._kinds = (CONTENT, NARRATIVE) if code == "_content" else (NARRATIVE,)
        self._ranges = 0

    def peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def alternatives(self, depth: int) -> Node | None:
        if depth > DEEPEST:
            raise TooCostly(_TOO_DEEP)
        found = [self._all(depth)]
        while self.peek() in ("OR", "or"):
            self._at += 1
            found.append(self._all(depth))
        nodes = [one for one in found if one is not None]
        return build_or(nodes) if nodes else None

    def _all(self, depth: int) -> Node | None:
        found = [self._one(depth)]
        while self.peek() not in ("", ")", "OR", "or"):
            if self.peek() in ("AND", "and"):
                self._at += 1
            found.append(self._one(depth))
        nodes = [one for one in found if one is not None]
        return build_and(nodes) if nodes else None

    def _one(self, depth: int) -> Node | None:
        token = self.peek()
        self._at += 1
        if token in ("", ")", "OR", "or", "AND", "and"):
            raise Value(_SYNTAX)
        if token == "NOT":
            if depth >= DEEPEST:
                raise TooCostly(_TOO_DEEP)
            negated = self._one(depth + 1)
            return None if negated is None else build_not(negated)
        if token == "(":
            inner = self.alternatives(depth + 1)
            if self.peek() != ")":
                raise Value(_OPEN)
            self._at += 1
            return inner
        return self._phrase(token) if token[0] == '"' else self._word(token)

    def _phrase(self, token: str) -> Node | None:
        if len(token) < 2 or token[-1] != '"':
            raise Value(_OPEN)
        words = words_of(token)
        indexed = indexed_words(words)
        if not indexed:
            return None
        needle = f" {' '.join(words)} "
        texts = [TextHolds("v", f"{code}:", needle) for code, kind in KINDS.items() if kind in self._kinds]
        return build_and([*map(self._holds, indexed), build_or(texts)])

    def _word(self, token: str) -> Node | None:
        stem, star = (token[:-1], True) if token[-1] == "*" else (token, False)
        words = words_of(stem)
        if "*" in stem or (star and not words):
            raise Value(_STAR)
        whole = words[:-1] if star else words
        found = [self._holds(word) for word in indexed_words(whole)]
        if star:
            found.append(self._begun(words[-1]))
        return build_and(found) if found else None

    def _holds(self, word: str) -> Node:
        return WordIn(tuple(f"{one}{kind}{word}" for one in self._types for kind in self._kinds))

    def _begun(self, word: str) -> Node:
        self._ranges += len(self._types) * len(self._kinds)
        if self._ranges > _MOST_RANGES:
            raise TooCostly(_TOO_MANY_BEGUN)
        return build_or([_begins(one, word, kind) for one in self._types for kind in self._kinds])


def _begins(resource_type: str, word: str, kind: str) -> Node:
    start = f"{resource_type}{kind}{singular(word)}"
    return KeyBetween("w", start, start + _END)


def _collect(value: Mapping[str, Any], found: list[str]) -> None:
    """Add the texts of an element and of all within it; the hot path of a write."""
    for name, inner in value.items():
        if name in _SKIPPED:
            continue
        kind = type(inner)
        if kind is str:
            found.append(inner)
        elif kind is dict:
            _collect(inner, found)
        elif kind is list:
            for one in inner:
                if type(one) is str:
                    found.append(one)
                elif type(one) is dict:
                    _collect(one, found)


def _analyse(text: str) -> tuple[Mapping[str, None], str]:
    """Return the words of one text for the index and its line for ``v``; nothing for a url or a date."""
    if text.startswith(("http://", "https://", "urn:")) or _DATE.fullmatch(text):
        return {}, ""
    words = words_of(text)
    return indexed_words(words), f" {' '.join(words)} |" if words else ""


_analysed = lru_cache(maxsize=4_096)(_analyse)
"""For short texts: displays, units and codes come again and again, narratives do not."""


def _entry(code: str, text: str) -> str:
    return f"{code}:{text[:MOST_TEXT]}"
