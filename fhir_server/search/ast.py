"""The search tree: conditions on one index document, joined by And, Or, Not.

The leaves are tied to index fields, not to query syntax: what ``compiler`` and ``matcher`` need and no more. Joins
need the database first (chains, ``_has``, ``_list``): ``planner`` puts leaves in their place, and the two interpreters
never meet one.
"""

from dataclasses import dataclass
from typing import Literal

from fhir_server.search.ranges import Bounds


@dataclass(frozen=True, slots=True)
class Everything:
    """Every document; only ever written on purpose."""


@dataclass(frozen=True, slots=True)
class Nothing:
    """No document."""


@dataclass(frozen=True, slots=True)
class And:
    """All of two or more; ``build_and`` makes it."""

    children: "tuple[Node, ...]"

    def __post_init__(self) -> None:
        _check_children(self.children)


@dataclass(frozen=True, slots=True)
class Or:
    """Any of two or more; ``build_or`` makes it."""

    children: "tuple[Node, ...]"

    def __post_init__(self) -> None:
        _check_children(self.children)


@dataclass(frozen=True, slots=True)
class Not:
    """What the child does not match, documents without any value included."""

    child: "Node"


@dataclass(frozen=True, slots=True)
class AnyType:
    """Every current resource, whatever its type; a deleted one has no type."""


@dataclass(frozen=True, slots=True)
class TypeIs:
    """The resource's type is one of these."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReferenceIs:
    """The resource itself is one of these, ``Type/id``."""

    references: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TokenIn:
    """The field ``t`` holds one of these whole keys."""

    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RefersTo:
    """The field ``r`` holds one of these keys.

    Where the definitions say that a type's parameter has at most one value and it is the patient, ``patients`` says
    the same of the scalar field ``pt`` of ``resource_type``, which has better indexes.
    """

    keys: tuple[str, ...]
    resource_type: str = ""
    patients: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ExactString:
    """The field ``e`` holds one of these strings, case and accents included; ``s`` is asked first, for its index."""

    normalised: str
    exact: str


@dataclass(frozen=True, slots=True)
class WordIn:
    """The field ``w`` holds one of these whole keys."""

    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TextHolds:
    """The field ``s`` or ``v`` holds a text that begins with ``start``, which ends in a colon, and then has ``text``.

    No index answers it: it decides among what other leaves have led to.
    """

    field: Literal["s", "v"]
    start: str
    text: str


@dataclass(frozen=True, slots=True)
class DatePresent:
    """A resource of this type has its primary date."""

    resource_type: str


@dataclass(frozen=True, slots=True)
class EntryPresent:
    """The field ``d``, ``n`` or ``q`` has an entry with this key."""

    field: Literal["d", "n", "q"]
    key: str


@dataclass(frozen=True, slots=True)
class KeyBetween:
    """The field ``t``, ``r``, ``s``, ``f`` or ``w`` holds a key in the half-open range [low, high)."""

    field: Literal["t", "r", "s", "f", "w"]
    low: str
    high: str


@dataclass(frozen=True, slots=True)
class DateIs:
    """One entry of ``d`` with this key (``Observation.value-date``) keeps the bounds on its ``s`` and ``e``."""

    key: str
    bounds: Bounds


@dataclass(frozen=True, slots=True)
class CombinedIs:
    """One entry of ``d`` with one of these keys, which are made of several parameters', keeps all the bounds."""

    keys: tuple[str, ...]
    bounds: tuple[Bounds, ...]


@dataclass(frozen=True, slots=True)
class PrimaryDateIs:
    """The primary date of a resource of this type keeps the bounds on ``ds`` and ``de``."""

    resource_type: str
    bounds: Bounds


@dataclass(frozen=True, slots=True)
class UpdatedIs:
    """The instant of the last change keeps the bounds on ``updated``."""

    bounds: Bounds


@dataclass(frozen=True, slots=True)
class NumberIs:
    """One entry of ``n`` with this key keeps the bounds on its ``lo`` and ``hi``."""

    key: str
    bounds: Bounds


@dataclass(frozen=True, slots=True)
class QuantityIs:
    """One entry of ``q`` with this key keeps the bounds on its ``lo`` and ``hi`` and, if there is one, on its unit."""

    key: str
    bounds: Bounds
    unit: Bounds | None = None


