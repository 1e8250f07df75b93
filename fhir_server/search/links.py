"""From a resource to the keys of the references that mean it, and from such keys to the resource: both ways of a join.

A local reference means the resource as it is now, whichever version it names. A canonical means every resource with
its url and, if it says one, its version.
Spec: http://hl7.org/fhir/R4/references.html#canonical
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from fhir_server.search.ast import Link, Node, ReferenceIs, RefersTo, TokenIn
from fhir_server.search.building import build_and, build_or
from fhir_server.search.entries import bounded
from fhir_server.search.param_types.reference import join_canonical
from fhir_server.search.parameters import search_parameter


def link_fields(link: Link, types: Collection[str]) -> tuple[str, ...]:
    """Return the fields of a referring document that say where the link leads among these types."""
    if link.patient:
        return ("pt",) if set(types) == {"Patient"} else ("r", "pt")
    return ("r",)


def target_fields(types: Iterable[str]) -> tuple[str, ...]:
    """Return the fields, identity aside, by which documents of these types can be referred to."""
    return ("t",) if any(_has_url(kind) for kind in types) else ()


def link_targets(link: Link, types: Collection[str], document: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what the document's reference entries of the link say after their key: ``Patient/42``, a canonical.

    The document carries ``link_fields(link, types)``.
    """
    if document.get("type") != link.resource_type:
        return ()
    if link.patient and set(types) == {"Patient"}:
        return (document["pt"],) if "pt" in document else ()
    start = f"{link.key}>"
    return tuple(key[len(start) :] for key in document.get("r", ()) if key.startswith(start))


def refers_to(link: Link, documents: Iterable[Mapping[str, Any]]) -> Node:
    """Return the condition that a resource refers by the link to one of the documents."""
    targets = tuple(dict.fromkeys(target for one in documents for target in names_of(one)))
    if not targets:
        return build_or(())
    keys = tuple(bounded(f"{link.key}>{target}") for target in targets)
    patients = targets if link.patient and all(one.startswith("Patient/") for one in targets) else ()
    return RefersTo(keys, link.resource_type, patients)


def is_referred_to(targets: Iterable[str], types: tuple[str, ...]) -> Node:
    """Return the condition that a resource is of one of the types (any, if empty) and one of the targets means it."""
    local: dict[str, None] = {}
    canonicals: list[Node] = []
    for target in targets:
        url, bars, version = target.rpartition("||")
        if bars:
            canonicals += [_canonical(kind, url, version) for kind in types if _has_url(kind)]
        elif target.count("/") == 1 and (target.partition("/")[0] in types or not types):
            local[target] = None
    return build_or([*([ReferenceIs(tuple(local))] if local else []), *canonicals])


def _canonical(resource_type: str, url: str, version: str) -> Node:
    conditions: list[Node] = [TokenIn((bounded(f"{resource_type}.url|{url}"),))]
    if version:
        conditions.append(TokenIn((bounded(f"{resource_type}.version||{version}"),)))
    return build_and(conditions)


def names_of(document: Mapping[str, Any]) -> list[str]:
    """Return everything that a reference to the document may say, as ``link_targets`` gives it."""
    kind = document["_id"].partition("/")[0]
    names = [document["_id"]]
    if not _has_url(kind):
        return names
    tokens = document.get("t", ())
    versions = ["", *_after(f"{kind}.version||", tokens)]
    return [
        *names,
        *(join_canonical(url, version) for url in _after(f"{kind}.url|", tokens) for version in versions),
    ]


def _after(start: str, tokens: Iterable[str]) -> list[str]:
    return [token[len(start) :] for token in tokens if token.startswith(start)]


def _has_url(resource_type: str) -> bool:
    parameter = search_parameter(resource_type, "url")
    return parameter is not None and parameter.type == "uri"
