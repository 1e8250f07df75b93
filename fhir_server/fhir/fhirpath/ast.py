"""The syntax tree of an expression: frozen nodes.

A path ``a.b(c)[0]`` is one ``Path`` with its steps, and ``a | b | c`` one ``Union``: deep left-leaning trees would cost
a stack frame per link. ``depth`` counts nesting and is what the parser bounds.
Spec: http://hl7.org/fhirpath/N1/grammar.html
"""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TypeAlias

from fhir_server.fhir.fhirpath.values import Quantity, Temporal


@dataclass(frozen=True, slots=True)
class Literal:
    """A value of the text: true, 'text', 1, 1.0, @2015, @T10, 4 days."""

    value: bool | int | Decimal | str | Temporal | Quantity


@dataclass(frozen=True, slots=True)
class Empty:
    """``{}``."""


@dataclass(frozen=True, slots=True)
class Variable:
    """``%name``; ``name`` without the sign."""

    name: str


@dataclass(frozen=True, slots=True)
class Special:
    """``$this``, ``$index`` or ``$total``; ``name`` without the sign."""

    name: str


@dataclass(frozen=True, slots=True)
class TypeName:
    """``Patient``, ``FHIR.Patient``, ``System.String``; ``namespace`` is None when not given."""

    namespace: str | None
    name: str


@dataclass(frozen=True, slots=True)
class Member:
    """A step to the children of that name."""

    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """A step through a function; ``position`` is where its name starts in the text."""

    name: str
    arguments: tuple["Tree", ...]
    position: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class TypeCall:
    """``is(T)``, ``as(T)`` or ``ofType(T)`` as a step."""

    name: str
    type: TypeName


@dataclass(frozen=True, slots=True)
class Index:
    """A step ``[expression]``."""

    expression: "Tree"


Step: TypeAlias = Member | Call | TypeCall | Index


@dataclass(frozen=True, slots=True)
class Path:
    """Steps from ``head``, or from ``$this`` when there is none."""

    head: "Tree | None"
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Unary:
    """``+x`` or ``-x``."""

    operator: str
    operand: "Tree"


@dataclass(frozen=True, slots=True)
class Binary:
    """An operator between two expressions, ``|``, ``is`` and ``as`` excepted."""

    operator: str
    left: "Tree"
    right: "Tree"


@dataclass(frozen=True, slots=True)
class Union:
    """``a | b | c``."""

    branches: tuple["Tree", ...]


@dataclass(frozen=True, slots=True)
class TypeTest:
    """``x is T`` or ``x as T``."""

    operator: str
    operand: "Tree"
    type: TypeName


Tree: TypeAlias = Literal | Empty | Variable | Special | Path | Unary | Binary | Union | TypeTest


def parts(tree: Tree) -> tuple[Tree, ...]:
    """Return the expressions directly inside another one."""
    match tree:
        case Path(head, steps):
            inner: list[Tree] = [] if head is None else [head]
            for step in steps:
                if isinstance(step, Call):
                    inner.extend(step.arguments)
                elif isinstance(step, Index):
                    inner.append(step.expression)
            return tuple(inner)
        case Unary(_, operand) | TypeTest(_, operand, _):
            return (operand,)
        case Binary(_, left, right):
            return (left, right)
        case Union(branches):
            return branches
        case _:
            return ()
