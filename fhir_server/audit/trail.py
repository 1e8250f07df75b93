"""What one request does, noted by the repository while it happens; AuditEvents are made of it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Touched:
    """One resource that a request has disclosed or changed.

    ``action`` is the policy's word (``read``, ``vread``, ``search``, ``history``, ``create``, ``update``, ``patch``,
    ``delete``); ``patients`` are the compartments it is in, ``Patient/id``; ``labels`` its security labels,
    ``system|code``; ``rule`` names the rule that allowed it, if one was asked.
    """

    action: str
    reference: str
    version: int
    patients: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    rule: str = ""


@dataclass(slots=True)
class Trail:
    """Collects what one request touches. One for each request; its threads share nothing."""

    disclosed: list[Touched] = field(default_factory=list)

    def disclose(self, touched: Iterable[Touched]) -> None:
        """Note resources that are about to be shown to the caller."""
        self.disclosed.extend(touched)

    def records(self, written: Sequence[Touched]) -> tuple[tuple[str, Mapping[str, Any]], ...]:
        """Return the (collection, document) pairs to be committed together with what is written."""
        return ()
