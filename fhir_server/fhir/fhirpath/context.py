"""What one evaluation carries along: its focus, its variables, its callbacks, and the budget it lives on.

Spec: http://hl7.org/fhirpath/N1/#environment-variables
"""

import datetime
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from fhir_server.errors import Processing, Text, TooCostly
from fhir_server.fhir.fhirpath.nodes import RESOURCES, Node

DEFAULT_BUDGET = 100_000
"""Steps of one evaluation: roughly one for each item that a step takes or gives, and for each 16 characters of text."""
MAX_TEXT = 1_000_000

Collection: TypeAlias = list[Node]
Evaluate: TypeAlias = Callable[["Context"], Collection]
"""A compiled expression; never changes the list that it gets or gives."""

Resolver: TypeAlias = Callable[[str], dict[str, Any] | None]
MemberOf: TypeAlias = Callable[[Any, str, str], bool | None]
ConformsTo: TypeAlias = Callable[[dict[str, Any], str], bool | None]


@dataclass(frozen=True, slots=True)
class Services:
    """What FHIRPath cannot know by itself.

    ``resolver``: reference text → resource or None. ``member_of``: (raw code, Coding or CodeableConcept; its type;
    value set url) → in it or not, None when the value set is unknown. ``conforms_to``: (resource, profile url) → yes
    or no, None when the profile is unknown. ``now``: the moment of the evaluation, with its zone.
    """

    resolver: Resolver | None = None
    member_of: MemberOf | None = None
    conforms_to: ConformsTo | None = None
    now: datetime.datetime | None = None


class Context:
    """The state of one evaluation. ``this``, ``index`` and ``total`` change while functions iterate."""

    __slots__ = ("index", "now", "root", "services", "steps", "this", "total", "variables")

    def __init__(self, focus: Node, variables: Mapping[str, Any], services: Services, budget: int) -> None:
        self.root = focus
        self.this: Collection = [focus]
        self.index: int | None = None
        self.total: Collection = []
        self.variables = variables
        self.services = services
        self.now = services.now
        self.steps = budget

    def spend(self, steps: int) -> None:
        """Take steps from the budget; raises ``errors.TooCostly`` when it is used up."""
        self.steps -= steps
        if self.steps < 0:
            raise TooCostly(
                Text(
                    "This FHIRPath expression takes too many steps on this resource.",
                    "Cette expression FHIRPath demande trop d’étapes sur cette ressource.",
                ),
                expression=self.root.path(),
            )

    def spend_text(self, length: int) -> None:
        """Take the steps for making a text of that length, before it is made."""
        if length > MAX_TEXT:
            raise TooCostly(
                Text(
                    f"This FHIRPath expression makes a text of more than {MAX_TEXT} characters.",
                    f"Cette expression FHIRPath produit un texte de plus de {MAX_TEXT} caractères.",
                ),
                expression=self.root.path(),
            )
        self.spend(length >> 4)

    def fault(self, en: str, fr: str) -> Processing:
        """Return the error for an evaluation that cannot go on."""
        return Processing(Text(f"FHIRPath: {en}.", f"FHIRPath : {fr}."), expression=self.root.path())

    def resource(self) -> Node | None:
        """Return the resource that the focus is or is in (``%resource``)."""
        return _resource_of(self.root)

    def root_resource(self) -> Node | None:
        """Return that resource, or the one that contains it (``%rootResource``)."""
        found = _resource_of(self.root)
        if found is not None and found.key is not None and found.key[0] == "contained" and found.parent is not None:
            return found.parent
        return found


def _resource_of(node: Node) -> Node | None:
    current: Node | None = node
    while current is not None:
        if type(current.value) is dict and (current.type in RESOURCES or "resourceType" in current.value):
            return current
        current = current.parent
    return None
