"""``$historique-acces`` (``$access-history``): who saw or changed what in a record, in plain sentences, page by page.

For the holder and, but for what must stay hidden from them, the legal representatives; professionals have no such view.
Parameters: ``tab`` (professionals, activities, services), ``date`` (as in a search, may repeat), ``_count``. The answer
is a Parameters with ``tab`` headings, one ``access`` for each event, newest first, and ``next`` when there are more.
"""

from typing import Any

from fhir_server.access.caller import Caller
from fhir_server.audit.access_history import CALLER_KINDS, TABS, Row, build_row, tab_name
from fhir_server.audit.codes import CALLER_KIND, HIDDEN_FROM_REPRESENTATIVES, VISIBILITY
from fhir_server.context import RequestContext
from fhir_server.errors import Invalid, NotFound, NotSupported, Required, Text
from fhir_server.fhir.json import parse_json
from fhir_server.interactions.operation import operation
from fhir_server.interactions.request import FhirRequest, FhirResponse
from fhir_server.interactions.routes import Route
from fhir_server.interactions.search import open_token, search
from fhir_server.repository.planning import absent

Parameters = tuple[tuple[str, str], ...]

_DEFINITION = "https://espace-sante.example/fhir/OperationDefinition/Patient-historique-acces"
_NOT_YET_TOLD = (f"{VISIBILITY}|INVISIBLE_PATIENT", "http://terminology.hl7.org/CodeSystem/v3-ActCode|NOPAT")
_OPERATORS = ("open", "local", "operator")
_WHOSE = Text(
    "Whose record? Call it on the patient: Patient/[id]/$historique-acces",
    "Quel dossier ? Appelez l’opération sur le patient : Patient/[id]/$historique-acces",
)
_TAB = Text(f"tab is one of {', '.join(TABS)}", f"tab vaut l’un de {', '.join(TABS)}")


@operation("historique-acces", _DEFINITION, levels={"instance", "type"}, types=frozenset({"Patient"}))
def historique_acces(ctx: RequestContext, request: FhirRequest, route: Route) -> FhirResponse:
    """Return the accesses to a record; on the type, to that of the caller. Raises ``NotFound`` to anybody else."""
    return _history(ctx, request, route, "historique-acces")


@operation("access-history", _DEFINITION, levels={"instance", "type"}, types=frozenset({"Patient"}))
def access_history(ctx: RequestContext, request: FhirRequest, route: Route) -> FhirResponse:
    """Return the same under its English name."""
    return _history(ctx, request, route, "access-history")


def _history(ctx: RequestContext, request: FhirRequest, route: Route, code: str) -> FhirResponse:
    patient = route.id or ctx.caller.patient
    if patient is None:
        raise Required(_WHOSE)
    _check_holder(ctx.caller, patient)
    asked = _asked(request)
    token = open_token(asked)
    parameters = asked if token is not None else _search_of(patient, ctx.caller, asked)
    inner = FhirRequest("GET", ("AuditEvent",), parameters, handling="strict")
    answer = search(ctx, inner, Route("search-type", route.template, "AuditEvent"))
    assert isinstance(answer.body, bytes)
    bundle = parse_json(answer.body)
    rows = [build_row(entry["resource"]) for entry in bundle.get("entry", ()) if _is_event(entry)]
    body = {"resourceType": "Parameters", "parameter": _answer(ctx, rows, _next(ctx, bundle, patient, code))}
    return FhirResponse(200, body, route=route.template)


def _check_holder(caller: Caller, patient: str) -> None:
    own = caller.kind in ("patient", "representative") and caller.patient == patient
    if not own and caller.kind not in _OPERATORS:
        raise NotFound(absent("Patient"))


def _asked(request: FhirRequest) -> Parameters:
    """Return the parameters of the URL or of a Parameters resource."""
    given = (request.resource or {}).get("parameter", ())
    told = [(one["name"], str(value)) for one in given for name, value in one.items() if name.startswith("value")]
    return (*request.parameters, *told)


def _search_of(patient: str, caller: Caller, asked: Parameters) -> Parameters:
    found = [("patient", f"Patient/{patient}"), ("_sort", "-date")]
    for name, value in asked:
        match name:
            case "tab" if value in CALLER_KINDS:
                kinds = next(kinds for tab, kinds in CALLER_KINDS.items() if tab == value)
                found.append(("agent-role", ",".join(f"{CALLER_KIND}|{kind}" for kind in kinds)))
            case "tab":
                raise Invalid(_TAB, expression="http.tab")
            case "date" | "_count":
                found.append((name, value))
            case _:
                raise NotSupported(Text("It takes tab, date and _count alone", "Elle n’admet que tab, date et _count"))
    hidden = _NOT_YET_TOLD if caller.kind in ("patient", "representative") else ()
    if caller.kind == "representative":
        hidden = (*hidden, HIDDEN_FROM_REPRESENTATIVES)
    return (*found, *(("_security:not", label) for label in hidden))


def _is_event(entry: dict[str, Any]) -> bool:
    return bool(entry["resource"]["resourceType"] == "AuditEvent")


def _next(ctx: RequestContext, bundle: dict[str, Any], patient: str, code: str) -> str | None:
    link = next((one["url"] for one in bundle.get("link", ()) if one["relation"] == "next"), None)
    return None if link is None else f"{ctx.base_url}/Patient/{patient}/${code}?{link.partition('?')[2]}"


def _answer(ctx: RequestContext, rows: list[Row], following: str | None) -> list[dict[str, Any]]:
    for_child = ctx.caller.kind == "representative"
    headings: list[dict[str, Any]] = [
        {
            "name": "tab",
            "part": [
                {"name": "code", "valueCode": tab},
                {"name": "title", "valueString": ctx.say(tab_name(tab, for_child=for_child))},
            ],
        }
        for tab in TABS
    ]
    accesses: list[dict[str, Any]] = [{"name": "access", "part": _parts(ctx, row)} for row in rows]
    links: list[dict[str, Any]] = [{"name": "next", "valueUri": following}] if following else []
    return [*headings, *accesses, *links]


def _parts(ctx: RequestContext, row: Row) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = [
        {"name": "tab", "valueCode": row.tab},
        {"name": "date", "valueInstant": row.date},
        {"name": "text", "valueString": ctx.say(row.text)},
        {"name": "emergency", "valueBoolean": row.emergency},
        {"name": "refused", "valueBoolean": row.refused},
        {"name": "event", "valueReference": {"reference": f"AuditEvent/{row.event}"}},
    ]
    return [*parts, {"name": "author", "valueString": row.author}] if row.author else parts
