"""What of a visible resource is withheld because it names what is hidden: the elements that list other resources.

A submission set that names a document, a Provenance that tells of it, a report that has it among its results would
each show that it is there. Who may not see it is shown neither the item nor the narrative beside it, finds nothing by
it, and keeps it in place when they write the resource back.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from fhir_server.access.caller import Caller
from fhir_server.fhir.listings import Listing


@dataclass(frozen=True, slots=True)
class Withheld:
    """A listing, and the ``codes`` of the search parameters that its items are found by.

    ``sole``: the resource is nothing but this list; when it names nothing that is seen, it is not seen itself.
    """

    listing: Listing
    codes: tuple[str, ...] = ()
    sole: bool = False
    mark: bytes = field(init=False)
    """What stands in the JSON of every resource that has the element."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "mark", f'"{self.listing.name}"'.encode())


_TABLE: Mapping[str, tuple[Withheld, ...]] = {
    "List": (Withheld(Listing(("entry",), "item"), ("item",), sole=True),),
    "DocumentManifest": (
        Withheld(Listing(("content",)), ("item",), sole=True),
        Withheld(Listing(("related",), "ref"), ("related-ref", "related-id")),
    ),
    "Provenance": (
        Withheld(Listing(("target",)), ("target",), sole=True),
        Withheld(Listing(("entity",), "what"), ("entity",)),
    ),
    "AuditEvent": (
        Withheld(Listing(("entity",), "what"), ("entity", "entity-name", "entity-role", "entity-type")),
    ),
    "DocumentReference": (
        Withheld(Listing(("relatesTo",), "target"), ("relatesto", "relation", "relationship")),
        Withheld(Listing(("context", "related")), ("related",)),
    ),
    "Composition": (
        Withheld(Listing(("section", "entry"), nested=True), ("entry", "section")),
        Withheld(Listing(("relatesTo",), "targetReference"), ("related-ref", "related-id")),
        Withheld(Listing(("event", "detail"))),
    ),
    "DiagnosticReport": (Withheld(Listing(("result",)), ("result",)),),
    "Observation": (
        Withheld(Listing(("hasMember",)), ("has-member",)),
        Withheld(Listing(("derivedFrom",)), ("derived-from",)),
        Withheld(Listing(("focus",)), ("focus",)),
    ),
    "Condition": (Withheld(Listing(("evidence", "detail")), ("evidence-detail",)),),
    "Communication": (Withheld(Listing(("payload",), "contentReference")), Withheld(Listing(("about",)))),
    "Task": (Withheld(Listing(("focus",)), ("focus",)),),
}  # fmt: skip
WORDS = frozenset({"_content", "_text"})
"""Parameters that look into the whole of a resource, and so into what it lists."""
LISTING = frozenset(_TABLE)
"""The types of which something may be withheld."""
MARKS = {kind: tuple(one.mark for one in listings) for kind, listings in _TABLE.items()}
"""Of each of these types what the JSON of a resource of which something is withheld holds some of."""
SOLE = frozenset(kind for kind, listings in _TABLE.items() if any(one.sole for one in listings))
"""The types that are nothing but a list."""
_CODES = {kind: frozenset(code for one in listings for code in one.codes) for kind, listings in _TABLE.items()}
_HOLDERS = ("patient", "representative")
_WHOLE = ("open", "local", "operator", "anonymous")


def withholds(caller: Caller) -> bool:
    """Say whether anything is withheld within a resource that the caller sees.

    Not from who sees everything, nor from a trusted service, which is to carry what is stored; and operators see no
    record, but for the trail, which an auditor is to see whole.
    """
    return caller.kind not in _WHOLE and not caller.trusted


def withheld_in(resource_type: str, caller: Caller) -> tuple[Withheld, ...]:
    """Return what of a resource of the type is withheld where it names what the caller may not see.

    The trail is the holder's and their representatives': what a structure has put there tells it nothing new.
    """
    if resource_type == "AuditEvent" and caller.kind not in _HOLDERS:
        return ()
    return _TABLE.get(resource_type, ())


def codes_withheld_in(resource_type: str, caller: Caller) -> frozenset[str]:
    """Return the codes of R4's parameters by which what is withheld in a type would be found."""
    return _CODES.get(resource_type, frozenset()) if withheld_in(resource_type, caller) else frozenset()
