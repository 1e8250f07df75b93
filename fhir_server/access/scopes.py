"""SMART scopes: which actions on which types a token was granted.

Spec: https://hl7.org/fhir/smart-app-launch/scopes-and-launch-context.html
"""

from dataclasses import dataclass
from typing import Literal

ScopeContext = Literal["patient", "user", "system"]


@dataclass(frozen=True, slots=True)
class Scope:
    """One clinical scope: ``patient/Observation.rs?category=laboratory``.

    ``resource_type`` is ``*`` for all; ``actions`` are letters of ``cruds`` in that order; ``parameters`` narrow it
    to what such a search finds.
    """

    context: ScopeContext
    resource_type: str
    actions: str
    parameters: tuple[tuple[str, str], ...] = ()
