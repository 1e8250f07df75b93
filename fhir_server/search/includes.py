"""``_include`` and ``_revinclude``: what they ask for, and what a page of documents points to or is pointed at by.

Pure: the documents' own index entries say all (``r``: ``Observation.subject>Patient/42``), so no body is parsed.
``:iterate`` (``:recurse``, its name before R4, means the same) applies to what has been included as well. A reference
to a version brings that version if it is there, else the current one; a canonical without a version brings every
resource with that url. References to other servers, logical ones and contained resources bring nothing.
Spec: http://hl7.org/fhir/R4/search.html#include, http://hl7.org/fhir/R4/search.html#revinclude
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any

from fhir_server.errors import NotSupported, Processing, Text, Value
from fhir_server.fhir.definitions import is_resource_type, resource_types
from fhir_server.search.apart import APART_TYPES
from fhir_server.search.ast import Node, ReferenceIs, RefersTo
from fhir_server.search.building import build_or
from fhir_server.search.entries import bounded
from fhir_server.search.links import is_referred_to, names_of
from fhir_server.search.parameters import SearchParameter, search_parameter, supported_parameters
from fhir_server.search.stored import NONE_STORED, stored_parameters, stored_parameters_in_force

_NAMES = ("_include", "_revinclude")
_ITERATE = ("iterate", "recurse")
_FORM = Text(
    "it takes *, Type:* or Type:parameter, which :Type may follow",
    "il prend *, Type:* ou Type:paramètre, que :Type peut suivre",
)
_MODIFIER = Text("it takes no modifier but :iterate", "il n’admet pas d’autre modificateur que :iterate")
_NO_PARAMETER = Text(
    "a search parameter that the resource type does not have",
    "un paramètre de recherche que ce type de ressource n’a pas",
)
_NO_REFERENCE = Text("a search parameter that is no reference", "un paramètre de recherche qui n’est pas une référence")
_WITHIN = Text(
    "the parameter points into the resource itself, so there is nothing to include",
    "le paramètre désigne une partie de la ressource elle-même, il n’y a donc rien à inclure",
)
_NO_TARGET = Text(
    "a type that the parameter cannot point to",
    "un type que le paramètre ne peut pas désigner",
)
_NOT_MATCHED = Text(
    "it concerns none of the types searched; with :iterate it would concern what is included",
    "il ne concerne aucun des types recherchés ; avec :iterate, il concernerait ce qui est inclus",
)


@dataclass(frozen=True, slots=True)
class Include:
    """One ``_include``, or with ``reverse`` one ``_revinclude``.

    ``source`` is the type that holds the reference, None for any; ``code`` its parameter, None for each; ``target``
    the only type that counts as the reference's target, None for any.
    """

    reverse: bool = False
    iterate: bool = False
    source: str | None = None
    code: str | None = None
    target: str | None = None


@dataclass(slots=True)
class Pointers:
    """What one level of includes asks for, each once: resources by ``Type/id``, versions of them by that and the
    version id, canonicals (``url||version``) and referrers (keys of the field ``r``) by resource type.

    ``unreadable``: a canonical was too long for an index and cannot be followed.
    """

    resources: dict[str, None] = field(default_factory=dict)
    versions: dict[tuple[str, str], None] = field(default_factory=dict)
    canonicals: dict[str, dict[str, None]] = field(default_factory=dict)
    referrers: dict[str, dict[str, None]] = field(default_factory=dict)
    unreadable: bool = False

    @property
    def size(self) -> int:
        """How many keys the query for it would have."""
        keyed = (*self.canonicals.values(), *self.referrers.values())
        return len(self.resources) + len(self.versions) + sum(map(len, keyed))

    def by_type(self) -> dict[str, Node]:
        """Return the condition by the type of the resources asked for, versions aside."""
        found: dict[str, list[Node]] = {}
        resources: dict[str, list[str]] = {}
        for reference in self.resources:
            resources.setdefault(reference.partition("/")[0], []).append(reference)
        for kind, references in resources.items():
            found.setdefault(kind, []).append(ReferenceIs(tuple(references)))
        for kind, keys in self.referrers.items():
            found.setdefault(kind, []).append(RefersTo(tuple(keys)))
        for kind, canonicals in self.canonicals.items():
            found.setdefault(kind, []).append(is_referred_to(canonicals, (kind,)))
        return {kind: build_or(nodes) for kind, nodes in found.items()}


def is_include(name: str) -> bool:
    """Say whether the parameter's name, whatever its modifier, is ``_include`` or ``_revinclude``."""
    return name.partition(":")[0] in _NAMES


