"""Checks of primitive values: JSON type, format, range, calendar, required codes.

The expressions accept what R4's accept, and refuse what its text forbids beyond them: days that the calendar does not
have, control characters, texts over 1 MB. They take linear time; groups that repeat do so possessively, as each step
that could be taken back would cost memory. Spec: http://hl7.org/fhir/R4/datatypes.html#primitive
"""

import re
from decimal import Decimal
from typing import Any

from fhir_server.errors import Text
from fhir_server.fhir.decimals import FhirDecimal
from fhir_server.validation.findings import Check, Problem, Problems, structure_problem, value_problem
from fhir_server.validation.narrative import check_narrative

MAX_TEXT = 1024 * 1024

_NO_CONTROL = r"[^\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]"
_NO_SPACE = r"[^\x00-\x20\ud800-\udfff\ufffe\uffff]"
_YEAR = r"(?!0000)[0-9]{4}"
_DAY = (
    r"(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    r"|02-(?:0[1-9]|1[0-9]|2[0-8])"
    # 29 February: in years divisible by 4, but for full centuries, but for those divisible by 400.
    r"|02-29(?:(?<=[0-9][0-9](?:0[48]|[2468][048]|[13579][26])-02-29)|(?<=(?:[02468][048]|[13579][26])00-02-29)))"
)
_TIME = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)(?:\.[0-9]+)?"
_ZONE = r"(?:Z|[+-](?:(?:0[0-9]|1[0-3]):[0-5][0-9]|14:00))"
_MONTH = r"(?:0[1-9]|1[0-2])"

_TEXTS: dict[str, str] = {
    "string": rf"{_NO_CONTROL}{{1,{MAX_TEXT}}}",
    "code": rf"{_NO_SPACE}++(?:[ \t\r\n]{_NO_SPACE}++)*+",
    "uri": rf"{_NO_SPACE}+",
    "id": r"[A-Za-z0-9\-.]{1,64}",
    "oid": r"urn:oid:[0-2](?:\.(?:0|[1-9][0-9]*+))++",
    "uuid": r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    "date": rf"{_YEAR}(?:-{_DAY}|-{_MONTH})?",
    "dateTime": rf"{_YEAR}(?:-{_DAY}(?:T{_TIME}{_ZONE})?|-{_MONTH})?",
    "instant": rf"{_YEAR}-{_DAY}T{_TIME}{_ZONE}",
    "time": _TIME,
}
_TEXTS["markdown"] = _TEXTS["string"]
_TEXTS["url"] = _TEXTS["canonical"] = _TEXTS["uri"]

_INTEGERS: dict[str, tuple[int, int]] = {
    "integer": (-(2**31), 2**31 - 1),
    "unsignedInt": (0, 2**31 - 1),
    "positiveInt": (1, 2**31 - 1),
}

_BASE64_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_XML_SPACE = b" \t\r\n"

_NULL = Text(
    "null is not allowed here: leave the element out.",
    "null n’est pas permis ici : omettez l’élément.",
)
_EMPTY = Text("A value must not be empty.", "Une valeur ne doit pas être vide.")
_TOO_LONG = Text("The text is longer than 1 MB.", "Le texte dépasse 1 Mo.")
_NOT_IN_VALUE_SET = Text(
    "This code is not one of those that the element requires.",
    "Ce code n’est pas de ceux que l’élément exige.",
)
_NOT_A_DECIMAL = Text(
    "This number is not a finite decimal with the digits it was written with.",
    "Ce nombre n’est pas un décimal fini avec les chiffres de son écriture.",
)


def primitive_check(code: str, codes: frozenset[str] | None = None) -> Check:
    """Return the check of one value of a primitive type; with ``codes``, only these are accepted."""
    if codes is not None:
        return _code_check(codes)
    if code in _INTEGERS:
        return _integer_check(code)
    match code:
        case "boolean":
            return _check_boolean
        case "decimal":
            return _check_decimal
        case "base64Binary":
            return _check_base64
        case "xhtml":
            return _check_xhtml
        case _:
            return _text_check(code)


