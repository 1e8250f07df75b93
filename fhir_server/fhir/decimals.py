"""Numbers that keep the digits they were written with: ``6.30`` is not ``6.3``.

Spec: http://hl7.org/fhir/R4/datatypes.html#decimal ("the precision of the decimal value has significance"),
http://hl7.org/fhir/R4/json.html#decimal
"""

import re
from decimal import Decimal
from typing import Any, Self

from fhir_server.errors import Text, Value

MAX_EXPONENT = 6144
"""The exponents of IEEE 754 decimal128, which no measurement needs: a larger one only serves to exhaust memory."""

_GRAMMAR = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE]([+-]?[0-9]+))?")
_EXACT_INTEGER_DIGITS = 15
_MALFORMED = Text(
    "This is not a FHIR decimal number.",
    "Ceci n’est pas un nombre décimal FHIR.",
)
_OUT_OF_RANGE = Text(
    f"The exponent of this number is outside of ±{MAX_EXPONENT}.",
    f"L’exposant de ce nombre sort de l’intervalle ±{MAX_EXPONENT}.",
)


class FhirDecimal(Decimal):
    """A ``Decimal`` that remembers its exact digits in ``text``; arithmetic with it gives plain ``Decimal``.

    Raises ``errors.Value`` when the text is not of FHIR's grammar or its magnitude is beyond ``MAX_EXPONENT``.
    """

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str) -> Self:
        match = _GRAMMAR.fullmatch(text)
        if match is None:
            raise Value(_MALFORMED)
        # The digits of the exponent are bounded first: int() of thousands of them fails, of millions it takes long.
        if match[1] is not None and (len(match[1].lstrip("+-0")) > 4 or abs(int(match[1][-5:])) > MAX_EXPONENT):
            raise Value(_OUT_OF_RANGE)
        self = Decimal.__new__(cls, text)
        self.text = text
        return self

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"FhirDecimal({self.text!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.text,))


def parse_number(text: str) -> int | FhirDecimal:
    """Return an ``int`` where ``int`` prints the same digits again (up to 15), else a ``FhirDecimal``.

    Raises ``errors.Value`` as ``FhirDecimal`` does.
    """
    if text.isdigit() and text.isascii():
        digits = text
    elif text[:1] == "-" and text[1:].isdigit() and text.isascii():
        digits = text[1:]
    else:
        return FhirDecimal(text)
    if len(digits) > _EXACT_INTEGER_DIGITS or (digits[0] == "0" and text != "0"):
        return FhirDecimal(text)
    return int(text)


def to_digits(value: Decimal | int) -> str:
    """Return the digits of a number as JSON and XML write them; raises ``errors.Value`` for NaN and infinity."""
    if isinstance(value, FhirDecimal):
        return value.text
    if isinstance(value, Decimal) and not value.is_finite():
        raise Value(_MALFORMED)
    return str(value)