def parse_include(name: str, value: str, types: Sequence[str]) -> Include:
    """Return what one parameter asks for; ``types`` are those searched, () for all.

    Raises ``Value`` or ``NotSupported`` for what can bring nothing, ``Processing`` while a parameter is being indexed.
    """
    head, colon, modifier = name.partition(":")
    if colon and modifier not in _ITERATE:
        raise NotSupported(_MODIFIER)
    reverse, iterate = head == "_revinclude", bool(colon)
    if value == "*":
        return Include(reverse, iterate)
    parts = value.split(":")
    if not 2 <= len(parts) <= 3 or not is_resource_type(parts[0]):
        raise Value(_FORM)
    source, code, target = parts[0], parts[1], parts[2] if len(parts) == 3 else None
    parameters = _all_of(source) if code == "*" else (_parameter(source, code),)
    targets = {one for parameter in parameters for one in parameter.targets}
    if target is not None and target not in targets:
        raise Value(_NO_TARGET)
    concerned = {source} if not reverse else {target} if target is not None else targets
    if types and not iterate and concerned.isdisjoint(types):
        raise NotSupported(_NOT_MATCHED)
    return Include(reverse, iterate, source, None if code == "*" else code, target)


def fields_for(includes: Sequence[Include], types: Collection[str]) -> tuple[str, ...]:
    """Return the index fields that ``find_pointers`` reads of documents of these types, () meaning of any type."""
    fields = []
    if any(not one.reverse for one in includes):
        fields.append("r")
    if any(one.reverse for one in includes) and any(_has_url(one) for one in types or resource_types()):
        fields.append("t")
    return tuple(fields)


def find_pointers(includes: Sequence[Include], documents: Sequence[tuple[str, Mapping[str, Any]]]) -> Pointers:
    """Return what the includes ask for around these documents, (``Type/id``, index) each."""
    pointers = Pointers()
    forward = [one for one in includes if not one.reverse]
    reverse = [one for one in includes if one.reverse]
    wanted: dict[str, dict[str, frozenset[str] | None]] = {}
    referring: dict[str, list[SearchParameter]] = {}
    for reference, index in documents:
        kind = reference.partition("/")[0]
        if forward:
            if kind not in wanted:
                wanted[kind] = _wanted(forward, kind)
            _add_targets(pointers, wanted[kind], index.get("r", ()))
        if reverse:
            if kind not in referring:
                referring[kind] = _referring(reverse, kind)
            _add_referrers(pointers, referring[kind], reference, index.get("t", ()))
    return pointers


def supported_includes(resource_type: str) -> list[str]:
    """Return the values of ``_include`` that mean something on a search of the type, for the CapabilityStatement."""
    return ["*", f"{resource_type}:*", *(f"{resource_type}:{one.code}" for one in _all_of(resource_type))]


def supported_revincludes(resource_type: str) -> list[str]:
    """Return the values of ``_revinclude`` that mean something on a search of the type."""
    found = [*_pointing_at(resource_type), *_pointing_apart(resource_type)]
    return ["*", *(f"{one.resource_type}:{one.code}" for one in found)]


def _parameter(source: str, code: str) -> SearchParameter:
    parameter = search_parameter(source, code)
    if parameter is None:
        raise NotSupported(_NO_PARAMETER)
    if parameter.type != "reference":
        raise Value(_NO_REFERENCE)
    if parameter.refusal is not None:
        raise (Processing if parameter.pending else NotSupported)(parameter.refusal)
    if _points_within(parameter):
        raise NotSupported(_WITHIN)
    return parameter


def _all_of(resource_type: str) -> tuple[SearchParameter, ...]:
    return tuple(
        one for one in supported_parameters(resource_type) if one.type == "reference" and not _points_within(one)
    )


def _pointing_apart(resource_type: str) -> list[SearchParameter]:
    """Return the reference parameters that can point to the type, of types that come along by their name alone."""
    return [one for source in sorted(APART_TYPES) for one in _all_of(source) if resource_type in one.targets]


