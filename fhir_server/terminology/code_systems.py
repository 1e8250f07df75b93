"""Code systems with their hierarchy: R4's own, and stored ones.

A code is subsumed by the one that it stands within (``concept.concept``) and by those that its properties ``parent``
or ``subsumedBy`` name, or that name it in ``child``, provided that the hierarchy means is-a.
Spec: http://hl7.org/fhir/R4/codesystem.html#hierarchy, http://hl7.org/fhir/R4/codesystem-concept-properties.html
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from fhir_server.fhir.definitions import artifact
from fhir_server.search.param_types.token import fold

Resource = Mapping[str, Any]
Lookup = Callable[[str, str], Resource | None]
"""Returns the stored CodeSystem or ValueSet (the first argument) of a canonical or ``Type/id``, if its caller may."""

_UP = frozenset({"parent", "subsumedBy"})
_DOWN = "child"


@dataclass(frozen=True, slots=True)
class Concept:
    """One code as written, with its display and the values of its properties as text."""

    code: str
    display: str
    properties: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class CodeSystem:
    """The codes of one system, folded as searches compare them. ``complete``: there are no others.

    ``subsumes``: the hierarchy means is-a; otherwise ``parents`` and ``children`` say nothing about subsumption.
    """

    url: str
    concepts: Mapping[str, Concept]
    complete: bool
    subsumes: bool
    parents: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    children: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def below(self, code: str) -> frozenset[str]:
        """Return the code and all that it subsumes; empty when the system does not have it."""
        return self._closure(code, self.children)

    def above(self, code: str) -> frozenset[str]:
        """Return the code and all that subsume it; empty when the system does not have it."""
        return self._closure(code, self.parents)

    def _closure(self, code: str, steps: Mapping[str, tuple[str, ...]]) -> frozenset[str]:
        start = fold(self.url, code)
        if start not in self.concepts:
            return frozenset()
        found, waiting = {start}, [start]
        while waiting:
            further = [one for one in steps.get(waiting.pop(), ()) if one not in found]
            found.update(further)
            waiting += further
        return frozenset(found)


def find_code_system(canonical: str, lookup: Lookup) -> CodeSystem | None:
    """Return the code system of R4's definitions or else of the look-up; None where neither has any of its codes."""
    defined = _defined(canonical)
    if defined is not None and defined.complete:
        return defined
    stored = lookup("CodeSystem", canonical)
    return defined if stored is None else to_code_system(stored)


def to_code_system(resource: Resource) -> CodeSystem:
    """Return what a CodeSystem resource says, however much that is."""
    url = str(resource.get("url", ""))
    concepts: dict[str, Concept] = {}
    above: dict[str, dict[str, None]] = {}
    for entry, parent in _walk(resource):
        concept = _to_concept(entry)
        code = fold(url, concept.code)
        concepts[code] = concept
        parents = above.setdefault(code, {})
        if parent is not None:
            parents[fold(url, parent)] = None
        for name, value in concept.properties:
            if name in _UP:
                parents[fold(url, value)] = None
            elif name == _DOWN:
                above.setdefault(fold(url, value), {})[code] = None
    below: dict[str, list[str]] = {}
    for code, codes in above.items():
        for one in codes:
            below.setdefault(one, []).append(code)
    return CodeSystem(
        url=url,
        concepts=concepts,
        complete=resource.get("content") == "complete",
        subsumes=resource.get("hierarchyMeaning", "is-a") == "is-a",
        parents={code: tuple(codes) for code, codes in above.items()},
        children={code: tuple(codes) for code, codes in below.items()},
    )


@lru_cache(maxsize=8)
def _defined(canonical: str) -> CodeSystem | None:
    resource = artifact("CodeSystem", canonical)
    return None if resource is None or resource.get("content") == "not-present" else to_code_system(resource)


def _walk(resource: Resource) -> Iterator[tuple[Resource, str | None]]:
    """Yield each concept with the code that it stands within; without recursion, however deep they are."""
    waiting: list[tuple[Resource, str | None]] = [(one, None) for one in reversed(resource.get("concept", ()))]
    while waiting:
        concept, parent = waiting.pop()
        yield concept, parent
        waiting += [(one, concept["code"]) for one in reversed(concept.get("concept", ()))]


def _to_concept(entry: Resource) -> Concept:
    properties = [(str(one["code"]), _text_of(one)) for one in entry.get("property", ()) if "code" in one]
    return Concept(str(entry["code"]), str(entry.get("display", "")), tuple(properties))


def _text_of(entry: Resource) -> str:
    for name, value in entry.items():
        if name.startswith("value"):
            if isinstance(value, bool):
                return "true" if value else "false"
            return str(value.get("code", "")) if isinstance(value, Mapping) else str(value)
    return ""
