"""What one caller is shown of resources that list others: nothing in them names what the caller may not see.

The policy says which resources are seen; here it is said what is seen in them, and what may be found by it. A resource
that is nothing but a list (a submission set, a Provenance) is not there for who sees nothing of what it names. What
names something hidden, and what names something that never was, come to the same.

Only resources of the few types that list others are looked into, those of a page together: one round trip for what
they name, one more for each level of lists within lists.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from fhir_server.access.listings import (
    LISTING,
    MARKS,
    SOLE,
    WORDS,
    Withheld,
    codes_withheld_in,
    withheld_in,
    withholds,
)
from fhir_server.access.policy import Action
from fhir_server.errors import NotSupported, Text, Value
from fhir_server.fhir.json import parse_stored, to_json
from fhir_server.fhir.listings import references_in, restored, without
from fhir_server.fhir.reference import Fragment, LocalReference, parse_reference
from fhir_server.repository.authorising import POLICY_INDEX, Authority
from fhir_server.repository.change import Resource
from fhir_server.search.ast import Node
from fhir_server.search.closed import CLOSED
from fhir_server.search.indexer import to_index
from fhir_server.search.matcher import index_document, to_test
from fhir_server.search.measures import ALL_FIELDS, is_identity, possible_types
from fhir_server.search.sorting import SortKey
from fhir_server.search.stored import stored_parameter
from fhir_server.search.uncertain import Parameter, is_uncertain, to_upper_bound
from fhir_server.storage.documents import to_version_key
from fhir_server.storage.store import Document, Query, Store

LEVELS = 16
"""How deep lists stand within lists and are still followed, a round trip each; what only lies deeper is not seen."""
ELSEWHERE = ""
"""Stands for what a list names on other servers: nothing of this one is hidden there."""

_REFERENCE = re.compile(rb'"reference":"((?:[^"\\]|\\.)*)"')
_SEEING: tuple[Action, ...] = ("read", "search")
_WHOSE = ("pt", "c", "l", "o", CLOSED)
_NONE = Query({"_id": {"$in": []}}, limit=1)

Names = frozenset[str]
"""What a resource lists, ``Type/id`` each, and ``ELSEWHERE``."""


@dataclass(frozen=True, slots=True)
class _Opened:
    """A resource that lists others; ``sole`` are the names without which it is nothing."""

    resource: Resource
    withheld: tuple[Withheld, ...]
    names: Names
    sole: Names


@dataclass(frozen=True, slots=True)
class Sight:
    """What the caller of an ``Authority`` is shown; ``base_url`` is the server's own, whose references are local."""

    authority: Authority
    base_url: str = ""

    @property
    def is_whole(self) -> bool:
        """The caller is shown resources as they are stored."""
        return not withholds(self.authority.policy.caller)

    def visible(self, documents: Mapping[str, Document]) -> dict[str, Document]:
        """Return the documents that the caller may know of."""
        return self._telling(self.authority.visible(documents))

    def referable(self, documents: Mapping[str, Document]) -> dict[str, Document]:
        """Return the documents that the caller may refer to, and the deleted ones."""
        return self._telling(self.authority.referable(documents))

    def narrows(self, tree: Node) -> bool:
        """Say whether the database may find more by the tree than the caller does, so that ``holding`` must settle it.

        The tree has no joins.
        """
        if self.is_whole:
            return False
        kinds = possible_types(tree)
        if kinds is not None and LISTING.isdisjoint(kinds):
            return False
        return kinds is None or not SOLE.isdisjoint(kinds) or is_uncertain(tree, self._is_withheld)

    def bound(self, tree: Node) -> Node:
        """Return what to ask the database instead of a tree that this narrows."""
        return to_upper_bound(tree, self._is_withheld)

    def fields(self, tree: Node, fields: Sequence[str]) -> Sequence[str]:
        """Return the index fields by which a tree that this narrows is settled, and those asked for."""
        return ALL_FIELDS if is_uncertain(tree, self._is_withheld) else fields

    def check_order(self, sort: Iterable[SortKey]) -> None:
        """Raise ``NotSupported`` for an order that would tell of what is not shown."""
        for key in () if self.is_whole else sort:
            # A key without a code is the id, the moment or the primary date: no list holds these.
            kinds = () if not key.code else (key.resource_type,) if key.resource_type else LISTING
            if any(self._is_withheld((kind, key.code)) for kind in kinds):
                raise NotSupported(_NO_ORDER)

    def holding(self, tree: Node, documents: Sequence[Document]) -> list[Document]:
        """Return those of the documents, read with bodies and ``fields``, that the caller finds by the tree."""
        shown = {one.reference: one for one in self.shown(documents)}
        there = [one for one in documents if one.reference in shown]
        if not is_uncertain(tree, self._is_withheld):
            return there
        holds = to_test(tree)
        return [one for one in there if holds(self._described(one, shown[one.reference]))]

    def shown(self, documents: Sequence[Document], *, written: bool = False) -> list[Document]:
        """Return the documents as the caller is shown them, without those that tell them nothing.

        ``written``: the caller has just written them, so they stay.
        """
        # Of most versions it is known that they list nothing, whoever asks.
        if self.is_whole or not any(map(_may_list, [one for one in documents if one.lists is not False])):
            return list(documents)
        mentioned = [self._mentioned(one) for one in documents]
        gone = self._names_of_gone(documents)
        seen = self._seen(_joined((*mentioned, *gone.values())))
        found: list[Document] = []
        for document, names in zip(documents, mentioned, strict=True):
            # Only what mentions something that is not seen has to be parsed.
            look = self._open(document) if not names <= seen else None
            sole = look.sole if look is not None else gone.get((document.reference, document.version), frozenset())
            if written or _tells(sole, seen):
                found.append(document if look is None else self._reduced(document, look, seen))
        return found

    def parts(self, documents: Iterable[Document]) -> dict[str, "Part"]:
        """Return, of live documents that are about to be changed, what the caller sees of those of which it is a part.

        One round trip if any of them lists others.
        """
        if self.is_whole:
            return {}
        opened = {one.reference: look for one in documents if (look := self._open(one)) is not None}
        seen = self._seen(_joined(look.names for look in opened.values()))
        parts = {reference: Part(self, look, seen) for reference, look in opened.items()}
        return {reference: part for reference, part in parts.items() if part.shown is not part.stored}

    def hides(self, text: str, seen: Names) -> bool:
        """Say of a reference as written whether it leads to something here that is not among what is seen."""
        name = self._name(text)
        return bool(name) and name not in seen

    def _is_withheld(self, parameter: Parameter) -> bool:
        """Say whether a parameter's entries may come from what is withheld: of R4's the table tells, a stored one may.

        The entry of a whole text bears no type.
        """
        kind, code = parameter
        caller = self.authority.policy.caller
        if code in WORDS:
            return not kind or bool(withheld_in(kind, caller))
        if code in codes_withheld_in(kind, caller):
            return True
        return stored_parameter(kind, code) is not None and bool(withheld_in(kind, caller))

    def _described(self, document: Document, shown: Document) -> Mapping[str, Any]:
        """Return what the matcher looks at: the index of what is shown."""
        index = document.index
        if shown is not document:
            whose = {name: index[name] for name in _WHOSE if name in index}
            index = {**to_index(parse_stored(shown.body or b""), self.base_url), **whose}
        return index_document(document.reference, document.updated, index)

    def _telling(self, documents: Mapping[str, Document]) -> dict[str, Document]:
        """Return the documents without the lists that tell nothing."""
        lists = [one for one in documents.values() if one.resource_type in SOLE]
        if self.is_whole or not lists:
            return dict(documents)
        names = self._names_of(lists)
        seen = self._seen(_joined(names.values()))
        return {name: one for name, one in documents.items() if _tells(names.get(name, frozenset()), seen)}

    def _seen(self, wanted: Iterable[str]) -> Names:
        """Return which of the names the caller sees. A list is seen by what it names, as far as that is looked at."""
        named: dict[str, Names] = {}
        asked: set[str] = {ELSEWHERE}
        level = set(wanted) - asked
        for _ in range(LEVELS):
            if not level:
                break
            asked |= level
            known = self._store.get_many(level, with_body=False, index_fields=self._fields_for(level))
            permitted = self.authority.visible(known)
            lists = self._names_of([one for one in permitted.values() if one.resource_type in SOLE])
            named |= {name: lists.get(name, frozenset()) for name in permitted}
            level = _joined(lists.values()) - asked
        return _settled(named)

    def _fields_for(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return the index fields by which it is told whether these are seen, if it takes more than whose they are."""
        policy = self.authority.policy
        kinds = {name.partition("/")[0] for name in names}
        trees = [policy.filter(kind, action) for kind in kinds for action in _SEEING] if not policy.is_of_many else []
        if policy.is_of_many or "Binary" in kinds or not all(map(is_identity, trees)):
            return POLICY_INDEX
        return () if SOLE.isdisjoint(kinds) else ("r",)

    def _names_of(self, lists: Sequence[Document]) -> dict[str, Names]:
        """Return what each list names, by its body or else by its index; a deleted one by what it was."""
        gone = self._names_of_gone(lists)
        return {
            one.reference: gone[one.reference, one.version] if one.deleted else self._names_in(one) for one in lists
        }

    def _names_in(self, document: Document) -> Names:
        sole = [one for one in self._withheld(document) if one.sole]
        if document.body is not None:
            return self._names(parse_stored(document.body), sole)
        starts = [f"{document.resource_type}.{code}>" for one in sole for code in one.codes]
        keys = document.index.get("r", ())
        texts = (key[len(start) :] for start in starts for key in keys if key.startswith(start))
        return frozenset(name for text in texts if (name := self._name(text)) is not None)

    def _names_of_gone(self, documents: Iterable[Document]) -> dict[tuple[str, int], Names]:
        """Return what the deleted lists among the documents named before, by reference and version."""
        gone = [one for one in documents if one.deleted and one.resource_type in SOLE]
        if not gone:
            return {}
        keys = [to_version_key(one.reference, one.version - 1) for one in gone]
        _, versions = self._store.find_included(_NONE, keys, {})
        found = {(one.reference, one.version + 1): self._names_in(one) for one in versions}
        return {key: found.get(key, frozenset()) for key in ((one.reference, one.version) for one in gone)}

    def _mentioned(self, document: Document) -> Names:
        """Return all that a resource which lists anything refers to anywhere, told from its JSON without parsing it."""
        body = document.body
        if body is None or document.lists is False:
            return frozenset()
        if not any(one.mark in body for one in self._withheld(document)):
            return frozenset()
        texts = map(_to_text, _REFERENCE.findall(body))
        return frozenset(name for text in texts if (name := self._name(text)) is not None)

    def _open(self, document: Document) -> _Opened | None:
        """Return the resource, parsed, if it lists anything."""
        body = document.body or b""
        withheld = tuple(one for one in self._withheld(document) if one.mark in body)
        if not withheld:
            return None
        resource = parse_stored(body)
        sole = self._names(resource, [one for one in withheld if one.sole])
        return _Opened(resource, withheld, self._names(resource, withheld), sole)

    def _names(self, resource: Resource, withheld: Iterable[Withheld]) -> Names:
        texts = (text for one in withheld for text in references_in(resource, one.listing))
        return frozenset(name for text in texts if (name := self._name(text)) is not None)

    def _name(self, text: str) -> str | None:
        """Return what a reference names; None for what stands in the resource itself."""
        return _name_of(text, self.base_url or None)

    def _reduced(self, document: Document, look: _Opened, seen: Names) -> Document:
        part = Part(self, look, seen)
        return document if part.shown is part.stored else replace(document, body=to_json(part.shown))

    def _withheld(self, document: Document) -> tuple[Withheld, ...]:
        return withheld_in(document.resource_type, self.authority.policy.caller)

    @property
    def _store(self) -> Store:
        return self.authority.store


class Part:
    """What a caller sees of a resource, and what it is when they have changed that."""

    def __init__(self, sight: Sight, opened: _Opened, seen: Names) -> None:
        self._listings = [one.listing for one in opened.withheld]
        self._hides = lambda text: sight.hides(text, seen)
        self.stored = opened.resource
        self.shown = without(self.stored, self._listings, self._hides)

    def restore(self, changed: Resource) -> Resource:
        """Return what the caller makes of it, with what they do not see in its places."""
        return restored(changed, self.stored, self._listings, self._hides)


_NO_ORDER = Text(
    "_sort: what a resource lists has no order here; sort by another parameter",
    "_sort : ce qu’une ressource énumère n’a pas d’ordre ici ; triez par un autre paramètre",
)


def _may_list(document: Document) -> bool:
    """Say whether a version may list others, or if deleted did before; what is found is kept with the version."""
    kind, body = document.resource_type, document.body
    listed_before = document.deleted and kind in SOLE
    lists = listed_before or any(map((body or b"").__contains__, MARKS.get(kind, ())))
    document.note(lists=lists)
    return lists


def _tells(names: Names, seen: Names) -> bool:
    """Say whether a resource that is nothing but these names tells the caller anything."""
    return not names or ELSEWHERE in names or not names.isdisjoint(seen)


@lru_cache(maxsize=8_192)
def _name_of(text: str, base_url: str | None) -> str | None:
    try:
        reference = parse_reference(text, base_url)
    except Value:
        return ELSEWHERE
    if isinstance(reference, Fragment):
        return None
    return str(reference) if isinstance(reference, LocalReference) else ELSEWHERE


def _to_text(written: bytes) -> str:
    return str(parse_stored(b'"%b"' % written)) if b"\\" in written else written.decode()


def _joined(names: Iterable[Names]) -> set[str]:
    return {name for each in names for name in each}


def _settled(named: Mapping[str, Names]) -> Names:
    """Return those that are no list, or a list of which something is seen; lists that name but one another are not."""
    seen = {name for name, listed in named.items() if not listed or ELSEWHERE in listed}
    while more := {name for name, listed in named.items() if name not in seen and not listed.isdisjoint(seen)}:
        seen |= more
    return frozenset((*seen, ELSEWHERE))
