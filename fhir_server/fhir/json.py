"""FHIR JSON, read and written exactly; what is not strict JSON is refused, with every place named.

Reading is strict: UTF-8 without BOM, no duplicate keys, no NaN, no characters that XML could not carry, a bounded
depth. The C scanner of the standard library does the work; only when it stumbles does ``json_faults`` read again
to say where. Spec: http://hl7.org/fhir/R4/json.html
"""

import json
import re
from array import array
from decimal import Decimal
from itertools import accumulate
from typing import Any, NoReturn

import orjson

from fhir_server.errors import Issue, Structure, Text, Value
from fhir_server.fhir.decimals import FhirDecimal, to_digits
from fhir_server.fhir.json_faults import FORBIDDEN_CHARACTER, describe_faults, position_of

MAX_DEPTH = 64
"""How many objects and arrays may stand inside one another."""

_ONLY_BRACKETS = bytes.maketrans(b"{}", b"[]")
_ALL_BUT_BRACKETS = bytes(set(range(256)) - set(b'{}[]"'))
_QUICK_PASSES = 4
_STEPS = bytes.maketrans(b"[]", b"\x01\xff")
_STRING = re.compile(rb'"[^"]*"?')
# The controls but tab, line feed and carriage return, and the non-characters. The first is fast and also meets what
# follows an escaped backslash, which the second does not.
_FORBIDDEN = rb"\\(?:u(?:00(?:0[0-8bBcCeEfF]|1[0-9a-fA-F])|[fF]{3}[eEfF])|[bf])"
_FORBIDDEN_PERHAPS = re.compile(_FORBIDDEN)
_FORBIDDEN_ESCAPE = re.compile(rb"(?<!\\)(?:\\\\)*" + _FORBIDDEN)
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_BYTE_ORDER_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")

_BOM = Text(
    "The content starts with a byte order mark; FHIR JSON is UTF-8 without one.",
    "Le contenu commence par une marque d’ordre des octets ; le JSON de FHIR est de l’UTF-8 sans elle.",
)
_UTF8 = Text("The content is not valid UTF-8.", "Le contenu n’est pas de l’UTF-8 valide.")
_TOO_DEEP = Text(
    f"Objects and arrays are nested more than {MAX_DEPTH} levels deep.",
    f"Des objets et des tableaux sont imbriqués sur plus de {MAX_DEPTH} niveaux.",
)
_NOT_AN_OBJECT = Text("A resource is a JSON object.", "Une ressource est un objet JSON.")
_NO_TYPE = Text(
    "The property resourceType is missing or is not a name.",
    "La propriété resourceType manque ou n’est pas un nom.",
)
_UNWRITABLE = Text("The content cannot be written as JSON.", "Le contenu ne peut pas être écrit en JSON.")


class _Refused(Exception):
    """The scanner met something that JSON libraries let pass and that is refused here."""


def parse_json(data: bytes) -> Any:
    """Return the value of a JSON text: dicts, lists, str, bool, None, ``int`` and ``FhirDecimal``.

    Raises ``errors.Structure`` with one issue for each fault found; line and column are in ``diagnostics``.
    """
    text = _decode(data)
    _check_depth(data)
    try:
        value = _DECODER.decode(text)
    except (ValueError, _Refused, Value, RecursionError) as error:
        raise Structure(describe_faults(text, error)) from None
    if _has_forbidden_characters(data, value):
        raise Structure(describe_faults(text, None) or (Issue("value", FORBIDDEN_CHARACTER),))
    return value


def parse_stored(data: bytes) -> Any:
    """Return the value of JSON that this server has written: what was checked when it came in is not checked again.

    Nor is its depth, which an enclosing Bundle adds to.
    """
    return _DECODER.decode(data.decode())


def parse_resource(data: bytes) -> dict[str, Any]:
    """Return the JSON object of a resource; raises ``errors.Structure`` also when it is none or lacks its type."""
    value = parse_json(data)
    if not isinstance(value, dict):
        raise Structure(_NOT_AN_OBJECT)
    resource_type = value.get("resourceType")
    if not isinstance(resource_type, str) or not resource_type:
        raise Structure(_NO_TYPE)
    return value


def to_json(value: Any) -> bytes:
    """Return compact UTF-8 JSON with decimals digit for digit; ``orjson.Fragment`` values are spliced in as they are.

    Raises ``errors.Structure`` for what JSON cannot carry.
    """
    try:
        return orjson.dumps(value, default=_default)
    except TypeError:
        raise Structure(_UNWRITABLE) from None


def to_pretty_json(value: Any) -> bytes:
    """Return ``to_json``'s content indented by two spaces; spliced fragments are indented as well."""
    try:
        # orjson does not indent fragments, so they are read first.
        plain = _DECODER.decode(to_json(value).decode())
        return orjson.dumps(plain, default=_default, option=orjson.OPT_INDENT_2)
    except TypeError:
        raise Structure(_UNWRITABLE) from None


def _decode(data: bytes) -> str:
    if data.startswith(_BYTE_ORDER_MARKS):
        raise Structure(_BOM)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        text = data[: error.start].decode("utf-8")
        raise Structure(_UTF8, diagnostics=position_of(text, len(text))) from None


def _check_depth(data: bytes) -> None:
    """Refuse what is nested too deeply before anything recurses into it; linear, in C."""
    if b"\\" in data:
        data = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    brackets = data.translate(_ONLY_BRACKETS, _ALL_BUT_BRACKETS).replace(b'""', b"")
    if b'"' in brackets:
        brackets = _STRING.sub(b"", brackets)
    for levels in range(MAX_DEPTH, MAX_DEPTH - _QUICK_PASSES, -1):
        if len(brackets) <= 2 * levels:
            return
        # Every pass takes the innermost level away; what is usual is gone after a few.
        brackets = brackets.replace(b"[]", b"")
    steps = array("b", brackets.translate(_STEPS))
    if max(accumulate(steps), default=0) > MAX_DEPTH - _QUICK_PASSES:
        raise Structure(_TOO_DEEP)


def _has_forbidden_characters(data: bytes, value: Any) -> bool:
    if b"\\" in data:
        if _FORBIDDEN_PERHAPS.search(data) and _FORBIDDEN_ESCAPE.search(data):
            return True
        if _SURROGATE.search(data) and not _is_writable(value):
            return True
    return b"\xef\xbf\xbe" in data or b"\xef\xbf\xbf" in data


def _is_writable(value: Any) -> bool:
    """Say whether every surrogate has its other half: UTF-8 has no place for a lone one."""
    try:
        orjson.dumps(value, default=_default)
    except TypeError:
        return False
    return True


def _parse_int(text: str) -> int | FhirDecimal:
    if len(text) < 16 and text != "-0":
        return int(text)
    return FhirDecimal(text)


def _parse_constant(_: str) -> NoReturn:
    raise _Refused


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise _Refused
    return value


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_float=FhirDecimal,
    parse_int=_parse_int,
    parse_constant=_parse_constant,
)


def _default(value: Any) -> orjson.Fragment:
    if isinstance(value, Decimal):
        return orjson.Fragment(to_digits(value).encode())
    raise TypeError
