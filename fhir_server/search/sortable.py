"""Exact decimals as texts whose order is that of the numbers, in MongoDB and in Python alike.

A double would move bounds and a Decimal128 ends at 34 digits; FHIR's decimals have as many as they are written with.
Form: ``m`` negative, ``o`` zero, ``p`` positive; then the exponent (five digits) and the digits, complemented to nine
for negatives, which end in ``~`` so that the shorter one is the greater.
"""

from decimal import Context, Decimal

LOWEST = "a"
"""Below every number: an open lower bound."""
HIGHEST = "z"
"""Above every number: an open upper bound."""

_OFFSET = 50_000
_LIMIT = 40_000
_NINES = str.maketrans("0123456789", "9876543210")
EXACT = Context(prec=5_000, Emax=999_999, Emin=-999_999)
"""For arithmetic on bounds without rounding."""


def sortable(number: Decimal | int) -> str:
    """Return the text of a finite number; equal numbers have equal texts, whatever digits they were written with.

    Raises ``ValueError`` for NaN, infinities and exponents beyond ±40,000, which FHIR's decimals cannot have here.
    """
    mantissa, _, exponent = format(Decimal(number) if isinstance(number, int) else number, "E").partition("E")
    if not exponent:
        raise ValueError("not a finite number")
    digits = mantissa.replace(".", "").rstrip("0")
    if digits in ("", "-"):
        return "o"
    power = int(exponent) + 1
    if not -_LIMIT <= power <= _LIMIT:
        raise ValueError("an exponent out of range")
    if digits[0] == "-":
        return f"m{_OFFSET - power:05d}{digits[1:].translate(_NINES)}~"
    return f"p{_OFFSET + power:05d}{digits}"