def _pointing_at(resource_type: str) -> list[SearchParameter]:
    """Return the reference parameters that can point to the type, of all types that are not kept apart."""
    found = list(_defined_pointers().get(resource_type, ()))
    for source, parameters in stored_parameters().by_type.items():
        if source != "Resource" and source not in APART_TYPES:
            found += [
                one
                for one in parameters.values()
                if one.type == "reference" and one.refusal is None and resource_type in one.targets
            ]
    return found


@cache
def _defined_pointers() -> Mapping[str, Sequence[SearchParameter]]:
    found: dict[str, list[SearchParameter]] = {}
    with stored_parameters_in_force(NONE_STORED):
        for source in sorted(resource_types() - APART_TYPES):
            for parameter in _all_of(source):
                for target in parameter.targets:
                    found.setdefault(target, []).append(parameter)
    return found


@lru_cache(maxsize=4_096)
def _points_within(parameter: SearchParameter) -> bool:
    """Say whether the expression ends at a resource inside (Bundle's ``composition``)."""
    return any(part.endswith(".entry[0].resource") for part in parameter.parts)


@cache
def _has_url(resource_type: str) -> bool:
    with stored_parameters_in_force(NONE_STORED):
        parameter = search_parameter(resource_type, "url")
    return parameter is not None and parameter.type == "uri"


def _wanted(includes: Sequence[Include], kind: str) -> dict[str, frozenset[str] | None]:
    """Return the parameters' keys that count on a type, each with the types that may be its target, None for any."""
    found: dict[str, frozenset[str] | None] = {}
    for one in includes:
        if one.source not in (None, kind):
            continue
        target = None if one.target is None else frozenset((one.target,))
        for key in [f"{kind}.{one.code}"] if one.code is not None else [each.key for each in _all_of(kind)]:
            known = found.get(key, frozenset())
            found[key] = None if known is None or target is None else known | target
    return found


def _add_targets(pointers: Pointers, wanted: Mapping[str, frozenset[str] | None], held: Sequence[str]) -> None:
    """Add what one document points to; the current version only where its version is not asked for."""
    current: dict[str, None] = {}
    versioned: set[str] = set()
    for key in held:
        head, _, text = key.partition(">")
        if head not in wanted:
            continue
        targets = wanted[head]
        kind, slash, rest = text.partition("/")
        if slash and is_resource_type(kind):
            if targets is not None and kind not in targets:
                continue
            id, history, version = rest.partition("/_history/")
            if history:
                versioned.add(f"{kind}/{id}")
                pointers.versions[f"{kind}/{id}", version] = None
            else:
                current[text] = None
        else:
            _add_canonical(pointers, head, targets, text)
    pointers.resources.update((one, None) for one in current if one not in versioned)


def _add_canonical(pointers: Pointers, head: str, targets: frozenset[str] | None, text: str) -> None:
    """Add a canonical, said as ``url||version`` beside the forms that a search asks for; a url elsewhere is none."""
    if "\0" in text:
        pointers.unreadable = True
    elif "||" in text:
        source, _, code = head.partition(".")
        parameter = search_parameter(source, code)
        for target in targets or (parameter.targets if parameter is not None else ()):
            if _has_url(target):
                pointers.canonicals.setdefault(target, {})[text] = None


def _referring(includes: Sequence[Include], kind: str) -> list[SearchParameter]:
    """Return the parameters by which resources may refer to one of the type and are to be included."""
    found: dict[str, SearchParameter] = {}
    for one in includes:
        if one.target not in (None, kind):
            continue
        if one.source is None:
            parameters: Sequence[SearchParameter] = _pointing_at(kind)
        elif one.code is None:
            parameters = _all_of(one.source)
        else:
            parameters = (_parameter(one.source, one.code),)
        found |= {parameter.key: parameter for parameter in parameters if kind in parameter.targets}
    return list(found.values())


def _add_referrers(
    pointers: Pointers, referring: Sequence[SearchParameter], reference: str, tokens: Sequence[str]
) -> None:
    names = names_of({"_id": reference, "t": tokens})
    for parameter in referring:
        keys = pointers.referrers.setdefault(parameter.resource_type, {})
        keys.update((bounded(f"{parameter.key}>{name}"), None) for name in names)
