"""What a setting's text means: sizes, durations, lists, words, addresses. What means nothing raises ``ValueError``.

Sizes are written ``64MB`` (binary: 1 KB is 1,024 bytes), durations ``90s``, ``5m``, ``2h``, ``7d``, lists with commas,
truth ``true`` or ``false``.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlsplit


def parse_text(text: str) -> str | None:
    """Return the text, ``None`` when it is empty."""
    return text or None


def parse_word(text: str) -> str:
    """Return the text, else raise ``ValueError`` when it is empty or has blanks."""
    if not re.fullmatch(r"\S+", text):
        raise ValueError("must be one word")
    return text


def parse_path(text: str) -> Path:
    """Return an absolute path with ``~`` resolved, else raise ``ValueError`` when the text is empty."""
    if not text:
        raise ValueError("must be a path")
    return Path(os.path.abspath(os.path.expanduser(text)))


def parse_optional_path(text: str) -> Path | None:
    """Return what ``parse_path`` does, ``None`` for an empty text."""
    return parse_path(text) if text else None


def parse_audit_repository(text: str) -> str | None:
    """Return the address of an audit record repository, None for none, else raise ``ValueError``."""
    if not text:
        return None
    parts = urlsplit(text)
    if parts.scheme not in ("syslog+tls", "syslog+tcp", "https", "http") or not parts.hostname:
        raise ValueError("must be syslog+tls://host:port, syslog+tcp://host:port, https://… or http://…")
    return text


def parse_bool(text: str) -> bool:
    """Return the truth of ``true``/``false`` (or ``1/0``, ``yes/no``, ``on/off``), else raise ``ValueError``."""
    word = text.lower()
    if word in ("true", "1", "yes", "on"):
        return True
    if word in ("false", "0", "no", "off"):
        return False
    raise ValueError("must be true or false")


def parse_positive(text: str) -> int:
    """Return a whole number of at least 1, else raise ``ValueError``."""
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < 1:
        raise ValueError("must be a whole number of at least 1")
    return int(text)


def parse_port(text: str) -> int:
    """Return a TCP port; 0 lets the system choose one."""
    if not re.fullmatch(r"[0-9]{1,5}", text) or int(text) > 65_535:
        raise ValueError("must be a port between 0 and 65535")
    return int(text)


_SIZES = {"": 1, "B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}


def parse_size(text: str) -> int:
    """Return a number of bytes from ``512``, ``1KB``, ``64MB`` or ``1.5GB``, else raise ``ValueError``."""
    match = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,3})?) ?([KMG]?B)?", text.upper())
    if match is None:
        raise ValueError("must be a size such as 64MB")
    return int(float(match[1]) * _SIZES[match[2] or ""])


_DURATIONS = {"": 1, "S": 1, "M": 60, "H": 3_600, "D": 86_400}


def parse_duration(text: str) -> float:
    """Return seconds from ``0.5``, ``90s``, ``5m``, ``2h`` or ``7d``, else raise ``ValueError``."""
    match = re.fullmatch(r"([0-9]{1,14}(?:\.[0-9]{1,6})?) ?([SMHD])?", text.upper())
    if match is None:
        raise ValueError("must be a duration such as 30s")
    return float(match[1]) * _DURATIONS[match[2] or ""]


def parse_list(text: str) -> tuple[str, ...]:
    """Return the parts between the commas, without blanks and empty ones."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def parse_url(text: str) -> str:
    """Return an absolute http(s) URL without its last slash, or the empty text, else raise ``ValueError``."""
    if not text:
        return ""
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise ValueError("must be an address such as https://health.example.org/fhir")
    return text.rstrip("/")


def one_of(choices: Any) -> Callable[[str], Any]:
    """Return a parser of the words of a ``Literal`` type."""
    words: tuple[str, ...] = get_args(choices)

    def parse(text: str) -> str:
        if text.lower() not in words:
            raise ValueError(f"must be {' or '.join(words)}")
        return text.lower()

    return parse
