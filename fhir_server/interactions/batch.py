"""batch and the door to transaction: ``POST [base]``. Spec: http://hl7.org/fhir/R4/http.html#transaction"""

from collections.abc import Callable
from typing import Any

from fhir_server.context import RequestContext
from fhir_server.errors import FhirError, Invalid, Required, Text
from fhir_server.fhir.bundle import build_response_bundle
from fhir_server.interactions.auditing import note_refusal
from fhir_server.interactions.entries import build_entry, check_bundle
from fhir_server.interactions.entry_answers import answer_entry, refuse_entry
from fhir_server.interactions.request import FhirRequest, FhirResponse
from fhir_server.interactions.routes import Route
from fhir_server.interactions.transaction import transaction
from fhir_server.repository.change import Resource

Dispatch = Callable[[RequestContext, FhirRequest], FhirResponse]


def bundle(ctx: RequestContext, request: FhirRequest, route: Route, dispatch: Dispatch) -> FhirResponse:
    """Return the answer to a batch or a transaction. Raises ``Invalid`` for any other bundle or resource."""
    resource = request.resource
    if resource is None:
        raise Required(Text("The request needs a Bundle", "La requête doit porter un Bundle"))
    if resource.get("resourceType") != "Bundle" or resource.get("type") not in ("batch", "transaction"):
        text = Text(
            "The base takes a Bundle of type batch or transaction",
            "La base n’accepte qu’un Bundle de type batch ou transaction",
        )
        raise Invalid(text, expression="Bundle.type")
    entries = check_bundle(resource, ctx.settings.max_bundle_entries)
    if resource["type"] == "transaction":
        return transaction(ctx, request, route, entries, dispatch)
    return _batch(ctx, request, route, entries, dispatch)


def _batch(
    ctx: RequestContext, request: FhirRequest, route: Route, entries: list[Resource], dispatch: Dispatch
) -> FhirResponse:
    answers = [_answer(ctx, request, entry, position, dispatch) for position, entry in enumerate(entries)]
    return FhirResponse(200, build_response_bundle("batch-response", answers), route="/ batch")


def _answer(
    ctx: RequestContext, outer: FhirRequest, entry: Resource, position: int, dispatch: Dispatch
) -> dict[str, Any]:
    try:
        inner = build_entry(ctx, outer, entry, position)
    except FhirError as error:
        return refuse_entry(ctx, error)
    try:
        if not inner.request.segments and inner.request.method == "POST":
            text = Text("A batch cannot stand within another", "Un lot ne peut pas en contenir un autre")
            raise Invalid(text, expression="request.url")
        return answer_entry(dispatch(ctx, inner.request))
    except FhirError as error:
        note_refusal(ctx, inner.request, error)
        return refuse_entry(ctx, error)