def _text_check(code: str) -> Check:
    fits = re.compile(_TEXTS[code]).fullmatch

    def check(value: Any) -> Problems | None:
        if type(value) is str and fits(value) is not None:
            return None
        return [_explain_text(code, value)]

    return check


def _code_check(codes: frozenset[str]) -> Check:
    check_format = _text_check("code")

    def check(value: Any) -> Problems | None:
        if type(value) is str and value in codes:
            return None
        return check_format(value) or [Problem("", "code-invalid", _NOT_IN_VALUE_SET)]

    return check


def _integer_check(code: str) -> Check:
    low, high = _INTEGERS[code]
    out_of_range = Text(
        f"This number is outside of the range of {code}: {low} to {high}.",
        f"Ce nombre sort de l’intervalle de {code} : {low} à {high}.",
    )

    def check(value: Any) -> Problems | None:
        if type(value) is int:
            return None if low <= value <= high else [value_problem(out_of_range)]
        if type(value) is FhirDecimal and value.text.lstrip("-").isdigit():
            # parse_json keeps -0, and integers of more than 15 digits, as decimals.
            return None if value.text == "-0" and low < 0 else [value_problem(out_of_range)]
        return [_wrong_type(code, value)]

    return check


def _check_boolean(value: Any) -> Problems | None:
    return None if value is True or value is False else [_wrong_type("boolean", value)]


def _check_decimal(value: Any) -> Problems | None:
    if type(value) is FhirDecimal or type(value) is int:
        return None
    if isinstance(value, Decimal):
        return None if value.is_finite() else [value_problem(_NOT_A_DECIMAL)]
    return [value_problem(_NOT_A_DECIMAL) if isinstance(value, float) else _wrong_type("decimal", value)]


def _check_base64(value: Any) -> Problems | None:
    return None if type(value) is str and _is_base64(value) else [_explain_text("base64Binary", value)]


def _is_base64(value: str) -> bool:
    if not value.isascii():
        return False
    data = value.encode()
    others = data.translate(None, _BASE64_ALPHABET)
    padding = others.translate(None, _XML_SPACE)
    length = len(data) - len(others) + len(padding)
    if padding not in (b"", b"=", b"==") or length == 0 or length % 4:
        return False
    return b"=" not in data.rstrip(b"=" + _XML_SPACE)


def _check_xhtml(value: Any) -> Problems | None:
    if type(value) is not str or not value:
        return [_explain_text("xhtml", value)]
    text = check_narrative(value)
    return None if text is None else [value_problem(text)]


def _explain_text(code: str, value: Any) -> Problem:
    if type(value) is not str:
        return _wrong_type(code, value)
    if not value:
        return value_problem(_EMPTY)
    if len(value) > MAX_TEXT and code in ("string", "markdown"):
        return value_problem(_TOO_LONG)
    return value_problem(
        Text(f"This is not a valid {code} of FHIR R4.", f"Ceci n’est pas une valeur valide du type {code} de FHIR R4.")
    )


def _wrong_type(code: str, value: Any) -> Problem:
    if value is None:
        return structure_problem(_NULL)
    if isinstance(value, list):
        return structure_problem(
            Text("Only one value is allowed here, not an array.", "Une seule valeur est permise ici, pas un tableau.")
        )
    if code == "boolean":
        kind = Text("true or false, without quotes", "true ou false, sans guillemets")
    elif code == "decimal" or code in _INTEGERS:
        kind = Text("a JSON number", "un nombre JSON")
        if code != "decimal" and isinstance(value, Decimal):
            kind = Text("a whole number, without fraction and exponent", "un nombre entier, sans décimales ni exposant")
    else:
        kind = Text("a JSON string", "une chaîne de caractères JSON")
    return structure_problem(Text(f"The type {code} is {kind.en}.", f"Le type {code} s’écrit comme {kind.fr}."))
