"""Chains, reverse chains and lists: the parameters that ask another resource, read into join nodes.

``patient.organization.name``, ``subject:Patient.name``, ``_has:Observation:patient:code``, in any combination, and
``_list``. What is asked of the other resource is read as a search of its own type, so whatever works there works here.
Spec: http://hl7.org/fhir/R4/search.html#chaining, #has, http://hl7.org/fhir/R4/search.html#list
"""

import re
from collections.abc import Callable, Iterable

from fhir_server.errors import FhirError, NotSupported, Text, TooCostly, Value, join_errors
from fhir_server.fhir.definitions import is_resource_type
from fhir_server.search.apart import APART_TYPES
from fhir_server.search.ast import Chain, Has, Link, ListMember, Node
from fhir_server.search.building import build_or
from fhir_server.search.parameters import SearchParameter, search_parameter

MOST_READINGS = 500
"""How many times the joins of one search may read a parameter: for each type that a reference may point to."""

Read = Callable[[tuple[str, ...], str, str], Node]
"""Reads a parameter (types, name, value) of the resource at the other end."""

_ID = re.compile(r"(?:List/)?([A-Za-z0-9.-]{1,64})")
_ANY_TYPE = Text(
    "a search of all types has no chains: name the types in _type",
    "une recherche sur tous les types n’admet pas de chaîne : nommez les types dans _type",
)
_NO_CODE = Text("no search parameter of this name in the chain", "la chaîne nomme un paramètre de recherche inconnu")
_NO_REFERENCE = Text(
    "a chain goes on from reference parameters only", "une chaîne ne se poursuit qu’après un paramètre de référence"
)
_NO_TYPE = Text("a chain names an unknown resource type", "une chaîne nomme un type de ressource inconnu")
_NO_TARGET = Text(
    "a chain names a type that its reference cannot point to",
    "une chaîne nomme un type que sa référence ne peut pas désigner",
)
_NO_END = Text(
    "none of the types that the reference may point to has the parameter at the chain’s end",
    "aucun des types que la référence peut désigner n’a le paramètre de fin de chaîne",
)
_HAS_FORM = Text("it is written _has:Type:reference:parameter", "il s’écrit _has:Type:référence:paramètre")
_HAS_TARGET = Text(
    "the reference that _has names cannot point to the type searched",
    "la référence que nomme _has ne peut pas désigner le type recherché",
)
_TOO_WIDE = Text(
    "its references may point to too many types: name them, as in subject:Patient",
    "ses références peuvent désigner trop de types : nommez-les, comme dans subject:Patient",
)
_NO_LIST = Text("it takes the id of a List", "il prend l’identifiant d’une ressource List")
_CURRENT = Text(
    "this server keeps no current lists: give the id of a List",
    "ce serveur ne tient pas de listes courantes : donnez l’identifiant d’une ressource List",
)


class Readings:
    """Counts the readings of one search, so that its joins cannot branch without end."""

    def __init__(self) -> None:
        self._count = 0

    def check(self) -> None:
        """Raise ``TooCostly`` after ``MOST_READINGS``."""
        self._count += 1
        if self._count > MOST_READINGS:
            raise TooCostly(_TOO_WIDE)


def is_join(name: str) -> bool:
    """Say whether the name is that of a chain or of ``_has``."""
    return "." in name or name.partition(":")[0] == "_has"


def parse_join(name: str, value: str, types: tuple[str, ...], read: Read) -> Node:
    """Return the condition of a chain or of ``_has`` on resources of these types.

    Raises ``NotSupported`` or ``Value``, or what ``read`` raises.
    """
    if not types:
        raise NotSupported(_ANY_TYPE)
    if name.partition(":")[0] == "_has":
        return _has(name, value, types, read)
    return _chain(name, value, types, read)


def parse_list(name: str, value: str, types: tuple[str, ...]) -> Node:
    """Return the condition ``_list=value`` for one value. Raises ``NotSupported`` for a functional list, ``Value``."""
    if value.startswith("$"):
        raise NotSupported(_CURRENT)
    match = _ID.fullmatch(value)
    if match is None:
        raise Value(_NO_LIST)
    return ListMember(name, match[1], types)


def _chain(name: str, value: str, types: tuple[str, ...], read: Read) -> Node:
    head, _, rest = name.partition(".")
    code, colon, wanted = head.partition(":")
    if colon and not is_resource_type(wanted):
        raise Value(_NO_TYPE)
    links = [_link(_reference(kind, code), wanted) for kind in types]
    found = {target: None for _, targets in links for target in targets}
    trees, failures = _read_each(tuple(found), rest, value, read)
    nodes: list[Node] = []
    for link, targets in links:
        followed = tuple((target, trees[target]) for target in targets if target in trees)
        if not followed:
            raise _why_nothing(failures[target] for target in targets)
        nodes.append(Chain(name, link, followed))
    return build_or(nodes)


def _has(name: str, value: str, types: tuple[str, ...], read: Read) -> Node:
    parts = name.split(":", 3)
    if len(parts) != 4 or not all(parts):
        raise Value(_HAS_FORM)
    _, source, code, rest = parts
    if not is_resource_type(source):
        raise Value(_NO_TYPE)
    parameter = _reference(source, code)
    if not set(types) <= set(parameter.targets):
        raise Value(_HAS_TARGET)
    return Has(name, _to_link(parameter), types, read((source,), rest, value))


def _reference(resource_type: str, code: str) -> SearchParameter:
    parameter = search_parameter(resource_type, code)
    if parameter is None:
        raise NotSupported(_NO_CODE)
    if parameter.type != "reference":
        raise Value(_NO_REFERENCE)
    parameter.check_usable()
    return parameter


def _link(parameter: SearchParameter, wanted: str) -> tuple[Link, tuple[str, ...]]:
    if wanted and wanted not in parameter.targets:
        raise Value(_NO_TARGET)
    targets = (wanted,) if wanted else tuple(one for one in parameter.targets if one not in APART_TYPES)
    return _to_link(parameter), targets


def _to_link(parameter: SearchParameter) -> Link:
    return Link(parameter.resource_type, parameter.code, parameter.patient)


def _read_each(
    targets: tuple[str, ...], rest: str, value: str, read: Read
) -> tuple[dict[str, Node], dict[str, FhirError]]:
    """Return the tree of each target type that has the parameter, and why the others have none.

    A value that is none of the parameter's on one type finds nothing there, if it is one on another.
    """
    trees: dict[str, Node] = {}
    failures: dict[str, FhirError] = {}
    for target in targets:
        if not _may_have(target, rest):
            failures[target] = NotSupported(_NO_END)
            continue
        try:
            trees[target] = read((target,), rest, value)
        except TooCostly:
            raise
        except FhirError as failure:
            failures[target] = failure
    return trees, failures


def _may_have(resource_type: str, rest: str) -> bool:
    """Say whether a type has the parameter that the rest of a chain begins with, however it goes on."""
    code = rest.partition(".")[0].partition(":")[0]
    return code.startswith("_") or search_parameter(resource_type, code) is not None


def _why_nothing(failures: Iterable[FhirError]) -> FhirError:
    """Return what is wrong on the types that have the parameter, once for all that say the same."""
    known = {failure.issues: failure for failure in failures}
    telling = [failure for failure in known.values() if failure.issues[0].text != _NO_END]
    return join_errors(telling[:1] or list(known.values())[:1])
