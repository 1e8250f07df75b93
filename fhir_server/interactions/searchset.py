"""The entries of a searchset: matches, what is included with them, warnings; whole as stored, or the parts asked for.

Spec: http://hl7.org/fhir/R4/search.html#include, http://hl7.org/fhir/R4/search.html#elements
"""

from collections.abc import Sequence

from fhir_server.context import RequestContext
from fhir_server.errors import Issue, Text, TooCostly
from fhir_server.fhir.bundle import Body, SearchEntry, splice_matches
from fhir_server.fhir.json import parse_json
from fhir_server.fhir.outcome import to_outcome
from fhir_server.search.parser import Search
from fhir_server.search.shaping import select_elements, summarize
from fhir_server.storage.store import Document

_UNREADABLE = Text(
    "A canonical reference is too long to be followed: what it refers to is not included.",
    "Une référence canonique est trop longue pour être suivie : ce qu’elle désigne n’est pas inclus.",
)


def build_entries(
    ctx: RequestContext, found: Search, documents: Sequence[Document], *, strict: bool
) -> list[SearchEntry | bytes]:
    """Return the entries of a page and of what its includes bring along.

    More than the server's most raise ``TooCostly``; unless ``strict``, a warning says that some are left out.
    """
    shaped = bool(found.elements) or found.summary not in (None, "false")
    base = ctx.base_url
    entries: list[SearchEntry | bytes] = []
    if shaped:
        entries += [SearchEntry(f"{base}/{one.reference}", _shape(found, one, included=False)) for one in documents]
    else:
        entries += splice_matches(base, [(one.reference, one.body or b"") for one in documents])
    if not found.includes or not documents:
        return entries
    included = ctx.repository.include(found.includes, documents, ctx.settings.max_included)
    issues = _issues(ctx.settings.max_included, cut=included.cut, unreadable=included.unreadable)
    if included.cut and strict:
        raise TooCostly([issue for issue in issues if issue.code == "too-costly"])
    entries += [
        SearchEntry(
            f"{base}/{one.reference}", _shape(found, one, included=True) if shaped else one.body or b"", "include"
        )
        for one in included.documents
    ]
    return [*entries, *build_warnings(ctx, [_to_warning(issue) for issue in issues])]


def build_warnings(ctx: RequestContext, issues: Sequence[Issue]) -> list[SearchEntry]:
    """Return the entry with the OperationOutcome that says the issues, or none."""
    return [SearchEntry(None, to_outcome(issues, ctx.language), "outcome")] if issues else []


def _issues(most: int, *, cut: bool, unreadable: bool) -> list[Issue]:
    issues = []
    if cut:
        text = Text(
            f"The includes of this page come to more than {most} resources, or go too far: ask for a smaller page"
            " (_count), for fewer includes, or search for those resources themselves.",
            f"Les inclusions de cette page dépassent {most} ressources, ou vont trop loin : demandez une page plus"
            " petite (_count), moins d’inclusions, ou cherchez ces ressources elles-mêmes.",
        )
        issues.append(Issue("too-costly", text, expression=("http._include",)))
    if unreadable:
        issues.append(Issue("incomplete", _UNREADABLE, expression=("http._include",)))
    return issues


def _to_warning(issue: Issue) -> Issue:
    return Issue(issue.code, issue.text, "warning", issue.expression)


def _shape(found: Search, document: Document, *, included: bool) -> Body:
    """Return the part asked for; ``_elements`` concerns what is included only where it names its type."""
    body = document.body or b""
    if not found.elements:
        return summarize(parse_json(body), found.summary or "false")
    own = [name for name in found.elements if name.startswith(f"{document.resource_type}.")]
    plain = [] if included else [name for name in found.elements if "." not in name]
    if not own and not plain:
        return body
    return select_elements(parse_json(body), [*own, *plain], strict=False)
