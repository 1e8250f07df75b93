"""Who is asking: established once at the edge, never changed on the way down."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Caller:
    """The party behind a request; ``key`` is opaque and stable, and binds page links to who got them."""

    key: str
    kind: str


OPEN_CALLER = Caller("open", "open")
"""Whoever can reach a server without authentication."""
