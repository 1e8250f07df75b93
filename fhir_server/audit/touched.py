"""One resource that a request has disclosed or changed."""

from typing import NamedTuple


class Touched(NamedTuple):
    """One resource that a request has disclosed or changed.

    ``action`` is the policy's word (``read``, ``vread``, ``search``, ``history``, ``create``, ``update``, ``patch``,
    ``delete``); ``patients`` are the compartments it is in, ``Patient/id``; ``labels`` its security labels,
    ``system|code``; ``rule`` names the rule that allowed it, if one was asked. ``version`` 0: none is known.
    """

    action: str
    reference: str
    version: int
    patients: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    rule: str = ""
