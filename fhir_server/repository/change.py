"""What a caller proposes to write, and what became of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from fhir_server.errors import Text
from fhir_server.search.ast import Node
from fhir_server.storage.store import Document

Resource = dict[str, Any]
UNCHANGING = Text(
    "AuditEvents are only ever added: nobody changes or deletes them",
    "Les AuditEvents ne font que s’ajouter : personne ne les modifie ni ne les supprime",
)
Action = Literal["create", "update", "patch", "delete"]


@dataclass(frozen=True, slots=True)
class Criteria:
    """The search that a conditional interaction or reference names; ``key`` is its canonical text."""

    resource_type: str
    key: str
    tree: Node


@dataclass(frozen=True, slots=True)
class Proposal:
    """One change that a request or a bundle entry asks for.

    ``id`` is ``None`` where the server assigns it or ``criteria`` finds it. ``patch`` makes the new resource from
    the present one. ``location`` prefixes the expressions of its issues (``Bundle.entry[3].resource``).
    """

    action: Action
    method: str
    resource_type: str
    id: str | None = None
    resource: Resource | None = None
    patch: Callable[[Resource], Resource] | None = None
    criteria: Criteria | None = None
    if_match: str | None = None
    if_none_match: str | None = None
    full_url: str | None = None
    position: int = 0
    location: str | None = None
    multiple: bool = False
    """A conditional delete may take more than one resource."""


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a proposal.

    ``document`` is the state that answers it: the new version, the match of a conditional create, the version that
    already said the same; ``None`` when there was nothing to delete. ``count`` is how many a delete has taken.
    """

    document: Document | None
    created: bool = False
    changed: bool = True
    count: int = 1


@dataclass(frozen=True, slots=True)
class Known:
    """What one attempt has read before it decides: current versions, matches of criteria, guards' counters."""

    documents: Mapping[str, Document] = field(default_factory=dict)
    matches: Mapping[str, tuple[Document, ...]] = field(default_factory=dict)
    guards: Mapping[str, int] = field(default_factory=dict)
