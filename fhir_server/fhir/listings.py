"""Elements that list other resources: what they name, a resource without some of it, and that put back. Pure.

Spec: http://hl7.org/fhir/R4/list.html, http://hl7.org/fhir/R4/provenance.html, http://hl7.org/fhir/R4/composition.html
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Resource = dict[str, Any]
Hides = Callable[[str], bool]
"""Says of the text of a reference whether what it leads to is hidden."""

_NARRATIVE = "text"
"""A narrative tells in words what the elements list: it goes where one of them goes."""


@dataclass(frozen=True, slots=True)
class Listing:
    """A repeating element whose items each name one resource.

    ``path`` leads to the element (``context``, ``related``); ``reference`` is the member of an item that holds the
    Reference, empty where the item is one itself. ``nested``: what the path begins with stands within itself as well
    (``Composition.section``).
    """

    path: tuple[str, ...]
    reference: str = ""
    nested: bool = False

    @property
    def name(self) -> str:
        """The element's own name."""
        return self.path[-1]


def references_in(resource: Mapping[str, Any], listing: Listing) -> Iterator[str]:
    """Yield the text of every reference that the items of the listing hold."""
    return _references(resource, listing.path, listing)


def without(resource: Resource, listings: Iterable[Listing], hides: Hides) -> Resource:
    """Return the resource without the items that are hidden, nor the narrative beside them; the same if none is."""
    for listing in listings:
        resource = _without(resource, listing.path, listing, hides)
    return resource


def restored(given: Resource, stored: Resource, listings: Sequence[Listing], hides: Hides) -> Resource:
    """Return what somebody makes of a resource that they saw ``without`` some items, with these in their places.

    ``stored`` is the whole of what they saw. An item keeps its place behind what stood before it and is still there.
    """
    shown = without(stored, listings, hides)
    for listing in listings:
        given = _restored(given, stored, listing.path, listing, hides)
    return _with_narrative(given, stored, shown)


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _text(item: Any, listing: Listing) -> str:
    """Return what the item's reference says, empty where it has none."""
    reference = item.get(listing.reference) if listing.reference and isinstance(item, dict) else item
    text = reference.get("reference") if isinstance(reference, dict) else None
    return text if isinstance(text, str) else ""


def _hidden(item: Any, listing: Listing, hides: Hides) -> bool:
    text = _text(item, listing)
    return bool(text) and hides(text)


def _paths(path: tuple[str, ...], listing: Listing) -> list[tuple[str, ...]]:
    """Return how the listing goes on within what the first of ``path`` holds."""
    return [path[1:], listing.path] if listing.nested else [path[1:]]


def _references(container: Mapping[str, Any], path: tuple[str, ...], listing: Listing) -> Iterator[str]:
    for one in _items(container.get(path[0])):
        if len(path) == 1:
            if text := _text(one, listing):
                yield text
        elif isinstance(one, dict):
            for further in _paths(path, listing):
                yield from _references(one, further, listing)


def _without(container: Resource, path: tuple[str, ...], listing: Listing, hides: Hides) -> Resource:
    value = container.get(path[0])
    items = _items(value)
    if len(path) == 1:
        kept = [one for one in items if not _hidden(one, listing, hides)]
    else:
        kept = [part for one in items if (part := _part_without(one, path, listing, hides)) is not None]
    if len(kept) == len(items) and all(one is other for one, other in zip(kept, items, strict=True)):
        return container
    rest = {name: member for name, member in container.items() if name != _NARRATIVE}
    if not kept:
        return {name: member for name, member in rest.items() if name != path[0]}
    return {**rest, path[0]: kept if isinstance(value, list) else kept[0]}


def _part_without(part: Resource, path: tuple[str, ...], listing: Listing, hides: Hides) -> Resource | None:
    """Return one of what a path leads through; None if nothing is left of it that would stand by itself."""
    left = part
    for further in _paths(path, listing):
        left = _without(left, further, listing, hides)
    if left is part:
        return part
    names = {path[1], path[0]} if listing.nested else left.keys()
    return left if names & left.keys() else None


def _restored(given: Resource, stored: Resource, path: tuple[str, ...], listing: Listing, hides: Hides) -> Resource:
    old, new = stored.get(path[0]), given.get(path[0])
    if old is None:
        return given
    if len(path) == 1:
        merged = _merged(_items(new), _items(old), lambda item: _hidden(item, listing, hides))
    elif isinstance(old, list):
        merged = _restored_parts(_items(new), old, path, listing, hides)
    else:
        part = _restored_part(new or {}, old, path, listing, hides)
        merged = [part] if part else []
    if merged == _items(new):
        return given
    return _placed(given, stored, path[0], merged if isinstance(old, list) else merged[0])


def _merged(new: list[Any], old: list[Any], hidden: Callable[[Any], bool]) -> list[Any]:
    merged, place = list(new), 0
    for item in old:
        if item in merged:
            place = merged.index(item) + 1
        elif hidden(item):
            merged.insert(place, item)
            place += 1
    return merged


def _restored_parts(new: list[Any], old: list[Any], path: tuple[str, ...], listing: Listing, hides: Hides) -> list[Any]:
    """Return what a path leads through; each part takes back what the one in its place had."""
    parts: list[Any] = []
    rest = iter(new)
    for one in old:
        left = _part_without(one, path, listing, hides)
        if left is None:
            parts.append(one)
            continue
        part = next(rest, None)
        if part is None and left is not one:
            part = {}
        if part is not None:
            parts.append(_restored_part(part, one, path, listing, hides) if left is not one else part)
    return [*parts, *rest]


def _restored_part(part: Resource, one: Resource, path: tuple[str, ...], listing: Listing, hides: Hides) -> Resource:
    back = part
    for further in _paths(path, listing):
        back = _restored(back, one, further, listing, hides)
    left = _part_without(one, path, listing, hides)
    return _with_narrative(back, one, one if left is None else left) if part else back


def _with_narrative(given: Resource, stored: Resource, shown: Resource) -> Resource:
    if _NARRATIVE in given or _NARRATIVE in shown or _NARRATIVE not in stored:
        return given
    return _placed(given, stored, _NARRATIVE, stored[_NARRATIVE])


def _placed(given: Resource, stored: Resource, name: str, value: Any) -> Resource:
    """Return ``given`` with a member, in the place that it has in ``stored`` if it is a new one."""
    if name in given:
        return {**given, name: value}
    names = list(stored)
    before = set(names[: names.index(name)])
    place = max((number for number, known in enumerate(given, start=1) if known in before), default=0)
    members = list(given.items())
    return dict([*members[:place], (name, value), *members[place:]])