@dataclass(frozen=True, slots=True)
class TextEnds:
    """The field ``s``, or for long texts ``v``, holds a text that begins with ``start``, a colon last, and ends so.

    No index answers it: it decides among what other leaves have led to.
    """

    start: str
    text: str


@dataclass(frozen=True, slots=True)
class GroupIs:
    """One entry of ``g`` with this key, or one from it up to below ``until``, keeps all the bounds."""

    key: str
    bounds: tuple[Bounds, ...]
    until: str | None = None


@dataclass(frozen=True, slots=True)
class NearTo:
    """A resource of this type has its point (``nx``, ``ny``, ``nz``) at most ``chord`` centimetres from this one."""

    resource_type: str
    x: int
    y: int
    z: int
    chord: int


@dataclass(frozen=True, slots=True)
class InCompartment:
    """The resource is in the compartment, such as ``Patient/42``."""

    compartment: str
    id: str


@dataclass(frozen=True, slots=True)
class HasLabel:
    """The resource bears one of these security labels, ``system|code``."""

    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PatientIs:
    """The resource is the record of one of these patients, ``Patient/id``, by its scalar field ``pt``.

    Narrower than a compartment: what merely mentions a patient (as a performer, say) is of another's record.
    """

    patients: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OfNoPatient:
    """The resource is in no patient's compartment."""


@dataclass(frozen=True, slots=True)
class OwnedBy:
    """Who put the resource here (field ``o``) is known by one of these keys: ``Type/id``, ``system|value``."""

    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class InOpenRecord:
    """The resource lies in no closed record (field ``cl``); one that is of no record lies in none."""


@dataclass(frozen=True, slots=True)
class PointsTo:
    """The resource refers to one of these anywhere, ``Type/id``; ``@Binary/id`` for what a url leads to."""

    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Link:
    """A reference parameter of one resource type, as a step from one resource to another.

    ``patient``: the scalar field ``pt`` answers for it where the target is a Patient (see ``SearchParameter``).
    """

    resource_type: str
    code: str
    patient: bool = False

    @property
    def key(self) -> str:
        """What the index entries of the parameter begin with."""
        return f"{self.resource_type}.{self.code}"


@dataclass(frozen=True, slots=True)
class Chain:
    """The resource refers by ``link`` to one that is of a type in ``targets`` and matches the type's tree.

    ``name`` is the parameter as it was written, for messages.
    """

    name: str
    link: Link
    targets: "tuple[tuple[str, Node], ...]"


@dataclass(frozen=True, slots=True)
class Has:
    """The resource is of one of ``types``, and a ``link.resource_type`` that matches ``tree`` refers to it."""

    name: str
    link: Link
    types: tuple[str, ...]
    tree: "Node"


@dataclass(frozen=True, slots=True)
class ListMember:
    """The resource is of one of ``types`` (any, if empty) and an entry of the List refers to it."""

    name: str
    id: str
    types: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class InValueSet:
    """A token parameter has a code of this value set, by canonical or ``ValueSet/id``.

    ``key`` and ``system`` are the parameter's own, ``name`` its code: ``terminology`` puts tokens in its place.
    """

    name: str
    key: str
    system: str | None
    value_set: str


@dataclass(frozen=True, slots=True)
class Subsumed:
    """A token parameter has this code or one ``below`` (subsumed by) it, or ``above`` it, in its code system.

    Otherwise as ``InValueSet``.
    """

    name: str
    key: str
    system: str | None
    code_system: str
    code: str
    direction: Literal["above", "below"]


Join = Chain | Has | ListMember
Terminology = InValueSet | Subsumed
Leaf = (
    AnyType
    | TypeIs
    | ReferenceIs
    | TokenIn
    | RefersTo
    | KeyBetween
    | WordIn
    | TextHolds
    | TextEnds
    | ExactString
    | DatePresent
    | EntryPresent
    | DateIs
    | CombinedIs
    | PrimaryDateIs
    | UpdatedIs
    | NumberIs
    | QuantityIs
    | GroupIs
    | NearTo
    | InCompartment
    | HasLabel
    | PatientIs
    | OfNoPatient
    | OwnedBy
    | InOpenRecord
    | PointsTo
)
Node = Everything | Nothing | And | Or | Not | Leaf | Join | Terminology


def _check_children(children: "tuple[Node, ...]") -> None:
    if len(children) < 2:
        raise ValueError("a join of fewer than two nodes: use build_and or build_or")
