"""What a function is: a callable of the context, its input and its compiled arguments; and how one iterates.

Spec: http://hl7.org/fhirpath/N1/#functions
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from fhir_server.fhir.fhirpath.context import Collection, Context, Evaluate
from fhir_server.fhir.fhirpath.nodes import Node


class Function(NamedTuple):
    """``minimum`` to ``maximum`` arguments, each handed over unevaluated; no maximum means the minimum."""

    call: Callable[..., Collection]
    minimum: int = 0
    maximum: int | None = None

    def takes(self, count: int) -> bool:
        """Say whether the function can be called with so many arguments."""
        return self.minimum <= count <= (self.minimum if self.maximum is None else self.maximum)


def each(context: Context, items: Collection, expression: Evaluate) -> Iterator[tuple[Node, Collection]]:
    """Yield each item and what the expression gives with it as ``$this`` and its place as ``$index``."""
    outer, outer_index = context.this, context.index
    try:
        for index, item in enumerate(items):
            context.spend(1)
            context.this, context.index = [item], index
            found = expression(context)
            context.this, context.index = outer, outer_index
            yield item, found
    finally:
        context.this, context.index = outer, outer_index
