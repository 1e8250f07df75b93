"""The image that a phone reads: a QR code as an SVG file within the page, which a strict policy lets be shown.

Spec: https://www.iso.org/standard/83389.html (ISO/IEC 18004)
"""

import segno


def to_svg(text: str) -> str:
    """Return a ``data:`` address of the QR code of a text, dark on white with its quiet zone."""
    return str(segno.make(text, error="m", micro=False).svg_data_uri(scale=4, border=4, light="#fff", dark="#000"))
