"""``__explain=true`` on a search: what it asks of the database and what that costs, without a value of anybody's.

The search is run as it is and its answer thrown away; what it asked is then accounted for by the database. Parameters:
``tree`` the conditions understood, ``step`` each round trip in its order, with ``query`` for each filter in it.
"""

from dataclasses import replace
from time import perf_counter
from typing import Any, cast

from fhir_server.context import RequestContext
from fhir_server.errors import Forbidden, Text, Value
from fhir_server.fhir.decimals import FhirDecimal
from fhir_server.fhir.json import to_json
from fhir_server.interactions.request import FhirRequest, FhirResponse
from fhir_server.interactions.routes import Route
from fhir_server.interactions.search import open_token, search
from fhir_server.repository.explaining import ExplainableStore, ListeningStore, Step, to_shape
from fhir_server.search.describing import describe_tree
from fhir_server.search.parser import parse_search
from fhir_server.storage.store import Query, Store

EXPLAIN = "__explain"
_MOST_QUERIES = 5


def search_or_explain(ctx: RequestContext, request: FhirRequest, route: Route) -> FhirResponse:
    """Return the answer to a search or, with ``__explain=true``, the account of it. Raises ``Forbidden``."""
    asked = {value for name, value in request.parameters if name == EXPLAIN}
    if not asked:
        return search(ctx, request, route)
    if asked - {"true", "false"}:
        raise Value(_NO_BOOLEAN)
    rest = tuple(pair for pair in request.parameters if pair[0] != EXPLAIN)
    request = replace(request, parameters=rest)
    if "true" not in asked:
        return search(ctx, request, route)
    if not ctx.settings.explain or not ctx.repository.policy.explains:
        raise Forbidden(_NOT_HERE)
    return _explain(ctx, request, route)


def _explain(ctx: RequestContext, request: FhirRequest, route: Route) -> FhirResponse:
    listening = ListeningStore(cast(ExplainableStore, ctx.repository.store))
    repository = replace(ctx.repository, store=cast(Store, listening))
    began = perf_counter()
    search(replace(ctx, repository=repository), request, route)
    milliseconds = 1_000 * (perf_counter() - began)
    parameters = [
        *(_text("tree", line) for line in _tree(ctx, request, route)),
        _decimal("milliseconds", milliseconds),
        *(_step(listening, step) for step in listening.steps),
    ]
    return FhirResponse(200, {"resourceType": "Parameters", "parameter": parameters}, route=route.template)


def _tree(ctx: RequestContext, request: FhirRequest, route: Route) -> list[str]:
    if open_token(request.parameters) is not None:
        return []
    kind = route.name if route.interaction == "search-compartment" else route.resource_type
    understood = parse_search(
        None if kind == "*" else kind, request.parameters, strict=False, base_url=ctx.repository.base_url, now=ctx.now
    )
    return list(describe_tree(understood.tree))


def _step(listening: ListeningStore, step: Step) -> dict[str, Any]:
    return {
        "name": "step",
        "part": [
            {"name": "name", "valueString": step.name},
            _decimal("milliseconds", step.milliseconds),
            {"name": "returned", "valueInteger": step.returned},
            *(_query(listening, query) for query in step.queries[:_MOST_QUERIES]),
        ],
    }


def _query(listening: ListeningStore, query: Query) -> dict[str, Any]:
    account = listening.account(query)
    return {
        "name": "query",
        "part": [
            _text("shape", to_json(to_shape(query)).decode()),
            *({"name": "index", "valueString": name} for name in account.indexes),
            {"name": "keysExamined", "valueInteger": account.keys_examined},
            {"name": "documentsExamined", "valueInteger": account.documents_examined},
            {"name": "returned", "valueInteger": account.returned},
        ],
    }


def _text(name: str, text: str) -> dict[str, Any]:
    return {"name": name, "valueString": text}


def _decimal(name: str, number: float) -> dict[str, Any]:
    return {"name": name, "valueDecimal": FhirDecimal(f"{number:.3f}")}


_NO_BOOLEAN = Text("__explain is true or false", "__explain vaut true ou false")
_NOT_HERE = Text("This server explains no searches", "Ce serveur n’explique pas les recherches")
