"""String manipulation: http://hl7.org/fhirpath/N1/#string-manipulation, and the additional string functions."""

import base64
import binascii
import html
import json
import re
from collections.abc import Callable, Mapping
from urllib.parse import unquote

from fhir_server.fhir.fhirpath.context import Collection, Context, Evaluate
from fhir_server.fhir.fhirpath.functions.function import Function
from fhir_server.fhir.fhirpath.regex import has_match, replace_matches
from fhir_server.fhir.fhirpath.system import SystemValue, collection_of, single_integer, single_text, system_node

_JSON_STRING_ESCAPES = re.compile(r'\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})')


def substring(context: Context, items: Collection, start: Evaluate, length: Evaluate | None = None) -> Collection:
    """``substring(start [, length])``; empty when the start is outside of the text."""
    text = single_text(context, items)
    at = single_integer(context, start(context))
    if text is None or at is None or not 0 <= at < len(text):
        return []
    count = None if length is None else single_integer(context, length(context))
    return collection_of(text[at:] if count is None else text[at : at + max(count, 0)])


def index_of(context: Context, items: Collection, part: Evaluate) -> Collection:
    """``indexOf(substring)``."""
    return _with_text(context, items, part, str.find)


def last_index_of(context: Context, items: Collection, part: Evaluate) -> Collection:
    """``lastIndexOf(substring)``."""
    return _with_text(context, items, part, str.rfind)


def starts_with(context: Context, items: Collection, part: Evaluate) -> Collection:
    """``startsWith(prefix)``."""
    return _with_text(context, items, part, str.startswith)


def ends_with(context: Context, items: Collection, part: Evaluate) -> Collection:
    """``endsWith(suffix)``."""
    return _with_text(context, items, part, str.endswith)


def contains(context: Context, items: Collection, part: Evaluate) -> Collection:
    """``contains(substring)``."""
    return _with_text(context, items, part, str.__contains__)


def matches(context: Context, items: Collection, pattern: Evaluate) -> Collection:
    """``matches(regex)``: found anywhere in the text; anchor it to match the whole."""
    return _with_text(context, items, pattern, lambda text, regex: has_match(context, regex, text))


def matches_full(context: Context, items: Collection, pattern: Evaluate) -> Collection:
    """``matchesFull(regex)``."""
    return _with_text(context, items, pattern, lambda text, regex: has_match(context, regex, text, whole=True))


def replace(context: Context, items: Collection, pattern: Evaluate, substitution: Evaluate) -> Collection:
    """``replace(pattern, substitution)``."""
    text = single_text(context, items)
    old, new = single_text(context, pattern(context)), single_text(context, substitution(context))
    if text is None or old is None or new is None:
        return []
    context.spend_text(len(text) + (text.count(old) if old else len(text) + 1) * len(new))
    return collection_of(text.replace(old, new))


def replace_by_regex(context: Context, items: Collection, pattern: Evaluate, substitution: Evaluate) -> Collection:
    """``replaceMatches(regex, substitution)``."""
    text = single_text(context, items)
    regex, new = single_text(context, pattern(context)), single_text(context, substitution(context))
    if text is None or regex is None or new is None:
        return []
    return collection_of(replace_matches(context, regex, text, new))


def to_chars(context: Context, items: Collection) -> Collection:
    """``toChars()``."""
    text = single_text(context, items) or ""
    context.spend(len(text))
    return [system_node(character) for character in text]


def split(context: Context, items: Collection, separator: Evaluate) -> Collection:
    """``split(separator)``."""
    text, by = single_text(context, items), single_text(context, separator(context))
    if text is None or by is None:
        return []
    if not by:
        return to_chars(context, items)
    context.spend(text.count(by))
    return [system_node(part) for part in text.split(by)]


def join(context: Context, items: Collection, separator: Evaluate | None = None) -> Collection:
    """``join([separator])``."""
    by = "" if separator is None else single_text(context, separator(context)) or ""
    texts = [single_text(context, [item]) or "" for item in items]
    if not texts:
        return []
    context.spend_text(sum(map(len, texts)) + len(texts) * len(by))
    return collection_of(by.join(texts))


def encode(context: Context, items: Collection, form: Evaluate) -> Collection:
    """``encode('hex' | 'base64' | 'urlbase64')``."""
    return _with_text(context, items, form, lambda text, name: _ENCODERS[name](text) if name in _ENCODERS else None)


def decode(context: Context, items: Collection, form: Evaluate) -> Collection:
    """``decode('hex' | 'base64' | 'urlbase64')``; empty for what is not so encoded."""
    return _with_text(context, items, form, _decode)


def escape(context: Context, items: Collection, form: Evaluate) -> Collection:
    """``escape('html' | 'json')``."""
    return _with_text(context, items, form, _escape)


def unescape(context: Context, items: Collection, form: Evaluate) -> Collection:
    """``unescape('html' | 'json' | 'url')``."""
    return _with_text(context, items, form, _unescape)


def _with_text(
    context: Context, items: Collection, argument: Evaluate, operate: Callable[[str, str], SystemValue | None]
) -> Collection:
    text = single_text(context, items)
    other = single_text(context, argument(context))
    if text is None or other is None:
        return []
    context.spend(len(text) >> 4)
    return collection_of(operate(text, other))


def _on_text(operate: Callable[[str], SystemValue]) -> Function:
    def call(context: Context, items: Collection) -> Collection:
        text = single_text(context, items)
        if text is None:
            return []
        context.spend(len(text) >> 4)
        return collection_of(operate(text))

    return Function(call)


_ENCODERS: Mapping[str, Callable[[str], str]] = {
    "hex": lambda text: text.encode().hex(),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "urlbase64": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
}
_DECODERS: Mapping[str, Callable[[str], bytes]] = {
    "hex": bytes.fromhex,
    "base64": lambda text: base64.b64decode(text, validate=True),
    "urlbase64": lambda text: base64.b64decode(text, altchars="-_", validate=True),
}


def _decode(text: str, form: str) -> str | None:
    try:
        return _DECODERS[form](text).decode()
    except (KeyError, ValueError, binascii.Error):
        return None


def _escape(text: str, form: str) -> str | None:
    if form == "html":
        return html.escape(text)
    return json.dumps(text, ensure_ascii=False)[1:-1] if form == "json" else None


def _unescape(text: str, form: str) -> str | None:
    if form == "html":
        return html.unescape(text)
    if form == "json":
        return _JSON_STRING_ESCAPES.sub(lambda match: str(json.loads(f'"{match[0]}"')), text)
    return unquote(text) if form == "url" else None


FUNCTIONS: Mapping[str, Function] = {
    "substring": Function(substring, 1, 2),
    "indexOf": Function(index_of, 1),
    "lastIndexOf": Function(last_index_of, 1),
    "startsWith": Function(starts_with, 1),
    "endsWith": Function(ends_with, 1),
    "contains": Function(contains, 1),
    "matches": Function(matches, 1),
    "matchesFull": Function(matches_full, 1),
    "replace": Function(replace, 2),
    "replaceMatches": Function(replace_by_regex, 2),
    "upper": _on_text(str.upper),
    "lower": _on_text(str.lower),
    "trim": _on_text(str.strip),
    "length": _on_text(len),
    "toChars": Function(to_chars),
    "split": Function(split, 1),
    "join": Function(join, 0, 1),
    "encode": Function(encode, 1),
    "decode": Function(decode, 1),
    "escape": Function(escape, 1),
    "unescape": Function(unescape, 1),
}
