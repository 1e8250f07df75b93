"""The index entries of one resource while they are collected, and the keys they are made of."""

from collections.abc import Callable
from datetime import datetime
from hashlib import sha256
from typing import Any

LONGEST_KEY = 512
KEPT = 400

Extract = Callable[[Any, str, "Entries"], None]
"""Adds the entries of one FHIRPath value (raw value, its FHIR type); the hot path, so it changes its argument."""


class Entries:
    """Collects what one resource is found by; dictionaries stand for ordered sets."""

    __slots__ = (
        "contained",
        "d",
        "e",
        "g",
        "memo",
        "n",
        "near",
        "primary",
        "q",
        "r",
        "references",
        "resource",
        "s",
        "t",
        "v",
    )

    def __init__(self) -> None:
        self.t: dict[str, None] = {}
        self.r: dict[str, None] = {}
        self.s: dict[str, None] = {}
        self.e: dict[str, None] = {}
        self.d: dict[tuple[str, datetime, datetime], None] = {}
        self.n: dict[tuple[str, str, str], None] = {}
        self.q: dict[tuple[str, str, str, str | None, str | None, str | None], None] = {}
        self.g: list[dict[str, Any]] = []
        """Entries of composites."""
        self.v: dict[str, None] = {}
        """Texts to be looked into after an index has led to the document; see ``param_types.text``."""
        self.contained: dict[str, None] = {}
        """Normalised texts in the middle of which one may search; see ``param_types.string``."""
        self.primary: tuple[datetime, datetime] | None = None
        self.near: tuple[int, int, int] | None = None
        self.references: dict[str, list[str]] = {}
        """Local targets (``Patient/42``) by the code of the parameter: compartments and ``pt`` come of them."""
        self.memo: dict[int, tuple[Any, Any]] = {}
        """Values with what they came to, by their ``id``, for the other parameters that look at the same one."""
        self.resource: dict[str, Any] = {}


def bounded(key: str) -> str:
    """Return the key, one too long for an index cut and completed by its digest: equality is kept, order is not."""
    if len(key) <= LONGEST_KEY:
        return key
    return f"{key[:KEPT]}\0{sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()}"


def escape_system(system: str) -> str:
    """Return a system for use before the last ``|`` of a key, so that no two pairs make the same key."""
    if "|" in system or "\\" in system:
        return system.replace("\\", "\\\\").replace("|", "\\|")
    return system
