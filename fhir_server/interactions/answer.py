"""From what the repository did to what the caller is told: status, headers, body by ``Prefer: return``.

Spec: http://hl7.org/fhir/R4/http.html#return, http://hl7.org/fhir/R4/http.html#create
"""

from fhir_server.context import RequestContext
from fhir_server.errors import Issue, Text
from fhir_server.fhir.outcome import to_outcome
from fhir_server.interactions.request import FhirRequest, FhirResponse
from fhir_server.interactions.routes import Route
from fhir_server.repository.change import Written
from fhir_server.storage.store import Document

_CREATED = Text("The resource has been created", "La ressource a été créée")
_UPDATED = Text("The resource has been updated", "La ressource a été mise à jour")
_UNCHANGED = Text("The resource was already so: nothing has changed", "La ressource était déjà ainsi : rien n’a changé")
_DELETED = Text("The resource has been deleted", "La ressource a été supprimée")
_NOTHING_DELETED = Text("There was nothing to delete", "Il n’y avait rien à supprimer")


def to_location(document: Document) -> str:
    """Return the version-specific address of a document, relative to the base."""
    return f"{document.reference}/_history/{document.version}"


def answer_document(document: Document, route: Route, status: int = 200) -> FhirResponse:
    """Return an answer that carries the document's body as stored, with its version headers."""
    return FhirResponse(
        status,
        document.body,
        version_id=str(document.version),
        last_modified=document.updated,
        route=route.template,
    )


def answer_written(ctx: RequestContext, request: FhirRequest, route: Route, written: Written) -> FhirResponse:
    """Return the answer to a create, update, patch or delete."""
    if route.interaction == "delete":
        return _answer_deleted(ctx, request, route, written)
    document = written.document
    assert document is not None
    body: bytes | dict[str, object] | None = document.body
    if request.prefer_return == "minimal":
        body = None
    elif request.prefer_return == "OperationOutcome":
        text = _CREATED if written.created else _UPDATED if written.changed else _UNCHANGED
        body = _inform(ctx, text)
    located = written.created or route.interaction == "create"
    return FhirResponse(
        201 if written.created else 200,
        body,
        version_id=str(document.version),
        last_modified=document.updated,
        location=to_location(document) if located else None,
        route=route.template,
    )


def _answer_deleted(ctx: RequestContext, request: FhirRequest, route: Route, written: Written) -> FhirResponse:
    document = written.document
    version_id = str(document.version) if document else None
    modified = document.updated if document else None
    if request.prefer_return != "OperationOutcome":
        return FhirResponse(204, None, version_id=version_id, last_modified=modified, route=route.template)
    outcome = _inform(ctx, _DELETED if written.count else _NOTHING_DELETED)
    return FhirResponse(200, outcome, version_id=version_id, last_modified=modified, route=route.template)


def _inform(ctx: RequestContext, text: Text) -> dict[str, object]:
    return to_outcome([Issue("informational", text, severity="information")], ctx.language)
