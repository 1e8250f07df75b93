"""Yes or no with its reason: the rule that allows, or what is missing; the trail keeps it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Decision:
    """``rule`` names the rule that allows; without one, ``missing`` says what would have had to be there.

    ``missing``: ``scope`` (the token does not name the action on this type), ``rule`` (no rule opens it), ``rights``
    (a rule opens it but not for this change), ``labels`` (the labels may not be changed so), ``error``.
    """

    allowed: bool
    rule: str = ""
    missing: str = ""


@dataclass(frozen=True, slots=True)
class Delta:
    """How a write changes a resource: top-level elements that differ, labels put on or taken off."""

    elements: frozenset[str] = frozenset()
    labels: frozenset[str] = frozenset()
    moves: bool = False
    """It becomes another patient's."""
